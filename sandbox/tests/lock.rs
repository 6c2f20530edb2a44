//! A worker that was taken over has what it holds, and nothing else: it tries whatever it must not be able to, on each of its threads.
//!
//! What it tries is in the example `locked`. The same is tried by a process that has not locked itself in: what fails there too shows
//! nothing, and is listed here.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod harness;

use harness::{Outcome, Sandbox, Starter, enter, eventually, starters};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What an ordinary user cannot do anywhere, so that nothing is shown here: the rest is a wall.
const BEYOND_AN_ORDINARY_USER: [&str; 10] = [
    "broker-environment",
    "broker-memory",
    "bpf",
    "faults",
    "mount",
    "packet",
    "raw",
    "read-broker",
    "signal-parent",
    "trace-broker",
];

/// Everything that a worker can reach who reads its user's files.
struct House {
    directory: tempfile::TempDir,
    starter: Starter,
    _socket: UnixListener,
    server: TcpListener,
    victim: Child,
}

impl House {
    fn of(starter: Starter) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for file in [
            "config/agents/bot.toml",
            "config/agents/doomed.toml",
            "config/credentials.toml",
            "config/secrets/api-key",
            "state/ledger.key",
            "state/workers/other/calls.jsonl",
            "state/workers/own/worker.json",
            "state/workers/own/orders/stop",
            "run/exeat.sock.key",
            "home/.ssh/id_rsa",
        ] {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "x").unwrap();
        }
        let socket = UnixListener::bind(at("run/docker.sock")).unwrap();
        let sandbox = Sandbox::of(starter);
        let mut victim = Command::new("sleep");
        victim.arg("60");
        sandbox.as_starter(&mut victim);
        if rustix::process::geteuid().is_root() && starter == Starter::Ordinary {
            let owned = Command::new("chown").args(["-R", "54321:54321"]).arg(directory.path()).status().unwrap();
            assert!(owned.success());
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { directory, starter, _socket: socket, server, victim: victim.spawn().unwrap() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn worker(&self, options: &[&str]) -> String {
        let mut command = Command::new(enter().with_file_name("locked"));
        command.args(options).arg(self.directory.path()).arg(self.victim.id().to_string());
        command.arg(self.server.local_addr().unwrap().to_string()).stdin(Stdio::null());
        Sandbox::of(self.starter).as_starter(&mut command);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{:?}: {output:?}", self.starter);
        text(&output.stdout)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// The lines of one kind of thread: what was tried, and what came of it.
fn lines<'a>(out: &'a str, kind: &str) -> BTreeMap<&'a str, &'a str> {
    let of_kind = out.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    of_kind.map(|line| line.split_once(' ').unwrap()).collect()
}

#[test]
fn whatever_a_worker_does_without_its_lock_it_cannot_do_with_it_on_any_thread() {
    for starter in starters() {
        let control = House::of(starter).worker(&["--unlocked"]);
        let control = lines(&control, "main");
        let shows_nothing: BTreeSet<&str> =
            control.iter().filter(|(_, outcome)| **outcome != "done").map(|(name, _)| *name).collect();
        let beyond = if starter == Starter::Root { BTreeSet::new() } else { BEYOND_AN_ORDINARY_USER.into() };
        let unexpected: Vec<_> = shows_nothing.difference(&beyond).map(|name| (name, control[*name])).collect();
        assert!(unexpected.is_empty(), "{starter:?}: these fail without a lock, too: {unexpected:?}");

        let house = House::of(starter);
        let out = house.worker(&[]);
        for kind in ["main", "runtime", "blocking", "plain"] {
            let tried = lines(&out, kind);
            let missing: Vec<_> = control.keys().filter(|name| !tried.contains_key(*name)).collect();
            assert!(missing.is_empty(), "{starter:?}, {kind}: not tried: {missing:?}");
            let may = ["serve", "look-up"];
            let done: Vec<_> = tried.iter().filter(|(name, seen)| **seen == "done" && !may.contains(*name)).collect();
            assert!(done.is_empty(), "{starter:?}, {kind}: {done:?}\n{out}");
        }
        // What is left: the work of a worker.
        let runtime = lines(&out, "runtime");
        assert_eq!((runtime["serve"], runtime["look-up"]), ("done", "done"), "{starter:?}");
        let needs = lines(&out, "needs");
        assert!(needs.len() == 6 && needs.values().all(|outcome| *outcome == "done"), "{starter:?}: {needs:?}");
        // Its log is as it was, and longer.
        let log = fs::read_to_string(house.at("state/workers/own/calls.jsonl")).unwrap();
        assert_eq!(log, "{\"seq\":1}\n{\"seq\":2}\n", "{starter:?}");
        assert!(!house.at("state/workers/own/orders/stop").exists());
        assert!(house.at("config/agents/doomed.toml").exists());
    }
}

#[test]
fn a_locked_worker_says_what_holds_it_and_takes_less_than_a_millisecond_for_it() {
    for starter in starters() {
        let out = House::of(starter).worker(&[]);
        let said = out.lines().find_map(|line| line.strip_prefix("locked ")).unwrap();
        let (lock, took) = said.split_once(" in ").unwrap();
        let lock: serde_json::Value = serde_json::from_str(lock).unwrap();
        assert_eq!(lock["capabilities"], "none");
        assert_eq!((&lock["syscall_filter"], &lock["dumpable"]), (&true.into(), &false.into()), "{lock}");
        assert!(lock["landlock"].as_i64().unwrap() >= 1, "{lock}");
        // Only a process that has privileges can empty the set that bounds them.
        assert_eq!(lock["bounding_set_empty"], starter == Starter::Root, "{lock}");
        // Others compute at the same time; alone it takes a fifth of that.
        let took: u64 = took.strip_suffix(" µs").unwrap().parse().unwrap();
        assert!(took < 5_000, "{starter:?}: {took} µs");
    }
}

/// What the kernel says of every thread of a process.
fn statuses(process: u32) -> Vec<BTreeMap<String, String>> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status = |thread: &Path| {
        let text = fs::read_to_string(thread.join("status")).unwrap();
        text.lines().filter_map(|line| line.split_once(":\t")).map(|(key, value)| (key.into(), value.into())).collect()
    };
    threads.map(|thread| status(&thread.unwrap().path())).collect()
}

fn locked(starter: Starter, words: &[&str]) -> (Sandbox, Child) {
    let sandbox = Sandbox::of(starter).writable().with(&["--lock-in"]);
    let worker = sandbox.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let there = sandbox.directory.path().join("there");
    eventually("the command runs", || there.exists());
    (sandbox, worker)
}

/// Which processes have a word on their command line.
fn with_word(word: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(word.len()).any(|window| window == word.as_bytes())).count()
}

