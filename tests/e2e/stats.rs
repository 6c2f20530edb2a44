//! Calls are counted, and the sums shown: what was refused, what failed, and whose doing it was; nothing that a log says acts on a terminal.

use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::find::{list, with_calls, worker};
use crate::harness::{Exeat, Upstream};

#[test]
fn what_could_not_be_reached_is_no_refusal() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let exeat = Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"127.0.0.1:{port}\""));
    exeat.sh("curl -sS https://api.example.com/; curl -sS https://nowhere.example.net/").ok();
    let shown = exeat.exeat(&["stats"]).finish().ok().stdout;
    assert!(shown.starts_with("1 calls, 1 refused, 1 failed, 0 errors\n") && shown.contains("FAILED"), "{shown}");
    let json = exeat.exeat(&["stats", "--json"]).finish().ok().json();
    assert_eq!(
        (&json["failed"], &json["refused"], &json["refusals"].as_array().unwrap().len()),
        (&1.into(), &1.into(), &1)
    );
    let of = |to: &str| json["groups"].as_array().unwrap().iter().find(|group| group["to"] == to).unwrap().clone();
    assert_eq!((&of("api.example.com:443")["failed"], &of("api.example.com:443")["refused"]), (&1.into(), &0.into()));
}

#[test]
fn what_a_battery_tries_is_no_agents_doing() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .fixed("api", "s3cret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n")
        .allow_with("api.example.com", &upstream, "credential = \"api\"");
    exeat.run(&["curl", "-sSf", "https://api.example.com/echo"]).ok();
    exeat.exeat(&["probe", "--agent", "bot", "--json"]).finish();
    let stats = exeat.exeat(&["stats"]).finish().ok();
    assert!(stats.stdout.starts_with("1 calls, 0 refused, 0 failed, 0 errors\n"), "{stats:#?}");
    assert!(stats.stderr.contains("`exeat probe`") && stats.stderr.contains("--probes"), "{stats:#?}");
    let flagged = exeat.exeat(&["calls", "--flagged"]).finish().ok();
    assert!(!flagged.stdout.contains("ALERT"), "{flagged:#?}");
    assert!(exeat.exeat(&["calls", "--flagged", "--probes"]).finish().ok().stdout.contains("ALERT"));
    // Said only where something was left out.
    for nothing in [["--agent", "other"], ["--host", "nowhere.example.com"], ["--until", "2020-01-01T00:00:00Z"]] {
        let stats = exeat.exeat(&["stats", nothing[0], nothing[1]]).finish().ok();
        assert!(!stats.stderr.contains("`exeat probe`"), "{stats:#?}");
    }
    let all = exeat.exeat(&["stats", "--probes", "--json"]).finish().ok();
    assert!(all.json()["refused"].as_u64().unwrap() > 10, "{all:#?}");
}

#[test]
fn a_command_that_looks_like_a_battery_is_no_battery() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    // Who chooses the command chooses its words.
    let run = exeat.run(&["/proc/self/exe", "probe-inside", "0123456789abcdef"]);
    assert!(!run.log.start().probe);
    let shown = exeat.exeat(&["calls"]).finish().ok();
    assert!(!shown.stderr.contains("`exeat probe`"), "{shown:#?}");
    exeat.exeat(&["probe", "--agent", "bot", "--json"]).finish();
    let shown = exeat.exeat(&["calls"]).finish().ok();
    assert!(shown.stderr.contains("`exeat probe`"), "{shown:#?}");
}

