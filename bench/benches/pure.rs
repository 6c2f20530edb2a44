//! The parts of a request that are functions of their input, one at a time.
//!
//! Enters: policies, paths, heads and bodies such as the figures of the whole use, and some that are much larger. Leaves: criterion's
//! estimates, which `exeat-bench figures` puts into its table. Never: a part that waits for the network.
#![expect(clippy::unwrap_used, reason = "what is written here parses")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use config::{CallFacts, Credentials, Destination, Method, NormalPath, Placeholder, Policy, Scheme};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use proxy::leaf::{Authority, Leaves};
use proxy::scrub::Scrub;
use proxy::swap::{Head, Swap};
use record::{CallEnd, CallLog, CallStart, CredentialUse, Event, TlsLeg};

const PLACEHOLDER: &str = "exeat_q7Xr2mNcV9bLk4TzWf8HdYs3Jp6Ga1";
const SECRET: &str = "ghs_A8fK2mQ9xV4nB7cL1zR5tY3wE6uI0oP8sDfG";
const TEXT: &str =
    "{\"id\":4711,\"name\":\"release-42\",\"draft\":false,\"body\":\"Fixes three bugs.\",\"tags\":[\"a\",\"b\"]}\n";

/// The text of `rules` allow rules over a tenth as many hosts, with a deny rule for each, and the last of the hosts.
fn rules(rules: usize) -> (String, Destination) {
    let hosts = rules.div_ceil(10);
    let mut text = String::new();
    for rule in 0..rules {
        let host = rule % hosts;
        let line =
            writeln!(text, "[[allow]]\nto = \"h{host}.example.com\"\nmethods = [\"GET\"]\npaths = [\"/r{rule}/**\"]");
        line.unwrap();
    }
    for host in 0..hosts {
        writeln!(text, "[[deny]]\nto = \"h{host}.example.com\"\npaths = [\"/r{}/secret/**\"]", rules - 1).unwrap();
    }
    let last = format!("h{}.example.com:443", hosts - 1);
    (text, Destination::parse_authority(&last, 443).unwrap())
}

/// The text of `rules` rules for as many paths of one host.
fn one_host(rules: usize) -> (String, Destination) {
    let rule = |rule| format!("[[allow]]\nto = \"h.example.com\"\npaths = [\"/r{rule}/**\"]\n");
    ((0..rules).map(rule).collect(), Destination::parse_authority("h.example.com", 443).unwrap())
}

fn parse(text: &str) -> Policy {
    Policy::parse("bench".parse().unwrap(), "bench.toml", text).unwrap()
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    let get: Method = "GET".parse().unwrap();
    let mut ask = |name: String, policy: &Policy, destination: &Destination, path: &str, allowed: bool| {
        let path = NormalPath::parse(path).unwrap();
        let call = CallFacts { destination, scheme: Scheme::Https, method: &get, path: &path };
        assert_eq!(policy.call(&call).is_ok(), allowed);
        group.bench_function(name, |b| b.iter(|| policy.call(black_box(&call)).is_ok()));
    };
    for count in [10, 100, 1000, 10_000] {
        let (text, destination) = rules(count);
        let (policy, last) = (parse(&text), count - 1);
        ask(format!("{count} rules, the last one"), &policy, &destination, &format!("/r{last}/releases/latest"), true);
        ask(format!("{count} rules, none"), &policy, &destination, "/other/releases/latest", false);
        ask(format!("{count} rules, denied"), &policy, &destination, &format!("/r{last}/secret/key"), false);
    }
    let (text, destination) = one_host(10_000);
    ask(
        "10000 rules of one host, the last one".to_owned(),
        &parse(&text),
        &destination,
        "/r9999/releases/latest",
        true,
    );
    ask("10000 rules of one host, none".to_owned(), &parse(&text), &destination, "/other/releases/latest", false);
    let (text, _) = rules(10_000);
    group.sample_size(10).bench_function("10000 rules read from their text", |b| b.iter(|| parse(black_box(&text))));
    group.finish();
}

fn path(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    for (name, raw) in [
        ("as it should be", "/repos/acme/widgets/releases/latest"),
        ("dots and escapes", "/repos/acme/./widgets/%7Euser/../releases/%e2%82%ac/latest"),
    ] {
        group.bench_function(name, |b| b.iter(|| NormalPath::parse(black_box(raw)).is_ok()));
    }
    group.finish();
}

fn scrub(c: &mut Criterion) {
    let scrub = Scrub::new([(SECRET, PLACEHOLDER)]);
    let json: Bytes = TEXT.bytes().cycle().take(64 * 1024).collect::<Vec<u8>>().into();
    // A generator of Marsaglia's: bytes as in an archive or a picture.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let binary: Bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(64 * 1024)
    .collect::<Vec<u8>>()
    .into();
    let base64: Bytes = binary
        .iter()
        .map(|byte| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[usize::from(byte & 63)])
        .collect::<Vec<u8>>()
        .into();
    assert!(scrub.text(SECRET.as_bytes()).is_some(), "what is timed finds what it is there for");
    let mut group = c.benchmark_group("scrub");
    group.throughput(Throughput::Bytes(64 * 1024));
    for (name, chunk) in [("JSON", &json), ("binary", &binary), ("base64", &base64)] {
        group.bench_function(format!("64 KiB of {name}, no match"), |b| {
            let mut body = scrub.body(std::sync::Arc::default());
            b.iter(|| body.push(chunk.clone()).len());
        });
    }
    group.finish();
}

