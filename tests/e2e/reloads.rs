//! A thousand policies, one after the other, under calls that do not stop: none fails that every policy allows, and each is judged by one of
//! them and no other, which its record names.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use config::{Asked, Policy, Scheme};
use jiff::Timestamp;
use record::read::{Follower, Position};
use record::{Event, Line};
use rustix::process::Signal;

use crate::harness::{Exeat, Upstream};

/// As many as are promised.
const RELOADS: usize = 1000;
/// Each so many-th is broken, and changes nothing.
const BROKEN: usize = 10;
/// For one of them to be in force, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls what both kinds of policy allow, what one does, and what the other does, over connections of either version that are kept, with bodies
/// that take a while too, and prints a line for each call.
const CALLING: &str = r#"
import http.client, subprocess, threading, time
def old(paths):
    connection, i = http.client.HTTPSConnection('api.example.com'), 0
    while True:
        path = paths[i % len(paths)]
        i += 1
        try:
            connection.request('GET', path)
            answer = connection.getresponse()
            answer.read()
            print(f'{answer.status} {path}\n', end='', flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(f'broken {path} {error!r}\n', end='', flush=True)
            connection.close()
def new():
    said = '%{http_code} %{url}\\n'
    while True:
        answers = subprocess.run(['curl', '--http2', '-s', '-Z', '--parallel-max', '8', '-o', '/dev/null', '-w', said,
                                  'https://api.example.com/{both,a,b,both}/[1-100]'], stdout=subprocess.PIPE, text=True)
        print(answers.stdout, end='', flush=True)
def uploading(path):
    while True:
        connection = http.client.HTTPSConnection('api.example.com')
        try:
            connection.putrequest('POST', path)
            connection.putheader('Transfer-Encoding', 'chunked')
            connection.endheaders()
            for _ in range(50):
                connection.send(b'5\r\nhello\r\n')
                time.sleep(0.001)
            connection.send(b'0\r\n\r\n')
            print(f'{connection.getresponse().status} {path}\n', end='', flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(f'broken {path} {error!r}\n', end='', flush=True)
        connection.close()
for calling in [lambda: old(['/both/x']), lambda: old(['/both/x', '/a/x', '/b/x']), new, new,
                lambda: uploading('/a/y'), lambda: uploading('/a/y'), lambda: uploading('/b/y'), lambda: uploading('/both/y')]:
    threading.Thread(target=calling).start()
"#;

/// A worker's policy file and what came of it.
struct Editing {
    file: PathBuf,
    draft: PathBuf,
    log: Follower,
    /// By their digests.
    policies: HashMap<String, Policy>,
    lines: Vec<Line>,
    latencies: Vec<Duration>,
}

impl Editing {
    /// Puts this text in the place of the file, and waits until it is in force or refused.
    fn replace(&mut self, text: &str, taken: bool) {
        fs::write(&self.draft, text).unwrap();
        let before = Timestamp::now();
        fs::rename(&self.draft, &self.file).unwrap();
        let end = Instant::now() + PATIENCE;
        let (first, mut told) = (self.lines.len(), None);
        while told.is_none() {
            assert!(Instant::now() < end, "nothing came of {text}");
            std::thread::sleep(Duration::from_millis(1));
            self.lines.extend(self.log.more(usize::MAX).unwrap().into_iter().map(|record| record.line));
            told = self.lines[first..].iter().find(|line| match &line.event {
                Event::PolicyReloaded { policy } => taken && *policy == digest(text),
                Event::PolicyRejected { .. } => !taken,
                _ => false,
            });
        }
        if taken {
            self.latencies.extend(told.map(|line| line.time.duration_since(before).unsigned_abs()));
        }
    }
}

fn parse(text: &str) -> Policy {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap()
}

fn digest(text: &str) -> String {
    parse(text).digest().to_owned()
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are for whoever runs it with --nocapture")]
fn a_thousand_reloads_fail_no_call_and_each_call_is_judged_by_one_policy() {
    let upstream = Upstream::with_alpn(&["h2", "http/1.1"]);
    let allowing = |one: &str, other: &str| {
        format!(
            "paths = [\"/both/**\", \"/{one}/**\"]\n\n[[deny]]\nto = \"api.example.com\"\npaths = [\"/{other}/**\"]\n"
        )
    };
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, &allowing("a", "b"));
    let first = fs::read_to_string(exeat.policy_file()).unwrap();
    let live = exeat.start(&["python3", "-c", CALLING]);
    let started = Instant::now();
    while live.stdout().lines().count() < 20 {
        assert!(started.elapsed() < PATIENCE, "{}", live.stdout());
        std::thread::sleep(Duration::from_millis(20));
    }
    let worker = fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path();
    let mut editing = Editing {
        file: exeat.policy_file(),
        draft: exeat.config("agents/.bot.toml.new"),
        log: Follower::new(&worker, Position::START),
        policies: HashMap::from([(digest(&first), parse(&first))]),
        lines: Vec::new(),
        latencies: Vec::new(),
    };
    let second = first.replace(&allowing("a", "b"), &allowing("b", "a"));
    for i in 0..RELOADS {
        let text = format!("{}# {i}\n", if i % 2 == 0 { &second } else { &first });
        let policy = parse(&text);
        editing.policies.insert(policy.digest().to_owned(), policy);
        editing.replace(&text, true);
        if i % BROKEN == 0 {
            editing.replace(&format!("{first}\n[[allow]]\nto = \"broken {i}\"\n"), false);
        }
    }
    let took = started.elapsed();
    // What the clients' own end breaks off is not counted.
    let over = Timestamp::now();
    live.signal(Signal::TERM);
    let run = live.finish();
    let Editing { policies, mut latencies, .. } = editing;
    let lines: Vec<&Line> = run.log.lines.iter().filter(|line| line.time < over).collect();
    let said = judged_by_one_each(&lines, &policies);
    let clients = nothing_failed(&run.stdout);
    latencies.sort();
    let at = |hundredths: usize| latencies[(latencies.len() - 1) * hundredths / 100];
    eprintln!(
        "{RELOADS} reloads in {took:?} under {clients} calls ({said:?} allowed, refused, cut off): in force after {:?} (p50), {:?} (p99)",
        at(50),
        at(99)
    );
    assert!(said.0 > 100 && said.1 > 100 && clients > 100, "too few calls to say anything: {said:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

/// Every call that went out is allowed by the policy that its record names, every refused one is refused by it, and only what some policy
/// refuses was cut off. How many of each.
fn judged_by_one_each(lines: &[&Line], policies: &HashMap<String, Policy>) -> (usize, usize, usize) {
    let allowed = |policy: &str, method: &str, path: &str| {
        let (method, path) = (method.parse().unwrap(), config::NormalPath::parse(path).unwrap());
        let asked = Asked::new(method, Scheme::Https, "api.example.com:443".parse().unwrap(), path);
        asked.judged(&policies[policy]).is_ok()
    };
    let mut paths = HashMap::new();
    let (mut out, mut refused, mut cut) = (0, 0, 0);
    for line in lines {
        match &line.event {
            Event::CallStart(call) => {
                assert!(allowed(&call.policy, &call.method, &call.path), "{call:?}");
                paths.insert(call.call, call.path.clone());
                out += 1;
            }
            Event::Refused(it) => {
                let (Some(policy), Some(method), Some(path)) = (&it.policy, &it.method, &it.path) else {
                    panic!("not by a policy: {it:?}");
                };
                assert!(!allowed(policy, method, path), "{it:?}");
                refused += 1;
            }
            Event::CallEnd(end) if end.outcome != "done" && end.outcome != "abandoned" => {
                let path = &paths[&end.call];
                assert!(!path.starts_with("/both/"), "{path}: {end:?}");
                assert!(matches!(&*end.outcome, "refused" | "cut"), "{path}: {end:?}");
                assert!(end.reason.as_ref().is_some_and(|reason| reason.contains("denied by rule deny #1")), "{end:?}");
                cut += 1;
            }
            _ => {}
        }
    }
    (out, refused, cut)
}

/// What every policy allows has had an answer each time, and the rest one of its own. How many there were.
fn nothing_failed(said: &str) -> usize {
    let mut calls = 0;
    // The last may be half of one.
    for line in said.lines().rev().skip(1) {
        let answered = line.starts_with("200 ");
        assert!(answered || !line.contains("/both/"), "{line}");
        // Cut off by a policy that does not allow it, which the log has, or refused.
        assert!(
            answered || line.starts_with("403 ") || line.starts_with("broken ") || line.starts_with("000 "),
            "{line}"
        );
        calls += 1;
    }
    calls
}
