//! What is found is what a look through the log finds: any logs, any filters, judged here in another way.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use clap::Parser;
use jiff::Timestamp;
use proptest::prelude::*;
use record::{
    CallEnd, CallLog, CallRetried, CallStart, CredentialUse, Event, FORMAT, Observed, Refused, Retried, TunnelStart,
    WorkerStart,
};

use super::{Filter, Finder};
use crate::args::{Arguments, Command};
use crate::places::Places;

const WORKERS: [(&str, &str); 3] = [
    ("01980000-0000-7000-8000-0000aaaa1111", "bot"),
    ("01980000-0000-7000-8000-0000bbbb2222", "bot"),
    ("01980000-0000-7000-8000-0000cccc3333", "other"),
];
const HOSTS: [&str; 5] =
    ["a.example.com:443", "b.example.com:8443", "example.com:443", "10.1.2.3:443", "[2001:db8::1]:443"];
const PATHS: [&str; 4] = ["/repos/acme/1", "/repos/acme/1/issues", "/%40me", "/"];
const RULES: [&str; 4] = ["allow #1 (line 4)", "allow #12 (line 14)", "deny #1 (line 40)", "allow #2 (line 1)"];

/// What is known of a call, however it came to be known.
#[derive(Debug, Default, Clone)]
struct Facts {
    id: String,
    worker: usize,
    second: i64,
    to: String,
    method: String,
    path: String,
    rule: String,
    tool: String,
    credential: String,
    leases: Vec<String>,
    status: Option<u16>,
    refused: bool,
    flagged: bool,
}

type Judge = fn(&Facts) -> bool;

/// Options, and what they mean. Those with the same name widen one another.
const OPTIONS: &[(&str, &str, Judge)] = &[
    ("--agent", "bot", |call| call.worker < 2),
    ("--agent", "nobody", |_| false),
    ("--worker", "bbbb2222", |call| call.worker == 1),
    ("--worker", "01980000", |_| true),
    ("--worker", WORKERS[2].0, |call| call.worker == 2),
    ("--host", "a.example.com", |call| call.to == HOSTS[0]),
    ("--host", "*.EXAMPLE.com", |call| call.to == HOSTS[0] || call.to == HOSTS[1]),
    ("--host", "b.example.com:443", |_| false),
    ("--host", "10.0.0.0/8", |call| call.to == HOSTS[3]),
    ("--host", "2001:db8::1", |call| call.to == HOSTS[4]),
    ("--method", "get", |call| call.method == "GET"),
    ("--method", "POST", |call| call.method == "POST"),
    ("--path", "/repos/**", |call| call.path == PATHS[0] || call.path == PATHS[1]),
    ("--path", "/repos/*/1", |call| call.path == PATHS[0]),
    ("--path", "/@me", |call| call.path == PATHS[2]),
    ("--status", "404", |call| call.status == Some(404)),
    ("--status", "5xx", |call| call.status.is_some_and(|status| status / 100 == 5)),
    ("--status", "200-499", |call| call.status.is_some_and(|status| status / 100 < 5)),
    ("--rule", "allow #1", |call| call.rule == RULES[0]),
    ("--rule", "deny", |call| call.rule == RULES[2]),
    ("--rule", "line 1", |call| call.rule == RULES[3]),
    ("--credential", "api", |call| call.credential == "api"),
    ("--lease", "0001abcd", |call| call.leases.iter().any(|lease| lease.ends_with("0001abcd"))),
    ("--lease", "0002", |call| call.leases.iter().any(|lease| lease.ends_with("0002"))),
    ("--tool", "search*", |call| call.tool.contains("search")),
    ("--tool", "delete", |call| call.tool.contains("delete")),
    ("--refused", "", |call| call.refused),
    ("--flagged", "", |call| call.flagged),
    ("--since", "1970-01-01T00:00:20Z", |call| call.second >= 20),
    ("--until", "1970-01-01T00:00:30Z", |call| call.second < 30),
];

/// A record as it may come.
#[derive(Debug, Clone)]
struct Step {
    worker: usize,
    what: u8,
    pick: [usize; 4],
    status: u16,
    mark: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let picks = any::<[u8; 4]>().prop_map(|picks| picks.map(usize::from));
    (0..3_usize, 0..10_u8, picks, prop_oneof![Just(200), Just(404), 500..510_u16], 0..8_u8)
        .prop_map(|(worker, what, pick, status, mark)| Step { worker, what, pick, status, mark })
}

