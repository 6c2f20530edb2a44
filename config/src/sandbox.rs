//! What a policy gives the sandbox beside the network.
//!
//! Enters: the `[sandbox]` table. Leaves: settings with their defaults. Never: paths made absolute; they are relative
//! to the working directory of the run, which only the command knows.

use std::time::Duration;

use crate::file_glob::FileGlob;

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
    pub processes: u32,
    /// How many open files each process may have.
    pub files: u32,
    /// How many processors' time, like 1.5.
    pub cpus: Option<f64>,
    /// How long it may run.
    pub wall_clock: Option<Duration>,
    /// Whether its commands may make namespaces, and mounts in them.
    pub nested: bool,
    /// Variables to pass in beside the short list that always is.
    pub pass_env: Vec<String>,
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
            processes: 256,
            files: 1024,
            cpus: None,
            wall_clock: None,
            nested: false,
            pass_env: Vec::new(),
        }
    }
}
