//! A log over several files: nothing is lost, whoever is killed; closed files are compressed, and old ones go as log.toml has it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use record::{Event, Segment, follow};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Exeat, Live, Log, Run, Upstream, binary, within};

/// What a clerk has left to do is some files of 64 KiB.
pub const SOON: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

/// As many calls as its first argument says, from one connection, each with a path of its own.
pub const LOAD: &str = "
import http.client, secrets, sys
connection = http.client.HTTPSConnection('api.example.com')
for number in range(int(sys.argv[1])):
    connection.request('GET', f'/echo/{number}?fill=' + secrets.token_hex(400))
    connection.getresponse().read()
print('done', flush=True)
";

pub fn house(upstream: &Upstream, more: &str) -> Exeat {
    let exeat = Exeat::new().allow("api.example.com", upstream);
    fs::write(exeat.config("log.toml"), format!("[segment]\nsize = \"64KiB\"\n{more}")).unwrap();
    exeat
}

/// What exeat does when it is two days later: no record of a log can be made older than it is.
pub fn in_two_days(exeat: &Exeat, arguments: &[&str]) -> Run {
    const CLOCK: &str = "#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, \"clock_gettime\");
    int failed = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += 2 * 24 * 60 * 60;
    return failed;
}
";
    let (source, clock) = (exeat.path("clock.c"), exeat.path("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&clock, &source]).status().unwrap();
    assert!(compiled.success());
    let mut command = Command::new(binary());
    command.args(arguments).env("EXEAT_CONFIG", exeat.config("")).env("EXEAT_STATE", exeat.state());
    command.env("LD_PRELOAD", clock).current_dir(exeat.work());
    Live::spawn(&mut command, Some(Vec::new()), Duration::from_secs(60)).finish()
}

pub fn workers(exeat: &Exeat) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(exeat.state().join("workers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The number of each file, and whether it is compressed.
pub fn files(worker: &Path) -> Vec<(u64, bool)> {
    let segments = Segment::all(worker).unwrap();
    segments.iter().map(|segment| (segment.number(), segment.is_compressed())).collect()
}

fn parts(worker: &Path) -> usize {
    let names = fs::read_dir(worker.join("calls")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().contains("part")).count()
}

/// All closed files of it are compressed, and there is no more than that.
pub fn is_cleared_up(worker: &Path) -> bool {
    let files = files(worker);
    files.len() > 3 && files[..files.len() - 1].iter().all(|(_, compressed)| *compressed) && parts(worker) == 0
}

fn paths(log: &Log) -> BTreeSet<String> {
    log.calls().iter().map(|call| call.path.clone()).collect()
}

fn is_gone(process: Pid) -> bool {
    // One that nobody has waited for has no memory any more.
    fs::read_to_string(format!("/proc/{process}/statm")).map_or(true, |memory| memory.starts_with("0 "))
}

#[test]
fn a_run_with_much_traffic_has_its_log_in_several_files_and_nothing_is_lost() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "");
    let mut live = exeat.start_with_input(&["python3", "-c", &format!("{LOAD}\nsys.stdin.readline()"), "250"]);
    live.wait_for("done");
    let (worker, clerk) = (workers(&exeat).remove(0), live.clerk());
    // It may do nothing beyond that, and compresses behind everybody else.
    let status = fs::read_to_string(format!("/proc/{clerk}/status")).unwrap();
    let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t")).unwrap();
    assert_eq!((of("CapPrm"), of("CapEff"), of("NoNewPrivs")), ("0000000000000000", "0000000000000000", "1"));
    let threads = fs::read_dir(format!("/proc/{clerk}/task")).unwrap();
    let nice: Vec<String> = threads
        .map(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned()
        })
        .collect();
    assert!(nice.len() == 2 && nice.contains(&"19".to_owned()), "{nice:?}");
    live.write("go\n");
    let run = live.finish().ok();
    within(SOON, "the clerk gone", || is_gone(clerk));
    assert!(is_cleared_up(&worker), "{:?}", files(&worker));
    let log = exeat.log();
    assert_eq!((log.calls().len(), log.ends().len(), upstream.seen().len()), (250, 250, 250));
    assert!(matches!(log.lines.last().unwrap().event, Event::WorkerEnd(_)) && run.log.start().agent == "bot");
    for segment in Segment::all(&worker).unwrap() {
        assert_eq!(fs::metadata(segment.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Whoever reviews sees one log.
    let listed = exeat.exeat(&["calls"]).finish().ok().stdout;
    assert_eq!(listed.lines().count(), 251);
    assert!(listed.contains("/echo/0?") && listed.contains("/echo/249?"), "{}", &listed[..300]);
    let verified = exeat.exeat(&["verify"]).finish().ok().stdout;
    assert!(verified.contains(&format!("{} records, signed to its end", log.lines.len())), "{verified}");
}

#[test]
fn the_end_of_a_run_does_not_wait_for_its_clerk() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "");
    let mut live = exeat.start_with_input(&["python3", "-c", &format!("{LOAD}\nsys.stdin.readline()"), "60"]);
    live.wait_for("done");
    let clerk = live.clerk();
    kill_process(clerk, Signal::STOP).unwrap();
    live.write("go\n");
    let run = live.finish().ok();
    assert!(run.log.calls().len() == 60 && !is_gone(clerk));
    kill_process(clerk, Signal::CONT).unwrap();
    within(SOON, "the clerk gone", || is_gone(clerk));
}

#[test]
fn without_its_clerk_a_run_goes_on_in_one_file_and_the_log_says_so_once() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "");
    let script = format!("{LOAD}\nsys.stdin.readline()\n{LOAD}");
    let mut live = exeat.start_with_input(&["python3", "-c", &script, "60"]);
    live.wait_for("done");
    kill_process(live.clerk(), Signal::KILL).unwrap();
    live.write("go\n");
    let run = live.finish().ok();
    assert_eq!(run.log.calls().len(), 120);
    let said: Vec<_> = run.log.lines.iter().filter(|line| matches!(line.event, Event::SegmentKept(_))).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    // What it left plain is compressed by the next who clears up.
    let worker = workers(&exeat).remove(0);
    exeat.exeat(&["calls", "prune"]).finish().ok();
    assert!(files(&worker).iter().all(|(_, compressed)| *compressed), "{:?}", files(&worker));
    assert_eq!(paths(&exeat.log()), paths(&run.log));
}

