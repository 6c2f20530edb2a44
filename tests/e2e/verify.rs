//! Tamper evidence: whatever is done to logs afterwards, `exeat verify` says which and where.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use record::Hash;
use serde_json::Value;

use crate::harness::{Exeat, Run, Upstream};

/// Two runs with a call each, and a copy of the state directory for each test to ruin.
struct House {
    exeat: Exeat,
    _upstream: Upstream,
}

impl House {
    fn new() -> House {
        let upstream = Upstream::start();
        let exeat = Exeat::new().allow("api.example.com", &upstream);
        for n in ["first", "second"] {
            exeat.sh(&format!("curl -sSf https://api.example.com/echo/{n} https://api.example.com/echo/again")).ok();
        }
        House { exeat, _upstream: upstream }
    }

    /// A copy of what there is, by this name.
    fn copy(&self, name: &str) -> State {
        let to = self.exeat.path(name);
        let copied = Command::new("cp").arg("-a").arg(self.exeat.state()).arg(&to).status().unwrap();
        assert!(copied.success());
        let mut workers: Vec<PathBuf> =
            fs::read_dir(to.join("workers")).unwrap().map(|entry| entry.unwrap().path()).collect();
        workers.sort();
        State { workers, at: to }
    }

    /// What is said of a state directory.
    fn verify(&self, state: &State, more: &[&str]) -> Run {
        let at = state.at.to_str().unwrap();
        self.exeat.exeat(&[&["verify", at], more].concat()).finish()
    }

    /// The kinds of what is wrong with it, and the whole.
    fn faults(&self, state: &State, more: &[&str]) -> (Vec<String>, Value) {
        let run = self.verify(state, &[&["--json"], more].concat());
        let verdict: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:#?}"));
        let logs = verdict["logs"].as_array().unwrap().iter().flat_map(|log| log["findings"].as_array().unwrap());
        let all = logs.chain(verdict["roll"].as_array().unwrap());
        let faults: Vec<String> = all.map(|finding| finding["fault"].as_str().unwrap().to_owned()).collect();
        assert_eq!(run.code, Some(i32::from(!faults.is_empty())), "{run:#?}");
        assert_eq!((&verdict["schema"], &verdict["good"]), (&"exeat-verify/1".into(), &faults.is_empty().into()));
        (faults, verdict)
    }
}

struct State {
    at: PathBuf,
    workers: Vec<PathBuf>,
}

impl State {
    fn log(&self) -> PathBuf {
        self.workers[0].join("calls/000001.jsonl")
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap().lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.log(), lines.join("\n") + "\n").unwrap();
    }

    fn name(&self) -> &str {
        self.workers[0].file_name().unwrap().to_str().unwrap()
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.at.join("checkpoints").join(name)
    }
}

/// As somebody who knows how logs are made would do it: every line follows from the one before.
pub(crate) fn chained(lines: &mut [String]) {
    let mut prev = Hash::NONE;
    for (line, seq) in lines.iter_mut().zip(1..) {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let old = (record["seq"].clone(), record["prev"].clone());
        record["seq"] = seq.into();
        record["prev"] = prev.to_string().into();
        *line = line.replacen(&format!("\"seq\":{}", old.0), &format!("\"seq\":{seq}"), 1).replacen(
            old.1.as_str().unwrap(),
            &prev.to_string(),
            1,
        );
        prev = Hash::of_line(line.as_bytes());
    }
}

