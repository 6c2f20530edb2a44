//! In a JSON or form body a placeholder becomes the credential, written for where it stands, and nothing else changes, however the
//! chunks fall.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Destination, Grant, Placeholder, Places};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use proptest::prelude::*;
use proxy::swap::{BodySwap, BodyWatch, Gapped, Head, Misdirected, Swap, Unswappable, Why};

const PLACEHOLDER: &str = "exeat/Zq3vB8nK1x+W5cT7yL0pR4sD9fG2hJ6mA";
const OTHER: &str = "glpat-x8Wq2ZkT5vR9yB4nM7cJ";
const SECRET: &str = "s3cr&t+/=%41 \"of\\github\u{e9}\n";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// `github` for api.github.com in bodies, `gitlab` there in headers only.
fn swap() -> Swap {
    let grant = |credential: &str, body| {
        let places = Places { body, websocket: body, ..Places::default() };
        Grant::new(credential.parse().unwrap(), vec!["api.github.com".parse().unwrap()], places, None)
    };
    Swap::new(vec![
        (grant("gitlab", false), Placeholder::from_value(OTHER.into())),
        (grant("github", true), Placeholder::from_value(PLACEHOLDER.into())),
    ])
}

fn with<T>(host: &str, rule: &str, fields: &[(HeaderName, &str)], look: impl FnOnce(&Swap, &Head<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let (destination, permitted) = (Destination::new(host.parse().unwrap(), 443), rule.parse().unwrap());
    let head =
        Head { destination: &destination, permitted: Some(&permitted), path: "/", query: None, headers: &headers };
    look(&swap(), &head)
}

fn in_body(media: &str) -> BodySwap {
    with("api.github.com", "github", &[(CONTENT_TYPE, media)], Swap::in_body).unwrap()
}

/// The body with the credential, from chunks that end at the given places.
fn swapped(media: &str, body: &[u8], cuts: &[usize]) -> Result<Vec<u8>, Misdirected> {
    let mut in_body = in_body(media);
    let mut all = Gapped::default();
    let (mut rest, mut cuts) = (body, cuts.iter().cycle());
    while !rest.is_empty() {
        let (chunk, left) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
        all.append(&in_body.push(chunk)?);
        rest = left;
    }
    all.append(&in_body.finish()?);
    Ok(all.filled(&in_body.spell(SECRET)).to_vec())
}

/// Why a placeholder is not swapped in a body behind such a head.
fn refused(host: &str, rule: &str, fields: &[(HeaderName, &str)]) -> Why {
    assert!(with(host, rule, fields, Swap::in_body).is_none(), "{fields:?}");
    let mut watch: BodyWatch = with(host, rule, fields, Swap::body);
    watch.push(PLACEHOLDER.as_bytes()).unwrap_err().why
}

#[test]
fn where_policy_grant_or_head_do_not_let_it_nothing_is_swapped() {
    let json = (CONTENT_TYPE, JSON);
    let md5 = HeaderName::from_static("content-md5");
    assert_eq!(refused("gitlab.com", "github", std::slice::from_ref(&json)), Why::Destination);
    assert_eq!(refused("api.github.com", "gitlab", std::slice::from_ref(&json)), Why::Rule);
    for (fields, why) in [
        (&[][..], Unswappable::MediaType),
        (&[(CONTENT_TYPE, "text/plain")], Unswappable::MediaType),
        (&[(CONTENT_TYPE, "multipart/form-data; boundary=x")], Unswappable::MediaType),
        (&[json.clone(), (CONTENT_ENCODING, "gzip")], Unswappable::Coded),
        (&[json.clone(), (md5, "x")], Unswappable::Digest),
    ] {
        assert_eq!(refused("api.github.com", "github", fields), Why::Body(why), "{fields:?}");
    }
    assert!(with("api.github.com", "github", &[json, (CONTENT_ENCODING, "identity")], Swap::in_body).is_some());
}

#[test]
fn what_is_not_swapped_is_refused() {
    for (media, body, why) in [
        (JSON, format!("{{\"a\":{PLACEHOLDER}}}"), Why::Body(Unswappable::Bare)),
        (JSON, format!("[\"{}\"]", PLACEHOLDER.replace('x', "%78")), Why::Spelling),
        (JSON, format!("[\"{}\"]", PLACEHOLDER.to_lowercase()), Why::Spelling),
        (JSON, format!("[\"{PLACEHOLDER}\", \"{OTHER}\"]"), Why::Rule),
        (FORM, format!("a={}", PLACEHOLDER.to_uppercase()), Why::Spelling),
        (FORM, format!("a={PLACEHOLDER}&b={OTHER}"), Why::Rule),
    ] {
        for cut in [1, 7, 500] {
            let refused = swapped(media, body.as_bytes(), &[cut]).expect_err(&body);
            assert_eq!(refused.why, why, "{body}");
        }
    }
}

#[test]
fn a_digest_in_the_trailers_is_of_another_body_once_something_was_swapped() {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("content-digest"), HeaderValue::from_static("x"))]);
    let mut in_body = in_body(JSON);
    in_body.push(b"[\"a\",").unwrap();
    assert!(in_body.trailers(&trailers).is_ok());
    in_body.push(format!("\"{PLACEHOLDER}\"").as_bytes()).unwrap();
    assert_eq!(in_body.trailers(&trailers).unwrap_err().why, Why::Body(Unswappable::Digest));
}

