//! What a command may use up it does not exceed, whatever it tries; the worker goes on meanwhile, and the end is told as what it was.
//!
//! What holds a limit depends on the machine: cgroups where this user may make them, else the kernel's limits for each process. The log
//! says which, and each test holds it to that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Exeat, Run, Upstream, process_with, within};

/// For a busy machine.
const SOON: Duration = Duration::from_secs(20);
const MIB: u64 = 1 << 20;

/// What held this limit, by the log.
fn by(run: &Run, limit: &str) -> Option<String> {
    run.log.start().sandbox["limits"]["by"][limit].as_str().map(str::to_owned)
}

/// Whether exeat made cgroups.
fn grouped(run: &Run) -> bool {
    let grouped = by(run, "processes").is_some_and(|by| by.starts_with("cgroup"));
    // On this kind of machine nothing else is true.
    let version_1 = ["memory", "cpu", "pids"].map(|name| Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs"));
    if rustix::process::geteuid().is_root() && version_1.iter().all(|file| access(file, Access::WRITE_OK).is_ok()) {
        assert_eq!(by(run, "processes").as_deref(), Some("cgroup1"), "{run:#?}");
    }
    grouped
}

/// Fails unless the log is whole, and it was this limit that ended the command.
#[track_caller]
fn ended_by(exeat: &Exeat, run: Run, limit: &str) -> Run {
    let run = run.ended_with(122);
    assert_eq!(run.log.end().limit.as_deref(), Some(limit), "{run:#?}");
    assert!(run.stderr.contains(&format!("raise `{limit}` under [sandbox]")), "{run:#?}");
    verified(exeat);
    run
}

#[track_caller]
fn verified(exeat: &Exeat) {
    exeat.exeat(&["verify"]).finish().ok();
}

/// Cgroups that this process of exeat's made.
fn groups_of(pid: impl std::fmt::Display) -> Vec<PathBuf> {
    let (name, mut found) = (format!("exeat-{pid}"), Vec::new());
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name() == name.as_str() {
                found.push(entry.path());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found
}

/// A test that goes wrong leaves nothing that runs.
struct Outside(Vec<Child>);

impl Drop for Outside {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_fork_bomb_is_contained_and_a_call_beside_it_is_answered() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().sandbox("processes = 64").allow("api.example.com", &upstream);
    let run = exeat.python(
        "import os, time, urllib.request
if os.fork() == 0:
    while True:
        try: os.fork()
        except OSError: time.sleep(0.01)
time.sleep(1)
try:
    if os.fork() == 0: os._exit(0)
    print('not full')
except OSError: print('full')
print(urllib.request.urlopen('https://api.example.com/echo').status)
print(len([name for name in os.listdir('/proc') if name.isdigit()]) <= 65)",
    );
    let run = run.ok();
    assert_eq!(run.stdout, "full\n200\nTrue\n", "{run:#?}");
    assert_eq!(run.log.calls().len(), 1);
    if grouped(&run) {
        assert!(
            run.stderr.contains("not started, as there are at most 64") && run.stderr.contains("`processes`"),
            "{run:#?}"
        );
        assert!(run.log.end().limits["processes_refused"].as_u64() > Some(0), "{run:#?}");
    }
    verified(&exeat);
}

#[test]
fn what_runs_outside_does_not_count() {
    // The kernel's own limit is for a user, and here is a user with many processes.
    let many = (0..80).map(|_| Command::new("sleep").arg("4713.3").spawn().unwrap());
    let _outside = Outside(many.collect());
    let exeat = Exeat::new().sandbox("processes = 40");
    let run = exeat.python(
        "import os, time
for _ in range(38):
    if os.fork() == 0: time.sleep(30); os._exit(0)
print('all')",
    );
    assert_eq!(run.ok().stdout, "all\n");
}

#[test]
fn a_process_that_takes_too_much_memory_is_ended_and_so_it_is_told() {
    let exeat = Exeat::new().sandbox("memory = \"100MiB\"");
    // Shared memory, which no limit of a single process counts.
    let run = exeat.python(
        "import mmap
block = mmap.mmap(-1, 40 << 20)
for at in range(0, 40 << 20, 4096): block[at] = 1
print('enough', flush=True)
block = mmap.mmap(-1, 300 << 20)
for at in range(0, 300 << 20, 4096): block[at] = 1
print('TOO MUCH')",
    );
    if grouped(&run) {
        let run = ended_by(&exeat, run, "memory");
        assert_eq!((run.stdout.as_str(), run.log.end().outcome.as_str()), ("enough\n", "Signal(9)"));
        let most = run.log.end().limits["memory_peak"].as_u64();
        assert!(most.is_none_or(|most| most <= 100 * MIB), "{run:#?}");
    } else {
        assert_eq!((by(&run, "memory_per_process").as_deref(), by(&run, "memory_together")), (Some("rlimit"), None));
    }
    let run = exeat.python("try: bytearray(200 << 20)\nexcept MemoryError: print('no more')");
    assert_eq!(run.ok().stdout, "no more\n", "by whatever holds it");
}

#[test]
fn many_processes_that_take_too_much_memory_together_are_ended() {
    let exeat = Exeat::new().sandbox("memory = \"150MiB\"");
    let run = exeat.python(
        "import os, time
for _ in range(6):
    if os.fork() == 0:
        block = bytearray(b'x' * (60 << 20))
        time.sleep(60)
        os._exit(0)
ended, start = 0, time.time()
while ended < 3 and time.time() - start < 8:
    ended += os.WIFSIGNALED(os.waitpid(-1, os.WNOHANG)[1])
    time.sleep(0.01)
print(ended, 'are gone')",
    );
    if run.log.start().sandbox["limits"]["by"]["memory_together"].is_null() {
        return; // nobody counts them together here, and the log says so
    }
    assert!(run.log.end().limits["memory_kills"].as_u64() >= Some(1), "{run:#?}");
    assert!(run.stderr.contains("killed for memory") && run.stderr.contains("raise `memory`"), "{run:#?}");
    // Version 2 ends all of them at once.
    assert!(run.code == Some(122) || run.code == Some(0) && run.stdout == "3 are gone\n", "{run:#?}");
    verified(&exeat);
}

#[test]
fn temporary_files_fill_half_the_memory_and_no_more() {
    let exeat = Exeat::new().sandbox("memory = \"100MiB\"");
    let run = exeat.sh("head -c 200000000 /dev/zero > /tmp/full; echo $?; stat -c %s /tmp/full; rm /tmp/full; echo ok > /tmp/x; cat /tmp/x").ok();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0] != "0" && lines[2] == "ok", "{run:#?}");
    assert!((49 * MIB..=50 * MIB).contains(&lines[1].parse().unwrap()), "{run:#?}");
    assert_eq!(by(&run, "scratch").as_deref(), Some("tmpfs"));
}