#[test]
fn a_locked_worker_without_capabilities_still_ends_its_sandbox_and_takes_it_with_it() {
    // The command's user is not root's, which has no right to signal it any more but by the namespace that it made.
    for starter in starters() {
        let word = format!("{}.125", 600 + starter as u32);
        let script = format!("touch there; sleep {word}");
        let sandbox = Sandbox::of(starter).writable().with(&["--lock-in", "--kill-after", "1"]);
        let Outcome { code, err, .. } = sandbox.run(&["bash", "-c", &script]);
        assert_eq!((code, with_word(&word)), (128 + 9, 0), "{starter:?}: {err}");
        let (_sandbox, mut worker) = locked(starter, &["bash", "-c", &script]);
        assert!(with_word(&word) > 0);
        worker.kill().unwrap();
        worker.wait().unwrap();
        eventually("the sandbox went with its worker", || with_word(&word) == 0);
    }
}

#[test]
fn every_thread_of_a_locked_worker_is_as_the_kernel_says_without_privilege() {
    for starter in starters() {
        let (_sandbox, mut worker) = locked(starter, &["bash", "-c", "touch there; sleep 60"]);
        // What cannot be dumped is root's in /proc, whoever started it: nobody else opens it.
        let owner = fs::metadata(format!("/proc/{}/mem", worker.id())).unwrap().uid();
        assert_eq!(owner, 0, "{starter:?}");
        let threads = statuses(worker.id());
        assert!(threads.len() > 3, "{threads:?}");
        for status in &threads {
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(status[set], "0000000000000000", "{starter:?}: {set}");
            }
            assert!(starter == Starter::Ordinary || status["CapBnd"] == "0000000000000000", "{status:?}");
            assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"), "{starter:?}");
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
}
