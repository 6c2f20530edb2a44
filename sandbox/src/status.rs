//! What is in force, said by those who put it in force.
//!
//! For: the call log and `exeat check`. In: the child's report, the parent's own steps. Out: [`Status`], serialisable.
//! Never: what was merely asked for.

use crate::cover::Cover;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::PathBuf};

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
    /// `RLIMIT_NPROC`, and `pids.max` where there is a cgroup.
    pub processes: u64,
    /// `RLIMIT_NOFILE`.
    pub files: u64,
    /// `RLIMIT_DATA`: private writable memory of one process.
    pub memory_per_process: Option<u64>,
    /// Size of the file system behind /tmp, /dev/shm and the home directory.
    pub scratch: Option<u64>,
    /// `memory.max`: all processes together.
    pub memory_together: Option<u64>,
    /// `cpu.max`.
    pub cpus: Option<f64>,
}

/// The child's part of the [`Status`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Inside {
    pub capture: Capture,
    pub ipv6: bool,
    pub syscall_filter: SyscallFilter,
    pub landlock: Option<Landlock>,
}