#[test]
fn what_was_written_is_good_here_and_elsewhere_with_the_public_key_alone() {
    let house = House::new();
    let state = house.copy("good");
    let run = house.verify(&state, &[]).ok();
    assert!(run.stdout.contains("signed to its end") && run.stdout.contains("nothing is wrong"), "{run:#?}");
    assert!(run.stdout.contains("keep a copy elsewhere"), "{run:#?}");
    // Only the logs, the checkpoints, and a key from somewhere else.
    let key = fs::read_to_string(state.kept("verifier")).unwrap();
    for gone in ["ledger.key", "checkpoint.key", "checkpoints/verifier"] {
        fs::remove_file(state.at.join(gone)).unwrap();
    }
    let (faults, verdict) = house.faults(&state, &["--key", key.trim_end(), "--strict"]);
    assert!(faults.is_empty() && verdict["keys_given"] == true, "{verdict}");
    let file = house.exeat.path("key");
    fs::write(&file, &key).unwrap();
    assert!(house.faults(&state, &["--key", file.to_str().unwrap()]).0.is_empty());
    let without = house.verify(&state, &[]);
    assert!(without.code == Some(125) && without.stderr.contains("no key"), "{without:#?}");
    let wrong = house.verify(&state, &["--key", "nonsense"]);
    assert!(wrong.code == Some(125) && wrong.stderr.contains("not a key of signed notes"), "{wrong:#?}");
    let empty = Exeat::new();
    // Nor is it good that there is nothing, be it that the place is another or that all of it is gone.
    let nothing = |arguments: &[&str]| {
        let run = empty.exeat(arguments).finish();
        assert!(run.code == Some(125) && run.stderr.contains("there is nothing to verify"), "{run:#?}");
    };
    nothing(&["verify"]);
    nothing(&["verify", "/nonexistent"]);
    nothing(&["verify", "--key", key.trim_end()]);
    for directory in ["workers", "checkpoints"] {
        fs::create_dir_all(empty.state().join(directory)).unwrap();
    }
    nothing(&["verify"]);
}

#[test]
fn a_record_changed_removed_put_in_or_moved_is_named() {
    let house = House::new();
    let lines = house.copy("untouched").lines();
    let at = lines.iter().position(|line| line.contains("\"call-start\"") && line.contains("/echo/first")).unwrap();
    let mut changed = lines.clone();
    changed[at] = changed[at].replace("/echo/first", "/echo/other");
    let mut removed = lines.clone();
    removed.remove(at);
    let mut inserted = lines.clone();
    inserted.insert(at, lines[at].clone());
    let mut moved = lines.clone();
    moved.swap(at, at + 1);
    for (name, forged, number) in [
        ("changed", changed, at + 2),
        ("removed", removed, at + 1),
        ("inserted", inserted, at + 2),
        ("moved", moved, at + 1),
    ] {
        let state = house.copy(name);
        state.write(&forged);
        let (faults, verdict) = house.faults(&state, &[]);
        assert_eq!(faults, ["changed"], "{name}: {verdict}");
        let finding = &verdict["logs"][0]["findings"][0];
        assert_eq!(finding["record"], number as u64, "{name}: {verdict}");
        let byte: usize = forged[..number - 1].iter().map(|line| line.len() + 1).sum();
        assert_eq!((&finding["at"]["segment"], &finding["at"]["offset"]), (&1.into(), &byte.into()), "{name}");
        // Made to fit again, it is still not what was signed.
        let mut fitting = forged;
        chained(&mut fitting);
        let state = house.copy(&format!("{name}-fitting"));
        state.write(&fitting);
        let (faults, verdict) = house.faults(&state, &[]);
        let expected: &[&str] = match name {
            "removed" => &["cut"],
            "inserted" => &["resigned", "appended"],
            _ => &["resigned"],
        };
        assert_eq!(faults, expected[..faults.len().min(2)], "{name}: {verdict}");
    }
}

#[test]
fn what_is_put_behind_the_end_is_named_whatever_it_says() {
    let house = House::new();
    let mut lines = house.copy("untouched").lines();
    let call = lines.iter().position(|line| line.contains("\"call-start\"")).unwrap();
    let forged = [lines[call].clone(), lines[call + 1].clone(), lines.last().unwrap().clone()];
    lines.extend(forged);
    chained(&mut lines);
    let state = house.copy("behind");
    state.write(&lines);
    let (faults, verdict) = house.faults(&state, &[]);
    assert!(faults.iter().all(|fault| fault == "appended") && faults.len() == 2, "{verdict}");
}

