//! What a policy gives the sandbox beside the network.
//!
//! Enters: the `[sandbox]` table. Leaves: settings with their defaults. Never: paths made absolute; they are relative
//! to the working directory of the run, which only the command knows.

use std::str::FromStr;
use std::time::Duration;

use crate::error::{Malformed, quoted};
use crate::file_glob::FileGlob;

/// Enough to write down what is being worked on; whoever waits for the end does not wonder yet.
const GRACE: Duration = Duration::from_secs(5);

/// The `[sandbox]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSettings {
    /// Bound read-only, as written.
    pub read: Vec<FileGlob>,
    /// Bound read-write, as written.
    pub write: Vec<FileGlob>,
    /// Shown writable and never changed, as written: what is written goes to a layer above.
    pub overlay: Vec<FileGlob>,
    /// Kept out of sight within what is shown, as written.
    pub hide: Vec<FileGlob>,
    /// Whether what is shown is searched for files that are called as secrets are.
    pub find_secrets: bool,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// How many processes and threads.
    pub processes: Option<u32>,
    /// How many open files each process may have.
    pub files: u32,
    /// How many processors' time, like 1.5.
    pub cpus: Option<f64>,
    /// How many bytes a file may have that it writes.
    pub file_size: Option<u64>,
    /// How many bytes it may write in all.
    pub disk: Option<u64>,
    /// How long it may run.
    pub wall_clock: Option<Duration>,
    /// Whether its commands may make namespaces, and mounts in them.
    pub nested: bool,
    /// How long it has between being asked to end and being killed.
    pub grace: Duration,
    /// What becomes of a limit on all processes together where there is no cgroup.
    pub limits: LimitsMode,
    /// Variables to pass in beside the short list that always is.
    pub pass_env: Vec<String>,
}

/// What becomes of a limit on all processes together where there is no cgroup for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitsMode {
    /// The next best thing, which is in the log; without one, nothing runs.
    #[default]
    Best,
    /// Nothing runs.
    Required,
}

impl FromStr for LimitsMode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "best" => Ok(Self::Best),
            "required" => Ok(Self::Required),
            _ => Err(Malformed::new(
                format!("{} is neither", quoted(text)),
                "write \"best\", or \"required\" for an agent that is not to start without cgroups",
            )),
        }
    }
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            overlay: Vec::new(),
            hide: Vec::new(),
            find_secrets: true,
            memory: None,
            processes: None,
            files: 1024,
            cpus: None,
            file_size: None,
            disk: None,
            wall_clock: None,
            nested: false,
            grace: GRACE,
            limits: LimitsMode::Best,
            pass_env: Vec::new(),
        }
    }
}
