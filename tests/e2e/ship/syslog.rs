//! Syslog over TLS, to rsyslog.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;

use super::relay::Relay;
use super::syslog_server::{Received, SyslogServer};
use super::{status, target, uids};
use crate::harness::{Exeat, Upstream, within};

const PATIENCE: Duration = Duration::from_secs(30);

fn to(exeat: &Exeat, address: impl std::fmt::Display, more: &str) {
    target(
        exeat,
        &format!("[[ship]]\nto = \"syslog\"\nname = \"siem\"\naddress = \"{address}\"\nroots = [\"ca.pem\"]\n{more}"),
    );
}

/// The uid of each record that arrived whole, and how many messages that took.
fn arrived(server: &SyslogServer) -> BTreeSet<String> {
    let seq =
        |received: &Received| received.message["record"]["seq"].as_u64().or(received.message["seq"].as_u64()).unwrap();
    server.received().iter().map(|received| format!("{}/{}", received.worker, seq(received))).collect()
}

/// A few records, one of which is longer than a message may be.
fn a_long_record(exeat: &Exeat) {
    let script = "curl -sSf -o /dev/null https://api.example.com/echo?1; curl -sS https://www.example.com/";
    exeat.sh(&format!("{script} # {}", "é\"".repeat(10_000))).ok();
}

#[test]
fn a_syslog_server_gets_every_record_over_tls_of_either_library() {
    for driver in ["ossl", "gtls"] {
        let (server, upstream) = (SyslogServer::start(driver), Upstream::start());
        let exeat = Exeat::new().allow("api.example.com", &upstream);
        to(&exeat, &server.address, "");
        a_long_record(&exeat);
        if driver == "gtls" {
            // It says nothing at its end, which may be a worse end, and so has to be named.
            let run = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
            assert!(run.stderr.contains("`silent_end = true`"), "{}", run.stderr);
            assert_eq!(status(&exeat)["receivers"][0]["shipped"], 0);
            to(&exeat, &server.address, "silent_end = true\n");
        }
        exeat.exeat(&["ship", "--once"]).finish().ok();
        let log = exeat.log();
        within(PATIENCE, "all records", || arrived(&server).len() == log.lines.len());
        assert_eq!(arrived(&server), uids(&log), "{}", server.output());
        let received = server.received();
        assert!(received.iter().all(|received| received.application == "exeat" && received.message["agent"] == "bot"));
        let parts: Vec<_> = received.iter().filter(|received| received.message["part"].is_u64()).collect();
        assert!(parts.len() > 2, "{received:#?}");
        for line in log.text.lines() {
            let whole = |received: &Received| {
                received.message["record"] == serde_json::from_str::<serde_json::Value>(line).unwrap()
            };
            let seq = serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].clone();
            // What came more than once is told by its numbers.
            let texts = parts.iter().filter(|part| part.message["seq"] == seq);
            let texts = texts.map(|part| (part.message["part"].as_u64(), part.message["text"].as_str().unwrap()));
            let text: String = texts.collect::<BTreeMap<_, _>>().into_values().collect();
            assert!(received.iter().any(whole) || text == line, "{line}");
        }
        let refused = received.iter().find(|received| received.kind == "refused").unwrap();
        assert_eq!(
            (refused.priority.as_str(), &*refused.message["record"]["kind"].to_string()),
            ("108", "\"host-not-listed\"")
        );
        assert!(refused.time.starts_with("20") && status(&exeat)["receivers"][0]["lag"]["records"] == 0);
    }
}

#[test]
fn a_syslog_server_killed_over_a_batch_gets_it_again() {
    let (mut server, upstream) = (SyslogServer::start("ossl"), Upstream::start());
    let relay = Relay::to(&server.address);
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    to(&exeat, relay.address, "");
    a_long_record(&exeat);
    // The handshake and the beginning of what is said in it.
    relay.stop_after(8000);
    let ship = exeat.exeat(&["ship"]);
    within(PATIENCE, "half a batch", || relay.hangs());
    server.kill();
    within(PATIENCE, "the trouble shown", || !status(&exeat)["receivers"][0]["trouble"].is_null());
    assert_eq!(status(&exeat)["receivers"][0]["shipped"], 0);
    server.begin();
    let log = exeat.log();
    within(PATIENCE, "everything", || arrived(&server).len() == log.lines.len());
    within(PATIENCE, "the end of the trouble", || status(&exeat)["receivers"][0]["lag"]["records"] == 0);
    assert_eq!(arrived(&server), uids(&log));
    ship.signal(Signal::TERM);
    ship.finish().ok();
}

#[test]
fn a_server_that_does_not_prove_who_it_is_gets_nothing() {
    let (server, upstream) = (SyslogServer::start("ossl"), Upstream::start());
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    target(&exeat, &format!("[[ship]]\nto = \"syslog\"\naddress = \"{}\"\n", server.address));
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    let run = exeat.exeat(&["ship", "--once"]).finish().ended_with(125);
    assert!(run.stderr.contains("TLS failed") && run.stderr.contains("nothing is lost"), "{}", run.stderr);
    assert_eq!(server.received().len(), 0);
}
