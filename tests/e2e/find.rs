//! Calls are found, told and counted: what the log has, and nothing that an index or a log says to a terminal instead.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::credentials::leased;
use crate::harness::{Exeat, Run, TokenEndpoint, Upstream};

/// A call with a credential that leaked into its answer, one that its upstream failed, a refusal and an alert.
pub(super) fn with_calls() -> (Exeat, Upstream, TokenEndpoint) {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer).allow("www.example.com", &upstream);
    let script = "curl -sS -H \"Authorization: Bearer $API_KEY\" 'https://api.example.com/leak/plain?q==1%2B1'
        curl -sS -X POST -d x https://www.example.com/status/503; curl -sS https://nowhere.example.net/
        curl -sS -H \"X-Key: $API_KEY\" https://www.example.com/carried-off; true";
    exeat.sh(script).ok();
    (exeat, upstream, issuer)
}

pub(super) fn list(exeat: &Exeat, arguments: &[&str]) -> Vec<String> {
    let out = exeat.exeat(&[&["calls"], arguments].concat()).finish().ok().stdout;
    out.lines().skip(1).map(ToOwned::to_owned).collect()
}

/// The id of the one call that these find.
fn id(exeat: &Exeat, arguments: &[&str]) -> String {
    let rows = list(exeat, arguments);
    assert_eq!(rows.len(), 1, "{arguments:?}: {rows:#?}");
    rows[0].split(' ').next().unwrap().to_owned()
}

