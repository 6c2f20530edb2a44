//! The call log: what happened, before it matters, outside the sandbox, and no secret in it.

use record::{Event, verified};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::credentials::leased;
use crate::harness::{Exeat, Log, TokenEndpoint, Upstream, assert_nowhere_below};

#[test]
fn a_worker_says_who_runs_what_under_which_policy() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().sandbox("memory = \"1GiB\"\nprocesses = 99").allow("api.example.com", &upstream);
    let run =
        exeat.sh("curl -sSf https://api.example.com/echo; curl -sS https://www.example.com/; exit 4").ended_with(4);
    let start = run.log.start();
    assert_eq!((start.agent.as_str(), &start.command[..2]), ("bot", &["sh".to_owned(), "-c".to_owned()][..]));
    assert!(start.identity.starts_with("spiffe://"), "{start:?}");
    assert!(start.policy.starts_with("sha256:"), "{start:?}");
    assert_eq!(start.sandbox["limits"]["processes"], 99);
    let end = run.log.end();
    assert_eq!((end.calls, end.refused), (1, 1));
    assert!(end.outcome.contains('4'), "{end:?}");
}

#[test]
fn a_call_is_told_from_start_to_end() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let script = "curl -sSf --http1.1 -d 12345 -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/leak/plain?page=2&api_key=hide'";
    let run = exeat.sh(script).ok();
    let (start, end) = (run.log.calls()[0], run.log.ends()[0]);
    assert_eq!((&*start.to, &*start.method, &*start.path), ("api.example.com:443", "POST", "/leak/plain"));
    assert_eq!((&*start.scheme, &*start.http), ("https", "HTTP/1.1"));
    assert_eq!(start.query.as_deref(), Some("page=2&api_key=…"));
    assert!(start.rule.starts_with("allow #1 (line "), "{start:?}");
    assert_eq!(*start.policy, *run.log.start().policy);
    let used = start.credential.as_ref().unwrap();
    assert_eq!(used.name, "api");
    assert!(exeat.leases().iter().any(|lease| lease.lease.to_string() == used.lease), "{used:?}");
    assert!(start.client_tls.as_ref().unwrap().version.starts_with("TLSv1_"));
    assert_eq!((end.call, &*end.outcome, end.status), (start.call, "done", Some(200)));
    assert_eq!((end.sent, end.scrubbed), (5, 1));
    assert!(end.head_ms.unwrap() <= end.total_ms);
    assert_eq!(end.address.as_deref(), Some(&*upstream.dial()));
    assert_eq!(end.upstream_tls.as_ref().unwrap().alpn.as_deref(), Some("http/1.1"));
}

#[test]
fn a_call_is_in_the_log_while_the_upstream_still_thinks() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let live = exeat.start(&["curl", "-sSf", "https://api.example.com/slow?ms=3000"]);
    upstream.wait_for(1);
    let log = live.log();
    assert_eq!(log.calls()[0].path, "/slow");
    assert!(log.ends().is_empty());
    assert_eq!(live.finish().ok().log.ends()[0].outcome, "done");
}

#[test]
fn a_call_that_its_client_gave_up_is_in_the_log_too() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let exeat = Exeat::new().allow("api.example.com", &upstream);
        let run =
            exeat.run(&["curl", "-sS", version, "-m", "0.5", "https://api.example.com/slow?ms=5000"]).ended_with(28);
        assert_eq!(run.log.ends().len(), 1, "{run:#?}");
        assert_eq!(run.log.ends()[0].outcome, "abandoned", "{run:#?}");
    }
}

#[test]
fn every_name_asked_for_is_in_the_log() {
    let run = Exeat::new()
        .sh("getent ahosts one.example.com; getent hosts two.example.net; curl -s https://three.example.org/; true");
    let names = run.log.names();
    for name in ["one.example.com", "two.example.net", "three.example.org"] {
        assert!(names.iter().any(|(asked, _)| *asked == name), "{names:?}");
    }
}

