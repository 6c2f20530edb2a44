//! What is sent is what was judged: whatever bytes a client sends, an upstream sees the requests that are in the log, or nothing.
//!
//! Requests that are almost well-formed are sent from inside a sandbox, over HTTP/1.1 as bytes and over HTTP/2 as frames, to an
//! upstream that keeps the bytes it receives (HTTP/1.1, with TLS and without, read by the harness' own strict reader) and to one on another
//! HTTP/2 library that refuses whatever RFC 9113 lets it refuse. Some of the cases are the same in every run, and some are drawn anew; a failure says by
//! which seed, and `EXEAT_DIFFERENTIAL_DRAWN` repeats that. `EXEAT_DIFFERENTIAL_SEED` and `EXEAT_DIFFERENTIAL_CASES` (per direction) choose
//! others than the tests' own.

mod cases;
mod fields;
mod frames;
mod tables;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use self::cases::{Case, ENTRIES_1, ENTRIES_2, HOP, OTHER, PLAIN, Random, SECRET};
use self::fields::{Fields, expected};
use crate::harness::{Exeat, Log, Outside, RawUpstream, Run, python_tools, requests, tools, whole_requests};

/// Speaks HTTP/1.1, and keeps bytes.
const HTTP1: &str = "h1.example.com";
/// Speaks HTTP/2, and keeps fields.
const HTTP2: &str = "h2.example.com";
/// For each of the directions, behind those that walk the tables.
const CASES: usize = 100;
/// And with a seed that no other run has.
const DRAWN: usize = 60;

/// A request as an upstream read it.
#[derive(Debug)]
struct Arrived {
    /// Method, authority, target and length of the body, as [`logged`] has them.
    line: String,
    body: String,
    fields: Fields,
    trailers: Fields,
}

impl Arrived {
    fn everywhere(&self) -> impl Iterator<Item = &(String, String)> {
        self.fields.iter().chain(&self.trailers)
    }

    fn target(&self) -> &str {
        self.line.split(' ').nth(2).unwrap()
    }

    fn says_its_case(&self) -> bool {
        self.fields.iter().any(|(name, _)| name == "x-case")
    }

    fn is_of(&self, case: &Case) -> bool {
        match self.fields.iter().find(|(name, _)| name == "x-case") {
            Some((_, word)) => word.contains(&case.word),
            None => self.line.contains(&case.word),
        }
    }
}

/// The log leaves out what stands under a name that is not plain.
fn as_logged(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.contains('%') => format!("{name}=…"),
        _ => pair.to_owned(),
    };
    format!("{path}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn run(cases: &[Case], http1: &RawUpstream, plain: &RawUpstream, http2: &Outside) -> Run {
    let exeat = Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display()));
    let exeat = [(HTTP1, http1.dial()), (HTTP2, http2.dial()), (OTHER, http1.dial())]
        .into_iter()
        .fold(exeat, |exeat, (to, dial)| {
            exeat.rule(&format!("[[allow]]\nto = \"{to}\"\ndial = \"{dial}\"\nencoded_slash = true"))
        });
    let exeat = exeat
        .rule(&format!(
            "[[allow]]\nto = \"{PLAIN}:80\"\ndial = \"{}\"\nplain = true\nencoded_slash = true",
            plain.dial()
        ))
        .rule(&format!("[[deny]]\nto = \"*.example.com\"\npaths = [\"/**/{SECRET}/**\"]"))
        .limit(Duration::from_secs(600));
    let lines = cases.iter().fold(String::new(), |mut lines, case| {
        let _ = writeln!(lines, "{}", case.line);
        lines
    });
    fs::write(exeat.work().join("cases.jsonl"), lines).unwrap();
    let run = exeat.run(&[&python_tools(), "-c", include_str!("differential/client.py")]).ok();
    Run { stdout: fs::read_to_string(exeat.work().join("results.jsonl")).unwrap(), ..run }
}