#[test]
fn somebody_elses_kill_is_not_taken_for_the_memorys() {
    let exeat = Exeat::new().sandbox("memory = \"100MiB\"");
    let run = exeat.sh("kill -KILL $$").ended_with(137);
    assert_eq!((run.log.end().outcome.as_str(), &run.log.end().limit), ("Signal(9)", &None));
    assert!(run.stderr.is_empty(), "{run:#?}");
}

#[test]
fn what_is_written_in_all_is_limited() {
    let exeat = Exeat::new().sandbox("disk = \"64MiB\"");
    for (script, name) in [
        ("dd if=/dev/zero of=big bs=64k count=48000 2>/dev/null; sleep 60", "one process"),
        // Orphans, which only init waits for, and each of which is gone soon.
        (
            "for n in $(seq 60); do (setsid dd if=/dev/zero of=big$n bs=64k count=64 2>/dev/null &); sleep 0.02; done; sleep 60",
            "many",
        ),
        ("while :; do dd if=/dev/zero of=big bs=64k count=64 2>/dev/null; rm big; done", "deleted again"),
        (
            "head -c 40000000 /dev/zero > big; head -c 40000000 /dev/zero > /tmp/big; sleep 60",
            "half of it in scratch space",
        ),
    ] {
        let run = exeat.sh(script);
        if run.code == Some(125) {
            // The test's own directory is in memory here.
            assert!(run.stderr.contains("counts nothing that is written"), "{name}: {run:#?}");
            return;
        }
        let run = ended_by(&exeat, run, "disk");
        assert_eq!(by(&run, "disk").as_deref(), Some("poll"));
        let kept: u64 = fs::read_dir(exeat.work()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(kept < 1024 * MIB, "{name}: {kept}");
        fs::remove_dir_all(exeat.work()).unwrap();
        fs::create_dir(exeat.work()).unwrap();
    }
}

#[test]
fn what_is_written_is_counted_for_a_process_that_hides_too_and_nothing_is_reserved_uncounted() {
    let exeat = Exeat::new().sandbox("disk = \"32MiB\"");
    if exeat.sh("true").code == Some(125) {
        return; // as above
    }
    let run = exeat.python(
        "import ctypes, os
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
with open('big', 'wb', 0) as file:
    try: os.posix_fallocate(file.fileno(), 0, 4 << 20)
    except OSError: pass
    print(ctypes.CDLL(None).fallocate(file.fileno(), 1, 0, ctypes.c_long(1 << 33)), os.fstat(file.fileno()).st_blocks < 9000, flush=True)
    for _ in range(4000): file.write(bytes(1 << 20))",
    );
    assert_eq!(ended_by(&exeat, run, "disk").stdout, "-1 True\n");
    // A program that its own user cannot read says nothing; so it is not left to run, unless root looks.
    let run = exeat.sh("cp /bin/sleep x; chmod 111 x; exec ./x 1");
    if !rustix::process::geteuid().is_root() {
        let run = run.ended_with(122);
        assert!(run.stderr.contains("could no longer be counted"), "{run:#?}");
    }
}

#[test]
fn a_file_is_limited_and_who_writes_on_is_ended() {
    let exeat = Exeat::new().sandbox("file_size = \"1MiB\"");
    let script = "head -c 3000000 /dev/zero > big";
    let run = ended_by(&exeat, exeat.sh(&format!("exec {script}")), "file_size");
    assert!(run.stderr.contains("at most 1 MiB"), "{run:#?}");
    assert_eq!(fs::metadata(exeat.work().join("big")).unwrap().len(), MIB);
    assert_eq!(by(&run, "file_size").as_deref(), Some("rlimit"));
    let run = exeat.sh(&format!("{script}; exit $?")).ended_with(153);
    assert!(run.stderr.contains("note: a process of it was ended for the size of a file"), "{run:#?}");
}

#[test]
fn a_tight_loop_has_its_share_of_the_processors_or_nothing_runs() {
    let exeat = Exeat::new().sandbox("cpus = 0.5");
    let run = exeat.python(
        "import os, time
used, start, child = lambda: sum(os.times()[:4]), time.time(), os.fork()
before = used()
while time.time() - start < 2: pass
if child == 0: os._exit(0)
os.wait()
print((used() - before) / (time.time() - start))",
    );
    if run.code == Some(125) {
        assert!(run.stderr.contains("cannot limit `cpus`") && run.stderr.contains("systemd-run"), "{run:#?}");
        assert!(run.stdout.is_empty() && !rustix::process::geteuid().is_root(), "{run:#?}");
        return;
    }
    let run = run.ok();
    let share: f64 = run.stdout.trim().parse().unwrap();
    assert!((0.05..0.65).contains(&share), "{share}");
    // On a busy machine there may be nobody to slow.
    assert!(share < 0.45 || run.log.end().limits["cpu_slowed_ms"].as_u64() > Some(0), "{run:#?}");
}

#[test]
fn a_process_that_opens_all_it_can_keeps_no_other_from_calling() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().sandbox("files = 64").allow("api.example.com", &upstream);
    let run = exeat.sh("python3 -c \"
import socket, time
held = []
try:
    while True: held.append(socket.create_connection(('api.example.com', 443)))
except OSError: print(len(held) > 50, flush=True)
time.sleep(60)\" & sleep 2; curl -sS -o /dev/null -w '%{http_code}\\n' https://api.example.com/echo");
    assert_eq!(run.ok().stdout, "True\n200\n");
}

