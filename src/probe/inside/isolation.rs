//! The machine's files, processes and keys.
//!
//! Enters: what lies outside, by path. Leaves: whether it can be seen or changed from inside. Never: a change to a file of the machine's;
//! a file that could be made is taken away again.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Pid;

use super::super::brief::Brief;
use super::super::finding::{Outcome, Probe};
use super::{refused, told};

pub(super) const PROBES: &[Probe] = &[
    Probe::with_control(
        "isolation/processes",
        "environment and command line of processes outside, in /proc",
        processes,
    ),
    Probe::new("isolation/init", "memory, environment, root and namespaces of the sandbox's first process", init),
    Probe::new("isolation/trace", "ptrace of the sandbox's first process", |_| trace()),
    Probe::new("isolation/trace-others", "ptrace and memory of a process that has not asked to be traced", |_| {
        others()
    }),
    Probe::with_control("isolation/own-files", "exeat's policy, credentials file, secrets and call logs", own_files),
    Probe::new(
        "isolation/own-directories",
        "a log, a policy or a secret of one's own in the place of exeat's",
        own_directories,
    ),
    Probe::with_control("isolation/temporary-files", "files of others in /tmp, /var/tmp and /dev/shm", temporary_files),
    Probe::with_control("isolation/secret-file", "a file in the project that is called as a secret is", secret_file),
    Probe::with_control("isolation/keyring", "keys in the keyring of the user who started exeat", keyring),
];

/// More than a sandbox has at its start.
const MOST_PROCESSES: usize = 100_000;

fn processes(brief: &Brief) -> Outcome {
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => return Outcome::held(format!("/proc: {}", told(error))),
    };
    let own = std::process::id().to_string();
    let mut looked = 0;
    for entry in entries.flatten().take(MOST_PROCESSES) {
        let number = entry.file_name().to_string_lossy().into_owned();
        if !number.bytes().all(|byte| byte.is_ascii_digit()) || number == own {
            continue;
        }
        looked += 1;
        for file in ["environ", "cmdline"] {
            if fs::read(entry.path().join(file)).is_ok_and(|bytes| holds(&bytes, brief.nonce.as_bytes())) {
                return Outcome::broke(format!("/proc/{number}/{file} of a process outside was read"));
            }
        }
    }
    Outcome::held(format!("/proc has {looked} others, none of them outside or open"))
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    !word.is_empty() && bytes.windows(word.len()).any(|window| window == word)
}

fn init(_: &Brief) -> Outcome {
    if std::process::id() == 1 {
        return Outcome::not_applicable("this process is the first one");
    }
    let reads =
        ["environ", "mem", "maps"].map(|file| (file, fs::File::open(Path::new("/proc/1").join(file)).map(drop)));
    let links = ["root", "cwd", "exe", "ns/net", "ns/mnt"]
        .map(|link| (link, fs::read_link(Path::new("/proc/1").join(link)).map(drop)));
    let opened: Vec<&str> =
        reads.iter().chain(&links).filter(|(_, opened)| opened.is_ok()).map(|(name, _)| *name).collect();
    if !opened.is_empty() {
        return Outcome::broke(format!("of /proc/1 these were opened: {}", opened.join(", ")));
    }
    let mut why: Vec<String> =
        reads.into_iter().chain(links).filter_map(|(_, opened)| opened.err()).map(told).collect();
    why.dedup();
    Outcome::held(format!("/proc/1: {}", why.join(", ")))
}

fn trace() -> Outcome {
    if std::process::id() == 1 {
        return Outcome::not_applicable("this process is the first one");
    }
    refused("PTRACE_SEIZE of process 1", || sandbox::attempt::trace(Pid::INIT))
}

/// A process that could be any other command's in here: its user is the same.
fn others() -> Outcome {
    let pause = || {
        rustix::event::pause();
        0
    };
    match sandbox::fork_process(pause).map(|child| (Pid::from_raw(child.id()), child)) {
        Ok((Some(pid), _killed_at_the_end)) => Outcome::of_all(
            [
                refused("PTRACE_SEIZE", || sandbox::attempt::trace(pid)),
                refused("process_vm_readv", || sandbox::attempt::read_memory_of(pid)),
            ],
            "",
        ),
        Ok((None, _)) => Outcome::not_applicable("there is no process"),
        Err(error) => Outcome::not_applicable(format!("no process to try it on: {error}")),
    }
}

