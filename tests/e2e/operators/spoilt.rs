//! A worker that was taken over writes into its own log. That keeps no operator from what they do, hides nothing of others, and does nothing to the
//! terminal that it is read at.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{ask, streaming};
use crate::credentials::leased;
use crate::harness::{Exeat, Live, TokenEndpoint, Upstream, within};
use crate::stats::in_a_terminal;

/// The workers' directories, oldest first.
fn workers(exeat: &Exeat) -> Vec<PathBuf> {
    let mut workers: Vec<_> =
        fs::read_dir(exeat.state().join("workers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    workers.sort();
    workers
}

fn spoil(worker: &Path, line: &str) {
    let segment = worker.join("calls/000001.jsonl");
    OpenOptions::new().append(true).open(segment).unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What `offboarded.jsonl` has last.
fn logged(exeat: &Exeat) -> Value {
    let log = fs::read_to_string(exeat.state().join("offboarded.jsonl")).unwrap();
    serde_json::from_str(log.lines().last().unwrap()).unwrap()
}

fn says(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.contains(text))
}

#[test]
fn an_agent_with_a_spoilt_log_is_offboarded_and_the_rest_of_it_is_evidence() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer).tampers_with_the_log();
    let live = streaming(&exeat, "sleep 60");
    spoil(&workers(&exeat)[0], "x");
    let evidence = ask(&exeat, &["offboard", "bot", "--json"]).ended_with(1).json();
    assert!(issuer.all_revoked() && exeat.has_no_broker(), "{evidence}");
    assert_eq!((&evidence["leases"][0]["state"], &evidence["not_revoked"]), (&"revoked".into(), &Value::from([(); 0])));
    let worker = &evidence["workers"][0];
    assert_eq!((&worker["outcome"], &worker["calls"]), (&"stopped".into(), &1.into()), "{evidence}");
    assert!(says(&worker["unreadable"], "not a record") && says(&evidence["unreadable"][0], "byte"), "{evidence}");
    assert!(evidence["last_calls"].to_string().contains("/sse"), "{evidence}");
    assert_eq!(logged(&exeat), evidence);
    // Nothing of it runs any more, and its log is as it is.
    let run = ask(&exeat, &["offboard", "bot"]).ended_with(1);
    assert!(
        run.stdout.contains("NOT WHOLE: what follows in a log is left out") && run.stdout.contains("/sse"),
        "{run:#?}"
    );
    drop(live);
}

#[test]
fn a_spoilt_log_of_one_agent_is_nothing_to_the_evidence_of_another() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer).tampers_with_the_log();
    fs::write(exeat.config("agents/other.toml"), "").unwrap();
    exeat.exeat(&["run", "--agent", "other", "--", "true"]).finish().ok();
    let other = workers(&exeat).remove(0);
    exeat.sh("curl -sS -o /dev/null https://api.example.com/echo").ok();
    spoil(&other, "x");
    let evidence = ask(&exeat, &["offboard", "bot", "--json"]).ok().json();
    assert_eq!(evidence["unreadable"], Value::from([(); 0]));
    assert!(evidence["last_calls"].to_string().contains("/echo"), "{evidence}");
    assert_eq!(logged(&exeat), evidence);
    let evidence = ask(&exeat, &["offboard", "other", "--json"]).ended_with(1).json();
    assert!(says(&evidence["unreadable"][0], other.to_str().unwrap()), "{evidence}");
    // What one of its own has lost may have been a call of the agent: either says whose it is, and neither is believed where the other does.
    let written = fs::read(other.join("worker.json")).unwrap();
    fs::remove_file(other.join("worker.json")).unwrap();
    ask(&exeat, &["offboard", "bot"]).ok();
    ask(&exeat, &["offboard", "other"]).ended_with(1);
    fs::write(other.join("calls/000001.jsonl"), "x\n").unwrap();
    ask(&exeat, &["offboard", "bot"]).ended_with(1);
    fs::write(other.join("worker.json"), written).unwrap();
    ask(&exeat, &["offboard", "bot"]).ok();
    ask(&exeat, &["offboard", "other"]).ended_with(1);
}

