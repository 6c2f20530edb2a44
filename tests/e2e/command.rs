//! A program of the operator's issues a credential and takes it back: what it is told, what is taken from it, and what becomes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use broker::ledger::State;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Exeat, Upstream, assert_nowhere_below, process_with, within};

const SECRET: &str = "credential-of-a-program-93b1";
const CALL: &str =
    "curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo called; read -r end";
/// For a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// An installation whose credential comes from these two scripts, each run in a directory of its own.
fn exeat(upstream: &Upstream, issue: &str, revoke: &str, lines: &str) -> Exeat {
    let exeat = Exeat::new();
    for (name, script) in [("issue", issue), ("revoke", revoke)] {
        let (file, seen) = (exeat.path(name), exeat.path(&format!("{name}.seen")));
        let seen = seen.display();
        let script = format!("#!/bin/sh\nenv | sort > {seen}.env; cat > {seen}\n{script}\n");
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let lines = format!(
        "issuer = \"command\"\nissue = [\"{}\", \"one two\"]\nrevoke = [\"{}\"]\nto = [\"api.example.com\", \"*.example.org\"]\nenv = \"API_KEY\"\n{lines}",
        exeat.path("issue").display(),
        exeat.path("revoke").display()
    );
    exeat.credential("api", &lines).allow_with("api.example.com", upstream, "credential = \"api\"")
}

fn printing(output: &Value) -> String {
    format!("echo '{output}'")
}

/// What a script read from standard input.
fn read(exeat: &Exeat, name: &str) -> Value {
    serde_json::from_slice(&fs::read(exeat.path(&format!("{name}.seen"))).unwrap()).unwrap()
}

/// A variable that a script had.
fn variable(exeat: &Exeat, name: &str, variable: &str) -> String {
    let all = fs::read_to_string(exeat.path(&format!("{name}.seen.env"))).unwrap();
    let found = all.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {variable} in {all}")).to_owned()
}

#[test]
fn a_program_issues_a_credential_and_another_one_takes_it_back() {
    for (more, receipt) in
        [(json!({}), json!({"credential": SECRET})), (json!({"receipt": "r-1"}), json!({"receipt": "r-1"}))]
    {
        let upstream = Upstream::start();
        let mut output = json!({"credential": SECRET, "expires_in": 600});
        output.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let exeat = exeat(&upstream, &printing(&output), "exit 0", "").environment("HOUSE", "of the operator");
        let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
        live.wait_for("called");
        assert_eq!(upstream.only().header("authorization"), Some(&*format!("Bearer {SECRET}")));
        assert_eq!(read(&exeat, "issue"), json!({}));
        let lease = exeat.leases().remove(0);
        live.write("go\n");
        assert_eq!(live.finish().ok().log.end().revoked, 1);
        assert_eq!(read(&exeat, "revoke"), receipt);
        assert!(exeat.last_lease_is(State::Revoked));
        for name in ["issue", "revoke"] {
            for (name_of, value) in [
                ("EXEAT_AGENT", "bot"),
                ("EXEAT_CREDENTIAL", "api"),
                ("EXEAT_WORKER", &*lease.worker.to_string()),
                ("EXEAT_LEASE", &*lease.lease.to_string()),
                ("EXEAT_DESTINATIONS", "api.example.com *.example.org"),
                ("HOUSE", "of the operator"),
            ] {
                assert_eq!(variable(&exeat, name, name_of), value, "{name}");
            }
            assert!(!fs::read_to_string(exeat.path(&format!("{name}.seen.env"))).unwrap().contains(SECRET));
        }
        assert_nowhere_below(&exeat.state(), &[SECRET]);
    }
}

#[test]
fn it_is_shown_who_the_worker_is_where_that_is_wanted() {
    let upstream = Upstream::start();
    let output = printing(&json!({"credential": SECRET, "expires_at": "2099-01-01T00:00:00Z"}));
    let exeat = exeat(&upstream, &output, "exit 0", "identity_audience = \"the-house\"\nalgorithm = \"ES256\"\n");
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    live.wait_for("called");
    let identity = read(&exeat, "issue")["identity"].as_str().unwrap().to_owned();
    let claims = crate::federation::claims(&identity);
    assert_eq!(claims["aud"], "the-house");
    assert!(claims["sub"].as_str().unwrap().ends_with(&variable(&exeat, "issue", "EXEAT_WORKER")), "{claims}");
    assert!(!fs::read_to_string(exeat.path("issue.seen.env")).unwrap().contains(&identity));
    live.write("go\n");
    live.finish().ok();
    assert!(read(&exeat, "revoke")["identity"].is_null());
}

#[test]
fn what_a_killed_broker_had_is_taken_back_by_the_next_and_a_failure_is_tried_again() {
    let upstream = Upstream::start();
    let output = printing(&json!({"credential": SECRET, "expires_in": 600, "receipt": "r-2"}));
    let mut exeat = exeat(&upstream, &output, "", "");
    let may = exeat.path("may-revoke");
    let revoke = fs::read_to_string(exeat.path("revoke")).unwrap();
    fs::write(exeat.path("revoke"), format!("{revoke}test -e {}\n", may.display())).unwrap();
    exeat = exeat.limit(Duration::from_secs(90));
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    live.wait_for("called");
    kill_process(live.broker(), Signal::KILL).unwrap();
    live.signal(Signal::KILL);
    drop(live);
    within(SOON, "the broker gone", || exeat.has_no_broker());
    assert!(!exeat.path("revoke.seen").exists());
    exeat.sh("true").ok();
    within(SOON, "a first attempt", || exeat.leases().last().is_some_and(|lease| lease.attempts > 0));
    let kept = exeat.leases().pop().unwrap();
    assert_eq!(kept.state, State::Kept);
    assert!(kept.reason.unwrap().contains("failed (exit status: 1)"));
    fs::write(&may, "").unwrap();
    within(SOON, "revoked", || exeat.last_lease_is(State::Revoked));
    assert_eq!(read(&exeat, "revoke"), json!({"receipt": "r-2"}));
}

#[test]
fn what_a_program_prints_is_read_strictly_and_its_words_are_repeated_nowhere() {
    let upstream = Upstream::start();
    for (script, says) in [
        ("echo hunter2; echo hunter2 >&2; exit 3".to_owned(), "failed (exit status: 3)"),
        ("echo hunter2".to_owned(), "is unusable: it is not one JSON object"),
        (printing(&json!({"credential": "hunter2"})), "neither `expires_in` nor `expires_at`"),
        (printing(&json!({"credential": "hunter2", "expires_in": 60, "scope": "hunter2"})), "nothing unknown"),
        (printing(&json!({"credential": "hunter2", "expires_at": "2001-01-01T00:00:00Z"})), "not in the future"),
        ("yes hunter2".to_owned(), "it printed more than 65536 bytes"),
    ] {
        let exeat = exeat(&upstream, &script, "exit 0", "");
        let run = exeat.sh("curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo").ok();
        assert!(run.stdout.contains("503") && run.stdout.contains(says), "{says}: {run:#?}");
        assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{run:#?}");
        assert_nowhere_below(&exeat.state(), &["hunter2"]);
        // What failed by its own word gave nothing; of the others nobody knows.
        let state = if says.starts_with("failed") { State::Refused } else { State::Unanswered };
        assert!(exeat.last_lease_is(state), "{says}: {:?}", exeat.leases());
    }
    upstream.assert_untouched();
}

#[test]
fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, "sleep 4731.1 & sleep 4731.2", "exit 0", "");
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    within(SOON, "both started", || process_with("4731.1") && process_with("4731.2"));
    live.wait_for("called");
    assert!(live.stdout().contains("did not end within 18 s"), "{}", live.stdout());
    within(SOON, "both gone", || !process_with("4731.1") && !process_with("4731.2"));
    live.write("go\n");
    live.finish().ok();
    assert!(exeat.last_lease_is(State::Unanswered));
}

#[test]
fn without_a_program_that_takes_it_back_it_is_kept_until_it_runs_out() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream, &printing(&json!({"credential": SECRET, "expires_in": 600})), "exit 0", "");
    let file = exeat.config("credentials.toml");
    let text = fs::read_to_string(&file).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("revoke")).map(|line| format!("{line}\n")).collect();
    fs::write(&file, without).unwrap();
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    live.wait_for("called");
    live.write("go\n");
    assert_eq!(live.finish().ok().log.end().kept, 1);
    let kept = exeat.leases().pop().unwrap();
    assert_eq!((kept.state, kept.reason.as_deref()), (State::Kept, Some("its issuer has no `revoke`")));
}
