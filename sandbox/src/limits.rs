//! What the kernel counts for each process: rlimits.
//!
//! For: `spawn`, which reports them, and `init`, which sets them right before the command. In: the limits asked for and
//! those we are under ourselves. Out: the stricter of both. Never: a limit raised.

use crate::spec::Limits;
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

impl From<&config::SandboxSettings> for Limits {
    fn from(settings: &config::SandboxSettings) -> Self {
        Self { processes: settings.processes, files: settings.files, memory: settings.memory, cpus: settings.cpus }
    }
}

/// The rlimits of the command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rlimits {
    pub processes: u64,
    pub files: u64,
    /// Private writable memory. Not the whole address space: runtimes reserve far more of that than they use.
    pub data: Option<u64>,
}

impl Rlimits {
    pub fn of(limits: &Limits) -> Self {
        let stricter = |resource, asked: u64| getrlimit(resource).maximum.map_or(asked, |ours| ours.min(asked));
        Self {
            // The namespace's own init is counted, too.
            processes: stricter(Resource::Nproc, u64::from(limits.processes) + 1),
            files: stricter(Resource::Nofile, u64::from(limits.files)),
            data: limits.memory.map(|asked| stricter(Resource::Data, asked)),
        }
    }

    /// Sets them for this process and its children.
    pub fn set(self) -> Result<(), Errno> {
        let hard = |resource, limit| setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
        hard(Resource::Core, 0)?; // a core file is a copy of memory that outlives the sandbox
        hard(Resource::Nproc, self.processes)?;
        hard(Resource::Nofile, self.files)?;
        self.data.map_or(Ok(()), |data| hard(Resource::Data, data))
    }
}
