//! A policy that is edited applies from the next request on, also on connections that stand; one with a mistake does not.

use record::Event;
use std::fs;
use std::time::Duration;

use crate::harness::{Exeat, Live, Upstream, within};

/// Asks five times a second on one connection and prints each status.
const ASKING: &str = "
import http.client, time
connection = http.client.HTTPSConnection('api.example.com')
while True:
    connection.request('GET', '/echo')
    answer = connection.getresponse()
    answer.read()
    print(answer.status, flush=True)
    time.sleep(0.2)";

/// How long after the edit the next request is judged by it.
const SOON: Duration = Duration::from_secs(4);

fn last_status(live: &Live) -> String {
    live.stdout().lines().last().unwrap_or_default().to_owned()
}

fn asking(upstream: &Upstream) -> (Exeat, Live, String) {
    let exeat = Exeat::new().allow("api.example.com", upstream);
    let mut live = exeat.start(&["python3", "-c", ASKING]);
    live.wait_for("200");
    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    (exeat, live, text)
}

#[test]
fn an_edit_applies_from_the_next_request_on_of_a_standing_connection() {
    let upstream = Upstream::start();
    let (exeat, live, before) = asking(&upstream);
    fs::write(exeat.policy_file(), before.replace("api.example.com", "www.example.com")).unwrap();
    within(SOON, "the call refused", || last_status(&live) == "403");
    fs::write(exeat.policy_file(), &before).unwrap();
    within(SOON, "the call allowed again", || last_status(&live) == "200");
    let log = live.log();
    let policies: Vec<_> = log.calls().iter().map(|call| call.policy.clone()).collect();
    assert_eq!(policies.first(), policies.last());
    assert!(log.refusals().iter().all(|refused| refused.connection == log.calls()[0].connection), "{log:#?}");
    assert_eq!(log.lines.iter().filter(|line| matches!(line.event, Event::PolicyReloaded { .. })).count(), 2);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_editor_that_replaces_the_file_is_noticed_too() {
    let upstream = Upstream::start();
    let (exeat, live, _) = asking(&upstream);
    let new = exeat.config("agents/.bot.toml.swp");
    fs::write(&new, "# nothing is allowed any more\n").unwrap();
    fs::rename(new, exeat.policy_file()).unwrap();
    within(SOON, "the call refused", || last_status(&live) == "403");
}

#[test]
fn a_broken_edit_keeps_the_last_good_policy_and_says_so() {
    let upstream = Upstream::start();
    let (exeat, live, before) = asking(&upstream);
    fs::write(exeat.policy_file(), format!("{before}\n[[allow]]\nto = \"not a host\"\n")).unwrap();
    let rejected = |live: &Live| {
        let said = |event: &Event| match event {
            Event::PolicyRejected { reason } => Some(reason.clone()),
            _ => None,
        };
        live.log().lines.iter().filter_map(|line| said(&line.event)).collect::<Vec<_>>()
    };
    within(SOON, "the rejection in the log", || !rejected(&live).is_empty());
    assert!(rejected(&live)[0].contains("not a host"), "{:?}", rejected(&live));
    let seen = upstream.seen().len();
    upstream.wait_for(seen + 3);
    assert_eq!(last_status(&live), "200");
    assert_eq!(rejected(&live).len(), 1, "it is said once");
    fs::remove_file(exeat.policy_file()).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(last_status(&live), "200");
}
