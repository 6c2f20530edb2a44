//! What a policy gives the sandbox beside the network.
//!
//! Enters: the `[sandbox]` table. Leaves: settings with their defaults. Never: paths made absolute; they are relative
//! to the working directory of the run, which only the command knows.

use std::path::PathBuf;
use std::time::Duration;

/// The `[sandbox]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSettings {
    /// Bound read-only, as written.
    pub read: Vec<PathBuf>,
    /// Bound read-write, as written.
    pub write: Vec<PathBuf>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// How many processes and threads.
    pub processes: u32,
    /// How many open files each process may have.
    pub files: u32,
    /// How many processors' time, like 1.5.
    pub cpus: Option<f64>,
    /// How long it may run.
    pub wall_clock: Option<Duration>,
    /// Variables to pass in beside the short list that always is.
    pub pass_env: Vec<String>,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            memory: None,
            processes: 256,
            files: 1024,
            cpus: None,
            wall_clock: None,
            pass_env: Vec::new(),
        }
    }
}