/// What the HTTP/1.1 upstream received. A request that breaks off is the last one of its connection.
fn arrived_as_bytes(upstream: &RawUpstream) -> (Vec<Arrived>, usize) {
    let (mut arrived, mut cut) = (Vec::new(), 0);
    for bytes in upstream.received() {
        let (whole, length) =
            whole_requests(&bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)));
        assert_eq!(requests(&bytes[..length]).unwrap().len(), whole.len());
        cut += usize::from(length < bytes.len());
        arrived.extend(whole.into_iter().map(|request| {
            let host = request.headers.iter().find(|(name, _)| name == "host").unwrap().1.clone();
            let line = format!("{} {host} {} {}", request.method, as_logged(&request.target), request.body.len());
            let body = request.body.into_iter().map(char::from).collect();
            Arrived { line, body, fields: request.headers, trailers: request.trailers }
        }));
    }
    (arrived, cut)
}

/// What the HTTP/2 upstream received.
fn arrived_as_fields(upstream: &Outside) -> (Vec<Arrived>, usize) {
    let (mut arrived, mut cut) = (Vec::new(), 0);
    for line in upstream.read("requests.jsonl").lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        assert_eq!(request.get("error"), None, "a strict server refuses what was sent: {line}");
        if request.get("cut").is_some() {
            cut += 1;
            continue;
        }
        let pairs = |name: &str| {
            let pairs = request[name].as_array().unwrap().iter();
            pairs
                .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()))
                .collect::<Vec<_>>()
        };
        let fields = pairs("fields");
        let pseudo = |name: &str| fields.iter().find(|(own, _)| own == name).unwrap().1.clone();
        let body = request["body"].as_str().unwrap().to_owned();
        let line = format!(
            "{} {} {} {}",
            pseudo(":method"),
            pseudo(":authority"),
            as_logged(&pseudo(":path")),
            body.chars().count()
        );
        assert_eq!(pseudo(":scheme"), "https", "{line}");
        arrived.push(Arrived { line, body, fields, trailers: pairs("trailers") });
    }
    (arrived, cut)
}

/// The calls of the log to `host`: how often each line, and whether its call was done.
fn logged(log: &Log, host: &str) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut done, mut broken) = (BTreeMap::new(), BTreeMap::new());
    let ends: BTreeMap<_, _> = log.ends().into_iter().map(|end| (end.call, end)).collect();
    for call in log.calls().into_iter().filter(|call| call.to.starts_with(&format!("{host}:"))) {
        let query = call.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let end = ends[&call.call];
        let line = format!("{} {host} {}{query} {}", call.method, call.path, end.sent);
        *(if end.outcome == "done" { &mut done } else { &mut broken }).entry(line).or_insert(0) += 1;
    }
    (done, broken)
}

/// Every done call arrived once, and nothing else did but calls that broke off after the upstream had them.
fn assert_is_what_was_logged(arrived: &[Arrived], cut: usize, log: &Log, host: &str, seed: &str) {
    let (mut done, mut broken) = logged(log, host);
    for arrived in arrived {
        let found = [&mut done, &mut broken]
            .into_iter()
            .find_map(|calls| calls.get_mut(&arrived.line).filter(|left| **left > 0));
        let Some(left) = found else { panic!("seed {seed}: not in the log, or not so often: {arrived:#?}") };
        *left -= 1;
    }
    let missing: Vec<_> = done.iter().filter(|(_, left)| **left > 0).collect();
    assert!(missing.is_empty(), "seed {seed}: logged as done and never arrived: {missing:#?}");
    let broken: usize = broken.values().sum();
    assert!(cut <= broken, "seed {seed}: {cut} requests broke off at {host}, and {broken} in the log");
}