#[test]
fn a_worker_that_is_killed_at_any_moment_leaves_a_log_that_verifies() {
    for calls in [45, 71, 130] {
        let upstream = Upstream::start();
        let exeat = house(&upstream, "");
        let live = exeat.start(&["python3", "-c", LOAD, "100000"]);
        upstream.wait_for(calls);
        let clerk = live.clerk();
        live.signal(Signal::KILL);
        live.finish();
        within(SOON, "the clerk gone", || is_gone(clerk));
        // What was under way when the worker died has arrived by now, or never will.
        std::thread::sleep(Duration::from_millis(300));
        let worker = workers(&exeat).remove(0);
        follow(&worker, |_| {}).unwrap();
        assert!(parts(&worker) == 0 && files(&worker).len() > 1, "{:?}", files(&worker));
        let (logged, seen) = (paths(&exeat.log()), upstream.seen());
        let seen: BTreeSet<String> =
            seen.iter().map(|seen| seen.target.split('?').next().unwrap().to_owned()).collect();
        assert!(seen.is_subset(&logged), "{:?}", seen.difference(&logged).collect::<Vec<_>>());
        let verified = exeat.exeat(&["verify"]).finish().ok().stdout;
        assert!(verified.contains("good ") && verified.contains("its worker was killed"), "{verified}");
    }
}

#[test]
fn a_clerk_that_is_killed_over_its_work_loses_nothing() {
    for calls in [50, 66, 90] {
        let upstream = Upstream::start();
        let exeat = house(&upstream, "");
        let live = exeat.start(&["python3", "-c", LOAD, "200"]);
        upstream.wait_for(calls);
        kill_process(live.clerk(), Signal::KILL).unwrap();
        let run = live.finish().ok();
        assert_eq!(run.log.calls().len(), 200, "after {calls} calls");
        exeat.exeat(&["calls", "prune"]).finish().ok();
        let worker = workers(&exeat).remove(0);
        assert!(parts(&worker) == 0 && exeat.log().calls().len() == 200, "{:?}", files(&worker));
    }
}