/// Logs as workers write them, and what is in them.
struct World {
    logs: Vec<CallLog>,
    open: Vec<Vec<(u64, usize)>>,
    seqs: Vec<u64>,
    calls: u64,
    seconds: i64,
    facts: Vec<Facts>,
}

impl World {
    fn new(state: &Path) -> World {
        let mut world = World {
            logs: Vec::new(),
            open: vec![Vec::new(); 3],
            seqs: vec![0; 3],
            calls: 0,
            seconds: 0,
            facts: Vec::new(),
        };
        for (number, (worker, agent)) in WORKERS.iter().enumerate() {
            let directory = state.join("workers").join(worker);
            fs::create_dir_all(&directory).unwrap();
            world.logs.push(CallLog::create(&directory).unwrap());
            let (worker, agent) = ((*worker).to_owned(), (*agent).to_owned());
            let start = WorkerStart {
                format: FORMAT,
                worker,
                agent,
                identity: String::new(),
                policy: String::new(),
                observe: false,
                probe: false,
                command: Vec::new(),
                sandbox: serde_json::Value::Null,
                lock: serde_json::Value::Null,
                credentials: Vec::new(),
                version: String::new(),
            };
            world.write(number, Event::WorkerStart(start));
        }
        world
    }

    fn write(&mut self, worker: usize, event: Event) {
        self.seconds += 1;
        self.seqs[worker] += 1;
        self.logs[worker].append(Timestamp::from_second(self.seconds).unwrap(), event).unwrap();
    }

    fn begin(&mut self, worker: usize, event: Event, facts: Facts) {
        self.write(worker, event);
        let id = format!("{}/{}", WORKERS[worker].0, self.seqs[worker]);
        self.facts.push(Facts { id, worker, second: self.seconds, ..facts });
    }

