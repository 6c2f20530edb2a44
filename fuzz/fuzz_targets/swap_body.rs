//! A body is swapped alike however it is cut; what comes out shows no placeholder in whatever spelling, parses to the same document with the credential in
//! it where it was JSON, and is what came in once the credential is a placeholder again.
#![no_main]

mod spelt;

use std::sync::LazyLock;

use config::{Destination, Grant, Placeholder, Places};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use libfuzzer_sys::fuzz_target;
use proxy::swap::{BodySwap, Gapped, Head, Misdirected, Swap};
use serde_json::Value;

use spelt::{shows, spelt};

const PLACEHOLDER: &str = "ghs_fuzz0Z";
const SECRET: &str = "S3CRET-\"of\"-the\\fuzzer&";

static GRANTED: LazyLock<(Grant, Swap)> = LazyLock::new(|| {
    let to = vec!["api.example.com".parse().expect("a pattern")];
    let places = Places { body: true, ..Places::default() };
    let grant = Grant::new("fuzz".parse().expect("a name"), to, places, None);
    let swap = Swap::new(vec![(grant.clone(), Placeholder::from_value(PLACEHOLDER.into()))]);
    (grant, swap)
});

fn in_body(media: &'static str) -> BodySwap {
    let (grant, swap) = &*GRANTED;
    let to: Destination = "api.example.com:443".parse().expect("a destination");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, media.parse().expect("a value"))]);
    let head = Head { destination: &to, permitted: Some(grant.credential()), path: "/", query: None, headers: &headers };
    swap.in_body(&head).expect("it may be swapped")
}

fn swapped<'a>(media: &'static str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Gapped, Misdirected> {
    let mut in_body = in_body(media);
    let mut all = Gapped::default();
    for chunk in chunks {
        all.append(&in_body.push(chunk)?);
    }
    all.append(&in_body.finish()?);
    Ok(all)
}

fn replaced(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace(PLACEHOLDER, SECRET).into(),
        Value::Array(values) => values.into_iter().map(replaced).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name.replace(PLACEHOLDER, SECRET), replaced(value))).collect()
        }
        other => other,
    }
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (form, cut, bytes) = input;
    let media = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let body = spelt(bytes, PLACEHOLDER);

    let whole = swapped(media, [&body[..]]);
    let cut = usize::from(cut).min(body.len());
    assert_eq!(whole.is_ok(), swapped(media, [&body[..cut], &body[cut..]]).is_ok());
    // What is wrong in two ways is refused either way; which of the two is named depends on the cut.
    assert_eq!(whole.as_ref().ok(), swapped(media, body.chunks(1)).as_ref().ok());

    let Ok(gapped) = whole else { return };
    let escaped = form || body.contains(&b'\\');
    let sent = gapped.clone().filled(&in_body(media).spell(SECRET));
    assert!(!shows(&sent, PLACEHOLDER));
    if !escaped {
        assert_eq!(gapped.filled(PLACEHOLDER.as_bytes()), body);
    }
    if !form && let Ok(value) = serde_json::from_slice::<Value>(&body) {
        assert_eq!(serde_json::from_slice::<Value>(&sent).expect("still JSON"), replaced(value));
    }
});