#[test]
fn required_means_cgroups_or_nothing() {
    let exeat = Exeat::new().sandbox("limits = \"required\"\nmemory = \"100MiB\"");
    let run = exeat.sh("echo ran");
    let checked = exeat.exeat(&["check", "--json"]).finish().json();
    let line =
        checked["machine"].as_array().unwrap().iter().find(|line| line["name"] == "limits of bot").unwrap().clone();
    assert_eq!(line["required"], true);
    if run.code == Some(0) {
        assert!(grouped(&run) && by(&run, "memory_together").unwrap().starts_with("cgroup"), "{run:#?}");
        assert!(line["present"] == true && line["why"].to_string().contains("memory (cgroup"), "{line}");
    } else {
        let run = run.ended_with(125);
        assert!(run.stdout.is_empty() && run.stderr.contains("cannot limit `memory`"), "{run:#?}");
        assert!(run.stderr.contains("systemd-run") && run.stderr.contains("limits = \"required\""), "{run:#?}");
        assert!(line["present"] == false && line["remedy"].to_string().contains("systemd-run"), "{line}");
        let text = exeat.exeat(&["check"]).finish().ended_with(1).stdout;
        assert!(text.contains("NO  limits of bot"), "{text}");
    }
}

#[test]
fn check_says_what_holds_each_limit_of_each_agent() {
    let exeat = Exeat::new().sandbox("memory = \"100MiB\"\nfile_size = \"1MiB\"\nprocesses = 9");
    fs::write(exeat.config("agents/other.toml"), "").unwrap();
    let checked = exeat.exeat(&["check", "--json"]).finish().json();
    let why = |name: &str| {
        let lines = checked["machine"].as_array().unwrap();
        lines.iter().find(|line| line["name"] == name).map(|line: &Value| line["why"].to_string()).unwrap()
    };
    assert!(
        why("limits of bot").contains("memory (") && why("limits of bot").contains("file_size (rlimit)"),
        "{checked}"
    );
    assert_eq!(why("limits of other"), "\"processes (rlimit), files (rlimit)\"");
}