#[test]
fn a_spoilt_log_hides_no_worker_that_runs() {
    let exeat = Exeat::new().tampers_with_the_log();
    let live = [exeat.start(&["sleep", "60"]), exeat.start(&["sleep", "60"])];
    within(super::SOON, "both workers", || {
        ask(&exeat, &["workers", "--json"]).ok().json().as_array().is_some_and(|listed| listed.len() == 2)
    });
    let all = workers(&exeat);
    spoil(&all[0], "x");
    let listed = ask(&exeat, &["workers", "--json"]).ended_with(1).json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(says(&listed[0]["unreadable"], "not a record") && listed[1]["unreadable"].is_null(), "{listed}");
    let run = ask(&exeat, &["workers"]).ended_with(1);
    let lines: Vec<&str> = run.stdout.lines().skip(1).collect();
    let names = all.iter().map(|worker| worker.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>();
    assert!(lines.len() == 3 && lines[0].starts_with(names[0]) && lines[2].starts_with(names[1]), "{run:#?}");
    assert!(lines[1].starts_with("    its log cannot be read from here on: "), "{run:#?}");
    drop(live);
}

/// A worker that runs and whose log has what acts on a terminal: in a record of the policy in force, and in a line that is no record.
fn hostile() -> (Exeat, Live) {
    let exeat = Exeat::new().rule("").tampers_with_the_log();
    let mut live = exeat.start(&["sh", "-c", "curl -s https://api.example.com/; echo called; sleep 60"]);
    live.wait_for("called");
    let line = |event: &str| {
        format!(r#"{{"seq":9,"time":"2026-01-31T12:00:00Z","prev":"{}","event":{event}}}"#, "0".repeat(64))
    };
    let worker = &workers(&exeat)[0];
    spoil(worker, &line("\"policy-reloaded\",\"policy\":\"sha256:\u{9b}2J\\u001b[2J\u{202e}\""));
    spoil(worker, &line("\"\u{9b}2J\\u001b[2J\u{202e}\""));
    fs::create_dir(exeat.state().join("workers/odd\u{9b}2J")).unwrap();
    (exeat, live)
}

#[test]
fn nothing_of_a_log_steers_the_terminal_of_an_operator() {
    let acts = |c: char| (c.is_control() && c != '\n' && c != '\r') || c == '\u{202e}';
    let shown = |exeat: &Exeat, arguments: &str, has: &str| {
        let variables = format!("env NO_COLOR=1 TERM=xterm LC_ALL=C.UTF-8 EXEAT_CONFIG={}", exeat.config("").display());
        let shown = in_a_terminal(exeat, 100, &variables, arguments);
        assert!(shown.contains(has) && !shown.contains(acts), "{arguments}: {shown:?}");
    };
    let (exeat, live) = hostile();
    shown(&exeat, "workers", "?2J?[2J?");
    shown(&exeat, "workers --json", "\\u009b2J\\u001b[2J\\u202e");
    shown(&exeat, "calls", "api.example.com");
    shown(&exeat, "calls export --ocsf", "\\u{9b}2J");
    shown(&exeat, "suggest --agent bot", "\\u{9b}2J");
    shown(&exeat, "check --files-only --replay 1d", "\\u{9b}2J");
    shown(&exeat, "check --files-only --replay 1d --json", "\\u{9b}2J");
    shown(&exeat, "verify", "odd?2J");
    shown(&exeat, "verify --json", "odd\\u009b2J");
    shown(&exeat, "offboard bot", "policy sha256:?2J?[2J?");
    drop(live);
    let (exeat, live) = hostile();
    shown(&exeat, "offboard bot --json", "\\u009b2J\\u001b[2J\\u202e");
    drop(live);
}
