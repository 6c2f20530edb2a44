//! What a collector may say, by a server of the tests that says it: OTLP's own words for too much, too soon, not that, and not you.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Collected};
use hyper::Response;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rustix::process::Signal;

use super::{status, target};
use crate::harness::{Answer, Authority, Body, Exeat, Server, Upstream, assert_nowhere_below, within};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "Bearer s3cret-of-the-collector";

/// What it says to requests with logs, the next first; then 200 to all.
type Words = VecDeque<(u16, Option<&'static str>)>;

#[derive(Default)]
struct Heard {
    words: Words,
    /// More records at a time are too many.
    most: Option<usize>,
    /// More spans at a time are too many.
    most_spans: Option<usize>,
    /// Of each request that is taken, so many are not wanted.
    unwanted: i64,
    /// When requests came, and how many records of each were taken.
    requests: Vec<(Instant, usize)>,
    spans: usize,
}

/// A collector that listens on HTTPS, for those who know its secret.
fn collector(heard: &Arc<Mutex<Heard>>) -> Server {
    let heard = Arc::clone(heard);
    let answer: Answer = Arc::new(move |request| {
        let heard = Arc::clone(&heard);
        Box::pin(async move {
            let say = |status: u16, body: Vec<u8>| {
                Response::builder()
                    .status(status)
                    .header("content-type", "application/x-protobuf")
                    .body(Body::whole(body))
                    .unwrap()
            };
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            assert_eq!(head.headers["content-type"], "application/x-protobuf");
            if head.headers.get("authorization").is_none_or(|value| value != SECRET) {
                return say(401, Vec::new());
            }
            let mut heard = heard.lock().unwrap();
            if head.uri.path() == "/otlp/v1/traces" {
                let traces = ExportTraceServiceRequest::decode(body).unwrap();
                let spans = traces.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
                let spans = spans.map(|spans| spans.spans.len()).sum::<usize>();
                if heard.most_spans.is_some_and(|most| spans > most) {
                    return say(413, Vec::new());
                }
                heard.spans += spans;
                return say(200, Vec::new());
            }
            assert_eq!(head.uri.path(), "/otlp/v1/logs");
            let logs = ExportLogsServiceRequest::decode(body).unwrap();
            let records =
                logs.resource_logs.iter().flat_map(|logs| &logs.scope_logs).map(|logs| logs.log_records.len()).sum();
            let mut taken = records;
            let answer = match heard.words.pop_front() {
                Some((status, after)) => {
                    taken = 0;
                    let mut answer = say(status, Vec::new());
                    answer
                        .headers_mut()
                        .extend(after.map(|after| (hyper::header::RETRY_AFTER, after.parse().unwrap())));
                    answer
                }
                None if heard.most.is_some_and(|most| records > most) => {
                    taken = 0;
                    say(413, Vec::new())
                }
                None => {
                    let error_message = "not\u{1b}[2J that".to_owned();
                    let partial = ExportLogsPartialSuccess { rejected_log_records: heard.unwanted, error_message };
                    let partial_success = (heard.unwanted > 0).then_some(partial);
                    say(200, ExportLogsServiceResponse { partial_success }.encode_to_vec())
                }
            };
            heard.requests.push((Instant::now(), taken));
            answer
        })
    });
    Server::start(Some(Authority::trusted().identity(&["localhost", "127.0.0.1"]).configuration(&["http/1.1"])), answer)
}

fn write_secret(exeat: &Exeat, secret: &str) {
    let file = exeat.config("secrets/otlp");
    fs::write(&file, secret).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn set_up(words: Words, change: impl FnOnce(&mut Heard)) -> (Exeat, Arc<Mutex<Heard>>, Server, usize) {
    let heard = Arc::new(Mutex::new(Heard { words, ..Heard::default() }));
    change(&mut heard.lock().unwrap());
    let (server, upstream) = (collector(&heard), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    write_secret(&exeat, SECRET);
    let lines = format!(
        "[[ship]]\nto = \"otlp\"\nurl = \"https://{}/otlp\"\nroots = [\"ca.pem\"]\nheaders = {{ authorization = {{ file = \"secrets/otlp\" }} }}\n",
        server.address
    );
    target(&exeat, &lines);
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    let records = exeat.log().lines.len();
    (exeat, heard, server, records)
}

fn taken(heard: &Mutex<Heard>) -> usize {
    heard.lock().unwrap().requests.iter().map(|(_, records)| records).sum()
}

#[test]
fn what_is_busy_is_left_alone_for_as_long_as_it_says() {
    let words = [(429, Some("2")), (503, Some("1")), (502, None), (500, None), (400, None)].into();
    let (exeat, heard, _server, records) = set_up(words, |_| {});
    exeat.exeat(&["ship", "--once"]).finish().ok();
    assert_eq!(taken(&heard), records);
    let requests = heard.lock().unwrap().requests.clone();
    assert_eq!(requests.len(), 6);
    let waited = |at: usize| requests[at + 1].0.duration_since(requests[at].0);
    assert!(waited(0) >= Duration::from_secs(2) && waited(1) >= Duration::from_secs(1), "{requests:?}");
    assert_eq!(heard.lock().unwrap().spans, 1);
}

#[test]
fn what_is_too_much_at_a_time_is_sent_in_parts_and_what_is_too_much_alone_is_counted() {
    let (exeat, heard, _server, records) = set_up(Words::new(), |heard| heard.most = Some(2));
    exeat.exeat(&["ship", "--once"]).finish().ok();
    assert_eq!(taken(&heard), records);
    let (exeat, heard, _server, records) = set_up(Words::new(), |heard| heard.most = Some(0));
    let run = exeat.exeat(&["ship", "--once"]).finish().ok();
    assert_eq!((taken(&heard), &status(&exeat)["receivers"][0]["rejected"]), (0, &records.into()));
    assert!(run.stderr.contains("a single record is too large"), "{}", run.stderr);
}

#[test]
fn spans_that_are_too_many_or_too_large_cost_no_record_and_send_none_twice() {
    for most in [1, 0] {
        let (exeat, heard, _server, _) = set_up(Words::new(), |heard| heard.most_spans = Some(most));
        exeat.sh("for n in 1 2 3; do curl -sS https://api.example.com/echo; done").ok();
        let ship = exeat.exeat(&["ship"]);
        let shipped = || status(&exeat)["receivers"][0]["lag"]["records"] == 0;
        within(PATIENCE, "all of it", shipped);
        exeat.run(&["curl", "-sS", "https://api.example.com/echo"]).ok();
        within(PATIENCE, "what came later", shipped);
        ship.signal(Signal::TERM);
        let run = ship.finish().ok();
        assert_eq!((taken(&heard), heard.lock().unwrap().spans), (exeat.log().lines.len(), 5 * most), "{run:#?}");
        assert_eq!(run.stderr.contains("a single span is too large"), most == 0, "{run:#?}");
    }
}

#[test]
fn what_is_not_wanted_is_counted_and_not_sent_again() {
    let (exeat, heard, _server, records) = set_up(Words::new(), |heard| heard.unwanted = 2);
    let run = exeat.exeat(&["ship", "--once"]).finish().ok();
    assert_eq!((taken(&heard), heard.lock().unwrap().requests.len()), (records, 1));
    let is_rejected = |count: usize| {
        let shown = status(&exeat);
        let shown = (&shown["receivers"][0]["rejected"], &shown["receivers"][0]["lag"]["records"]);
        assert_eq!(shown, (&count.into(), &0.into()));
    };
    is_rejected(2);
    assert!(run.stderr.contains("not?[2J that") && !run.stderr.contains('\u{1b}'), "{}", run.stderr);
    // It cannot have rejected more than it was sent, whatever it says, nor can what it says be too much to count.
    heard.lock().unwrap().unwanted = i64::MAX;
    for more in [1, 2, 3] {
        exeat.run(&["true"]).ok();
        exeat.exeat(&["ship", "--once"]).finish().ok();
        assert_eq!(taken(&heard), exeat.log().lines.len(), "run {more}");
        is_rejected(2 + taken(&heard) - records);
    }
}

#[test]
fn a_secret_that_is_changed_is_read_again_and_shown_nowhere() {
    let (exeat, heard, _server, records) = set_up(Words::new(), |_| {});
    write_secret(&exeat, "Bearer wrong-s3cret");
    let ship = exeat.exeat(&["ship"]);
    within(PATIENCE, "the refusal shown", || {
        status(&exeat)["receivers"][0]["trouble"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("it answered 401"))
    });
    write_secret(&exeat, SECRET);
    within(PATIENCE, "all of it", || taken(&heard) == records && status(&exeat)["receivers"][0]["lag"]["records"] == 0);
    ship.signal(Signal::TERM);
    let run = ship.finish().ok();
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
    assert_nowhere_below(&exeat.state(), &["s3cret"]);
    // A secret that others can read is none.
    fs::set_permissions(exeat.config("secrets/otlp"), fs::Permissions::from_mode(0o644)).unwrap();
    exeat.run(&["true"]).ok();
    let run = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
    assert!(run.stderr.contains("the header `authorization`: every user of the machine can read"), "{}", run.stderr);
}

#[test]
fn a_collector_that_does_not_prove_who_it_is_hears_nothing() {
    let (exeat, heard, _server, _) = set_up(Words::new(), |_| {});
    let lines = fs::read_to_string(exeat.config("log.toml")).unwrap();
    target(&exeat, &lines.replace("roots = [\"ca.pem\"]\n", ""));
    let run = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
    assert!(run.stderr.contains("TLS failed"), "{}", run.stderr);
    assert_eq!(heard.lock().unwrap().requests.len(), 0);
}
