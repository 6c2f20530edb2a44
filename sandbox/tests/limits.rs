//! Limits in directories that root gave to an ordinary user, of whichever version of cgroups this machine has; and what is left of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod harness;
use harness::{Outcome, Sandbox, Starter, eventually};
use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// As in the harness.
const ORDINARY: u32 = 54321;
const NAMES: [&str; 3] = ["memory", "cpu", "pids"];

/// Directories of cgroup file systems, given away: one for each hierarchy of version 1, or the one of version 2.
struct Delegated(Vec<PathBuf>);

/// A worker that a test which fails does not leave behind.
struct Worker(Child);

impl Worker {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Of version 2, where a run begins: in a group of its own below what was given away, as in a scope, or in one that stays root's.
#[derive(Clone, Copy)]
enum Begins {
    InItsOwn,
    InRoots,
}

static MADE: AtomicU32 = AtomicU32::new(0);

fn next() -> u32 {
    MADE.fetch_add(1, Ordering::Relaxed)
}

impl Delegated {
    /// `None` on a machine where this process can make none.
    fn make() -> Option<Self> {
        let name = format!("of-a-test-{}-{}", std::process::id(), next());
        let root = Path::new("/sys/fs/cgroup");
        let parents = if NAMES.iter().all(|name| root.join(name).join("cgroup.procs").exists()) {
            NAMES.map(|name| root.join(name)).to_vec()
        } else {
            let _perhaps_done = fs::write(root.join("cgroup.subtree_control"), "+memory +cpu +pids");
            vec![root.to_owned()]
        };
        let made = Self(parents.iter().map(|parent| parent.join(&name)).collect());
        made.0.iter().try_for_each(fs::create_dir).ok()?;
        if made.is_two() {
            fs::write(made.0[0].join("cgroup.subtree_control"), "+memory +cpu +pids").ok()?;
        }
        made.0.iter().for_each(|directory| give_away(directory).unwrap());
        Some(made)
    }

    fn is_two(&self) -> bool {
        self.0.len() == 1
    }

    fn entered(&self, begins: Begins) -> Vec<PathBuf> {
        if !self.is_two() {
            return self.0.clone();
        }
        let leaf = self.0[0].join(format!("begins-{}", next()));
        fs::create_dir(&leaf).unwrap();
        if matches!(begins, Begins::InItsOwn) {
            give_away(&leaf).unwrap();
        }
        vec![leaf]
    }

    /// Runs it as the ordinary user, in these groups.
    fn command(&self, begins: Begins, sandbox: &Sandbox, words: &[&str]) -> Command {
        let inner = sandbox.command(words);
        let join: String = self
            .entered(begins)
            .iter()
            .map(|group| format!("echo $$ > {}/cgroup.procs && ", group.display()))
            .collect();
        let become_user = format!("exec setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups \"$0\" \"$@\"");
        let mut outer = Command::new("sh");
        outer.args(["-c", &(join + &become_user)]).arg(inner.get_program()).args(inner.get_args());
        outer.current_dir(sandbox.path()).stdin(Stdio::null());
        outer
    }

    fn run(&self, begins: Begins, words: &[&str]) -> Outcome {
        Outcome::of(&self.command(begins, &bounded(), words).output().unwrap())
    }

    /// What exeat made in them.
    fn groups(&self) -> Vec<PathBuf> {
        let ours = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b"exeat-");
        let all = self.0.iter().flat_map(|group| below(group)).filter(ours);
        all.filter(|path| !path.ends_with("exeat-worker")).collect()
    }
}

fn give_away(directory: &Path) -> io::Result<()> {
    for path in fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).chain([Ok(directory.to_owned())])
    {
        chown(path?, Some(ORDINARY), Some(ORDINARY))?;
    }
    Ok(())
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for group in &self.0 {
            below(group).iter().chain([group]).for_each(|path| drop(fs::remove_dir(path)));
        }
    }
}

/// All groups below this one, the deepest first.
fn below(group: &Path) -> Vec<PathBuf> {
    let children = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for child in children.filter(|path| path.is_dir()) {
        found.extend(below(&child));
        found.push(child);
    }
    found
}

/// On a machine without, or for a test that is not root's, the answer has to be the other one.
fn without(sandbox: Sandbox) {
    let outcome = sandbox.with(&["--required"]).run(&["true"]);
    assert_eq!(outcome.code, 125, "{}", outcome.err);
    assert!(outcome.err.contains("systemd-run") && outcome.err.contains("limits = \"required\""), "{}", outcome.err);
}