#[test]
fn a_log_says_whose_it_is_only_where_the_broker_has_not_said_so() {
    let house = House::new();
    let state = house.copy("renamed");
    let mut lines = state.lines();
    lines[0] = lines[0].replace("\"agent\":\"bot\"", "\"agent\":\"bat\"");
    state.write(&lines);
    for agent in [&[][..], &["--agent", "bot"]] {
        let (faults, verdict) = house.faults(&state, agent);
        assert!(faults.contains(&"changed".to_owned()) && faults.contains(&"foreign".to_owned()), "{verdict}");
    }
    for nobody in [["--agent", "bat"], ["--worker", "01a217a6-ca82-733a-a742-68bec1cfa07f"]] {
        let run = house.verify(&state, &nobody);
        assert!(run.code == Some(125) && run.stderr.contains("no such log"), "{run:#?}");
    }
}

#[test]
fn an_index_that_says_something_else_than_the_log_is_named() {
    let house = House::new();
    let list = |state: &State| house.exeat.exeat(&["--state", state.at.to_str().unwrap(), "calls"]).finish().ok();
    let state = house.copy("indexed");
    assert!(list(&state).stdout.contains("/echo/first"));
    assert!(house.faults(&state, &[]).0.is_empty());
    let sheet = |state: &State| state.at.join("index").join(state.name()).join("000001.sheet");
    // That of the other log of the same size, or nearly so, in its place.
    let other = state.at.join("index").join(state.workers[1].file_name().unwrap()).join("000001.sheet");
    fs::copy(other, sheet(&state)).unwrap();
    let run = house.verify(&state, &[]);
    assert!(run.code == Some(1) && run.stdout.contains("the index"), "{run:#?}");
}

#[test]
fn a_tail_a_log_or_a_checkpoint_that_is_gone_is_missed() {
    let house = House::new();
    let ruin = |name: &str, how: &dyn Fn(&State)| {
        let state = house.copy(name);
        how(&state);
        house.faults(&state, &[])
    };
    let cut = |state: &State| state.write(&state.lines()[..3]);
    let (faults, verdict) = ruin("cut", &cut);
    assert_eq!(faults, ["cut"], "{verdict}");
    // What lies beside the log was cut with it.
    let both = |state: &State| {
        cut(state);
        fs::write(state.workers[0].join("checkpoints"), "").unwrap();
    };
    assert_eq!(ruin("cut-both", &both).0, ["cut"]);
    let no_log = |state: &State| fs::remove_file(state.log()).unwrap();
    assert_eq!(ruin("no-log", &no_log).0, ["log-missing"]);
    let no_worker = |state: &State| fs::remove_dir_all(&state.workers[0]).unwrap();
    assert_eq!(ruin("no-worker", &no_worker).0, ["log-missing"]);
    let nothing_of_it = |state: &State| {
        no_worker(state);
        fs::remove_file(state.kept(state.name())).unwrap();
    };
    let (faults, verdict) = ruin("nothing-of-it", &nothing_of_it);
    assert_eq!(faults, ["count-missing"], "{verdict}");
    let no_count = |state: &State| fs::remove_file(state.kept(state.name())).unwrap();
    assert_eq!(ruin("no-count", &no_count).0, ["count-missing"]);
    let old_count = |state: &State| {
        let own = fs::read_to_string(state.workers[0].join("checkpoints")).unwrap();
        fs::write(state.kept(state.name()), record::note::split(&own).next().unwrap()).unwrap();
    };
    assert_eq!(ruin("old-count", &old_count).0, ["count-missing"]);
    let own = |state: &State| state.workers[0].join("checkpoints");
    for (name, how) in [
        ("no-own", &(|state: &State| fs::remove_file(own(state)).unwrap()) as &dyn Fn(&State)),
        ("empty-own", &|state: &State| fs::write(own(state), "").unwrap()),
        ("old-own", &|state: &State| {
            let all = fs::read_to_string(own(state)).unwrap();
            fs::write(own(state), record::note::split(&all).next().unwrap()).unwrap();
        }),
    ] {
        let (faults, verdict) = ruin(name, how);
        assert_eq!(faults, ["checkpoints-missing"], "{name}: {verdict}");
    }
}