fn own_files(brief: &Brief) -> Outcome {
    let opened = brief.own_files.iter().map(|path| match read(path) {
        // Nothing is written: that it is opened is enough.
        _ if OpenOptions::new().append(true).open(path).is_ok() => {
            Outcome::broke(format!("{} was opened to be written", path.display()))
        }
        Ok(0) => Outcome::held("nothing is in its place"),
        Ok(_) => Outcome::broke(format!("{} was read", path.display())),
        Err(error) => Outcome::held(told(error)),
    });
    Outcome::of_all(opened, "exeat has no files")
}

/// How many bytes, or entries, there are to be read.
fn read(path: &Path) -> io::Result<usize> {
    if path.is_dir() {
        return Ok(fs::read_dir(path)?.count());
    }
    fs::File::open(path)?.read(&mut [0; 64])
}

fn own_directories(brief: &Brief) -> Outcome {
    let made = brief.own_directories.iter().map(|directory| {
        let path = directory.join(format!("probe-{}", brief.nonce));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => {
                let removed = if fs::remove_file(&path).is_ok() { ", and removed" } else { "" };
                Outcome::broke(format!("{} was made{removed}", path.display()))
            }
            Err(error) => Outcome::held(told(error)),
        }
    });
    Outcome::of_all(made, "exeat has no directories")
}

fn temporary_files(brief: &Brief) -> Outcome {
    let seen = brief.canaries.temporary.iter().map(|path| match fs::read(path) {
        Ok(bytes) if holds(&bytes, brief.nonce.as_bytes()) => Outcome::broke(format!("{} was read", path.display())),
        Ok(_) => Outcome::held("another file is there"),
        Err(error) => Outcome::held(told(error)),
    });
    Outcome::of_all(seen, "the machine has none of these directories")
}

fn secret_file(brief: &Brief) -> Outcome {
    let Some(path) = &brief.canaries.secret else {
        return Outcome::not_applicable("the policy shows such files, or none could be put there");
    };
    let name = path.file_name().unwrap_or_default();
    let below = path.strip_prefix("/").unwrap_or(path);
    let held = fs::File::options().read(true).custom_flags(held_only()).open(path);
    let reopened = held.as_ref().map(|held| format!("/proc/self/fd/{}", held.as_raw_fd()));
    let linked = path.with_extension("link");
    let link = fs::hard_link(path, &linked);
    let ways = [
        path.clone(),
        Path::new("/proc/self/root").join(below),
        Path::new("/proc/self/cwd").join(name),
        linked.clone(),
    ];
    let tried = ways.into_iter().chain(reopened.ok().map(Into::into)).map(|way| match fs::read(&way) {
        Ok(bytes) if holds(&bytes, brief.nonce.as_bytes()) => Outcome::broke(format!("{} was read", way.display())),
        Ok(_) => Outcome::held("nothing is in it"),
        Err(error) => Outcome::held(told(error)),
    });
    let outcome = Outcome::of_all(tried, "no way leads there");
    if link.is_ok() {
        let _ = fs::remove_file(&linked);
    }
    outcome
}

/// `O_PATH`: a file held that nobody has opened.
fn held_only() -> i32 {
    i32::try_from(rustix::fs::OFlags::PATH.bits()).unwrap_or_default()
}

fn keyring(brief: &Brief) -> Outcome {
    let Some(key) = &brief.canaries.key else { return Outcome::not_applicable("the kernel gave no key to look for") };
    match sandbox::attempt::find_key(key) {
        Ok(()) => Outcome::broke("the key was found"),
        Err(Errno::NOSYS) => Outcome::not_applicable(told(Errno::NOSYS)),
        Err(errno) => Outcome::held(told(errno)),
    }
}

/// Several files that must not open for writing; those that are not there show nothing.
pub(super) fn not_writable(paths: &[&str]) -> Outcome {
    let there = paths.iter().filter(|path| fs::symlink_metadata(path).is_ok_and(|file| file.is_file()));
    let tried = there.map(|path| match OpenOptions::new().write(true).open(path) {
        Ok(_) => Outcome::broke(format!("{path} was opened for writing")),
        Err(error) => Outcome::held(format!("{path}: {}", told(error))),
    });
    Outcome::of_all(tried, "none of them is there")
}