#[test]
fn what_the_log_keeps_goes_by_its_age_and_its_size_the_oldest_first() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "");
    for _ in 0..2 {
        let live = exeat.start(&["python3", "-c", LOAD, "200"]);
        live.finish().ok();
    }
    let [first, second] = [0, 1].map(|number| workers(&exeat).remove(number));
    within(SOON, "the clerks gone", || is_cleared_up(&first) && is_cleared_up(&second));
    let (before, records) = (files(&first), exeat.log().lines.len());
    let prune = |more: &[&str]| exeat.exeat(&[&["calls", "prune"], more].concat()).finish();
    // Without a word, all is kept.
    let said = prune(&[]).ok().stdout;
    assert!(said.contains("no [keep]") && files(&first) == before, "{said}");
    let sizes = |worker: &Path| -> u64 {
        Segment::all(worker).unwrap().iter().map(|segment| fs::metadata(segment.path()).unwrap().len()).sum()
    };
    // Two files may go.
    let two: u64 = Segment::all(&first).unwrap()[..2].iter().map(|file| fs::metadata(file.path()).unwrap().len()).sum();
    let most = sizes(&first) + sizes(&second) - two;
    let keep = |text: &str| fs::write(exeat.config("log.toml"), text).unwrap();
    keep(&format!("[segment]\nsize = \"64KiB\"\n[keep]\nsize = \"{}B\"\n", most.max(65_536)));
    // What an agent has just written does not go for being much.
    let said = prune(&[]).ok().stdout;
    assert!(said.contains("0 segments gone") && said.contains("nothing goes that is younger than a day"), "{said}");
    assert_eq!(files(&first), before);
    let later = |more: &[&str]| in_two_days(&exeat, &[&["calls", "prune"], more].concat());
    let dry: Value = later(&["--dry-run", "--json"]).ok().json();
    assert_eq!((dry["dry_run"].as_bool(), files(&first) == before), (Some(true), true), "{dry}");
    let said = later(&[]).ok().stdout;
    let gone = dry["segments"].as_array().unwrap().len();
    assert!(gone >= 1 && said.contains(&format!("{gone} segments gone")), "{said}");
    assert_eq!(files(&first), before[gone..]);
    let verified = exeat.exeat(&["verify"]).finish().ok().stdout;
    assert!(verified.contains("nothing is wrong") && verified.contains("removed at"), "{verified}");
    // What is older than an hour: by the files' time, and the records'; these are not.
    for segment in Segment::all(&first).unwrap() {
        let file = fs::File::options().append(true).open(segment.path()).unwrap();
        file.set_modified(SystemTime::now() - 2 * DAY).unwrap();
    }
    keep("[keep]\nfor = \"1h\"\n");
    let said = prune(&[]).ok().stdout;
    assert!(said.contains("0 segments gone"), "{said}");
    assert!(exeat.log().lines.len() < records);
    // One that is missing without a word is something else.
    fs::remove_file(Segment::all(&first).unwrap()[0].path()).unwrap();
    let run = exeat.exeat(&["verify"]).finish();
    assert!(run.code == Some(1) && run.stdout.contains("CHANGED") && run.stdout.contains("missing"), "{run:#?}");
}

#[test]
fn a_clerk_removes_in_passing_what_log_toml_does_not_keep() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "");
    exeat.start(&["python3", "-c", LOAD, "200"]).finish().ok();
    let worker = workers(&exeat).remove(0);
    within(SOON, "the clerk gone", || is_cleared_up(&worker));
    let before = files(&worker);
    fs::write(exeat.config("log.toml"), "[segment]\nsize = \"64KiB\"\n[keep]\nsize = \"64KiB\"\n").unwrap();
    // Without traffic of its own; and nothing that an agent has only just had it write.
    exeat.run(&["sleep", "1"]).ok();
    assert_eq!(files(&worker), before);
    in_two_days(&exeat, &["run", "--agent", "bot", "--", "sleep", "1"]).ok();
    within(SOON, "something removed", || files(&worker).len() < before.len());
    follow(&worker, |_| {}).unwrap();
    let verified = exeat.exeat(&["verify"]).finish().ok().stdout;
    assert!(verified.contains("all logs together are larger than 64KiB"), "{verified}");
}