/// A part of a text.
#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// So much of the placeholder's beginning.
    Begun(usize),
    Placeholder,
}

#[derive(Debug, Clone)]
enum Document {
    Plain(&'static str),
    Text(Vec<Part>),
    List(Vec<Document>),
    Object(Vec<(Vec<Part>, Document)>),
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![
        "[b-z\"\\\\/%+&=\n\u{0}é€😀]{0,6}".prop_map(Part::Text),
        (1..PLACEHOLDER.len()).prop_map(Part::Begun),
        Just(Part::Placeholder),
    ];
    proptest::collection::vec(part, 0..4)
}

fn document() -> impl Strategy<Value = Document> {
    let plain = prop_oneof![Just("null"), Just("true"), Just("-1.5e3")].prop_map(Document::Plain);
    prop_oneof![plain, parts().prop_map(Document::Text)].prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Document::List),
            proptest::collection::vec((parts(), inner), 0..4).prop_map(Document::Object),
        ]
    })
}

/// Writes the same document twice: as a client may, and as it should go upstream.
struct Pen {
    sent: String,
    expected: String,
    /// Decides how each character is written.
    whims: std::iter::Cycle<std::vec::IntoIter<u8>>,
}

impl Pen {
    fn new(whims: Vec<u8>) -> Self {
        Self { sent: String::new(), expected: String::new(), whims: whims.into_iter().cycle() }
    }

    fn both(&mut self, text: &str) {
        self.sent += text;
        self.expected += text;
    }

    fn parts(&mut self, parts: &[Part], write: impl Fn(char, u8) -> String, spelt: &str) {
        for part in parts {
            let text = match part {
                Part::Text(text) => text,
                Part::Begun(length) => &PLACEHOLDER[..*length],
                Part::Placeholder => PLACEHOLDER,
            };
            let written: String = text.chars().map(|c| write(c, self.whims.next().unwrap())).collect();
            self.sent += &written;
            self.expected += if matches!(part, Part::Placeholder) { spelt } else { &written };
        }
    }

    fn string(&mut self, parts: &[Part]) {
        let spelt = serde_json::to_string(SECRET).unwrap().replace("\\n", "\\u000a");
        self.both("\"");
        self.parts(parts, json, &spelt[1..spelt.len() - 1]);
        self.both("\"");
    }

    fn document(&mut self, document: &Document) {
        match document {
            Document::Plain(text) => self.both(text),
            Document::Text(parts) => self.string(parts),
            Document::List(inner) => {
                for (index, document) in inner.iter().enumerate() {
                    self.both(if index == 0 { "[ " } else { ",\n" });
                    self.document(document);
                }
                self.both(if inner.is_empty() { "[]" } else { "]" });
            }
            Document::Object(inner) => {
                for (index, (name, document)) in inner.iter().enumerate() {
                    self.both(if index == 0 { "{" } else { ", " });
                    self.string(name);
                    self.both(" :");
                    self.document(document);
                }
                self.both(if inner.is_empty() { "{}" } else { "}" });
            }
        }
    }
}

