//! The credential is not in what was scrubbed, chunks make no difference, and what has no credential is unchanged.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proxy::scrub::Scrub;

const SECRET: &[u8] = b"ghs_aF/+1\"2%z";

static SCRUB: LazyLock<Scrub> =
    LazyLock::new(|| Scrub::new([(std::str::from_utf8(SECRET).expect("text"), "exeat_0123456789")]));

fuzz_target!(|input: (&[u8], &[u8])| {
    let (cuts, text) = input;
    // So that a credential is made by one mutation instead of thirteen.
    let text = text.split(|&b| b == b'$').collect::<Vec<_>>().join(SECRET);
    let scrub = &*SCRUB;
    let whole = scrub.text(&text).map_or_else(|| text.clone(), |(text, _)| text);
    assert!(!whole.windows(SECRET.len()).any(|window| window == SECRET));

    let mut body = scrub.body(Arc::default());
    let mut rest = Bytes::from(text);
    let mut out = Vec::new();
    for &cut in cuts {
        out.extend_from_slice(&body.push(rest.split_to(usize::from(cut).min(rest.len()))));
    }
    out.extend_from_slice(&body.push(rest));
    out.extend_from_slice(&body.finish());
    assert_eq!(out, whole);
});