#[test]
fn groups_are_gone_with_their_worker_also_when_it_is_killed() {
    let exeat = Exeat::new().sandbox("memory = \"100MiB\"");
    for killed in [false, true] {
        let mut live = exeat.start(&["sh", "-c", "echo up; read -r end; sleep 4714.4 & sleep 4714.4"]);
        live.wait_for("up");
        let (pid, made) = (live.pid(), groups_of(live.pid()));
        let by = live.log().lines.into_iter().rev().find_map(|line| match line.event {
            record::Event::WorkerStart(start) => Some(start.sandbox["limits"]["by"]["processes"].clone()),
            _ => None,
        });
        assert_eq!(made.is_empty(), by == Some("rlimit".into()), "{made:?} {by:?}");
        live.signal(if killed { Signal::KILL } else { Signal::TERM });
        if !killed {
            live.finish();
        }
        within(SOON, "all gone", || groups_of(pid).is_empty() && !process_with("4714.4"));
    }
}

#[test]
fn where_nobody_looks_after_a_limit_any_more_nobody_runs_on() {
    let mut live = Exeat::new().sandbox("disk = \"1GiB\"").start(&["sh", "-c", "echo runs; sleep 300"]);
    live.wait_for("runs");
    // The sandbox is forked first, then who looks after its limits, then the broker, and the log's clerk last.
    let mut children = live.children();
    children.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    rustix::process::kill_process(children[1], Signal::KILL).unwrap();
    let run = live.finish();
    assert!(run.code != Some(0) && run.took < Duration::from_secs(30), "{run:#?}");
    assert!(run.stderr.contains("looks after the limits is gone"), "{run:#?}");
}

#[test]
fn a_worker_has_as_many_files_open_as_it_may_and_the_command_what_it_was_given() {
    let exeat = Exeat::new().through(&["sh", "-c", "ulimit -Sn 1024; exec \"$@\"", "sh"]);
    let mut live = exeat.start_with_input(&["sh", "-c", "ulimit -Sn; ulimit -Hn; echo up; read -r _"]);
    live.wait_for("up");
    let limits = |pid| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        let words: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (words[0], words[1])
    };
    let (soft, hard) = limits(live.pid());
    assert!(hard > 1024, "a machine that allows no more is no machine for this test");
    assert_eq!((soft, limits(live.clerk())), (hard, (1024, hard)));
    live.write("go\n");
    assert!(live.finish().ok().stdout.starts_with("1024\n1024\n"));
}
