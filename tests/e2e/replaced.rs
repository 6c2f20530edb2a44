//! What streams with a lease that another has replaced, or that ran out, ends as what streams with the last one does: with the permission, by
//! a denial, by a revocation.

use std::time::Duration;

use broker::ledger::State;
use jiff::Timestamp;
use record::{Event, Line};

use crate::approve::{ask, calling, guarded, the_request};
use crate::harness::{Exeat, Live, TokenEndpoint, Upstream, within};
use crate::standing::ended_within_a_second;

const SOON: Duration = Duration::from_secs(10);
const STREAM: &str = "curl -sSN -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/sse?n=600&ms=100'";
const CALL: &str = "curl -sS -o /dev/null -w 'then %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/upload";

fn approve(exeat: &Exeat, more: &[&str]) -> String {
    let (id, _) = the_request(exeat);
    ask(exeat, &[&["approve", &id], more].concat()).ok();
    id
}

/// Streams with a first lease and has another by then, as a path of the same host answers 401 whatever it is shown.
fn on_a_replaced_lease(exeat: &Exeat, upstream: &Upstream, issuer: &TokenEndpoint) -> (Live, String) {
    upstream.refuse("/upload", Duration::ZERO);
    let mut live = calling(exeat, &format!("({STREAM}; echo ended) & read x; {CALL}; sleep 60"));
    let id = approve(exeat, &[]);
    live.wait_for("data:");
    live.write("\n");
    live.wait_for("then 401");
    assert_eq!(issuer.issued().len(), 2);
    within(SOON, "the first given back", || matches!(exeat.leases()[0].state, State::Revoked | State::Kept));
    (live, id)
}

fn ends(lines: &[Line]) -> usize {
    lines.iter().filter(|line| matches!(line.event, Event::CallEnd(_))).count()
}

#[test]
fn what_streams_with_a_lease_that_a_401_replaced_is_cut_off_by_a_denial_and_by_a_revocation() {
    for (way, revokes) in [("deny", true), ("deny", false), ("--worker", true), ("--agent", false), ("--lease", true)] {
        let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
        let exeat = guarded(&upstream, &issuer, "30s");
        issuer.set_revokes(revokes);
        let (live, id) = on_a_replaced_lease(&exeat, &upstream, &issuer);
        assert_eq!(ends(&live.log().lines), 1, "{way}: a 401 alone cuts off nothing");
        let (told, first) = (Timestamp::now(), exeat.leases()[0].clone());
        let done = match way {
            "deny" => ask(&exeat, &["deny", &id, "--why", "enough"]),
            "--worker" => ask(&exeat, &["revoke", way, &first.worker.to_string()]),
            "--agent" => ask(&exeat, &["revoke", way, "bot"]),
            _ => ask(&exeat, &["revoke", way, &first.lease.to_string()]),
        };
        // Kept is said by the exit code.
        if revokes {
            done.ok();
        }
        within(SOON, &format!("{way} {revokes}: the stream ended"), || live.stdout().contains("ended"));
        let end = ended_within_a_second(&live.log().lines, told).clone();
        assert!(end.outcome == "cut" && end.reason.is_some_and(|why| why.contains("credential `api`")), "{way}");
    }
}

#[test]
fn what_streams_with_a_lease_that_ran_out_ends_with_the_permission_that_it_was_opened_under() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(3));
    let exeat = guarded(&upstream, &issuer, "20s");
    let mut live = calling(&exeat, &format!("({STREAM}; echo ended) & read x; {CALL}; sleep 60"));
    approve(&exeat, &["--for", "8s"]);
    live.wait_for("data:");
    std::thread::sleep(Duration::from_secs(4));
    live.write("\n");
    live.wait_for("then 200");
    within(SOON, "the first over", || exeat.leases()[0].state == State::Expired);
    let text = std::fs::read_to_string(exeat.state().join("leases/approvals.jsonl")).unwrap();
    let journal: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let until: Timestamp = journal["state"]["approved"]["until"].as_str().unwrap().parse().unwrap();
    assert!(!live.stdout().contains("ended"), "that it ran out cuts off nothing");
    within(SOON, "the stream ended", || live.stdout().contains("ended"));
    assert_eq!(ended_within_a_second(&live.log().lines, until).outcome, "cut");
}
