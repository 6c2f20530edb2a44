//! Whatever stands open ends within a second of what takes its leave back, every kind of call by every event; what still has its leave goes on.
//!
//! All kinds are open at once in one worker, one for each event. When a call ended is read from the log, so that no client's speed counts.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use record::{CallEnd, Event, Line};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::{
    Authority, Exeat, Forward, Live, Outside, Run, TokenEndpoint, Upstream, python_tools, tools, within,
};
use crate::operators::said_at;
use crate::tunnels::speaks_first;

/// What is promised.
const SECOND: Duration = Duration::from_secs(1);
/// What a worker that is stopped leaves to what is under way: half a second, but for what two clocks differ.
const UNDER_WAY: Duration = Duration::from_millis(450);
/// For a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// They carry a credential that was leased.
const CARRYING: [&str; 14] = [
    "download-h1",
    "download-h2",
    "proxied",
    "upload-h1",
    "upload-h2",
    "stuck",
    "waiting",
    "unread-h1",
    "unread-h2",
    "socket-h1",
    "messages",
    "socket-h2",
    "bridged",
    "talk",
];
const BARE: [&str; 4] = ["bare", "plain", "passthrough", "tcp"];
/// Connections that stand, with no call under way.
const RESTING: [&str; 2] = ["next-h1", "next-h2"];

/// What takes leaves back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TakenBack {
    RulesGone,
    LeasesRevoked,
    Denied,
    BrokerGone,
}

use TakenBack::{BrokerGone, Denied, LeasesRevoked, RulesGone};

/// What everything of it stands on.
struct Standing {
    exeat: Exeat,
    live: Live,
    upstream: Upstream,
    _others: (Upstream, TokenEndpoint, Outside, Outside, Forward),
}

fn rules(upstream: &Upstream, plain: &Upstream, sockets: &Outside, talk: &Outside) -> String {
    let rule = |kind: &str| {
        let (port, mode, dial) = match kind {
            "plain" => (80, "intercept", plain.dial()),
            "tcp" => (25, "tcp", speaks_first()),
            "passthrough" => (443, "passthrough", upstream.dial()),
            "socket-h2" => (443, "intercept", sockets.dial()),
            "talk" => (443, "intercept", talk.dial()),
            _ => (443, "intercept", upstream.dial()),
        };
        let way =
            if kind == "proxied" { "addresses = [\"127.0.0.2\"]".to_owned() } else { format!("dial = \"{dial}\"") };
        let credential = match kind {
            _ if BARE.contains(&kind) => "",
            "messages" => "credential = \"messages\"",
            _ => "credential = \"api\"",
        };
        format!("[[allow]]\nto = \"{kind}.example.com:{port}\"\ntls = \"{mode}\"\n{way}\n{credential}\n")
    };
    CARRYING.iter().chain(&BARE).chain(&RESTING).map(|kind| rule(kind)).collect()
}

impl Standing {
    /// All kinds at once, each begun.
    fn begin(by: TakenBack) -> Self {
        let (upstream, plain, issuer) = (Upstream::start(), Upstream::plain(), TokenEndpoint::start(300));
        let sockets = Outside::node(include_str!("extended_connect/server.mjs"));
        let talk = Outside::python(include_str!("grpc/server.py"));
        let proxy = Forward::to(&upstream.dial());
        let granted = |kinds: &[&str], place: &str, env: &str| {
            let to: Vec<_> = kinds.iter().map(|kind| format!("{kind}.example.com")).collect();
            let asked = if by == Denied { "approve = { wait = \"60s\" }\n" } else { "" };
            format!("{}to = {to:?}\nin = [\"{place}\"]\nenv = \"{env}\"\n{asked}", issuer.lines())
        };
        let header: Vec<_> = CARRYING.into_iter().filter(|kind| *kind != "messages").chain(RESTING).collect();
        let exeat = Exeat::new()
            .hosts("127.0.0.2 proxied.example.com\n")
            .sandbox(&format!("read = [\"{}\"]", tools().display()))
            .upstream(&format!("proxy = \"http://{}\"", proxy.address()))
            .secret("client", TokenEndpoint::SECRET)
            .credential("api", &granted(&header, "header", "API_KEY"))
            .credential("messages", &granted(&["messages"], "websocket", "SOCKET_KEY"))
            .rule(&rules(&upstream, &plain, &sockets, &talk));
        fs::write(exeat.work().join("ca.pem"), Authority::trusted().pem()).unwrap();
        let live = exeat.start_with_input(&[&python_tools(), "-c", include_str!("taken_back/client.py")]);
        let mut all = Self { exeat, live, upstream, _others: (plain, issuer, sockets, talk, proxy) };
        if by == Denied {
            within(SOON, "both asked for", || all.asked().len() == 2);
            for asked in all.asked() {
                all.operator(&["approve", asked["id"].as_str().unwrap()]);
            }
        }
        for kind in CARRYING.iter().chain(&BARE).chain(&RESTING) {
            all.live.wait_for(&format!("{kind} open\n"));
        }
        // Until every buffer in between is full.
        std::thread::sleep(Duration::from_millis(500));
        let ended: Vec<_> = all.ends().into_iter().filter(|(kind, _)| !RESTING.contains(&&**kind)).collect();
        assert!(ended.is_empty(), "{ended:#?}");
        all
    }