/// A character in a string of JSON: escaped where it must be, and where the whim says so.
fn json(character: char, whim: u8) -> String {
    let must = matches!(character, '"' | '\\' | '\0'..='\x1f');
    match (character, whim % 5) {
        ('"' | '\\' | '/', 0) => format!("\\{character}"),
        (_, 0..2) => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        (_, 2) => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
        _ if must => format!("\\u{:04x}", u32::from(character)),
        _ => character.to_string(),
    }
}

/// A character in a form.
fn form(character: char, whim: u8) -> String {
    let must = !character.is_ascii_alphanumeric() && !"-._".contains(character);
    match (character, whim % 4) {
        (' ', 0) => "+".to_owned(),
        _ if must || whim % 4 == 1 => character.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        (_, 2) => character.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
        _ => character.to_string(),
    }
}

fn replaced(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => text.replace(PLACEHOLDER, SECRET).into(),
        Value::Array(values) => values.into_iter().map(replaced).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name.replace(PLACEHOLDER, SECRET), replaced(value))).collect()
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_json_document_is_the_same_but_for_the_credential(
        document in document(), whims in proptest::collection::vec(any::<u8>(), 1..40),
        cuts in proptest::collection::vec(1usize..60, 1..8),
    ) {
        let mut pen = Pen::new(whims);
        pen.document(&document);
        let body = swapped(JSON, pen.sent.as_bytes(), &cuts).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&body), &*pen.expected);
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        prop_assert_eq!(value(&body), replaced(value(pen.sent.as_bytes())));
    }

    #[test]
    fn a_form_is_the_same_but_for_the_credential(
        pairs in proptest::collection::vec((parts(), parts()), 0..5), whims in proptest::collection::vec(any::<u8>(), 1..40),
        cuts in proptest::collection::vec(1usize..60, 1..8),
    ) {
        let spelt: String = SECRET.bytes().map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        }).collect();
        let mut pen = Pen::new(whims);
        for (index, (name, value)) in pairs.iter().enumerate() {
            pen.both(if index == 0 { "" } else { "&" });
            pen.parts(name, form, &spelt);
            pen.both("=");
            pen.parts(value, form, &spelt);
        }
        let body = swapped(FORM, pen.sent.as_bytes(), &cuts).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&body), &*pen.expected);
    }

    #[test]
    fn of_any_bytes_those_that_are_no_placeholder_pass_as_they_are(
        body in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'%'), Just(b'u')], 0..200),
        cuts in proptest::collection::vec(1usize..60, 1..8),
    ) {
        for media in [JSON, FORM] {
            prop_assert_eq!(&swapped(media, &body, &cuts).unwrap(), &body);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn messages_of_text_are_the_same_but_for_the_credential(
        documents in proptest::collection::vec(prop_oneof![document().prop_map(Ok), parts().prop_map(Err)], 1..4),
        whims in proptest::collection::vec(any::<u8>(), 1..40), cuts in proptest::collection::vec(1usize..60, 1..8),
    ) {
        let mut messages = with("api.github.com", "github", &[], Swap::messages);
        for document in documents {
            let mut pen = Pen::new(whims.clone());
            match &document {
                Ok(document) => {
                    pen.both(" \n[");
                    pen.document(document);
                    pen.both("]");
                }
                Err(parts) => {
                    pen.both("~ ");
                    pen.parts(parts, |character, _| character.to_string(), SECRET);
                }
            }
            let (mut rest, mut cuts, mut sent) = (pen.sent.as_bytes(), cuts.iter().cycle(), Vec::new());
            while !rest.is_empty() {
                let (piece, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                sent.extend(messages.text(piece, left.is_empty(), SECRET).unwrap().0);
                rest = left;
            }
            prop_assert_eq!(String::from_utf8_lossy(&sent), &*pen.expected);
        }
    }
}
