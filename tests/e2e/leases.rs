//! Whoever is killed at whatever step of a lease's life: it is revoked, or shown where nobody can know what came of it.

use std::time::Duration;

use broker::ledger::State;
use rustix::process::{Pid, Signal, kill_process};

use crate::credentials::leased;
use crate::harness::{Exeat, Hold, Live, TokenEndpoint, Upstream, assert_nowhere_below, within};

/// For a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Makes a call, says so, and stays until it is told to end.
const CALL: &str = "curl -sS -o /dev/null -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo called; read -r end";

/// A step of a lease's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The issuer is asked, and has given nothing yet.
    Asked,
    /// It has given something, and the broker does not know.
    Issued,
    /// The worker has it.
    Used,
    /// The issuer is asked to revoke it.
    Revoking,
    /// It has revoked it, and the broker does not know.
    Revoked,
    /// It cannot revoke right now; the broker tries again.
    Kept,
}

const STEPS: [Step; 6] = [Step::Asked, Step::Issued, Step::Used, Step::Revoking, Step::Revoked, Step::Kept];

/// A worker whose only lease is at this step, where it stays, and its broker.
fn at(step: Step, exeat: &Exeat, issuer: &TokenEndpoint) -> (Live, Pid) {
    match step {
        Step::Asked => issuer.hold(Hold::Before("/token")),
        Step::Issued => issuer.hold(Hold::After("/token")),
        Step::Used => {}
        Step::Revoking => issuer.hold(Hold::Before("/revoke")),
        Step::Revoked => issuer.hold(Hold::After("/revoke")),
        Step::Kept => issuer.set_revokes(false),
    }
    let mut live = exeat.start_with_input(&["sh", "-c", CALL]);
    if matches!(step, Step::Asked | Step::Issued) {
        within(SOON, "the issuer asked", || issuer.held() == 1);
        let broker = live.broker();
        return (live, broker);
    }
    live.wait_for("called");
    let broker = live.broker();
    match step {
        Step::Revoking | Step::Revoked => {
            live.write("end\n");
            within(SOON, "the issuer asked to revoke", || issuer.held() == 1);
        }
        Step::Kept => {
            // The broker outlives its worker for this.
            live.signal(Signal::KILL);
            within(SOON, "the lease kept", || exeat.last_lease_is(State::Kept));
        }
        _ => {}
    }
    (live, broker)
}

/// The issuer does as it should again.
fn mend(issuer: &TokenEndpoint) {
    issuer.let_go();
    issuer.set_revokes(true);
}

/// The only lease comes to its end, or is shown.
fn comes_to_its_end(step: Step, exeat: &Exeat, issuer: &TokenEndpoint) {
    let expected = if matches!(step, Step::Asked | Step::Issued) { State::Unanswered } else { State::Revoked };
    within(SOON, &format!("{step:?}: {expected}"), || exeat.last_lease_is(expected));
    assert_eq!(exeat.leases().len(), 1, "{step:?}: {:?}", exeat.leases());
    match step {
        Step::Asked | Step::Issued => {
            let shown = exeat.exeat(&["leases", "--json"]).finish().ok().json();
            assert_eq!((&shown[0]["state"], &shown[0]["agent"]), (&"unanswered".into(), &"bot".into()), "{step:?}");
            assert!(shown[0]["reason"].as_str().unwrap().contains("before it knew"), "{shown}");
        }
        _ => assert!(issuer.all_revoked(), "{step:?}: the ledger says what is not so"),
    }
}

#[test]
fn a_broker_that_is_killed_at_any_step_loses_no_lease() {
    for step in STEPS {
        let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
        let exeat = leased(&upstream, &issuer);
        let (live, broker) = at(step, &exeat, &issuer);
        kill_process(broker, Signal::KILL).unwrap();
        drop(live);
        within(SOON, "the broker gone", || exeat.has_no_broker());
        mend(&issuer);
        assert!(!exeat.leases().is_empty(), "{step:?}: it is lost");
        assert!(exeat.leases().iter().all(|lease| lease.state.as_str() != "revoked"), "{step:?}");
        // A later exeat of the same state, of whatever command.
        exeat.sh("true").ok();
        comes_to_its_end(step, &exeat, &issuer);
        for secret in issuer.issued() {
            assert_nowhere_below(&exeat.state(), &[&secret]);
        }
    }
}

#[test]
fn a_worker_that_is_killed_at_any_step_loses_no_lease() {
    for step in STEPS {
        let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
        let exeat = leased(&upstream, &issuer);
        let (live, _) = at(step, &exeat, &issuer);
        live.signal(Signal::KILL);
        drop(live);
        mend(&issuer);
        // Its broker goes on: what arrives is revoked as well.
        within(SOON, &format!("{step:?}: revoked"), || issuer.all_revoked() && exeat.last_lease_is(State::Revoked));
        assert_eq!(exeat.leases().len(), 1, "{step:?}");
    }
}

#[test]
fn a_machine_that_goes_down_loses_no_lease() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let (live, broker) = at(Step::Used, &exeat, &issuer);
    kill_process(broker, Signal::KILL).unwrap();
    live.signal(Signal::KILL);
    drop(live);
    within(SOON, "the broker gone", || exeat.has_no_broker());
    let shown = exeat.exeat(&["leases", "--json"]).finish().ok().json();
    assert_eq!((&shown[0]["state"], &shown[0]["living"]), (&"leased".into(), &false.into()));
    assert!(issuer.revoked().is_empty());
    exeat.sh("true").ok();
    within(SOON, "the lease revoked", || issuer.all_revoked() && exeat.last_lease_is(State::Revoked));
}

#[test]
fn a_ledger_that_is_damaged_stops_the_start_in_words() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let (live, broker) = at(Step::Used, &exeat, &issuer);
    kill_process(broker, Signal::KILL).unwrap();
    drop(live);
    within(SOON, "the broker gone", || exeat.has_no_broker());
    let leases = exeat.state().join("leases");
    let ledger = std::fs::read_dir(leases).unwrap().next().unwrap().unwrap().path().join("ledger.db");
    std::fs::write(&ledger, "").unwrap();
    let run = exeat.sh("true").ended_with(125);
    for words in ["cannot use the ledger", ledger.to_str().unwrap(), "emptied", "revoked at its issuers"] {
        assert!(run.stderr.contains(words), "{words:?}: {run:#?}");
    }
    let shown = exeat.exeat(&["leases"]).finish();
    assert!(shown.code == Some(125) && shown.stderr.contains("cannot use the ledger"), "{shown:#?}");
}