fn swap(c: &mut Criterion) {
    let text = "[bench]\nissuer = \"fixed\"\nvalue = { env = \"X\" }\nagents = [\"bench\"]\nto = [\"api.example.com\"]\nin = [\"header\", \"body\"]\n";
    let credentials = Credentials::parse("credentials.toml", text).unwrap();
    let grant = credentials.iter().next().unwrap().grant.clone();
    let name = grant.credential().clone();
    let swap = Swap::new(vec![(grant, Placeholder::from_value(PLACEHOLDER.to_owned()))]);
    let destination = Destination::parse_authority("api.example.com", 443).unwrap();
    let mut headers = HeaderMap::new();
    for (field, value) in [
        ("user-agent", "bench/1.0 (Linux; x86_64)"),
        ("accept", "application/vnd.github+json"),
        ("accept-encoding", "gzip, br, zstd"),
        ("x-github-api-version", "2022-11-28"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ] {
        headers.insert(field, HeaderValue::from_static(value));
    }
    let without = headers.clone();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {PLACEHOLDER}")).unwrap());
    let mut group = c.benchmark_group("swap");
    let [json, form] = ["application/json", "application/x-www-form-urlencoded"]
        .map(|media| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]));
    let head = |headers| Head {
        destination: &destination,
        permitted: Some(&name),
        path: "/repos/acme/widgets/releases/latest",
        query: Some("page=2&per_page=100"),
        headers,
    };
    for (what, headers) in [("plan, no placeholder", &without), ("plan, one placeholder", &headers)] {
        let head = head(headers);
        group.bench_function(what, |b| b.iter(|| swap.plan(black_box(&head)).is_ok()));
    }
    group.throughput(Throughput::Bytes(64 * 1024));
    for (name, text) in [
        ("JSON", TEXT),
        (
            "JSON, a line break in each text",
            "{\"name\":\"release-42\",\"body\":\"Fixes\\nthree bugs, and one more.\"},",
        ),
        ("a form", "name=release-42&body=Fixes+three+bugs%2C+and+one+more.&tags=a&"),
        ("JSON, all of it escaped", "\\u0065\\u0078\\u0065"),
        ("a form, all of it escaped", "%65%78%65%61"),
        ("backslashes", "\\"),
    ] {
        let body: Bytes = text.bytes().cycle().take(64 * 1024).collect::<Vec<u8>>().into();
        group.bench_function(format!("64 KiB of a request's body, no match: {name}"), |b| {
            b.iter_batched(|| swap.body(&head(&without)), |mut watch| watch.push(&body).is_ok(), BatchSize::SmallInput);
        });
        let typed = if name.contains("form") { &form } else { &json };
        group.bench_function(format!("64 KiB of a body to be swapped in, no match: {name}"), |b| {
            let begun = || {
                let mut body = swap.in_body(&head(typed)).unwrap();
                body.push(b"\"").unwrap();
                body
            };
            b.iter_batched(begun, |mut swapped| swapped.push(&body).is_ok(), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn leaf(c: &mut Criterion) {
    let leaves = Leaves::new(Authority::generate(SystemTime::now()).unwrap());
    let mut number = 0;
    c.benchmark_group("leaf").bench_function("minted", |b| {
        b.iter(|| {
            number += 1;
            leaves.configuration(&format!("n{number}.example.com").parse().unwrap(), SystemTime::now()).is_ok()
        });
    });
}

fn log(c: &mut Criterion) {
    let directory = std::env::temp_dir().join(format!("exeat-bench-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let log = CallLog::create(&directory).unwrap();
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
            name: "bench".to_owned(),
            lease: "l".repeat(32),
            places: vec!["header".into()],
            waited_ms: None,
            injected: false,
        }),
        client_certificate: None,
        client_tls: Some(Arc::new(TlsLeg {
            version: "TLSv1_3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
            group: Some("X25519".to_owned()),
            alpn: Some("http/1.1".to_owned()),
        })),
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
        upstream_tls: start.client_tls.clone(),
        ..CallEnd::default()
    };
    let mut group = c.benchmark_group("log");
    // What is written is a call's own until then; that it is copied here is not the log's. A few at a time: they have just been made, as in a call.
    group.bench_function("a call's start", |b| {
        let append = |start| log.append(Timestamp::now(), Event::CallStart(start)).is_ok();
        b.iter_batched(|| start.clone(), append, BatchSize::NumIterations(64));
    });
    group.bench_function("a call's start and end", |b| {
        let append = |(start, end)| {
            log.append(Timestamp::now(), Event::CallStart(start)).is_ok()
                && log.append(Timestamp::now(), Event::CallEnd(end)).is_ok()
        };
        b.iter_batched(|| (start.clone(), end.clone()), append, BatchSize::NumIterations(64));
    });
    group.finish();
    std::fs::remove_dir_all(&directory).unwrap();
}

criterion_group!(parts, decide, path, scrub, swap, leaf, log);
criterion_main!(parts);