#[test]
fn calls_are_counted_by_agent_and_host() {
    let (exeat, _upstream, _issuer) = with_calls();
    let shown = exeat.exeat(&["stats"]).finish().ok().stdout;
    assert!(shown.starts_with("2 calls, 2 refused, 0 failed, 1 errors\n") && shown.contains("AGENT"), "{shown}");
    assert!(shown.is_ascii(), "nothing is drawn where nobody looks: {shown}");
    let json = exeat.exeat(&["stats", "--json"]).finish().ok().json();
    let group = |to: &str| json["groups"].as_array().unwrap().iter().find(|group| group["to"] == to).unwrap().clone();
    let www = group("www.example.com:443");
    assert_eq!(
        (&www["calls"], &www["refused"], &www["errors"], &www["sent"]),
        (&1.into(), &1.into(), &1.into(), &1.into())
    );
    assert!(www["total_ms"]["p99"].as_f64().unwrap() > 0.0);
    assert_eq!(group("nowhere.example.net:443")["refused"], 1);
    assert_eq!(json["refusals"].as_array().unwrap().len(), 2);
    let time = &json["over_time"];
    let count = |which: &str| time[which].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!((count("calls"), count("refused")), (2, 2));
    let one = exeat.exeat(&["stats", "--json", "--status", "5xx"]).finish().ok().json();
    assert_eq!((&one["calls"], &one["groups"].as_array().unwrap().len()), (&1.into(), &1));
    // The rest is in the sums, and said.
    let first = exeat.exeat(&["stats", "--limit", "1"]).finish().ok().stdout;
    assert!(
        first.starts_with("2 calls, 2 refused, 0 failed, 1 errors\n") && first.contains("and 2 rows more"),
        "{first}"
    );
    let first = exeat.exeat(&["stats", "--json", "--limit", "1"]).finish().ok().json();
    assert_eq!((first["groups"].as_array().unwrap().len(), &first["more_groups"]), (1, &2.into()));
    assert_eq!((&first["refused"], &json["more_groups"]), (&2.into(), &0.into()));
    let none = Exeat::new().exeat(&["stats"]).finish().ok().stdout;
    assert_eq!(none, "0 calls, 0 refused, 0 failed, 0 errors\n");
}

/// What a terminal of this width gets.
pub(crate) fn in_a_terminal(exeat: &Exeat, columns: usize, variables: &str, arguments: &str) -> String {
    let program = "import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execvp('sh', ['sh', '-c', sys.argv[1]])
seen = b''
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    seen += piece
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";
    let script = format!(
        "stty cols {columns}; {variables} {} --state {} {arguments}",
        crate::harness::binary(),
        exeat.state().display()
    );
    let run = std::process::Command::new("python3").args(["-c", program, &script]).output().unwrap();
    String::from_utf8(run.stdout).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_bars_that_fit_and_nothing_that_acts_on_it() {
    let (exeat, _upstream, _issuer) = with_calls();
    let plain = "env NO_COLOR=1 TERM=xterm LC_ALL=C.UTF-8";
    for columns in [50, 80, 130] {
        let shown = in_a_terminal(&exeat, columns, plain, "stats");
        assert!(shown.contains('█') && !shown.contains('\u{1b}'), "{shown:?}");
        let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= columns, "{longest} of {columns}: {shown}");
    }
    assert!(in_a_terminal(&exeat, 100, "env TERM=xterm LC_ALL=C.UTF-8", "stats").contains("\u{1b}[3"));
    assert!(in_a_terminal(&exeat, 100, "env NO_COLOR=1 TERM=xterm LC_ALL=C", "stats").is_ascii());
    // A log that somebody forged, with all that a line of JSON can have in it.
    let segment = worker(&exeat).join("calls/000001.jsonl");
    let forged = fs::read_to_string(&segment).unwrap();
    let last = forged.lines().rfind(|line| line.contains("carried-off")).unwrap();
    let evil = last.replace("/carried-off", "/\u{9b}2J\\u001b[2J\u{202e}\u{7f}").replace("\"bot\"", "\"b\\u001bot\"");
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(format!("{evil}\n").as_bytes()).unwrap();
    let acts = |c: char| (c.is_control() && c != '\n' && c != '\r') || c == '\u{202e}';
    let id = list(&exeat, &["--limit", "1"])[0].split(' ').next().unwrap().to_owned();
    for arguments in ["calls", "calls --json", "calls --csv", "stats", "stats --json", &format!("calls show {id}")] {
        let shown = in_a_terminal(&exeat, 100, plain, arguments);
        assert!(shown.len() > 100 && !shown.contains(acts), "{arguments}: {shown:?}");
    }
}
