//! What operators can do while agents run: see who runs and who holds what, stop, revoke, and end an agent for good.

mod spoilt;

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use record::{Event, Line};
use rustix::process::Signal;

use crate::credentials::{SECRET, leased};
use crate::harness::{Exeat, Live, Run, TokenEndpoint, Upstream, within};

/// For a busy machine; how long it took by exeat's own clock is in the log.
const SOON: Duration = Duration::from_secs(10);

/// A stream with the credential, which goes on for a minute.
const STREAM: &str =
    "curl -sSN -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/sse?n=600&ms=100'; echo ended";

fn streaming(exeat: &Exeat, more: &str) -> Live {
    let mut live = exeat.start(&["sh", "-c", &format!("{STREAM}; {more}")]);
    live.wait_for("data:");
    live
}

fn ask(exeat: &Exeat, arguments: &[&str]) -> Run {
    exeat.exeat(arguments).finish()
}

/// The end of the only call, and when it was.
fn end_of_call(lines: &[Line]) -> (String, Timestamp) {
    let end = lines.iter().find_map(|line| match &line.event {
        Event::CallEnd(end) => Some((end.outcome.to_string(), line.time)),
        _ => None,
    });
    end.expect("the call has no end")
}

/// When it was said, which is how what is said ends.
pub fn said_at(text: &str) -> Timestamp {
    text.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn what_runs_is_listed_with_what_it_did() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    assert_eq!(ask(&exeat, &["workers", "--json"]).ok().json(), serde_json::json!([]));
    let mut live = exeat.start(&[
        "sh",
        "-c",
        "curl -s https://other.example.com; curl -s https://api.example.com/echo; echo called; sleep 60",
    ]);
    live.wait_for("called");
    let listed = ask(&exeat, &["workers", "--json"]).ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let (worker, log) = (&listed[0], live.log());
    assert_eq!((&worker["agent"], &worker["pid"]), (&"bot".into(), &live.pid().as_raw_nonzero().get().into()));
    assert_eq!((&worker["calls"], &worker["refused"]), (&1.into(), &1.into()));
    assert_eq!(worker["worker"], log.start().worker.as_str());
    assert_eq!((&worker["policy"], &worker["policy_rejected"]), (&log.start().policy.as_str().into(), &().into()));
    fs::write(exeat.policy_file(), "[[allow").unwrap();
    let rejected = |line: &Line| matches!(line.event, Event::PolicyRejected { .. });
    within(SOON, "the rejection", || live.log().lines.iter().any(rejected));
    let listed = ask(&exeat, &["workers", "--json"]).ok().json();
    assert!(listed[0]["policy_rejected"].is_string() && listed[0]["policy"] == worker["policy"], "{listed}");
    assert!(ask(&exeat, &["workers"]).ok().stdout.contains("bot"));
    live.signal(Signal::KILL);
    live.finish();
    assert_eq!(
        ask(&exeat, &["workers", "--json"]).ok().json(),
        serde_json::json!([]),
        "one that is gone is not listed"
    );
}

#[test]
fn a_worker_that_is_stopped_ends_with_its_streams_within_a_second_and_gives_its_leases_back() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let live = streaming(&exeat, "sleep 60");
    let worker = live.log().start().worker.clone();
    let stopped = ask(&exeat, &["stop", &worker]).ok();
    assert_eq!(stopped.stdout, format!("{worker} (bot): stopped\n"));
    let run = live.finish().ended_with(123);
    assert!(run.stderr.contains("was stopped: exeat stop"), "{run:#?}");
    let outcome = &run.log.end().outcome;
    let took = end_of_call(&run.log.lines).1.duration_since(said_at(outcome));
    assert!(took.as_millis() < 1000, "{took}: {run:#?}");
    assert!(issuer.all_revoked());
    let again = ask(&exeat, &["stop", &worker]).ended_with(125);
    assert!(again.stderr.contains("exeat workers"), "{again:#?}");
}

#[test]
fn one_that_does_not_stop_is_killed_and_another_agents_is_left_alone() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    fs::copy(exeat.policy_file(), exeat.config("agents/other.toml")).unwrap();
    let text = fs::read_to_string(exeat.config("agents/other.toml")).unwrap().replace("credential = \"api\"", "");
    fs::write(exeat.config("agents/other.toml"), text).unwrap();
    let other = exeat.exeat(&["run", "--agent", "other", "--", "sleep", "60"]);
    let live = streaming(&exeat, "sleep 60");
    live.signal(Signal::STOP);
    let stopped = ask(&exeat, &["stop", "--agent", "bot", "--json"]).ok().json();
    assert_eq!((&stopped[0]["agent"], &stopped[0]["outcome"]), (&"bot".into(), &"killed".into()), "{stopped}");
    assert_eq!(stopped.as_array().unwrap().len(), 1, "{stopped}");
    drop(live);
    within(SOON, "the lease revoked", || issuer.all_revoked());
    let listed = ask(&exeat, &["workers", "--json"]).ok().json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["agent"]), (1, &"other".into()));
    other.signal(Signal::KILL);
}