    fn step(&mut self, Step { worker, what, pick, status, mark }: &Step) {
        let (worker, text) = (*worker, |list: &[&str], number: usize| list[pick[number] % list.len()].to_owned());
        let (to, path, rule) = (text(&HOSTS, 0), text(&PATHS, 1), text(&RULES, 2));
        let method = text(&["GET", "POST", "DELETE"], 3);
        match what {
            0..4 => {
                self.calls += 1;
                let tool = [None, Some("search_code, delete"), Some("list")][usize::from(mark % 3)].map(str::to_owned);
                let lease = if mark % 2 == 0 { "0193-0001-abcd" } else { "0193-0001-ffff" }.to_owned();
                let credential = (*mark < 4).then(|| CredentialUse {
                    name: if *mark == 0 { "api" } else { "key" }.to_owned(),
                    lease,
                    places: Vec::new(),
                    injected: false,
                    waited_ms: None,
                });
                let observed = *mark == 5;
                let facts = Facts {
                    to: to.clone(),
                    method: method.clone(),
                    path: path.clone(),
                    rule: rule.clone(),
                    tool: tool.clone().unwrap_or_default(),
                    credential: credential.as_ref().map(|used| used.name.clone()).unwrap_or_default(),
                    leases: credential.iter().map(|used| used.lease.replace('-', "")).collect(),
                    flagged: observed,
                    ..Facts::default()
                };
                let (kind, reason) = ("host-not-listed".to_owned(), "no".to_owned());
                let start = CallStart {
                    call: self.calls,
                    connection: 1,
                    scheme: "https".into(),
                    to,
                    method: method.into(),
                    path,
                    query: None,
                    tool,
                    http: "HTTP/1.1".into(),
                    rule,
                    policy: "".into(),
                    credential,
                    client_certificate: None,
                    client_tls: None,
                    observed: observed.then_some(Observed { kind, reason }),
                    trace: None,
                };
                self.open[worker].push((self.calls, self.facts.len()));
                self.begin(worker, Event::CallStart(start), facts);
            }
            4 => {
                self.calls += 1;
                self.open[worker].push((self.calls, self.facts.len()));
                let facts = Facts { to: to.clone(), rule: rule.clone(), ..Facts::default() };
                let (call, tls, policy) = (self.calls, "tcp".to_owned(), String::new());
                self.begin(
                    worker,
                    Event::TunnelStart(TunnelStart { call, connection: 1, to, tls, rule, policy }),
                    facts,
                );
            }
            5 => {
                let Some((call, index)) = self.open[worker].first().copied() else { return };
                let retried = Retried { refused: String::new(), lease: "0193-0002".to_owned() };
                self.write(worker, Event::CallRetried(CallRetried { call, retried }));
                self.facts[index].flagged = true;
                self.facts[index].leases.push("01930002".to_owned());
            }
            6..9 => {
                if self.open[worker].is_empty() {
                    return;
                }
                let which = pick[0] % self.open[worker].len();
                let (call, index) = self.open[worker].remove(which);
                let outcome = ["done", "broken", "cut", "refused", "abandoned"][usize::from(*mark) % 5].into();
                let (scrubbed, status) = (u64::from(*mark == 7), Some(*status));
                let forbidden = (*mark == 6).then_some(std::net::Ipv4Addr::LOCALHOST.into());
                let facts = &mut self.facts[index];
                facts.status = status;
                facts.refused = outcome == "refused";
                facts.flagged |= outcome == "broken" || outcome == "cut" || scrubbed > 0 || forbidden.is_some();
                self.write(
                    worker,
                    Event::CallEnd(CallEnd { call, outcome, status, scrubbed, forbidden, ..CallEnd::default() }),
                );
            }
            _ => {
                let (alert, status) = (*mark == 0, Some(*status));
                let rule = (*mark > 3).then_some(rule);
                let facts = Facts {
                    to: to.clone(),
                    method: method.clone(),
                    path: path.clone(),
                    rule: rule.clone().unwrap_or_default(),
                    status,
                    refused: true,
                    flagged: alert,
                    ..Facts::default()
                };
                let (kind, reason) = ("host-not-listed".to_owned(), "no".to_owned());
                let (connection, scheme, tool, hint, trace) = (1, None, None, None, None);
                let (method, path) = (Some(method), Some(path));
                let refused = Refused {
                    connection,
                    to,
                    scheme,
                    method,
                    path,
                    tool,
                    kind,
                    status,
                    reason,
                    rule,
                    policy: None,
                    hint,
                    trace,
                    alert,
                };
                self.begin(worker, Event::Refused(refused), facts);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_is_what_the_options_mean(
        steps in proptest::collection::vec(step(), 0..80),
        more in proptest::collection::vec(step(), 0..20),
        choices in proptest::collection::vec(proptest::collection::vec(0..OPTIONS.len(), 0..4), 1..12),
        most in 1..30_usize,
    ) {
        let room = tempfile::tempdir().unwrap();
        let places = Places { config: room.path().join("config"), state: room.path().to_owned() };
        let mut world = World::new(room.path());
        steps.iter().for_each(|step| world.step(step));
        for (number, choice) in choices.iter().enumerate() {
            if number == choices.len() / 2 {
                more.iter().for_each(|step| world.step(step));
            }
            let mut line = vec!["exeat".to_owned(), "calls".to_owned()];
            let mut asked: HashMap<&str, Vec<Judge>> = HashMap::new();
            for (option, value, judge) in choice.iter().map(|index| OPTIONS[*index]) {
                let single = value.is_empty() || option == "--since" || option == "--until";
                if !(single && asked.contains_key(option)) {
                    line.push(option.to_owned());
                    line.extend((!value.is_empty()).then(|| value.to_owned()));
                }
                asked.entry(option).or_default().push(judge);
            }
            let Command::Calls(arguments) = Arguments::try_parse_from(&line).unwrap().command else { unreachable!() };
            let filter = Filter::new(&arguments.wanted).unwrap();
            let wanted = |call: &&Facts| asked.values().all(|judges| judges.iter().any(|judge| judge(call)));
            let expected: Vec<&str> = world.facts.iter().filter(wanted).map(|call| &*call.id).collect();
            for finder in [Finder::new(&places).unwrap(), Finder::new(&places).unwrap().without_index()] {
                let (found, flaws) = finder.find(&filter, None, None);
                prop_assert!(flaws.is_empty());
                let name = |log: usize| finder.logs[log].worker().file_name().unwrap().to_str().unwrap().to_owned();
                let ids: Vec<String> = found.hits.iter().map(|hit| format!("{}/{}", name(hit.log), hit.seq)).collect();
                prop_assert_eq!(&ids, &expected, "{:?}", line);
                prop_assert_eq!(finder.read(&found.hits).unwrap().len(), expected.len());
                let (newest, _) = finder.find(&filter, std::num::NonZeroUsize::new(most), None);
                prop_assert_eq!(&newest.hits[..], &found.hits[found.hits.len().saturating_sub(most)..]);
                prop_assert_eq!(newest.hits.len() + newest.older, expected.len());
            }
        }
    }
}