#[test]
fn no_secret_and_no_placeholder_is_in_any_file_of_the_state_directory() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer).allow("www.example.com", &upstream);
    let run = exeat.sh("echo $API_KEY
         curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/leak/head
         curl -sS \"https://api.example.com/echo?token=$API_KEY&other=$API_KEY\"
         curl -sS \"https://www.example.com/$API_KEY\"; curl -sS -d $API_KEY https://www.example.com/
         curl -sS -u user:$API_KEY https://www.example.com/; curl -sS https://$API_KEY.example.net/; true");
    let run = run.ok();
    let placeholder = run.stdout.lines().next().unwrap();
    let issued = issuer.issued();
    assert_nowhere_below(
        &exeat.state(),
        &[placeholder, &placeholder.to_ascii_lowercase(), &issued[0], TokenEndpoint::SECRET],
    );
    // The label of a name is the placeholder in another case; what is random in it would still give it away.
    assert!(!run.log.text.to_ascii_lowercase().contains(&placeholder[6..].to_ascii_lowercase()), "{}", run.log.text);
    assert!(!run.stderr.contains(&issued[0]) && !run.stderr.contains(TokenEndpoint::SECRET));
}

#[test]
fn the_log_is_its_owners_alone() {
    let exeat = Exeat::new();
    exeat.run(&["true"]).ok();
    let workers = exeat.state().join("workers");
    let worker = fs::read_dir(&workers).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&worker).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(worker.join("calls/000001.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A log with a call, a refusal and an alert.
fn with_calls() -> (Exeat, Upstream) {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .fixed("api", "a-secret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n")
        .allow_with("api.example.com", &upstream, "credential = \"api\"")
        .allow("www.example.com", &upstream);
    let script = "curl -sS -H \"X-Key: $API_KEY\" https://api.example.com/echo; curl -sS https://nowhere.example.net/; \
        curl -sS -H \"X-Key: $API_KEY\" https://www.example.com/carried-off";
    exeat.sh(script).ok();
    (exeat, upstream)
}

#[test]
fn calls_are_listed_as_a_table_and_filtered() {
    let (exeat, _upstream) = with_calls();
    let list = |arguments: &[&str]| exeat.exeat(&[&["calls"], arguments].concat()).finish().ok().stdout;
    let all = list(&[]);
    assert!(all.contains("GET api.example.com/echo") && all.contains("[credential api in header]"), "{all}");
    assert!(all.contains("host-not-listed") && all.contains("ALERT"), "{all}");
    assert_eq!(all.lines().count(), 4, "{all}");
    let refused = list(&["--refused"]);
    assert!(refused.lines().count() == 3 && !refused.contains("/echo"), "{refused}");
    let host = list(&["--host", "WWW.example.com"]);
    assert!(host.lines().count() == 2 && host.contains("/carried-off"), "{host}");
    assert_eq!(list(&["--agent", "bot"]), all);
    assert_eq!(list(&["--agent", "another"]).lines().count(), 1);
    assert_eq!(list(&["--since", "1h"]), all);
    assert_eq!(list(&["--since", "2100-01-01T00:00:00Z"]).lines().count(), 1);
    let run = exeat.exeat(&["calls", "--since", "whenever"]).finish();
    assert!(run.code != Some(0) && run.stderr.contains("whenever"), "{run:#?}");
}

#[test]
fn calls_are_given_as_json_as_they_were_written() {
    let (exeat, _upstream) = with_calls();
    let printed = exeat.exeat(&["calls", "--json"]).finish().ok().stdout;
    let log = exeat.log();
    assert_eq!(printed.lines().count(), 4, "a start, an end, two refusals: {printed}");
    assert!(printed.lines().all(|line| log.text.lines().any(|own| own == line)));
    assert!(printed.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn calls_can_be_followed() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let mut following = exeat.exeat(&["calls", "-f"]);
    following.wait_for("TIME");
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo/followed"]).ok();
    following.wait_for("/echo/followed");
}

#[test]
fn who_lists_calls_is_told_that_one_of_them_was_changed() {
    let (exeat, _upstream) = with_calls();
    let exeat = exeat.tampers_with_the_log();
    let worker = fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path();
    let file = worker.join("calls/000001.jsonl");
    let original = fs::read_to_string(&file).unwrap();
    fs::write(&file, original.replace("\"path\":\"/carried-off", "\"path\":\"/nothing-was")).unwrap();
    for arguments in [
        &["calls"][..],
        &["calls", "--json"],
        &["calls", "--csv"],
        &["calls", "--refused"],
        &["calls", "export", "--ocsf"],
    ] {
        let run = exeat.exeat(arguments).finish().ended_with(1);
        assert!(run.stderr.contains("was changed") && run.stderr.contains("exeat verify"), "{arguments:?}: {run:#?}");
        assert!(run.stdout.contains("nothing-was"), "it is shown all the same: {run:#?}");
    }
    exeat.exeat(&["calls", "--host", "nowhere.example.net"]).finish().ok();
    fs::write(&file, original).unwrap();
    exeat.exeat(&["calls"]).finish().ok();
}

#[test]
fn who_follows_calls_is_told_that_one_of_them_was_changed_and_goes_on() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).tampers_with_the_log();
    let mut following = exeat.exeat(&["calls", "-f"]);
    following.wait_for("TIME");
    let script = "for path in first 'slow?ms=2500' last; do curl -sSf -o /dev/null \"https://api.example.com/$path\"; done; sleep 600";
    let live = exeat.start(&["sh", "-c", script]);
    following.wait_for("/first");
    upstream.wait_for(2);
    assert!(!following.stderr().contains("was changed"), "{}", following.stderr());
    // While a call is open, its first record is changed, and no other byte.
    let worker = fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path();
    let file = worker.join("calls/000001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let at = text.find("/slow\"").unwrap();
    OpenOptions::new().write(true).open(&file).unwrap().write_all_at(b"/slaw", at as u64).unwrap();
    following.wait_for("/slaw");
    following.wait_for("/last");
    let told = following.stderr();
    assert_eq!(told.matches("was changed").count(), 1, "{told}");
    assert!(told.contains(worker.to_str().unwrap()) && told.contains("exeat verify"), "{told}");
    drop(live);
}

#[test]
fn a_log_that_was_changed_is_seen() {
    let (exeat, _upstream) = with_calls();
    let exeat = exeat.tampers_with_the_log();
    let verify_log = || exeat.exeat(&["verify"]).finish();
    assert!(verify_log().ok().stdout.contains("nothing is wrong"));
    let worker = fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path();
    let file = worker.join("calls/000001.jsonl");
    let original = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = original.lines().collect();
    let changed = original.replacen("carried-off", "nothing-was", 1);
    let removed = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    let swapped = [&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat().join("\n") + "\n";
    let first_gone = lines[1..].join("\n") + "\n";
    let no_record = format!("{original}{{}}\n");
    for forged in [changed, removed, swapped, first_gone, no_record] {
        assert_ne!(forged, original);
        fs::write(&file, forged).unwrap();
        assert!(verified(&worker).is_err());
        let run = verify_log();
        assert!(run.code == Some(1) && run.stdout.contains("CHANGED"), "{run:#?}");
    }
}

#[test]
fn when_the_log_cannot_be_written_calls_are_refused() {
    // A limit on the size of files, with its signal ignored, makes the log's file full in the middle of the run.
    let upstream = Upstream::start();
    // It has to be large enough for what the sandbox is made of.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh"];
    let exeat = Exeat::new().allow("api.example.com", &upstream).through(&limited);
    let program = "import http.client
connection = http.client.HTTPSConnection('api.example.com')
statuses = []
for number in range(600):
    connection.request('GET', f'/echo/{number}?fill=' + 'x' * 4000)
    answer = connection.getresponse()
    statuses.append(answer.status)
    last = answer.read().decode()
print(statuses[0], statuses[-1], sorted(set(statuses)), last)";
    let run = exeat.python(program).ok();
    assert!(run.stdout.starts_with("200 503 [200, 503] "), "{run:#?}");
    assert!(run.stdout.contains("urn:exeat:refusal:log-unavailable"), "{run:#?}");
    let seen: Vec<String> =
        upstream.seen().iter().map(|seen| seen.target.split('?').next().unwrap().to_owned()).collect();
    assert!((10..590).contains(&seen.len()), "{}", seen.len());
    let started: Vec<String> = run.log.calls().iter().map(|call| call.path.clone()).collect();
    assert_eq!(seen, started, "upstream saw what the log does not have");
}

#[test]
fn the_log_of_a_worker_that_was_killed_verifies_to_its_last_whole_line() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let live = exeat.start(&["sh", "-c", "while :; do curl -s https://api.example.com/echo; done"]);
    upstream.wait_for(20);
    live.signal(rustix::process::Signal::KILL);
    live.finish();
    let log = Log::read(&exeat.state());
    assert!(log.calls().len() >= 20);
    assert!(!log.lines.iter().any(|line| matches!(line.event, Event::WorkerEnd(_))));
    assert!(exeat.exeat(&["verify"]).finish().ok().stdout.contains("nothing is wrong"));
    exeat.exeat(&["calls"]).finish().ok();
}
