//! What is in force, said by those who put it in force.
//!
//! For: the call log and `exeat check`. In: the child's report, the parent's own steps. Out: [`Status`], serialisable.
//! Never: what was merely asked for.

use crate::{
    cgroup::{Cgroup, Controller},
    cover::Cover,
    limits::Rlimits,
    spec::Limits,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// What is in force for one sandbox.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The user the command runs as, inside and outside.
    pub uid: u32,
    /// Its only group that means anything inside.
    pub gid: u32,
    /// The namespaces of its own.
    pub namespaces: &'static [&'static str],
    /// How connections are caught.
    pub capture: Capture,
    /// Whether there is IPv6 inside.
    pub ipv6: bool,
    /// Which system calls exist inside.
    pub syscall_filter: SyscallFilter,
    /// What Landlock holds behind the mounts; nothing where the kernel has none.
    pub landlock: Option<Landlock>,
    /// Whether namespaces may be made inside. Then Landlock holds no files, and /proc shows what is the machine's.
    pub nested: bool,
    /// Whether the command has a terminal of its own, relayed by the worker.
    pub terminal: bool,
    /// Paths bound with root's files shown as the command's own.
    pub idmapped: Vec<PathBuf>,
    /// Directories that stay as they are, under a layer for what is written.
    pub layered: Vec<String>,
    /// What is out of sight within what is shown.
    pub hidden: HiddenInForce,
    /// The limits.
    pub limits: LimitsInForce,
}

/// Which system calls the command can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyscallFilter {
    /// Those that are listed, by their arguments where these matter; all others do not exist.
    AllowList,
    /// All: there is no list for this processor.
    None,
}

/// What Landlock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    /// The kernel's version of it.
    pub abi: i64,
    /// Files are written only in write paths, scratch space, devices and /proc; device files are made nowhere.
    pub files: bool,
    /// Signals and abstract sockets reach nobody outside.
    pub scopes: bool,
    /// Nor do sockets with paths, whenever they were made. Where it is false, those that were there at the start are covered.
    pub sockets: bool,
}

/// Which connections reach the handed-out listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// All TCP but to the sandbox's own loopback. Where one was going: `SO_ORIGINAL_DST`.
    #[default]
    Redirect,
    /// TCP to these ports, at any address. Where one was going: the accepted socket's own address.
    Ports(BTreeSet<u16>),
}

/// What is out of sight.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HiddenInForce {
    /// How many files and directories.
    pub count: usize,
    /// The first of them.
    pub paths: Vec<String>,
    /// How many names were looked through for such as secrets have; nothing where that was not asked for.
    pub looked_at: Option<u64>,
}

impl HiddenInForce {
    /// More would fill a line of the log, and are hidden all the same.
    const MOST_TOLD: usize = 32;

    pub(crate) fn of(covers: &[Cover], looked_at: Option<u64>) -> Self {
        let hidden = || covers.iter().filter(|cover| matches!(cover, Cover::Hidden(_)));
        let told = hidden().take(Self::MOST_TOLD);
        Self {
            count: hidden().count(),
            paths: told.map(|cover| cover.path().display().to_string()).collect(),
            looked_at,
        }
    }
}

/// The limits that hold.
#[derive(Debug, Clone, Serialize)]
pub struct LimitsInForce {
    /// Processes and threads at a time.
    pub processes: u64,
    /// `RLIMIT_NOFILE`.
    pub files: u64,
    /// `RLIMIT_DATA`: private writable memory of one process.
    pub memory_per_process: Option<u64>,
    /// Size of the file system behind /tmp, /dev/shm and the home directory.
    pub scratch: Option<u64>,
    /// All processes together, with their temporary files.
    pub memory_together: Option<u64>,
    /// Processor time by wall-clock time, of all together.
    pub cpus: Option<f64>,
    /// `RLIMIT_FSIZE`: one file that is written.
    pub file_size: Option<u64>,
    /// What all of them may write to disks, and have in scratch space.
    pub disk: Option<u64>,
    /// What holds each of them.
    pub by: BTreeMap<&'static str, Means>,
}

/// What holds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// A cgroup of version 2: the kernel, for all processes together.
    Cgroup2,
    /// Cgroups of version 1: the same.
    Cgroup1,
    /// The kernel, for each process (of `processes`: for the sandbox's user).
    Rlimit,
    /// The size of a file system in memory.
    Tmpfs,
    /// Looking every few milliseconds, and ending the sandbox.
    Poll,
}

impl Means {
    /// In a word, as in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup2 => "cgroup2",
            Self::Cgroup1 => "cgroup1",
            Self::Rlimit => "rlimit",
            Self::Tmpfs => "tmpfs",
            Self::Poll => "poll",
        }
    }
}

impl LimitsInForce {
    /// What was set, by what.
    pub(crate) fn of(limits: &Limits, rlimits: &Rlimits, cgroup: Option<&Cgroup>) -> Self {
        let held = |controller| cgroup.and_then(|cgroup| cgroup.holds(controller)).map(Means::from);
        let together = held(Controller::Memory).and(limits.memory);
        let processes = held(Controller::Pids).map_or(u64::MAX, |_| u64::from(limits.process_count()));
        let by = [
            ("processes", Some(held(Controller::Pids).unwrap_or(Means::Rlimit))),
            ("files", Some(Means::Rlimit)),
            ("memory_per_process", rlimits.data.map(|_| Means::Rlimit)),
            ("memory_together", held(Controller::Memory).filter(|_| limits.memory.is_some())),
            ("scratch", limits.scratch().map(|_| Means::Tmpfs)),
            ("cpus", held(Controller::Cpu).filter(|_| limits.cpus.is_some())),
            ("file_size", rlimits.file_size.map(|_| Means::Rlimit)),
            ("disk", limits.disk.map(|_| Means::Poll)),
        ];
        Self {
            processes: processes.min(rlimits.processes.saturating_sub(1)),
            files: rlimits.files,
            memory_per_process: rlimits.data,
            scratch: limits.scratch(),
            memory_together: together,
            cpus: held(Controller::Cpu).and(limits.cpus),
            file_size: rlimits.file_size,
            disk: limits.disk,
            by: by.into_iter().filter_map(|(limit, means)| Some((limit, means?))).collect(),
        }
    }
}

/// The child's part of the [`Status`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Inside {
    pub capture: Capture,
    pub ipv6: bool,
    pub syscall_filter: SyscallFilter,
    pub landlock: Option<Landlock>,
}
