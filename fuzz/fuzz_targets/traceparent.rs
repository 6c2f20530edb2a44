//! A trace is read where one field has it, at the places that the standard names, and no placeholder is near; and what goes upstream is then that
//! trace with the call as its parent, else nothing of either field, or both as they came where a placeholder is.
#![no_main]

use std::sync::LazyLock;

use config::{Grant, Placeholder, Places};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::swap::Swap;
use proxy::trace::{Trace, pass_on};

const PLACEHOLDER: &str = "ghs_fuzz0Z";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const OTHER: HeaderName = HeaderName::from_static("x-trace");

static SWAP: LazyLock<Swap> = LazyLock::new(|| {
    let to = vec!["api.example.com".parse().expect("a pattern")];
    let grant = Grant::new("fuzz".parse().expect("a name"), to, Places::default(), None);
    Swap::new(vec![(grant, Placeholder::from_value(PLACEHOLDER.into()))])
});

/// By the places of its dashes (sections 3.2.2 and 3.2.4): trace, parent and the flags that are known.
fn by_places(field: &str) -> Option<(&str, &str, u8)> {
    let bytes = field.as_bytes();
    let digits = |from: usize, to: usize| bytes[from..to].iter().all(|b| b"0123456789abcdef".contains(b));
    let zeros = |from: usize, to: usize| bytes[from..to].iter().all(|b| *b == b'0');
    let placed = bytes.len() >= 55 && [2, 35, 52].iter().all(|&at| bytes[at] == b'-');
    if !placed || ![(0, 2), (3, 35), (36, 52), (53, 55)].iter().all(|&(from, to)| digits(from, to)) {
        return None;
    }
    let ends = match &bytes[..2] {
        b"ff" => false,
        b"00" => bytes.len() == 55,
        _ => bytes.get(55).is_none_or(|behind| *behind == b'-'),
    };
    let flags = u8::from_str_radix(&field[53..55], 16).expect("digits") & 3;
    (ends && !zeros(3, 35) && !zeros(36, 52)).then(|| (&field[3..35], &field[36..52], flags))
}

fn head(text: &str) -> HeaderMap {
    let fields = text.lines().take(8).filter_map(|line| {
        let (kind, value) = line.split_at_checked(1)?;
        let name = match kind {
            "p" => TRACEPARENT,
            "s" => TRACESTATE,
            _ => OTHER,
        };
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    fields.collect()
}

// A field each line: `p` and a value of `traceparent`, `s` and one of `tracestate`, or anything else.
fuzz_target!(|text: &str| {
    // So that a placeholder is made by one mutation instead of ten.
    let text = text.replace('$', PLACEHOLDER);
    let came = head(&text);
    let values = |name| came.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let parents: Vec<String> = values(TRACEPARENT).collect();
    let holds = parents.iter().cloned().chain(values(TRACESTATE)).any(|value| SWAP.is_in(value.as_bytes()));
    assert!(holds || !parents.iter().any(|value| value.contains(PLACEHOLDER)));

    let trace = Trace::of(&came, &SWAP);
    let said = match &parents[..] {
        [parent] if !holds => by_places(parent),
        _ => None,
    };
    assert_eq!(trace.as_ref().map(|trace| (trace.id(), trace.parent())), said.map(|(id, parent, _)| (id, parent)));
    let mut goes = came.clone();
    pass_on(&mut goes, trace.as_ref(), &SWAP);
    if holds {
        return assert_eq!(goes, came);
    }
    let mut expected = came.clone();
    if let (Some(trace), Some((id, parent, flags))) = (&trace, said) {
        let span = trace.span();
        assert!(span.len() == 16 && span != parent && span.bytes().any(|digit| digit != b'0'));
        let field = format!("00-{id}-{span}-{flags:02x}");
        assert_eq!(by_places(&field), Some((id, span, flags)));
        expected.insert(TRACEPARENT, field.parse().expect("a value"));
    } else {
        expected.remove(TRACEPARENT);
        expected.remove(TRACESTATE);
    }
    assert_eq!(goes, expected);
});
