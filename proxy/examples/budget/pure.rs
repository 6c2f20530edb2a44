//! The parts that are functions of their input, each done many times on the thread that the proxy has.
//!
//! Enters: a directory, for a log. Leaves: a count for each. Never: what went before a part (its input, its policy) in its count.

use std::fmt::Write;
use std::fs::DirBuilder;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use config::{CallFacts, Credentials, Destination, Method, NormalPath, Placeholder, Policy, Scheme};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use proxy::request::FormWatch;
use proxy::scrub::Scrub;
use proxy::swap::{Head, Swap};
use record::{CallEnd, CallLog, CallStart, CredentialUse, Event, TlsLeg};

use crate::{Failure, part};

const PLACEHOLDER: &str = "exeat_q7Xr2mNcV9bLk4TzWf8HdYs3Jp6Ga1";
const SECRET: &str = "ghs_A8fK2mQ9xV4nB7cL1zR5tY3wE6uI0oP8sDfG";
const TEXT: &str =
    "{\"id\":4711,\"name\":\"release-42\",\"draft\":false,\"body\":\"Fixes three bugs.\",\"tags\":[\"a\",\"b\"]}\n";
const SCANNED: usize = 64 * 1024;

/// Does all of them.
pub fn count(room: &Path) -> Result<(), Failure> {
    for rules in [10, 10_000] {
        decide(room, rules)?;
    }
    log(room)?;
    swap(room)?;
    form(room)?;
    scrub(room)
}

/// `times` times `work`, and nothing else.
fn repeat(room: &Path, name: &str, times: u32, mut work: impl FnMut() -> bool) -> Result<(), Failure> {
    // What is made at its first time only.
    if !work() {
        return Err(format!("{name}: it does not do what it is counted for").into());
    }
    part::ends(room, part::BEFORE, 1)?;
    let mut well = true;
    for _ in 0..times {
        well &= black_box(work());
    }
    part::ends(room, name, times)?;
    if well { Ok(()) } else { Err(format!("{name}: not each time").into()) }
}

/// A tenth as many hosts as rules; the call is for the last.
fn decide(room: &Path, rules: usize) -> Result<(), Failure> {
    let hosts = rules.div_ceil(10);
    let mut text = String::new();
    for rule in 0..rules {
        let host = rule % hosts;
        writeln!(text, "[[allow]]\nto = \"h{host}.example.com\"\nmethods = [\"GET\"]\npaths = [\"/r{rule}/**\"]")?;
    }
    let policy = Policy::parse("budget".parse()?, "budget.toml", &text)?;
    let destination = Destination::parse_authority(&format!("h{}.example.com:443", hosts - 1), 443)?;
    let method: Method = "GET".parse()?;
    let path = NormalPath::parse(&format!("/r{}/releases/latest", rules - 1))?;
    let call = CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path };
    repeat(room, &format!("decide, {rules} rules"), 2000, || policy.call(black_box(&call)).is_ok())
}

/// What a call writes: its start, and its end.
fn log(room: &Path) -> Result<(), Failure> {
    let directory = room.join("log");
    DirBuilder::new().create(&directory)?;
    let log = CallLog::create(&directory)?;
    let leg = || TlsLeg {
        version: "TLSv1_3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        group: Some("X25519".to_owned()),
        alpn: Some("http/1.1".to_owned()),
    };
    let start = CallStart {
        call: 1,
        connection: 1,
        scheme: "https".into(),
        to: "api.example.com:443".to_owned(),
        method: "GET".into(),
        path: "/repos/acme/widgets/releases/latest".to_owned(),
        query: Some("page=2&per_page=100".to_owned()),
        tool: None,
        http: "HTTP/1.1".into(),
        rule: "allow #2 (line 14)".to_owned(),
        policy: format!("sha256:{}", "0".repeat(64)).into(),
        credential: Some(CredentialUse {
            name: "budget".to_owned(),
            lease: "l".repeat(32),
            places: vec!["header".into()],
            waited_ms: None,
            injected: false,
        }),
        client_certificate: None,
        client_tls: Some(Arc::new(leg())),
        observed: None,
        trace: None,
    };
    let end = CallEnd {
        call: 1,
        outcome: "done".into(),
        status: Some(200),
        received: 1024,
        head_ms: Some(1.234),
        total_ms: 1.345,
        address: Some("192.0.2.1:443".into()),
        upstream_tls: Some(Arc::new(leg())),
        ..CallEnd::default()
    };
    repeat(room, "log, a call's start and end", 2000, || {
        log.append(Timestamp::now(), Event::CallStart(start.clone())).is_ok()
            && log.append(Timestamp::now(), Event::CallEnd(end.clone())).is_ok()
    })
}

/// A request's body, watched and with nothing in it; and swapped in, as JSON.
fn swap(room: &Path) -> Result<(), Failure> {
    let text = "[budget]\nissuer = \"fixed\"\nvalue = { env = \"X\" }\nagents = [\"budget\"]\nto = [\"api.example.com\"]\n\
                in = [\"header\", \"body\"]\n";
    let credentials = Credentials::parse("credentials.toml", text)?;
    let grant = credentials.iter().next().ok_or("no grant")?.grant.clone();
    let name = grant.credential().clone();
    let swap = Swap::new(vec![(grant, Placeholder::from_value(PLACEHOLDER.to_owned()))]);
    let destination = Destination::parse_authority("api.example.com", 443)?;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let head = Head { destination: &destination, permitted: Some(&name), path: "/a", query: None, headers: &headers };
    let body: Bytes = TEXT.bytes().cycle().take(SCANNED).collect::<Vec<u8>>().into();
    let mut watch = swap.body(&head);
    repeat(room, "swap, 64 KiB watched", 40, || watch.push(&body).is_ok())?;
    let mut swapped = swap.in_body(&head).ok_or("nothing is swapped in this body")?;
    repeat(room, "swap, 64 KiB of JSON swapped in", 40, || swapped.push(&body).is_ok())
}

/// A request's body with no name in it by which it would be another.
fn form(room: &Path) -> Result<(), Failure> {
    let file: Vec<u8> = (0..=u8::MAX).map(|byte| byte.wrapping_mul(151)).cycle().take(SCANNED).collect();
    let json: Vec<u8> = TEXT.bytes().cycle().take(SCANNED).collect();
    for (kind, name, body) in [
        ("application/json", "form, 64 KiB of JSON", json),
        ("multipart/form-data; boundary=x", "form, 64 KiB of a file in a part", file),
    ] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let mut watch = FormWatch::of(&headers).ok_or("nobody takes this body for a form")?;
        repeat(room, name, 40, || watch.push(&body).is_ok())?;
    }
    Ok(())
}

/// An answer's body with nothing in it.
fn scrub(room: &Path) -> Result<(), Failure> {
    let scrub = Scrub::new([(SECRET, PLACEHOLDER)]);
    let body: Bytes = TEXT.bytes().cycle().take(SCANNED).collect::<Vec<u8>>().into();
    let mut scrubbed = scrub.body(Arc::default());
    repeat(room, "scrub, 64 KiB", 40, || !scrubbed.push(body.clone()).is_empty())
}