    fn operator(&self, arguments: &[&str]) -> Run {
        self.exeat.exeat(arguments).finish().ok()
    }

    fn asked(&self) -> Vec<Value> {
        let Value::Array(asked) = self.operator(&["approvals", "--all", "--json"]).json() else { panic!("no list") };
        asked
    }

    /// Does it. When it took effect: when it was begun, or whoever did it was told that it is done.
    fn take_back(&self, by: TakenBack) -> Timestamp {
        let begun = Timestamp::now();
        match by {
            RulesGone => fs::write(self.exeat.policy_file(), "[sandbox]\nwrite = [\".\"]\n").unwrap(),
            BrokerGone => kill_process(self.live.broker(), Signal::KILL).unwrap(),
            LeasesRevoked => drop(self.operator(&["revoke", "--agent", "bot"])),
            Denied => {
                for asked in self.asked() {
                    self.operator(&["deny", asked["id"].as_str().unwrap(), "--why", "enough"]);
                }
            }
        }
        if [LeasesRevoked, Denied].contains(&by) { Timestamp::now() } else { begun }
    }

    /// How each call ended that has, by its kind, and when.
    fn ends(&self) -> BTreeMap<String, (Timestamp, CallEnd)> {
        ends(&self.live.log().lines)
    }
}

fn ends(lines: &[Line]) -> BTreeMap<String, (Timestamp, CallEnd)> {
    let (mut kinds, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for line in lines {
        let (call, to) = match &line.event {
            Event::CallStart(start) => (start.call, &start.to),
            Event::TunnelStart(start) => (start.call, &start.to),
            Event::CallEnd(end) => {
                let kind: &String = &kinds[&end.call];
                ends.insert(kind.clone(), (line.time, end.clone()));
                continue;
            }
            _ => continue,
        };
        kinds.insert(call, to.split('.').next().unwrap().to_owned());
    }
    ends
}

/// Each of them ended because of that, and within a second; not `before` anything else.
#[track_caller]
fn assert_ended(kinds: &[&str], ends: &BTreeMap<String, (Timestamp, CallEnd)>, since: Timestamp, before: Duration) {
    let wrong: Vec<_> = kinds
        .iter()
        .filter_map(|kind| {
            let Some((time, end)) = ends.get(*kind) else { return Some(format!("{kind}: no end")) };
            let took = time.duration_since(since);
            let in_time =
                took <= SECOND.try_into().unwrap() && (before.is_zero() || took >= before.try_into().unwrap());
            let because = ["cut", "refused"].contains(&&*end.outcome);
            (!in_time || !because).then(|| format!("{kind}: after {took:#}: {} {:?}", end.outcome, end.reason))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Takes back what is open, looks that these `ended` and those go on, and what the next request on each connection that stands is told.
fn taken_back(by: TakenBack, ended: &[&str], go_on: &[&str], next: &str) -> Standing {
    let mut all = Standing::begin(by);
    let since = all.take_back(by);
    let begun = Instant::now();
    while begun.elapsed() < SECOND * 2 && !ended.iter().all(|kind| all.ends().contains_key(*kind)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_ended(ended, &all.ends(), since, Duration::ZERO);
    for kind in ended.iter().filter(|kind| !kind.starts_with("unread")) {
        all.live.wait_for(&format!("{kind} over\n"));
    }
    let gone: Vec<_> = go_on.iter().filter(|kind| all.ends().contains_key(**kind)).collect();
    assert!(gone.is_empty(), "{gone:?} still had their leave");
    all.live.write("\n");
    for kind in RESTING {
        all.live.wait_for(&format!("{kind} {next}\n"));
    }
    all
}

#[test]
fn a_policy_without_a_rule_for_it_ends_whatever_stands_open() {
    taken_back(RulesGone, &[&CARRYING[..], &BARE].concat(), &[], "403");
}

#[test]
fn a_lease_that_is_revoked_ends_whatever_carries_it_and_the_next_request_has_another() {
    let all = taken_back(LeasesRevoked, &CARRYING, &BARE, "200");
    let next = all.upstream.seen().into_iter().filter(|seen| seen.target == "/status/200");
    let mut shown: Vec<_> = next.map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    let both = shown.len();
    shown.dedup();
    assert_eq!((both, shown.len()), (4, 2), "{shown:?}");
}

#[test]
fn a_credential_that_is_denied_ends_whatever_carries_it() {
    taken_back(Denied, &CARRYING, &BARE, "403");
}

#[test]
fn a_broker_that_is_gone_ends_whatever_carries_what_it_lent() {
    taken_back(BrokerGone, &CARRYING, &BARE, "503");
}

#[test]
fn a_worker_that_is_stopped_gives_whatever_is_under_way_half_a_second_and_ends_it() {
    let Standing { exeat, live, upstream: _upstream, _others } = Standing::begin(RulesGone);
    exeat.exeat(&["stop", "--agent", "bot"]).finish().ok();
    let log = live.finish().ended_with(123).log;
    let since = said_at(&log.end().outcome);
    assert_ended(&[&CARRYING[..], &BARE].concat(), &ends(&log.lines), since, UNDER_WAY);
}
