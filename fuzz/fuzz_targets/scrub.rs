//! The credential is not in what was scrubbed, in whatever spelling; chunks make no difference, and what has no credential is unchanged.
#![no_main]

mod spelt;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proxy::scrub::Scrub;

use spelt::{shows_nearly, shows_rendered, spelt};

/// With what each encoder escapes, long enough for each rendering; and it does not end as the placeholder begins.
const SECRET: &str = "ghs_aF/+1\"2%z<&9=Qw";

static SCRUB: LazyLock<Scrub> = LazyLock::new(|| Scrub::new([(SECRET, "exeat_0123456789")]));

fuzz_target!(|input: (&[u8], &[u8])| {
    let (cuts, text) = input;
    let text = spelt(text, SECRET);
    let scrub = &*SCRUB;
    let whole = scrub.text(&text).map_or_else(|| text.clone(), |(text, _)| text);
    assert!(!shows_rendered(&whole, SECRET));
    if whole != text {
        assert!(shows_nearly(&text, SECRET), "what has none has changed");
    }

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