pub(super) fn worker(exeat: &Exeat) -> PathBuf {
    fs::read_dir(exeat.state().join("workers")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn calls_are_found_by_whatever_is_known_of_them() {
    let (exeat, _upstream, _issuer) = with_calls();
    let all = list(&exeat, &[]);
    assert_eq!(all.len(), 4, "{all:#?}");
    let lease = exeat.log().calls()[0].credential.as_ref().unwrap().lease.clone();
    let worker = worker(&exeat).file_name().unwrap().to_str().unwrap().to_owned();
    for same in [["--worker", &worker[..]], ["--worker", &worker[28..]], ["--since", "1h"]] {
        assert_eq!(list(&exeat, &same), all, "{same:?}");
    }
    for (arguments, path) in [
        (&["--method", "post"][..], "/status/503"),
        (&["--path", "/leak/*"], "/leak/plain"),
        (&["--status", "5xx"], "/status/503"),
        (&["--status", "503", "--status", "599"], "/status/503"),
        (&["--host", "*.example.net"], "nowhere"),
        (&["--host", "api.example.com", "--host", "a.b"], "/leak/plain"),
        (&["--credential", "api"], "/leak/plain"),
        (&["--lease", &lease], "/leak/plain"),
        (&["--rule", "allow 2"], "/status/503"),
        (&["--rule", "allow #1"], "/leak/plain"),
        (&["--flagged", "--refused"], "/carried-off"),
        (&["--flagged", "--status", "200"], "/leak/plain"),
        (&["--limit", "1"], "/carried-off"),
    ] {
        let found = list(&exeat, arguments);
        assert!(found.len() == 1 && found[0].contains(path), "{arguments:?}: {found:#?}");
    }
    assert!(list(&exeat, &["--until", "1h"]).is_empty() && list(&exeat, &["--tool", "*"]).is_empty());
    let newest = exeat.exeat(&["calls", "--limit", "3"]).finish().ok();
    assert!(newest.stderr.contains("the newest 3 of 4") && newest.stderr.contains("--limit all"), "{newest:#?}");
    assert_eq!(exeat.exeat(&["calls", "--limit", "all"]).finish().ok().stderr, "");
    for wrong in
        [["--status", "ok"], ["--path", "repos"], ["--limit", "0"], ["--rule", "7"], ["--worker", "x"], ["--host", ""]]
    {
        let run = exeat.exeat(&[&["calls"], &wrong[..]].concat()).finish();
        assert!(run.code != Some(0) && run.stderr.contains(wrong[0]), "{run:#?}");
    }
    let backwards = exeat.exeat(&["calls", "--since", "2h", "--until", "3h"]).finish().ended_with(125);
    assert!(backwards.stderr.contains("`--until` is before `--since`"), "{backwards:#?}");
}

#[test]
fn one_call_is_told_from_who_made_it_to_what_its_record_is_worth() {
    let (exeat, upstream, _issuer) = with_calls();
    let exeat = exeat.tampers_with_the_log();
    let found = id(&exeat, &["--credential", "api"]);
    let story = exeat.exeat(&["calls", "show", &found]).finish().ok().stdout;
    let log = exeat.log();
    let (start, end) = (log.calls()[0], log.ends()[0]);
    let lease = &start.credential.as_ref().unwrap().lease;
    let policy = exeat.policy_file();
    for part in [
        &found,
        "agent       bot",
        &log.start().identity,
        &format!("allowed by  {}, {}", start.rule, policy.display()),
        "| [[allow]]",
        "| to = \"api.example.com\"",
        "api, in header",
        lease,
        "revoked 2",
        "done, status 200",
        &format!("{:.1} ms in all", end.total_ms),
        &upstream.dial(),
        "TLSv1_3",
        "a credential in the answer, once",
        "api.example.com asked for (A",
        "follows from the one before it",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    assert!(!story.contains("\"www.example.com\""), "not the next rule's lines: {story}");
    let json: Value = exeat.exeat(&["calls", "show", &found, "--json"]).finish().ok().json();
    assert_eq!(json["records"][0]["record"]["path"], "/leak/plain");
    assert_eq!(json["leases"][0]["lease"], Value::from(lease.clone()));
    assert_eq!(json["chain"]["broken"], Value::Null);
    // The long form, and the number of its other record, mean the same call.
    let long = format!("{}/{}", json["worker"].as_str().unwrap(), json["records"][1]["record"]["seq"]);
    assert_eq!(exeat.exeat(&["calls", "show", &long]).finish().ok().stdout, story);

    let refusal = exeat.exeat(&["calls", "show", &id(&exeat, &["--host", "nowhere.example.net"])]).finish().ok().stdout;
    assert!(refusal.contains("host-not-listed") && refusal.contains("answered    403"), "{refusal}");
    let alert = exeat.exeat(&["calls", "show", &id(&exeat, &["--flagged", "--refused"])]).finish().ok().stdout;
    assert!(alert.contains("ALERT"), "{alert}");

    // What judged is not what is there any more.
    let mut file = OpenOptions::new().append(true).open(&policy).unwrap();
    file.write_all(b"\n# edited\n").unwrap();
    let later = exeat.exeat(&["calls", "show", &found]).finish().ok().stdout;
    assert!(later.contains("has changed since") && !later.contains("| [[allow]]"), "{later}");
    // Nor is the log.
    let segment = worker(&exeat).join("calls/000001.jsonl");
    let changed = fs::read_to_string(&segment).unwrap().replacen("spiffe://", "spiffy://", 1);
    fs::write(&segment, changed).unwrap();
    let run = exeat.exeat(&["calls", "show", &found]).finish();
    assert!(run.code == Some(1) && run.stdout.contains("CHANGED     record 2 does not follow"), "{run:#?}");
    let none = exeat.exeat(&["calls", "show", "ffffffff/1"]).finish();
    assert!(none.code != Some(0) && none.stderr.contains("ffffffff"), "{none:#?}");
}

#[test]
fn values_are_cells_and_no_formulas() {
    let (exeat, _upstream, _issuer) = with_calls();
    let csv = exeat.exeat(&["calls", "--csv"]).finish().ok().stdout;
    assert!(csv.starts_with("id,time,agent,result,status,method,to,path,query,"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), 5, "{csv}");
    assert!(csv.contains(",/leak/plain,q==1%2B1,"), "{csv}");
    let program = "import csv, sys; print(*[len(row) for row in csv.reader(sys.stdin)])";
    fs::write(exeat.path("calls.csv"), csv).unwrap();
    let mut reader = std::process::Command::new("python3");
    let file = fs::File::open(exeat.path("calls.csv")).unwrap();
    let read = reader.args(["-c", program]).stdin(file).output().unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap(), "22 22 22 22 22\n");
    exeat.sh("curl -sS 'https://www.example.com/echo?=HYPERLINK(1)'").ok();
    let csv = exeat.exeat(&["calls", "--csv", "--limit", "1"]).finish().ok().stdout;
    assert!(csv.contains(",'=HYPERLINK(1),"), "{csv}");
}

#[test]
fn an_index_that_is_lost_or_damaged_changes_no_answer() {
    let (exeat, _upstream, _issuer) = with_calls();
    let all = list(&exeat, &[]);
    let directory = exeat.state().join("index").join(worker(&exeat).file_name().unwrap());
    let sheet = directory.join("000001.sheet");
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&sheet).unwrap().mode() & 0o777, 0o600);
    let good = fs::read(&sheet).unwrap();
    for harm in 0..6 {
        match harm {
            0 => fs::remove_dir_all(exeat.state().join("index")).unwrap(),
            1 => fs::write(&sheet, &good[..good.len() / 2]).unwrap(),
            2 => fs::write(&sheet, []).unwrap(),
            3 => fs::write(&sheet, vec![0xff; 4096]).unwrap(),
            4 => {
                let mut bad = good.clone();
                let last = bad.len() - 1;
                bad[last] ^= 1;
                fs::write(&sheet, bad).unwrap();
            }
            _ => {
                exeat.sh("curl -sS https://elsewhere.example.net/").ok();
                fs::write(&sheet, &good).unwrap();
                assert_eq!(list(&exeat, &[]).len(), 5);
                continue;
            }
        }
        assert_eq!(list(&exeat, &[]), all, "harm {harm}");
    }
    // It cannot be kept: it is made each time.
    fs::remove_dir_all(exeat.state().join("index")).unwrap();
    fs::write(exeat.state().join("index"), "in the way").unwrap();
    assert_eq!(list(&exeat, &["--host", "api.example.com"]).len(), 1);
}

