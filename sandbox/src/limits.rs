//! What the kernel counts for each process: rlimits.
//!
//! For: `spawn`, which reports them, and `init`, which sets them right before the command. In: the limits asked for and
//! those we are under ourselves. Out: the stricter of both. Never: a hard limit raised.

use crate::spec::Limits;
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

impl From<&config::SandboxSettings> for Limits {
    fn from(settings: &config::SandboxSettings) -> Self {
        Self {
            processes: settings.processes,
            files: settings.files,
            memory: settings.memory,
            cpus: settings.cpus,
            file_size: settings.file_size,
            disk: settings.disk,
            required: settings.limits == config::LimitsMode::Required,
        }
    }
}

/// Lets this process have as many files open as it may: each call has some. The command's own limit was set before, and stays.
///
/// # Errors
/// When the kernel says no.
pub fn raise_open_files() -> std::io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Where a cgroup counts processes this is only the second fence: the first one says that it was met.
const BEYOND_THE_GROUP: u64 = 16;

/// The rlimits of the command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rlimits {
    pub processes: u64,
    pub files: u64,
    /// Private writable memory. Not the whole address space: runtimes reserve far more of that than they use.
    pub data: Option<u64>,
    /// One file that it writes.
    pub file_size: Option<u64>,
}

impl Rlimits {
    /// `counted`: whether a cgroup counts processes.
    pub fn of(limits: &Limits, counted: bool) -> Self {
        let stricter = |resource, asked: u64| getrlimit(resource).maximum.map_or(asked, |ours| ours.min(asked));
        Self {
            // The namespace's own init is counted, too.
            // Since Linux 5.14 they are counted for each user of each user namespace, and the sandbox has one of its own.
            processes: stricter(
                Resource::Nproc,
                u64::from(limits.process_count()) + 1 + if counted { BEYOND_THE_GROUP } else { 0 },
            ),
            files: stricter(Resource::Nofile, u64::from(limits.files)),
            data: limits.memory.map(|asked| stricter(Resource::Data, asked)),
            file_size: limits.file_size.map(|asked| stricter(Resource::Fsize, asked)),
        }
    }

    /// Sets them for this process and its children.
    pub fn set(self) -> Result<(), Errno> {
        let hard = |resource, limit| setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
        hard(Resource::Core, 0)?; // a core file is a copy of memory that outlives the sandbox
        hard(Resource::Nproc, self.processes)?;
        hard(Resource::Nofile, self.files)?;
        self.file_size.map_or(Ok(()), |size| hard(Resource::Fsize, size))?;
        self.data.map_or(Ok(()), |data| hard(Resource::Data, data))
    }
}