/// What no request may have when it arrives.
fn assert_clean(arrived: &Arrived, seed: &str) {
    const HOP_BY_HOP: [&str; 7] = [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "upgrade",
        "http2-settings",
        "expect",
    ];
    let mut named = Vec::new();
    for (name, value) in arrived.everywhere() {
        let websocket = name == "upgrade" && value == "websocket";
        assert!(websocket || !HOP_BY_HOP.contains(&&**name), "seed {seed}: {name}: {value} in {arrived:#?}");
        assert_ne!(value, HOP, "seed {seed}: {name} was named by Connection: {arrived:#?}");
        assert!(
            value != OTHER || name == "forwarded" || name == ":authority",
            "seed {seed}: {name}: {value} in {arrived:#?}"
        );
        assert!(name != "te" || value == "trailers", "seed {seed}: te: {value}");
        assert!(name != "connection" || ["te", "upgrade"].contains(&&**value), "seed {seed}: connection: {value}");
        if ["host", "content-length", "transfer-encoding", ":path"].contains(&&**name) {
            named.push(name);
        }
    }
    named.sort();
    assert!(named.windows(2).all(|pair| pair[0] != pair[1]), "seed {seed}: twice in head and trailers: {arrived:#?}");
    let target = arrived.target();
    let path = target.split('?').next().unwrap();
    let once = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
    let twice = percent_encoding::percent_decode_str(&once).decode_utf8_lossy();
    for reading in [path, &once, &twice] {
        let segments: Vec<_> = reading.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
        let odd = |segment: &&str| matches!(*segment, "." | "..") || *segment == SECRET;
        assert!(
            !segments.iter().any(odd) && !reading.contains('\\'),
            "seed {seed}: {target} has a second reading: {reading}"
        );
        assert!(reading == "/" || !reading.contains("//"), "seed {seed}: {target}");
    }
}

/// It has the fields that were sent, but for those of one hop, and nothing beside them.
fn assert_fields(case: &Case, arrived: &Arrived, seed: &str) {
    let method = arrived.line.split(' ').next().unwrap();
    let its_own = ["host", "content-length", "transfer-encoding", "connection", "sec-websocket-key"];
    let mut fields = arrived.fields.clone();
    fields.retain(|(name, _)| !name.starts_with(':') && !its_own.contains(&&**name));
    fields.sort();
    let all = expected(case, method, arrived.target(), arrived.says_its_case());
    let fits = |(head, behind): &(Fields, Fields)| {
        // Over HTTP/1.1 only those trailers that were announced go on.
        let mut left = behind.clone();
        let sent = |trailer| left.iter().position(|sent| sent == trailer).map(|at| left.remove(at)).is_some();
        fields == *head && arrived.trailers.iter().all(sent)
    };
    assert!(all.is_empty() || all.iter().any(fits), "seed {seed}: {all:#?}: {arrived:#?} of {}", case.line);
}