#[test]
fn leases_of_a_runs_own_broker_are_taken_back_from_outside() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    for which in ["--lease", "--worker", "--agent"] {
        let next = "curl -sS -o /dev/null -w 'then %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo";
        let before = issuer.issued().len();
        let mut live = streaming(&exeat, &format!("{next}; sleep 60"));
        let lease = exeat.leases().last().unwrap().clone();
        let name = match which {
            "--lease" => lease.lease.to_string(),
            "--worker" => lease.worker.to_string(),
            _ => lease.agent.to_string(),
        };
        let run = ask(&exeat, &["revoke", which, &name, "--json"]).ok().json();
        let told = (&run[0]["lease"], &run[0]["state"], run.as_array().unwrap().len());
        assert_eq!(told, (&lease.lease.to_string().into(), &"revoked".into(), 1));
        let revoked = exeat.leases().into_iter().find(|one| one.lease == lease.lease).unwrap();
        live.wait_for("then 200");
        // The worker of the last turn is gone, and its log is there.
        let lines: Vec<Line> = live.log().lines.into_iter().filter(|line| line.time >= lease.asked).collect();
        let (outcome, ended) = end_of_call(&lines);
        let took = ended.duration_since(revoked.changed).abs();
        assert!(outcome == "cut" && took.as_millis() < 1000, "{which}: {outcome} {took}");
        assert_eq!(issuer.issued().len(), before + 2, "{which}: the next call has a lease of its own");
        assert!(issuer.revoked().contains(&issuer.issued()[before]), "{which}");
        let again = ask(&exeat, &["revoke", "--lease", &lease.lease.to_string()]).ended_with(125);
        assert!(again.stderr.contains("no such lease is open"), "{again:#?}");
        live.signal(Signal::KILL);
        live.finish();
        within(SOON, "all revoked", || issuer.all_revoked());
    }
}

#[test]
fn what_a_broker_that_is_gone_left_is_listed_and_revoked_too() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let live = streaming(&exeat, "");
    rustix::process::kill_process(live.broker(), Signal::KILL).unwrap();
    live.signal(Signal::KILL);
    drop(live);
    within(SOON, "the broker gone", || exeat.has_no_broker());
    let lease = exeat.leases().last().unwrap().lease.to_string();
    let listed = ask(&exeat, &["leases"]).ok().stdout;
    assert!(listed.contains(&lease) && listed.contains("its broker is gone"), "{listed}");
    let run = ask(&exeat, &["revoke", "--lease", &lease]).ok();
    assert!(run.stdout.starts_with(&format!("{lease}: revoked")), "{run:#?}");
    assert!(issuer.all_revoked());
    assert!(!ask(&exeat, &["leases"]).ok().stdout.contains(&lease));
    assert!(ask(&exeat, &["leases", "--all"]).ok().stdout.contains(&lease));
}

#[test]
fn no_sandbox_reaches_what_operators_use() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let all = exeat.path("");
    let exeat = exeat.sandbox(&format!("read = [\"{}\"]", all.display()));
    let script = format!(
        "curl -sS -o /dev/null -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo
        find {0} -name control -o -name 'ledger*' -o -name worker.json -o -name offboarded; ls {0}; echo called; sleep 60",
        all.display()
    );
    let mut live = exeat.start(&["sh", "-c", &script]);
    live.wait_for("called");
    let leases = fs::read_dir(exeat.state().join("leases")).unwrap().next().unwrap().unwrap().path();
    assert!(leases.join("control").exists() && leases.join("ledger.db").exists(), "outside it is there");
    assert_eq!(live.stdout(), "config\nstate\nwork\ncalled\n");
    live.signal(Signal::KILL);
}