#[test]
fn the_roll_of_workers_and_signatures_cannot_be_forged() {
    let house = House::new();
    let roll = fs::read_to_string(house.exeat.state().join("checkpoints/roll")).unwrap();
    let entries: Vec<&str> = record::note::split(&roll).collect();
    assert_eq!(entries.len(), 2);
    let with_roll = |name: &str, roll: &str| {
        let state = house.copy(name);
        fs::write(state.kept("roll"), roll).unwrap();
        house.faults(&state, &[]).0
    };
    assert_eq!(with_roll("without-first", entries[1]), ["roll-broken"]);
    assert_eq!(with_roll("without-last", entries[0]), ["not-on-roll"]);
    assert_eq!(with_roll("renamed", &roll.replacen(" bot", " bat", 1)), ["roll-broken"]);

    // Another key, by the same name.
    let other = House::new();
    let theirs = other.copy("theirs");
    let own_key = fs::read_to_string(house.exeat.state().join("checkpoints/verifier")).unwrap();
    let (faults, _) = house.faults(&theirs, &["--key", own_key.trim_end()]);
    assert!(
        faults.iter().filter(|fault| *fault == "unknown-key").count() >= 4
            && faults.contains(&"roll-broken".to_owned()),
        "{faults:?}"
    );
    let state = house.copy("forged");
    let kept = fs::read_to_string(state.kept(state.name())).unwrap();
    let size = kept.lines().nth(1).unwrap();
    fs::write(state.kept(state.name()), kept.replacen(&format!("\n{size}\n"), "\n3\n", 1)).unwrap();
    assert!(house.faults(&state, &[]).0.contains(&"forged".to_owned()));
    // The log of one worker in the place of another's.
    let state = house.copy("exchanged");
    for what in ["calls/000001.jsonl", "checkpoints"] {
        fs::copy(state.workers[1].join(what), state.workers[0].join(what)).unwrap();
    }
    let (faults, _) = house.faults(&state, &[]);
    assert!(faults.contains(&"foreign".to_owned()) && faults.contains(&"resigned".to_owned()), "{faults:?}");
}

#[test]
fn a_killed_workers_log_is_good_up_to_its_last_signature_and_a_running_ones_all_along() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let mut live =
        exeat.start(&["sh", "-c", "echo begun; while :; do curl -s https://api.example.com/echo >/dev/null; done"]);
    live.wait_for("begun");
    upstream.wait_for(5);
    for _ in 0..5 {
        let run = exeat.exeat(&["verify"]).finish().ok();
        assert!(run.stdout.contains("its worker runs"), "{run:#?}");
    }
    live.signal(rustix::process::Signal::KILL);
    live.finish();
    let run = exeat.exeat(&["verify"]).finish().ok();
    assert!(run.stdout.contains("signed up to ") && run.stdout.contains("its worker was killed"), "{run:#?}");
    assert_eq!(exeat.exeat(&["verify", "--strict"]).finish().code, Some(1));
}

#[test]
fn records_are_signed_for_while_their_worker_runs() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let mut live =
        exeat.start_with_input(&["sh", "-c", "curl -sSf https://api.example.com/echo; echo called; read line"]);
    live.wait_for("called");
    std::thread::sleep(std::time::Duration::from_secs(6));
    live.signal(rustix::process::Signal::KILL);
    live.finish();
    let (faults, verdict) = {
        let run = exeat.exeat(&["verify", "--json"]).finish();
        let verdict: Value = serde_json::from_str(&run.stdout).unwrap();
        (verdict["logs"][0]["findings"].as_array().unwrap().len(), verdict)
    };
    let log = &verdict["logs"][0];
    assert!(faults == 0 && log["signed"].as_u64() > Some(3) && log["signed"] == log["records"], "{verdict}");
    assert!(Path::new(&exeat.state()).join("checkpoints/roll").exists());
}
