//! What differs, by logs as workers write them.

use std::path::Path;

use proptest::prelude::*;
use record::{CallLog, Line};
use serde_json::json;

use super::*;

const POLICY: &str = "\
[[allow]]
to = \"api.example.com\"
methods = [\"GET\", \"POST\"]
paths = [\"/repos/acme/**\"]
credential = \"github\"

[[allow]]
to = \"tools.example.com\"
mcp = { tools = [\"search\"] }

[[allow]]
to = \"plain.example.com:80\"

[[allow]]
to = \"pinned.example.com\"
tls = \"passthrough\"

[[deny]]
to = \"api.example.com\"
paths = [\"/repos/acme/payroll/**\"]
";

fn policy() -> Policy {
    Policy::parse("bot".parse().unwrap(), "agents/bot.toml", POLICY).unwrap()
}

fn event(json: serde_json::Value) -> Event {
    serde_json::from_value(json).unwrap()
}

fn called(to: &str, method: &str, path: &str, credential: Option<&str>) -> Event {
    let used = credential.map(|name| json!({"name": name, "lease": "l"}));
    event(json!({
        "event": "call-start", "call": 1, "connection": 1, "scheme": "https", "to": to, "method": method, "path": path,
        "http": "HTTP/1.1", "rule": "allow #7 (line 70)", "policy": "sha256:old", "credential": used,
    }))
}

fn refused(to: &str, kind: &str, request: Option<(&str, &str)>) -> Event {
    let (method, path) = request.unzip();
    event(json!({
        "event": "refused", "connection": 1, "to": to, "method": method, "path": path, "kind": kind, "reason": "no",
    }))
}

/// What today's policy makes of these events, a second apart.
fn replayed(events: Vec<Event>) -> Replayed {
    let policy = policy();
    let mut replay = Replay { policies: HashMap::from([("bot", &policy)]), ..Replay::default() };
    for (second, event) in (0..).zip(events) {
        let time = Timestamp::from_second(second).unwrap();
        let line = Line { seq: 1, time, prev: record::Hash::NONE, event, cut: record::cut::Cuts::new() };
        match logged::read(line) {
            None => {}
            Some(Err(why)) => replay.leave_out(why),
            Some(Ok(logged)) => replay.judge("bot", time, &logged),
        }
    }
    replay.finish("7d")
}

fn lines(events: Vec<Event>) -> Vec<String> {
    replayed(events).differences.iter().map(ToString::to_string).collect()
}

const API: &str = "api.example.com:443";

#[test]
fn what_is_decided_as_before_is_no_difference() {
    let found = replayed(vec![
        called(API, "GET", "/repos/acme/x", Some("github")),
        called(API, "GET", "/repos/acme/x", None),
        called("tools.example.com:443", "POST", "/mcp", None),
        refused(API, "method-not-allowed", Some(("DELETE", "/repos/acme/x"))),
        // For another reason than before, and still.
        refused(API, "host-not-listed", Some(("GET", "/repos/acme/payroll/x"))),
        refused("other.example.com:443", "host-not-listed", None),
        event(
            json!({"event": "tunnel-start", "call": 1, "connection": 1, "to": "pinned.example.com:443", "tls": "passthrough", "rule": "allow #1 (line 1)", "policy": "p"}),
        ),
        refused("plain.example.com:80", "path-not-allowed", Some(("GET", "//"))),
    ]);
    assert!(found.differences.is_empty(), "{:#?}", found.differences);
    assert_eq!((found.judged, found.otherwise, found.heads), (7, 0, 1));
    assert_eq!(found.left_out.values().sum::<u64>(), 1, "{:?}", found.left_out);
}

#[test]
fn each_way_to_differ_is_told_with_its_line_and_calls_of_one_kind_are_one() {
    let found = lines(vec![
        called(API, "DELETE", "/repos/acme/x", None),
        called(API, "GET", "/repos/acme/payroll/1", Some("github")),
        called(API, "GET", "/repos/acme/payroll/1", Some("github")),
        refused(API, "path-not-allowed", Some(("POST", "/repos/acme/a/../b"))),
        called(API, "GET", "/repos/acme/x", Some("gitlab")),
        called("pinned.example.com:443", "GET", "/", None),
        refused("pinned.example.com:443", "host-not-listed", None),
        // A log of before there was a scheme.
        refused("plain.example.com:80", "host-not-listed", Some(("GET", "/"))),
    ]);
    let expected = [
        "+ bot: POST https://api.example.com/repos/acme/b (once, last 1970-01-01T00:00:03Z)\n    refused (path-not-allowed) → allowed by allow #1 (line 1) with `github`, agents/bot.toml:1",
        "- bot: GET https://api.example.com/repos/acme/payroll/1 (2 times, last 1970-01-01T00:00:02Z)\n    allowed by allow #7 (line 70) → refused (denied-by-rule) by deny #1 (line 18), agents/bot.toml:18",
        "~ bot: GET https://api.example.com/repos/acme/x (once, last 1970-01-01T00:00:04Z)\n    `gitlab` by allow #7 (line 70) → `github` by allow #1 (line 1), agents/bot.toml:1",
        "- bot: DELETE https://api.example.com/repos/acme/x (once, last 1970-01-01T00:00:00Z)\n    allowed by allow #7 (line 70) → refused (method-not-allowed), nearest allow #1 (line 1), agents/bot.toml:1",
        "+ bot: a connection to pinned.example.com:443 (once, last 1970-01-01T00:00:06Z)\n    refused (host-not-listed) → allowed by allow #4 (line 14), agents/bot.toml:14",
        "~ bot: GET https://pinned.example.com/ (once, last 1970-01-01T00:00:05Z)\n    no credential by allow #7 (line 70) → it passes unread by allow #4 (line 14), agents/bot.toml:14",
        "+ bot: GET http://plain.example.com/ (once, last 1970-01-01T00:00:07Z)\n    refused (host-not-listed) → allowed by allow #3 (line 11), agents/bot.toml:11",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for expected in expected {
        assert!(found.iter().any(|line| line == expected), "{expected}\nis not in {found:#?}");
    }
}

#[test]
fn tools_are_judged_where_the_log_names_them() {
    let tool = |name: &str, kind: Option<&str>| {
        let mut told = match kind {
            None => serde_json::to_value(called("tools.example.com:443", "POST", "/mcp", None)).unwrap(),
            Some(kind) => serde_json::to_value(refused("tools.example.com:443", kind, Some(("POST", "/mcp")))).unwrap(),
        };
        told["tool"] = name.into();
        event(told)
    };
    let found = replayed(vec![
        tool("search", None),
        tool("write, search", None),
        tool("search", Some("tool-not-allowed")),
        tool("resources/read file:///x", Some("tool-not-allowed")),
    ]);
    let lines: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("(tool write, search)") && line.contains("refused (tool-not-allowed)"))
    );
    assert!(lines.iter().any(|line| line.starts_with('+') && line.contains("(tool search)")), "{lines:#?}");
    assert_eq!(found.left_out.len(), 1, "{:?}", found.left_out);
}

#[test]
fn what_was_no_decision_of_the_rules_is_counted_and_left_out() {
    let found = replayed(vec![
        refused(API, "rate-limited", Some(("GET", "/repos/acme/x"))),
        refused(API, "rate-limited", Some(("GET", "/repos/acme/x"))),
        refused(API, "placeholder-misdirected", Some(("GET", "/x"))),
        refused("exeat", "malformed", None),
        refused(API, "host-not-listed", None),
        refused(API, "evil\u{1b}[2J kind", None),
        called("not a place", "GET", "/", None),
        called(API, "GET", "/%61", None),
    ]);
    assert_eq!((found.judged, found.left_out.values().sum::<u64>()), (0, 8), "{:?}", found.left_out);
    assert_eq!(found.left_out["refused as rate-limited, which is not for the rules to say"], 2);
    assert!(found.left_out.keys().all(|why| !why.chars().any(char::is_control)), "{:?}", found.left_out);
}

#[test]
fn what_passed_while_the_agent_was_only_observed_counts_as_refused() {
    let mut told = serde_json::to_value(called(API, "GET", "/repos/acme/x", None)).unwrap();
    told["observed"] = json!({"kind": "host-not-listed", "reason": "no"});
    assert!(lines(vec![event(told)])[0].starts_with("+ bot: GET"));
}

#[test]
fn more_differences_than_anybody_reads_are_counted() {
    let events = (0..MAX_DIFFERENCES + 5).map(|i| called(API, "GET", &format!("/{i}"), None)).collect();
    let found = replayed(events);
    assert_eq!((found.differences.len(), found.unlisted), (MAX_DIFFERENCES, 5));
    assert_eq!(found.otherwise, MAX_DIFFERENCES as u64 + 5);
}

#[test]
fn logs_are_read_for_their_agent_and_time_and_a_spoilt_one_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    let now = Timestamp::from_second(1_000_000).unwrap();
    let write = |name: &str, agent: &str| {
        let worker = state.join("workers").join(name);
        std::fs::create_dir_all(&worker).unwrap();
        let log = CallLog::create(&worker).unwrap();
        let start = event(json!({
            "event": "worker-start", "worker": name, "agent": agent, "identity": "i", "policy": "p", "command": [],
            "sandbox": null, "credentials": [], "version": "0",
        }));
        log.append(now, start).unwrap();
        for ago in [10, 10_000] {
            log.append(now.checked_sub(jiff::SignedDuration::from_secs(ago)).unwrap(), called(API, "PUT", "/", None))
                .unwrap();
        }
        worker
    };
    write("1", "bot");
    write("2", "stranger");
    let spoilt = write("3", "bot");
    let segment = record::Segment::plain(&spoilt, 1);
    std::fs::write(&segment, [&std::fs::read(&segment).unwrap()[..], b"not a record\n"].concat()).unwrap();
    let policy = policy();
    let places = Places { config: Path::new("/nowhere").to_owned(), state: state.to_owned() };
    let policies = [policy];
    let window = || usage::window("1h").unwrap();
    let all = run(&places, &policies, window(), None, now).unwrap();
    assert_eq!((all.judged, all.otherwise, all.differences.len(), all.notes.len()), (2, 2, 1, 1), "{:?}", all.notes);
    assert_eq!(all.left_out.keys().collect::<Vec<_>>(), ["of agent `stranger`, which has no file without mistakes"]);
    let one = run(&places, &policies, window(), Some(&"bot".parse().unwrap()), now).unwrap();
    assert_eq!((one.judged, one.left_out.len()), (2, 0));
    assert!(run(&places, &policies, window(), Some(&"stranger".parse().unwrap()), now).is_err());
}

proptest! {
    /// What a worker let out by a policy, the same policy lets out again; and of what it refused, nothing.
    #[test]
    fn the_same_policy_differs_in_nothing(
        host in prop::sample::select(&["api.example.com", "plain.example.com", "other.example.com", "tools.example.com"]),
        port in prop::sample::select(&[443, 80]),
        method in prop::sample::select(&["GET", "POST", "PUT"]),
        path in "(/repos/acme|/)(/[a-zé%:@;. ]{0,6}){0,3}",
    ) {
        let Ok(path) = config::NormalPath::parse(&path) else { return Ok(()) };
        let scheme = if port == 80 { config::Scheme::Http } else { config::Scheme::Https };
        let to = format!("{host}:{port}");
        let asked = config::Asked::new(method.parse().unwrap(), scheme, to.parse().unwrap(), path.clone());
        let logged = match asked.judged(&policy()) {
            Ok(_) => {
                let mut told = serde_json::to_value(called(&to, method, path.as_str(), None)).unwrap();
                told["scheme"] = scheme.as_str().into();
                event(told)
            }
            Err(denial) => refused(&to, denial.kind().as_str(), Some((method, path.as_str()))),
        };
        let found = replayed(vec![logged]);
        prop_assert!(found.differences.is_empty() && found.left_out.is_empty(), "{:?} {:?}", found.differences, found.left_out);
        prop_assert_eq!(found.judged, 1);
    }
}