#[test]
fn an_agent_that_is_offboarded_stops_and_gets_nothing_any_more_and_there_is_evidence() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let live = streaming(&exeat, "sleep 60");
    let evidence = ask(&exeat, &["offboard", "bot", "--json"]).ok().json();
    let run = live.finish().ended_with(123);
    assert!(issuer.all_revoked());
    assert_eq!((&evidence["schema"], &evidence["agent"]), (&"exeat-offboard/1".into(), &"bot".into()));
    assert_eq!(evidence["policy"]["digest"], run.log.start().policy.as_str());
    assert_eq!(evidence["credentials"][0]["credential"], "api");
    assert_eq!(
        (&evidence["workers"][0]["worker"], &evidence["workers"][0]["outcome"]),
        (&run.log.start().worker.as_str().into(), &"stopped".into())
    );
    let lease = exeat.leases().last().unwrap().clone();
    assert_eq!(
        (&evidence["leases"][0]["lease"], &evidence["leases"][0]["state"]),
        (&lease.lease.to_string().into(), &"revoked".into())
    );
    assert_eq!(evidence["leases"][0]["changed"], lease.changed.to_string());
    assert!(evidence["last_calls"].to_string().contains("/sse"), "{evidence}");
    assert_eq!(evidence["not_revoked"], serde_json::json!([]));
    let log = fs::read_to_string(exeat.state().join("offboarded.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&log).unwrap(), evidence, "it is logged as it is shown");
    let refused = exeat.sh("echo ran").ended_with(125);
    assert!(refused.stderr.contains("agent `bot` was offboarded") && refused.stdout.is_empty(), "{refused:#?}");
    let undone = ask(&exeat, &["offboard", "bot", "--undo", "--json"]).ok().json();
    assert_eq!((&undone["agent"], &undone["undone"]), (&"bot".into(), &true.into()));
    assert_eq!(exeat.sh("echo ran").ok().stdout, "ran\n");
    ask(&exeat, &["offboard", "bot", "--undo"]).ended_with(125);
}

#[test]
fn a_name_or_an_id_that_nothing_has_is_said_to_be_none() {
    let exeat = Exeat::new().rule("");
    fs::write(exeat.policy_file(), "").unwrap();
    let said = |arguments: &[&str], code: i32| {
        let run = exeat.exeat(arguments).finish().ended_with(code);
        run.stdout + &run.stderr
    };
    let agent = said(&["--state", "new", "run", "--agent", "bto", "--", "true"], 125);
    assert!(!exeat.work().join("new").exists());
    assert!(agent.contains("there is no agent `bto`") && agent.contains("there are `bot`;"), "{agent}");
    assert!(said(&["explain", "--agent", "bto", "https://a.example.com/"], 125).contains("there is no agent `bto`"));
    assert!(said(&["report", "--agent", "bto"], 0).contains("note: there is no agent `bto`"));
    assert!(said(&["calls", "--agent", "bto"], 0).contains("note: no call or refusal in"));
    assert!(!said(&["calls", "--agent", "bto", "--json"], 0).contains("note"));
    assert!(said(&["revoke"], 2).contains("<--lease <ID>|--worker <ID>|--agent <NAME>>"));
    assert!(said(&["revoke", "--lease", "abc"], 2).contains("`exeat leases` lists them"));
    // It is refused from then on whatever it is: who offboards in haste must not fail for want of a file.
    assert!(said(&["offboard", "bto"], 0).contains("NOTE: nothing here is of an agent of this name"));
    assert!(!said(&["offboard", "bot"], 0).contains("NOTE"));
    assert!(
        said(&["run", "--state", "/proc/nowhere", "--agent", "bot", "--", "true"], 125).contains("`/proc/nowhere`")
    );
    // There is nothing to remove where nothing has run.
    assert!(said(&["calls", "prune"], 0).contains("nothing goes"));
}

#[test]
fn what_could_not_be_revoked_is_in_the_evidence_with_the_reason() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    issuer.set_revokes(false);
    let exeat = leased(&upstream, &issuer)
        .fixed("key", SECRET, "to = [\"www.example.com\"]\nenv = \"KEY\"\n")
        .allow_with("www.example.com", &upstream, "credential = \"key\"");
    let call = "curl -sS -o /dev/null -H \"Authorization: Bearer $KEY\" https://www.example.com/echo";
    let mut live = exeat.start(&["sh", "-c", &format!("{call}; {STREAM}")]);
    live.wait_for("data:");
    let run = ask(&exeat, &["offboard", "bot", "--json"]).ended_with(1);
    let evidence = run.json();
    let reason = |credential: &str| {
        let kept = evidence["not_revoked"].as_array().unwrap().iter().find(|kept| kept["credential"] == credential);
        kept.unwrap_or_else(|| panic!("{credential}: {evidence}"))["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason("api").contains("503") && reason("key").contains("rotated"), "{evidence}");
    assert_eq!(evidence["not_revoked"].as_array().unwrap().len(), 2);
    live.finish().ended_with(123);
    let shown = ask(&exeat, &["offboard", "bot"]).ended_with(1).stdout;
    assert!(shown.contains("not revoked\n") && shown.contains("503"), "{shown}");
    issuer.set_revokes(true);
    within(SOON * 2, "revoked after all", || issuer.all_revoked());
}

#[test]
fn a_worker_is_stopped_by_how_its_id_begins_or_ends_and_never_one_of_two() {
    let exeat = Exeat::new();
    let (one, other) = (exeat.start(&["sleep", "60"]), exeat.start(&["sleep", "60"]));
    let listed = || ask(&exeat, &["workers", "--json"]).ok().json().as_array().unwrap().clone();
    within(SOON, "both workers", || listed().len() == 2);
    let ids: Vec<String> = listed().iter().map(|worker| worker["worker"].as_str().unwrap().to_owned()).collect();
    // The time, which a worker of tomorrow has as well.
    let time = ask(&exeat, &["stop", &ids[0][..6]]).ended_with(125);
    assert!(time.stderr.contains("twelve characters"), "{time:#?}");
    assert_eq!(listed().len(), 2, "neither was stopped");
    assert!(ask(&exeat, &["stop", "ffffffffffff"]).ended_with(125).stderr.contains("begins or ends"));
    let stopped = ask(&exeat, &["stop", &ids[1][28..]]).ok();
    assert_eq!(stopped.stdout, format!("{} (bot): stopped\n", ids[1]));
    ask(&exeat, &["stop", &ids[0]]).ok();
    one.finish().ended_with(123);
    other.finish().ended_with(123);
}
