//! What the caller wants: which command, where, with what in sight, within which limits.
//!
//! For: the one argument of [`begin`](crate::begin). In: plain values, paths absolute. Out: the same, read-only to the
//! rest of the crate. Never: secrets; nothing of it is hidden from the command.

use crate::filesystem;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Everything there is to say about a sandbox before it stands.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The command and its arguments. Looked up inside, in the `PATH` that [`start`](crate::Prepared::start) is given.
    pub command: Vec<OsString>,
    /// Where it runs; bound at the same path inside, read-only unless `write` covers it.
    pub working_directory: PathBuf,
    /// Bound read-only, at the same paths.
    pub read: Vec<PathBuf>,
    /// Bound read-write, at the same paths. The deeper entry decides; of two equal ones, this one.
    pub write: Vec<PathBuf>,
    /// Shown at the same paths as if they could be written, and not changed: what is written goes to a layer above.
    pub overlay: Vec<Layered>,
    /// What the caller goes by: never shown, whatever holds them and wherever links on the way to them lead; an empty directory, or an empty file,
    /// stands in their place. The working directory, and every path of `read` and `write`, has to lie outside. Nothing starts where the command
    /// could change such a link, or write to a file that is in none of these directories, or where what does not exist yet would be shown.
    pub hide: Vec<PathBuf>,
    /// What the caller goes by, too, and anybody may see: nothing starts where the command could change it, replace it, or make it where it is not there.
    pub relied_on: Vec<PathBuf>,
    /// Out of sight within what is shown, but for what is named below them: an empty directory, or an empty file, stands in their place.
    /// Those that do not exist hide nothing.
    pub conceal: Vec<PathBuf>,
    /// Where the caller lives. What holds secrets there is out of sight unless it is named.
    pub home: Option<PathBuf>,
    /// Whether what is shown is searched for files that are called as secrets are (`.env`), which are then out of sight unless they are named.
    pub find_secrets: bool,
    /// Whether namespaces may be made inside, and mounts in them. The walls that this takes down are in the status.
    pub nested: bool,
    /// What it may use up.
    pub limits: Limits,
    /// Whom it trusts.
    pub trust: Trust,
    /// The ports the policy names: all that is caught where the kernel cannot redirect.
    pub ports: BTreeSet<u16>,
    /// How connections are caught.
    pub capture: CaptureChoice,
}

impl Spec {
    /// Whether the command would see a file of the machine. One that cannot be looked at is not seen by it either.
    pub fn shows(&self, file: &Path) -> bool {
        let Ok(file) = fs::canonicalize(file) else { return false };
        let below = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|path| file.starts_with(path));
        let trees = self.overlay.iter().map(|layered| &layered.tree).chain([&self.working_directory]);
        let shown = [&self.read, &self.write].into_iter().flatten().chain(trees).any(below);
        (shown || filesystem::is_program(&file)) && !self.hide.iter().any(below)
    }
}

/// A directory that is shown under a layer, which takes what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layered {
    /// The directory.
    pub tree: PathBuf,
    /// A directory of this sandbox's alone that nobody else can enter. It keeps what is written, and outlives the sandbox.
    pub layer: PathBuf,
}

/// What the command may use up. A limit that cannot be enforced is an error, never a shrug.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Processes and threads at a time; [`PROCESSES`](Limits::PROCESSES) where nothing is said.
    pub processes: Option<u32>,
    /// Open descriptors of one process.
    pub files: u32,
    /// Bytes: of private writable memory of each process and, where a cgroup is to be had, of everything together; half of it of all
    /// temporary files together.
    pub memory: Option<u64>,
    /// Processor time by wall-clock time. Only a cgroup can hold this.
    pub cpus: Option<f64>,
    /// Bytes of each file that it writes.
    pub file_size: Option<u64>,
    /// Bytes that it writes to disks, and has in scratch space, in all.
    pub disk: Option<u64>,
    /// Whether it is an error when there is no cgroup for `memory`, `cpus` and `processes`.
    pub required: bool,
}

impl Limits {
    /// Enough for a build with a job for each processor, and a bomb is over before anybody notices.
    pub const PROCESSES: u32 = 256;

    /// How many processes and threads at a time.
    pub fn process_count(&self) -> u32 {
        self.processes.unwrap_or(Self::PROCESSES)
    }

    /// Whether anything here is a cgroup's to hold, so that one is made where it can be.
    pub(crate) fn wants_a_group(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.processes.is_some() || self.required
    }

    /// The most that scratch space may hold. It is memory: with all of it in files there would be none left to run with.
    pub fn scratch(&self) -> Option<u64> {
        [self.memory.map(|memory| memory / 2), self.disk].into_iter().flatten().min()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: None, files: 1024, memory: None, cpus: None, file_size: None, disk: None, required: false }
    }
}

/// The certificate authorities that programs inside find.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The machine's bundle, PEM. The worker's own comes later, by [`Preparing::trust`](crate::Preparing::trust).
    pub system_bundle: Option<PathBuf>,
}

/// How outgoing connections are caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureChoice {
    /// Every port by NAT; where the kernel has no nf_tables, by listeners on the policy's ports.
    #[default]
    Best,
    /// By listeners on the policy's ports.
    Ports,
}