fn bounded() -> Sandbox {
    let limits = ["--memory", "100000000", "--processes", "20", "--cpus", "0.5", "--required", "--status", "--met"];
    Sandbox::of(Starter::Ordinary).with(&limits)
}

#[test]
fn an_ordinary_user_has_limits_for_all_processes_together_where_root_gave_the_groups() {
    let Some(delegated) = Delegated::make() else { return without(Sandbox::of(Starter::Ordinary)) };
    let hog = "
import mmap
block = mmap.mmap(-1, 300 << 20)
for at in range(0, 300 << 20, 4096): block[at] = 1
print('TOO MUCH')";
    let outcome = delegated.run(Begins::InItsOwn, &["/usr/bin/python3", "-c", hog]);
    assert_eq!((outcome.code, outcome.out.as_str()), (137, ""), "{}", outcome.err);
    assert!(outcome.err.contains("ended by Some(Memory)"), "{}", outcome.err);
    for limit in ["memory_together", "cpus", "processes"] {
        assert!(outcome.err.contains(&format!("\"{limit}\":\"cgroup")), "{limit}: {}", outcome.err);
    }
    let bomb = "
import os, time
made = 0
try:
    while True:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        made += 1
except BlockingIOError: print(made)";
    let outcome = delegated.run(Begins::InItsOwn, &["/usr/bin/python3", "-c", bomb]);
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "19\n"), "{}", outcome.err);
    assert!(outcome.err.contains("others [Processes]"), "{}", outcome.err);
    let spin = "
import time
start = time.time()
while time.time() - start < 1.5: pass
print(time.process_time() / 1.5)";
    let outcome = delegated.run(Begins::InItsOwn, &["/usr/bin/python3", "-c", spin]);
    let share: f64 = outcome.out.trim().parse().unwrap();
    assert!((0.05..0.65).contains(&share), "{share}");
    assert!(delegated.groups().is_empty());
}

#[test]
fn what_was_left_when_the_worker_and_its_keeper_were_killed_goes_with_the_next_start() {
    let Some(delegated) = Delegated::make() else { return without(Sandbox::of(Starter::Ordinary)) };
    let (sandbox, mark) = (bounded(), format!("7{:06}", std::process::id() % 1_000_000));
    let mut worker = Worker(delegated.command(Begins::InRoots, &sandbox, &["sleep", &mark]).spawn().unwrap());
    let sleeps = || process_of(&format!("sleep\0{mark}\0")).is_some();
    eventually("the command runs", sleeps);
    assert_eq!(delegated.groups().len(), delegated.0.len());
    // Both at once, so that neither cleans up: first who would, stopped.
    let keeper = keeper_of(worker.0.id());
    signal(keeper, "STOP");
    worker.kill();
    signal(keeper, "KILL");
    eventually("the sandbox is gone", || !sleeps());
    let left = delegated.groups();
    assert_eq!(left.len(), delegated.0.len(), "nobody cleaned up");
    delegated.run(Begins::InRoots, &["true"]).ok();
    assert!(delegated.groups().is_empty(), "{left:?}");
}

#[test]
fn a_killed_worker_is_cleaned_up_after_and_one_that_lives_is_left_alone() {
    let Some(delegated) = Delegated::make() else { return without(Sandbox::of(Starter::Ordinary)) };
    let (sandbox, mark) = (bounded(), format!("6{:06}", std::process::id() % 1_000_000));
    let mut worker = Worker(delegated.command(Begins::InRoots, &sandbox, &["sleep", &mark]).spawn().unwrap());
    eventually("the command runs", || process_of(&format!("sleep\0{mark}\0")).is_some());
    let living = delegated.groups();
    delegated.run(Begins::InRoots, &["true"]).ok();
    assert_eq!(delegated.groups(), living);
    worker.kill();
    eventually("the groups are gone", || delegated.groups().is_empty());
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
}

/// The child of the worker that is not in a process namespace of its own.
fn keeper_of(worker: u32) -> u32 {
    let found = numbered().find(|process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        line("PPid:") == worker.to_string() && line("NSpid:").split_whitespace().count() == 1
    });
    found.expect("the worker has no keeper")
}

fn process_of(arguments: &str) -> Option<u32> {
    numbered()
        .find(|process| fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| line == arguments.as_bytes()))
}

fn numbered() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