/// What the client was told fits what happened.
fn assert_told(case: &Case, result: &Value, arrived: &[&Arrived], seed: &str) {
    let statuses: Vec<u64> = match result.get("statuses") {
        Some(statuses) => statuses
            .as_object()
            .unwrap()
            .values()
            .flat_map(|of| of.as_array().unwrap())
            .filter_map(Value::as_u64)
            .collect(),
        None => {
            let heads = result["answer"].as_str().unwrap().split("HTTP/1.1 ").skip(1);
            heads.map(|head| head[..3].parse().unwrap()).filter(|status| *status != 100).collect()
        }
    };
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!(
        passed <= arrived.len(),
        "seed {seed}: {passed} answers, {} requests arrived: {} {result}",
        arrived.len(),
        case.line
    );
    assert!(statuses.iter().all(|status| *status == 200 || *status >= 400), "seed {seed}: {statuses:?}: {}", case.line);
    // Where a request ends that has no single reading is anyone's guess: nothing behind it is answered.
    // What was answered 4xx was so by exeat, and did not arrive. Only who stayed to the end has heard of every request.
    let refused = |status: &u64| (400..500).contains(status);
    if case.line["protocol"] == "h1" && statuses.iter().any(refused) {
        let whole = arrived.len();
        assert!(whole == passed || result["closed"] != true, "seed {seed}: {whole} arrived: {} {result}", case.line);
        let follows = |arrived: &Arrived| fields::is_following(case, arrived.target()) || case.is_odd_behind;
        let first = arrived.iter().find(|arrived| arrived.says_its_case() || !follows(arrived));
        assert!(
            first.is_none() || !refused(&statuses[0]),
            "seed {seed}: {first:#?} was refused: {} {result}",
            case.line
        );
    }
    for (stream, end) in [("1", false), ("5", true)] {
        let told = result["statuses"][stream].as_array().into_iter().flatten().filter_map(Value::as_u64);
        if told.clone().any(|status| refused(&status)) {
            let of_it = arrived.iter().find(|arrived| arrived.target().ends_with("/end") == end);
            assert!(of_it.is_none(), "seed {seed}: {of_it:#?} was refused: {} {result}", case.line);
        }
    }
    let malformed = case.line["protocol"] == "h1" && statuses.contains(&400);
    let ended = statuses.last() == Some(&400) && result["closed"] == true;
    assert!(!malformed || ended, "seed {seed}: it went on after a 400: {} {result}", case.line);
    if let (Some(body), Some(first)) = (&case.body, arrived.iter().find(|arrived| arrived.says_its_case())) {
        assert_eq!(&first.body, body, "seed {seed}: {}", case.line);
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "shown where the test fails, whatever in it does")]
fn whatever_is_sent_arrives_as_the_one_request_that_was_logged_or_not_at_all() {
    let seed = number("EXEAT_DIFFERENTIAL_SEED", 20_260_101);
    let each = usize::try_from(number("EXEAT_DIFFERENTIAL_CASES", CASES as u64)).unwrap();
    let drawn = number("EXEAT_DIFFERENTIAL_DRAWN", RandomState::new().build_hasher().finish());
    let (walk_1, walk_2) = (ENTRIES_1.iter().sum::<usize>(), ENTRIES_2.iter().sum::<usize>());
    let each_way = |nths: Range<usize>, version: u8| {
        nths.flat_map(move |nth| [HTTP1, HTTP2, PLAIN].map(|host| (nth, version, host)))
    };
    let mut own = each_way(0..walk_1 + each, 1).chain(each_way(0..walk_2 + each, 2));
    let mut others = each_way(walk_1..walk_1 + DRAWN, 1).chain(each_way(walk_2..walk_2 + DRAWN, 2));
    let (mut random, mut anew) = (Random(seed), Random(drawn));
    let made = |random: &mut Random, first: usize, directions: &mut dyn Iterator<Item = (usize, u8, &'static str)>| {
        let cases = directions.enumerate().map(|(number, (nth, version, host))| {
            (if version == 1 { cases::http1 } else { cases::http2 })(random, first + number, nth, host)
        });
        cases.collect::<Vec<Case>>()
    };
    let mut cases = made(&mut random, 0, &mut own);
    // Those have the same words whichever seed, and whatever tables, others have.
    cases.extend(made(&mut anew, 1 << 16, &mut others));
    let seeds = format!("{seed}, EXEAT_DIFFERENTIAL_DRAWN={drawn}");
    let seed = seeds.as_str();
    eprintln!("seed {seed}");
    let http1 = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let plain = RawUpstream::plain(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let http2 = Outside::python(include_str!("differential/recorder.py"));
    let run = run(&cases, &http1, &plain, &http2);

    let (as_bytes, cut) = arrived_as_bytes(&http1);
    assert_is_what_was_logged(&as_bytes, cut, &run.log, HTTP1, seed);
    let (in_the_clear, cut) = arrived_as_bytes(&plain);
    assert_is_what_was_logged(&in_the_clear, cut, &run.log, PLAIN, seed);
    let (as_fields, cut) = arrived_as_fields(&http2);
    assert_is_what_was_logged(&as_fields, cut, &run.log, HTTP2, seed);
    let arrived: Vec<&Arrived> = as_bytes.iter().chain(&in_the_clear).chain(&as_fields).collect();
    arrived.iter().for_each(|arrived| assert_clean(arrived, seed));

    let mut passed = 0;
    for (case, result) in cases.iter().zip(run.stdout.lines()) {
        let result: Value = serde_json::from_str(result).unwrap();
        let own: Vec<&Arrived> = arrived.iter().filter(|arrived| arrived.is_of(case)).copied().collect();
        passed += usize::from(own.iter().any(|arrived| !arrived.line.contains("/end ")));
        assert_told(case, &result, &own, seed);
        own.iter().for_each(|arrived| assert_fields(case, arrived, seed));
    }
    // Cases of which none passes, or all do, would show nothing.
    let all = cases.len();
    assert!((all / 6..all * 3 / 4).contains(&passed), "of {all} cases, {passed} got further than their end");
}
