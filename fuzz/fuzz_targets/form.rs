//! A body that may be a form is judged alike however it is cut; where a browser, one for whom `;` separates, PHP, a plain reader of multipart or
//! serde_json finds a name in it by which the call is taken for another, it is refused; JSON without such a member passes.
#![no_main]

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::request::FormWatch;
use serde_json::{Map, Value};

const KINDS: [&str; 3] =
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/vnd.api+json"];
const OVERRIDING: [&str; 3] = ["_method", "_httpmethod", "x-http-method-override"];

fn passes<'a>(kind: &'static str, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let mut watch = FormWatch::of(&headers).expect("a form");
    pieces.map(|piece| watch.push(piece)).all(|pushed| pushed.is_ok()) && watch.finish().is_ok()
}

fn overrides(name: &str) -> bool {
    OVERRIDING.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// As browsers read them, with `;` as well, and as PHP takes names apart.
fn in_pairs(body: &[u8]) -> bool {
    let separated: Vec<u8> = body.iter().map(|&byte| if byte == b';' { b'&' } else { byte }).collect();
    [body, &separated].into_iter().any(|body| {
        form_urlencoded::parse(body).any(|(name, _)| {
            let php = name.trim_start_matches(' ').split(['[', '\0']).next().unwrap_or_default().replace([' ', '.'], "_");
            overrides(&name) || overrides(&php)
        })
    })
}

/// Parts whose name is plainly quoted, behind boundaries at the beginning of a line.
fn in_parts(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let parts = text.split("--x\r\n").skip(1).filter_map(|part| part.split_once("\r\n\r\n"));
    let mut lines = parts.flat_map(|(head, _)| head.split("\r\n"));
    lines.any(|line| {
        let name = line.strip_prefix("Content-Disposition: form-data; name=\"").and_then(|rest| rest.strip_suffix('"'));
        name.is_some_and(|name| !name.contains(['"', '\\']) && overrides(name))
    })
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (kind, cut, body) = input;
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let passed = passes(kind, [body].into_iter());
    let (before, behind) = body.split_at(usize::from(cut) % (body.len() + 1));
    assert_eq!(passes(kind, [before, behind].into_iter()), passed);
    assert_eq!(passes(kind, body.chunks(1)), passed);
    if kind == KINDS[0] {
        assert!(!passed || !in_pairs(body));
    } else if kind == KINDS[1] {
        assert!(!passed || !in_parts(body));
    } else if let Ok(members) = serde_json::from_slice::<Map<String, Value>>(body) {
        assert_eq!(passed, !members.keys().any(|name| overrides(name)));
    } else if serde_json::from_slice::<Value>(body).is_ok() {
        assert!(passed);
    }
});