#[test]
fn where_the_disk_is_full_nothing_of_the_log_is_lost() {
    let upstream = Upstream::start();
    let exeat = house(&upstream, "");
    let kept = exeat.path("kept");
    // The state directory is a small disk of its own, of which a copy is made once the clerk is gone.
    let (state, copy) = (exeat.state().display().to_string(), kept.display().to_string());
    let copied = format!("sleep 2; cp -a '{state}' '{copy}'");
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mapped = format!("unshare --user --map-user={user} --map-group={group}");
    let (outer, inner) = if user == 0 { (vec![], "") } else { (vec!["--user", "--map-root-user"], mapped.as_str()) };
    let script =
        format!("mount -t tmpfs -o size=240k,mode=700 none '{state}' && {inner} \"$@\"; code=$?; {copied}; exit $code");
    let wrapper = [vec!["unshare"], outer, vec!["--mount", "sh", "-c", &script, "sh"]].concat();
    let exeat = exeat.through(&wrapper);
    let run = exeat.run(&["python3", "-c", LOAD, "500"]).ok();
    let seen: BTreeSet<String> =
        upstream.seen().iter().map(|seen| seen.target.split('?').next().unwrap().to_owned()).collect();
    assert!((60..500).contains(&seen.len()), "{} calls until the disk was full: {run:#?}", seen.len());
    let log = Log::read(&kept);
    let worker = fs::read_dir(kept.join("workers")).unwrap().next().unwrap().unwrap().path();
    follow(&worker, |_| {}).unwrap();
    assert!(seen.is_subset(&paths(&log)), "{:?}", seen.difference(&paths(&log)).collect::<Vec<_>>());
    assert!(files(&worker).len() > 1 && parts(&worker) == 0, "{:?}", files(&worker));
}

/// All connections that a sandbox can open, held open, and refused calls meanwhile; the number of each that was answered is told.
const HOARD: &str = "
import http.client, os, secrets, socket, time
connection = http.client.HTTPSConnection('api.example.com')
def refused(number):
    connection.request('GET', f'/not/{number}/' + secrets.token_hex(300))
    answer = connection.getresponse()
    assert answer.status == 403, answer.status
    answer.read()
    print(number, flush=True)
refused(0)
address = connection.sock.getpeername()
for _ in range(2):
    told, tell = os.pipe()
    if os.fork() == 0:
        held = []
        try:
            while len(held) < 50:
                held.append(socket.create_connection(address, timeout=1))
        except OSError:
            pass
        os.write(tell, b'x')
        time.sleep(60)
        os._exit(0)
    os.read(told, 1)
for number in range(1, 400):
    refused(number)
os.kill(0, 9)
";

/// Without a descriptor it cannot read either whether it is to stop, and does; what it answered until then is in its log.
#[test]
fn a_sandbox_that_holds_every_descriptor_of_its_worker_has_all_its_calls_in_the_log() {
    let upstream = Upstream::start();
    // It may be stopped before a next file is due.
    for _ in 0..6 {
        let exeat = house(&upstream, "").through(&["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]);
        let exeat = exeat.rule("[[deny]]\nto = \"api.example.com\"\npaths = [\"/not/**\"]");
        let run = exeat.run(&["python3", "-c", HOARD]);
        let log = exeat.log();
        let refusals = log.refusals();
        let paths = refusals.iter().filter_map(|refused| refused.path.as_deref());
        let logged: BTreeSet<&str> = paths.filter_map(|path| path.split('/').nth(2)).collect();
        let answered: BTreeSet<&str> = run.stdout.lines().collect();
        assert!(answered.is_subset(&logged), "{:?}", answered.difference(&logged));
        let verified = exeat.exeat(&["verify"]).finish().ok().stdout;
        assert!(verified.contains(&format!("{} records", log.lines.len())), "{verified}");
        let of =
            |line: &record::Line| matches!(&line.event, Event::SegmentKept(kept) if kept.reason.contains("descriptor"));
        if log.lines.iter().any(of) {
            return;
        }
    }
    panic!("it was never short of a descriptor when the next file came");
}

#[test]
fn mistakes_in_log_toml_are_told_before_anything_runs() {
    let exeat = Exeat::new();
    fs::write(exeat.config("log.toml"), "[segment]\nsize = \"1KiB\"\n[keeps]\n").unwrap();
    let run = exeat.run(&["true"]);
    assert!(run.code == Some(125) && run.stderr.contains("log.toml:2: segment.size"), "{run:#?}");
    let run = exeat.exeat(&["check", "--files-only"]).finish();
    assert!(run.code == Some(1) && run.stdout.contains("log.toml:2: segment.size"), "{run:#?}");
    assert!(run.stdout.contains("log.toml:3: keeps") && run.stdout.contains("64KiB"), "{run:#?}");
}