#[test]
fn who_does_not_own_the_logs_keeps_the_index_elsewhere() {
    let (exeat, _upstream, _issuer) = with_calls();
    let cache = exeat.path("cache");
    let exeat = exeat.environment("XDG_CACHE_HOME", cache.to_str().unwrap());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(exeat.state(), Some(65534), None).unwrap();
        assert_eq!(list(&exeat, &[]).len(), 4);
        assert!(cache.join("exeat/index").is_dir() && !exeat.state().join("index").exists());
    } else {
        assert_eq!(list(&exeat, &[]).len(), 4);
        assert!(!cache.exists() && exeat.state().join("index").is_dir());
    }
}

#[test]
fn what_is_followed_is_filtered_and_goes_on_with_new_workers() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    exeat.sh("curl -sS https://early.example.net/").ok();
    let live = exeat.start(&[
        "sh",
        "-c",
        "curl -sS https://api.example.com/slow?ms=2500; curl -sS https://api.example.com/echo/2",
    ]);
    upstream.wait_for(1);
    let mut following = exeat.exeat(&["calls", "-f"]);
    let mut refused = exeat.exeat(&["calls", "-f", "--refused", "--host", "*.example.net"]);
    following.wait_for("early.example.net");
    assert!(!following.stdout().contains("/slow"), "it is open: {}", following.stdout());
    following.wait_for("/slow?ms=2500");
    live.finish().ok();
    exeat.sh("curl -sS https://api.example.com/echo/3; curl -sS https://late.example.net/").ok();
    following.wait_for("/echo/3");
    following.wait_for("late.example.net");
    refused.wait_for("late.example.net");
    let (all, some) = (following.stdout(), refused.stdout());
    assert_eq!((all.lines().count(), some.lines().count()), (6, 3), "{all}\n{some}");
    assert!(!some.contains("api.example.com"), "{some}");
}

#[test]
fn a_log_that_cannot_be_read_hides_no_other() {
    let (exeat, _upstream, _issuer) = with_calls();
    let exeat = exeat.tampers_with_the_log();
    exeat.sh("curl -sS https://second.example.net/").ok();
    let segment = worker(&exeat).join("calls/000001.jsonl");
    let before = list(&exeat, &[]).len();
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(b"\x1b[2J no record\n").unwrap();
    let run = exeat.exeat(&["calls"]).finish();
    assert_eq!((run.code, run.stdout.lines().count()), (Some(1), before + 1), "{run:#?}");
    assert!(run.stderr.contains("is left out") && !run.stderr.contains('\u{1b}'), "{run:#?}");
}

/// What the index can take for a refusal, and is no record.
const FALSE: &str = r#"{"seq":900,"time":"2026-01-31T12:00:00Z","event":"refused","to":"false.example.net:443"}"#;

fn append(worker: &std::path::Path, line: &str) {
    let segment = worker.join("calls/000001.jsonl");
    OpenOptions::new().append(true).open(segment).unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
fn a_line_that_is_almost_a_record_silences_no_tool_about_another_worker() {
    let upstream = Upstream::start();
    let listed = "paths = [\"/slow\"]";
    let exeat = Exeat::new().allow_with("api.example.com", &upstream, listed).option(&["--observe"]);
    let exeat = exeat.tampers_with_the_log();
    exeat.sh("curl -sS https://api.example.com/echo/first").ok();
    let first = worker(&exeat);
    exeat.sh("curl -sS -X PUT https://api.example.com/second").ok();
    append(&first, FALSE);
    let left_out = |run: &Run| {
        assert_eq!(run.stderr.matches("what follows in this log is left out").count(), 1, "{run:#?}");
        assert!(run.stderr.contains(first.to_str().unwrap()) && run.stderr.contains("byte"), "{run:#?}");
        for shown in ["/first", "/second"] {
            assert!(run.stdout.contains(shown), "{run:#?}");
        }
    };
    // With an index, without one, and where it is the only one that is shown.
    for _ in 0..2 {
        left_out(&exeat.exeat(&["calls"]).finish().ended_with(1));
        fs::remove_dir_all(exeat.state().join("index")).unwrap();
    }
    assert_eq!(exeat.exeat(&["calls", "--host", "false.example.net"]).finish().ended_with(1).stdout.lines().count(), 1);
    left_out(&exeat.exeat(&["calls", "export", "--ocsf"]).finish().ended_with(1));
    left_out(&exeat.exeat(&["suggest", "--agent", "bot"]).finish().ok());

    let live = exeat.start(&["sh", "-c", "curl -sS https://api.example.com/slow?ms=2000; sleep 600"]);
    upstream.wait_for(3);
    let mut following = exeat.exeat(&["calls", "-f"]);
    following.wait_for("/slow");
    let running =
        fs::read_dir(exeat.state().join("workers")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    append(&running, FALSE);
    let third = exeat.start(&["sh", "-c", "curl -sS https://api.example.com/third; sleep 600"]);
    following.wait_for("/third");
    assert!(!following.stdout().contains("false.example.net"), "{}", following.stdout());
    drop((live, third));
}
