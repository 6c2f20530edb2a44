//! Whether a call for access is answered here depends on one assertion, whatever other fields there are; two of them are none.
#![no_main]

use std::sync::LazyLock;

use config::{Credential, Credentials, Destination, Part, Placeholder};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::swap::{Asserted, Head, Swap};

const FILE: &str = "[google]\nissuer = \"fixed\"\nvalue = { env = \"S\" }\nagents = [\"bot\"]\nto = [\"oauth2.googleapis.com\"]\n\
                    shape = \"google-service-account\"\nfiles = [\"google-service-account\"]";

static ASSERTED: LazyLock<Asserted> = LazyLock::new(|| {
    let credentials = Credentials::parse("credentials.toml", FILE).expect("valid");
    let placeholder = |part| Placeholder::from_value(if part == Part::Id { "k1d".into() } else { "ya29.access".into() });
    let parts = credentials.iter().flat_map(Credential::placeholders);
    let swap = Swap::new(parts.map(|(grant, _)| (grant.clone(), placeholder(grant.part()))).collect());
    let destination: Destination = "oauth2.googleapis.com:443".parse().expect("a destination");
    let name = "google".parse().expect("a name");
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
    let head = Head { destination: &destination, permitted: Some(&name), path: "/token", query: None, headers: &headers };
    swap.asserted(&head).expect("a place where assertions are sent")
});

fuzz_target!(|form: &[u8]| {
    let ours = ASSERTED.is_in(form);
    assert_eq!(ASSERTED.is_in(&[form, b"&x=1"].concat()), ours);
    assert_eq!(ASSERTED.is_in(&[b"x=1&", form].concat()), ours);
    assert!(!ASSERTED.is_in(&[form, b"&", form].concat()), "two assertions were taken for one");
});
