//! A worker that is killed at any moment leaves a log that has all that upstream saw, no sandbox, and no lease.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::credentials::leased;
use crate::harness::{Exeat, Log, TokenEndpoint, Upstream, process_with, within};

/// How long after the worker's end nothing of its sandbox may be left.
const GONE: Duration = Duration::from_secs(3);

/// Calls as fast as it can from four processes, each call with a path of its own.
const LOAD: &str = "
import http.client, os, sys, threading
def load(worker):
    connection = http.client.HTTPSConnection('api.example.com')
    for number in range(1000000):
        connection.request('GET', f'/echo/{worker}/{number}', headers={'Authorization': 'Bearer ' + os.environ.get('API_KEY', '')})
        connection.getresponse().read()
for worker in range(3):
    if os.fork() == 0:
        load(worker)
load(3)";

/// A hundred calls at once on one connection over HTTP/2, again and again.
const STREAMS: [&str; 8] =
    ["curl", "-sZ", "--http2", "--parallel-max", "100", "-o", "/dev/null", "https://api.example.com/echo/[0-999999]"];

/// Runs the load, whose last argument marks its processes, kills the worker after some calls, and leaves the paths that upstream saw and that the log has.
fn kill_under_load(
    exeat: &Exeat,
    upstream: &Upstream,
    load: &[&str],
    calls: usize,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (live, mark) = (exeat.start(load), load[load.len() - 1]);
    upstream.wait_for(calls);
    assert!(process_with(mark));
    live.signal(Signal::KILL);
    within(GONE, "the sandbox gone", || !process_with(mark));
    live.finish();
    // What was under way when the worker died has arrived by now, or never will.
    std::thread::sleep(Duration::from_millis(300));
    let seen = upstream.seen().into_iter().map(|seen| seen.target).collect();
    let logged = Log::read(&exeat.state()).calls().into_iter().map(|call| call.path.clone()).collect();
    (seen, logged)
}

#[test]
fn every_request_that_upstream_saw_is_in_the_log() {
    let one_by_one = |mark: &'static str| vec!["python3", "-c", LOAD, mark];
    let at_once = |mark: &'static str| [&STREAMS[..], &["-H", mark]].concat();
    let loads = [
        (one_by_one("4720.1"), 1),
        (one_by_one("4720.2"), 40),
        (one_by_one("4720.3"), 333),
        (at_once("mark: 4720.4"), 50),
        (at_once("mark: 4720.5"), 333),
    ];
    for (load, calls) in loads {
        let upstream = Upstream::start();
        let exeat = Exeat::new().allow("api.example.com", &upstream);
        let (seen, logged) = kill_under_load(&exeat, &upstream, &load, calls);
        let missing: Vec<_> = seen.difference(&logged).collect();
        assert!(missing.is_empty(), "upstream saw {missing:?}, the log has {} calls", logged.len());
    }
}

#[test]
fn leases_are_revoked() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    kill_under_load(&leased(&upstream, &issuer), &upstream, &["python3", "-c", LOAD, "4721.1"], 20);
    within(Duration::from_secs(10), "the leases revoked", || issuer.all_revoked());
}

#[test]
fn a_sandbox_whose_worker_stands_still_gets_no_answer_and_goes_with_it() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let script = "echo ready; sleep 1; curl -s -m 2 https://api.example.com/echo; echo $?; exec sleep 4722.1";
    let mut live = exeat.start(&["sh", "-c", script]);
    live.wait_for("ready");
    live.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(4));
    upstream.assert_untouched();
    live.signal(Signal::KILL);
    within(GONE, "the sandbox gone", || !process_with("4722.1"));
}

#[test]
fn a_broker_that_is_gone_fails_calls_that_need_a_credential_and_no_others() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(1));
    let exeat = leased(&upstream, &issuer).allow("www.example.com", &upstream);
    let script = "call() { curl -sS -o /dev/null -w '%{http_code} ' \"$@\"; }
        call -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo
        echo ready; read -r go
        call -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; call https://www.example.com/echo";
    let mut live = exeat.start_with_input(&["sh", "-c", script]);
    live.wait_for("ready");
    kill_process(live.broker(), Signal::KILL).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    live.write("go\n");
    let run = live.finish();
    assert!(run.stdout.ends_with("503 200 "), "{run:#?}");
    assert_eq!(upstream.seen().len(), 2);
}
