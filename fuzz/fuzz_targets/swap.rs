//! A head that passes shows no placeholder after the swap, in whatever spelling, and nothing in it but the placeholder has changed; a body is
//! judged alike however it is cut.
#![no_main]

mod spelt;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use config::{Destination, Grant, Placeholder, Places};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use libfuzzer_sys::fuzz_target;
use proxy::swap::{Head, Swap};

use spelt::{shows, spelt};

/// Its characters and its length are those of base64, as those of some keys are.
const PLACEHOLDER: &str = "AKIAfuzz0Zq7";
const SECRET: &str = "S3CRET-of-the-fuzzer";
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

static GRANTED: LazyLock<(Grant, Swap)> = LazyLock::new(|| {
    let places = Places { header: true, basic: true, query: true, ..Places::default() };
    let to = vec!["api.example.com".parse().expect("a pattern")];
    let grant = Grant::new("fuzz".parse().expect("a name"), to, places, None);
    let swap = Swap::new(vec![(grant.clone(), Placeholder::from_value(PLACEHOLDER.into()))]);
    (grant, swap)
});

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (cut, target, bytes) = input;
    let target = String::from_utf8(spelt(target.as_bytes(), PLACEHOLDER)).unwrap_or_default();
    let value = spelt(bytes, PLACEHOLDER);
    let to: Destination = "api.example.com:443".parse().expect("a destination");
    let (grant, swap) = &*GRANTED;

    let none = http::HeaderMap::new();
    let bare = Head { destination: &to, permitted: None, path: "/", query: None, headers: &none };
    let (mut whole, mut halves) = (swap.body(&bare), swap.body(&bare));
    let cut = usize::from(cut).min(value.len());
    let whole = whole.push(&value).and_then(|()| whole.finish());
    let halves = halves.push(&value[..cut]).and_then(|()| halves.push(&value[cut..])).and_then(|()| halves.finish());
    assert_eq!(whole, halves);
    assert!(whole.is_err() || !shows(&value, PLACEHOLDER));

    let Ok(request) = http::Request::builder().uri(format!("/{target}")).body(()) else { return };
    let Ok(value) = HeaderValue::from_bytes(&value) else { return };
    let (mut parts, ()) = request.into_parts();
    parts.headers.insert(AUTHORIZATION, value.clone());
    let before = parts.uri.clone();
    let head = |parts: &http::request::Parts, permitted: bool| {
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().map(str::to_owned));
        let permitted = permitted.then_some(grant.credential());
        swap.plan(&Head { destination: &to, permitted, path: &path, query: query.as_deref(), headers: &parts.headers })
    };
    // Also in another case.
    let cased = |text: &[u8]| text.windows(PLACEHOLDER.len()).any(|part| part.eq_ignore_ascii_case(PLACEHOLDER.as_bytes()));
    // User and password have one reading: what only another cut of their base64 shows is shown to nobody.
    let shown = |text: &[u8]| {
        let login = text.split_at_checked(6).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
        match login.and_then(|(_, login)| LENIENT.decode(login.trim_ascii()).ok()) {
            Some(login) => cased(text) || cased(&login) || shows(&login, PLACEHOLDER),
            None => cased(text) || shows(text, PLACEHOLDER),
        }
    };
    let plan = match head(&parts, true) {
        Ok(Some(plan)) => plan,
        Ok(None) => return assert!(!shown(value.as_bytes()) && !shown(before.to_string().as_bytes())),
        Err(_) => return,
    };
    plan.apply(&mut parts, SECRET).expect("the secret fits anywhere");
    assert!(head(&parts, false).expect("no placeholder").is_none());
    assert!(!shown(parts.headers[AUTHORIZATION].as_bytes()) && !shown(parts.uri.to_string().as_bytes()));
    // What had the secret in it from the beginning is told apart from what was swapped by nobody.
    let back = |text: &str| text.replace(SECRET, PLACEHOLDER);
    assert_eq!(back(&parts.uri.to_string()), back(&before.to_string()));
    if !value.as_bytes().to_ascii_lowercase().starts_with(b"basic ") {
        let after = String::from_utf8_lossy(parts.headers[AUTHORIZATION].as_bytes());
        assert_eq!(back(&after), back(&String::from_utf8_lossy(value.as_bytes())));
    }
});
