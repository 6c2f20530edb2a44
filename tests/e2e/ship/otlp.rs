//! OTLP over HTTP, to a collector.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::collector::{Collector, Printed};
use super::relay::Relay;
use super::{status, target, uids};
use crate::credentials::leased;
use crate::harness::{Exeat, TokenEndpoint, Upstream, within};

const PATIENCE: Duration = Duration::from_secs(30);

fn to(exeat: &Exeat, address: impl std::fmt::Display) {
    target(exeat, &format!("[[ship]]\nto = \"otlp\"\nname = \"siem\"\nurl = \"http://{address}\"\n"));
}

fn arrived(records: &[Printed]) -> BTreeSet<String> {
    records.iter().map(|record| record["-> log.record.uid"].clone()).collect()
}

fn some_calls(exeat: &Exeat, count: usize) {
    exeat
        .sh(&format!(
            "for n in $(seq {count}); do echo url=https://api.example.com/echo?$n; done | curl -sSf -o /dev/null -K -"
        ))
        .ok();
}

#[test]
fn a_collector_gets_every_record_as_it_stands_and_every_call_as_a_span() {
    let (collector, upstream, issuer) = (Collector::start(), Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    to(&exeat, &collector.address);
    let trace = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let script = format!(
        "curl -sSf -H \"Authorization: Bearer $API_KEY\" -H 'traceparent: 00-{}-{}-01' 'https://api.example.com/leak/plain?x=1&key=2'
         curl -sS https://www.example.com/; curl -sS https://api.example.com/status/503; true",
        trace.0, trace.1
    );
    exeat.sh(&script).ok();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    let log = exeat.log();
    within(PATIENCE, "all records and spans", || {
        collector.distinct() == log.lines.len() && collector.spans().len() == 3
    });
    let records = collector.records();
    assert_eq!((arrived(&records), records.len()), (uids(&log), log.lines.len()));
    for (record, line) in records.iter().zip(log.text.lines()) {
        assert_eq!(record["Body"], line);
    }
    let spans = collector.spans();
    let find = |key: &str, value: &str| {
        spans.iter().find(|span| span.get(key).is_some_and(|own| own == value)).unwrap_or_else(|| panic!("{spans:#?}"))
    };
    let call = find("-> url.full", "https://api.example.com/leak/plain?x=1&key=…");
    assert_eq!((&*call["Trace ID"], &*call["Parent ID"], &*call["Name"]), (trace.0, trace.1, "GET"));
    assert_eq!(call["ID"], log.calls()[0].trace.as_ref().unwrap().span_id);
    for (key, value) in [
        ("http.response.status_code", "200"),
        ("server.address", "api.example.com"),
        ("exeat.credential", "api"),
        ("exeat.outcome", "done"),
    ] {
        assert_eq!(call[&format!("-> {key}")], value, "{call:#?}");
    }
    let nanoseconds = |time: jiff::Timestamp| time.as_nanosecond().to_string();
    let start = log.lines.iter().find(|line| matches!(line.event, record::Event::CallStart(_))).unwrap();
    assert_eq!(call["Start time"], nanoseconds(start.time));
    assert_eq!(find("-> error.type", "503")["-> server.address"], "api.example.com");
    assert_eq!(find("-> error.type", "host-not-listed")["-> exeat.outcome"], "refused");
    // Of the call that began and of its end.
    assert_eq!(records.iter().filter(|record| record["Trace ID"] == trace.0).count(), 2, "{records:#?}");
    assert!(!format!("{records:?}{spans:?}").contains(&issuer.issued()[0]));
    assert_eq!(status(&exeat)["receivers"][0]["lag"]["records"], 0);
}

#[test]
fn a_collector_that_is_away_loses_nothing_and_the_gap_is_shown() {
    let (mut collector, upstream) = (Collector::planned(), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    to(&exeat, &collector.address);
    let ship = exeat.exeat(&["ship"]);
    some_calls(&exeat, 5);
    within(PATIENCE, "the trouble shown", || status(&exeat)["receivers"][0]["trouble"]["attempts"].as_u64() >= Some(2));
    let shown = status(&exeat);
    let receiver = &shown["receivers"][0];
    assert_eq!((&shown["running"], &receiver["name"]), (&true.into(), &"siem".into()));
    assert_eq!(receiver["lag"]["records"], exeat.log().lines.len());
    assert!(
        receiver["lag"]["seconds"].as_f64().unwrap() > 0.0
            && receiver["trouble"]["error"].as_str().unwrap().contains("no connection")
    );
    let told = exeat.exeat(&["ship", "--status"]).finish().ok().stdout;
    assert!(
        told.contains("exeat ship runs") && told.contains("takes nothing for") && told.contains("behind by"),
        "{told}"
    );
    let other = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
    assert!(other.stderr.contains("another `exeat ship`"), "{}", other.stderr);
    some_calls(&exeat, 5);
    collector.begin();
    let log = exeat.log();
    within(PATIENCE, "everything", || collector.distinct() == log.lines.len());
    within(PATIENCE, "the end of the trouble", || status(&exeat)["receivers"][0]["trouble"].is_null());
    assert_eq!((arrived(&collector.records()), collector.spans().len()), (uids(&log), 10));
    assert_eq!(status(&exeat)["receivers"][0]["lag"]["records"], 0);
    ship.signal(Signal::TERM);
    let run = ship.finish().ok();
    assert!(
        run.stderr.contains("does not take the logs") && run.stderr.contains("takes the logs again"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_collector_killed_in_the_middle_of_a_batch_gets_it_whole_from_the_next_one() {
    let (mut collector, upstream) = (Collector::start(), Upstream::start());
    let relay = Relay::to(&collector.address);
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    to(&exeat, relay.address);
    some_calls(&exeat, 30);
    relay.stop_after(5000);
    let ship = exeat.exeat(&["ship"]);
    within(PATIENCE, "half a batch", || relay.hangs());
    collector.kill();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(&exeat)["receivers"][0]["shipped"], 0);
    collector.begin();
    let log = exeat.log();
    within(PATIENCE, "everything", || collector.distinct() == log.lines.len());
    assert_eq!(arrived(&collector.records()), uids(&log));
    // An answer that is lost on its way: sent again, and told from the first by its id.
    within(PATIENCE, "the answer", || status(&exeat)["receivers"][0]["lag"]["records"] == 0);
    relay.swallow_answers(true);
    some_calls(&exeat, 3);
    within(PATIENCE, "the unanswered", || collector.distinct() > log.lines.len());
    within(PATIENCE, "the trouble", || !status(&exeat)["receivers"][0]["trouble"].is_null());
    let log = exeat.log();
    relay.swallow_answers(false);
    within(PATIENCE, "the answer", || status(&exeat)["receivers"][0]["lag"]["records"] == 0);
    assert_eq!(arrived(&collector.records()), uids(&log));
    assert!(collector.records().len() > log.lines.len(), "nothing came twice");
    ship.signal(Signal::TERM);
    ship.finish().ok();
}

#[test]
fn a_slow_collector_slows_no_call() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let relay = Relay::to(&collector.address);
    relay.delay(Duration::from_millis(400));
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let timed = |exeat: &Exeat| {
        let begun = Instant::now();
        some_calls(exeat, 40);
        begun.elapsed()
    };
    let alone = timed(&exeat);
    to(&exeat, relay.address);
    let ship = exeat.exeat(&["ship"]);
    within(PATIENCE, "a connection", || relay.connections() > 0);
    let beside = timed(&exeat);
    // One wait for the collector by each call would be sixteen seconds.
    assert!(beside < alone + Duration::from_secs(4), "{beside:?} instead of {alone:?}");
    relay.delay(Duration::ZERO);
    let log = exeat.log();
    within(PATIENCE, "everything", || collector.distinct() == log.lines.len());
    ship.signal(Signal::TERM);
    ship.finish().ok();
}

#[test]
fn a_shipper_killed_at_any_moment_goes_on_where_it_was() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let relay = Relay::to(&collector.address);
    relay.delay(Duration::from_millis(15));
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    to(&exeat, relay.address);
    let script = "for n in $(seq 60); do curl -sSf -o /dev/null https://api.example.com/echo?$n; done";
    let live = exeat.start(&["sh", "-c", script]);
    for round in 0..12 {
        let ship = exeat.exeat(&["ship"]);
        std::thread::sleep(Duration::from_millis(60 + 97 * (round * 7 % 11)));
        ship.signal(Signal::KILL);
        assert_eq!(ship.finish().code, None);
    }
    live.finish().ok();
    relay.delay(Duration::ZERO);
    exeat.exeat(&["ship", "--once"]).finish().ok();
    let log = exeat.log();
    within(PATIENCE, "everything", || collector.distinct() == log.lines.len());
    assert_eq!(arrived(&collector.records()), uids(&log));
    // Calls that were open over a kill are whole, too, and none is told of in two ways.
    let spans: BTreeSet<(String, String, String)> = collector
        .spans()
        .iter()
        .map(|span| (span["ID"].clone(), span["Start time"].clone(), span["End time"].clone()))
        .collect();
    assert_eq!(spans.len(), 60);
    assert!(collector.spans().iter().all(|span| span["-> exeat.outcome"] == "done"));
}

#[test]
fn a_call_that_was_open_when_the_shipper_ended_is_one_whole_span_of_the_next() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    to(&exeat, &collector.address);
    let live = exeat.start(&["curl", "-sSf", "https://api.example.com/slow?ms=6000"]);
    upstream.wait_for(1);
    exeat.exeat(&["ship", "--once"]).finish().ok();
    let begun = exeat.log();
    within(PATIENCE, "its beginning", || collector.distinct() == begun.lines.len());
    assert!(begun.ends().is_empty() && collector.spans().is_empty());
    live.finish().ok();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    let log = exeat.log();
    within(PATIENCE, "its end", || collector.distinct() == log.lines.len() && collector.spans().len() == 1);
    let (span, records) = (&collector.spans()[0], collector.records());
    assert_eq!((span["-> exeat.outcome"].as_str(), records.len()), ("done", log.lines.len()));
    let start = begun.lines.iter().find(|line| matches!(line.event, record::Event::CallStart(_))).unwrap();
    assert_eq!(span["Start time"], start.time.as_nanosecond().to_string());
    let told = records.iter().filter(|record| record["Span ID"] == span["ID"]).count();
    assert_eq!(told, 2, "start and end are not of one span: {records:#?}");
}

#[test]
fn a_call_that_never_ended_is_told_of_once_its_worker_is_gone() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    to(&exeat, &collector.address);
    let live = exeat.start(&["curl", "-sSf", "https://api.example.com/slow?ms=20000"]);
    upstream.wait_for(1);
    live.signal(Signal::KILL);
    drop(live);
    exeat.exeat(&["ship", "--once"]).finish().ok();
    assert_eq!(collector.spans().len(), 0, "it may be that its worker still writes");
    // As though that had been some time ago.
    let worker = std::fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::File::options().append(true).open(record::Segment::plain(&worker, 1)).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(120)).unwrap();
    exeat.exeat(&["ship", "--once"]).finish().ok();
    within(PATIENCE, "its span", || collector.spans().len() == 1);
    assert_eq!(collector.spans()[0]["-> error.type"], "unknown");
    let log = exeat.log();
    assert_eq!((collector.distinct(), status(&exeat)["needed_segments"].as_u64()), (log.lines.len(), Some(0)));
}
