//! The worker takes from itself, for good, what it needs no more: it reads what a hostile side has written.
//!
//! For: the process that made a sandbox, when everything it needs is open. In: the files that it will still read. Out: the same process,
//! without capabilities, in a Landlock domain and behind a list of system calls, its memory closed. Never: a thread that was started
//! before and is not locked in; each that is started afterwards is.

mod calls;
mod files;
mod privilege;
mod system;

pub use self::privilege::close_memory;

use self::files::{Domain, Right};
use crate::{
    error::{Error, Step},
    process::single_threaded,
    sys,
};
use libc::sock_filter;
use rustix::{io::Errno, process::getpid};
use serde::Serialize;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    path::{Path, PathBuf},
};

const REMEDY: &str = "`--unlocked-worker` goes on without, which is in the log: a worker that was taken over would then be held only by what is left";

/// The files that a worker at work needs, beside those that the system's resolver reads.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Files, and directories with all that is below them, to be read.
    pub read: Vec<PathBuf>,
    /// The same, and files may be taken away from them.
    pub clear: Vec<PathBuf>,
    /// What is to stay out of reach even if it lies in a directory that the system's resolver reads.
    pub apart: Vec<PathBuf>,
}

/// What to do where the kernel has no Landlock, or no filters of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// An error.
    Refuse,
    /// Go on without, and say so.
    GoOn,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// The capabilities that it has left.
    pub capabilities: &'static str,
    /// Whether the set is empty that bounds what it could gain, which only a privileged process can see to.
    pub bounding_set_empty: bool,
    /// The version of Landlock that bounds its files, ports and abstract sockets.
    pub landlock: Option<i64>,
    /// Whether only listed system calls are answered.
    pub syscall_filter: bool,
    /// Whether its memory can be dumped, read or traced by other processes of its user.
    pub dumpable: bool,
}

/// What a process is going to be locked in with. Nothing of it is in force yet: it is made while there is something to wait for.
#[derive(Debug)]
pub struct Bolt {
    reach: Reach,
    domain: Result<(i64, Domain), Errno>,
    filter: Result<Vec<sock_filter>, Errno>,
}

/// Locks the calling process in. It has to have one thread.
///
/// # Errors
/// Where a part is not to be had and `lacking` does not go on without it. Some of the rest may be in force then.
pub fn lock_in(reach: &Reach, lacking: Lacking) -> Result<Lock, Error> {
    Bolt::make(reach, &[]).shut(lacking)
}

impl Bolt {
    /// For a process with children: by these descriptors it may kill them.
    pub(crate) fn make(reach: &Reach, children: &[BorrowedFd<'_>]) -> Self {
        let domain = sys::landlock_abi().and_then(|abi| Ok((abi, domain(abi, reach)?)));
        let own = getpid().as_raw_nonzero().get().unsigned_abs();
        let children: Vec<RawFd> = children.iter().map(AsRawFd::as_raw_fd).collect();
        let filter = calls::program(own, &children).ok_or(Errno::OPNOTSUPP);
        Self { reach: reach.clone(), domain, filter }
    }

    /// As [`lock_in`].
    pub(crate) fn shut(self, lacking: Lacking) -> Result<Lock, Error> {
        let step = |tried: &'static str| move |errno: Errno| Step::Lock.failed(tried).because(errno);
        // A thread that is there already would stay as it is.
        single_threaded()?;
        close_memory().map_err(|error| Step::Lock.failed("close the worker's memory").because(error))?;
        // Before Landlock and the filter, which an unprivileged process may ask for under no_new_privs only.
        let bounding_set_empty = privilege::give_up().map_err(step("give up the worker's capabilities"))?;
        // Without capabilities a file may be out of reach that was not: better said now than at its next change.
        readable(&self.reach, lacking)?;
        let landlock = keep_to_files(self.domain, lacking)?;
        // Last: nothing of the above is among the calls that are left.
        let syscall_filter = filter(self.filter, lacking)?;
        Ok(Lock { capabilities: "none", bounding_set_empty, landlock, syscall_filter, dumpable: false })
    }
}

/// Keeps the calling process to files in this directory and to reading others, and takes its capabilities. It has to have one thread.
pub(crate) fn keep_to_directory(directory: &Path, read: &[PathBuf]) -> io::Result<()> {
    privilege::give_up()?;
    let read = read.iter().map(|path| (path.as_path(), Right::Read));
    Ok(files::domain(sys::landlock_abi()?, read.chain([(directory, Right::Keep)]))?.enter()?)
}

fn domain(abi: i64, reach: &Reach) -> Result<Domain, Errno> {
    let system = system::places(&reach.apart);
    let read = reach.read.iter().chain(&system).map(|path| (path.as_path(), Right::Read));
    let clear = reach.clear.iter().map(|path| (path.as_path(), Right::Clear));
    files::domain(abi, read.chain(clear))
}

fn keep_to_files(domain: Result<(i64, Domain), Errno>, lacking: Lacking) -> Result<Option<i64>, Error> {
    let kept = domain.and_then(|(abi, domain)| domain.enter().map(|()| abi));
    match (kept, lacking) {
        (Ok(abi), _) => Ok(Some(abi)),
        (Err(_), Lacking::GoOn) => Ok(None),
        (Err(errno), Lacking::Refuse) => {
            let failed = Step::Lock.failed("keep the worker to its files, which takes Landlock").because(errno);
            Err(failed.hint_at(format!(
                "a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` among its `lsm=` has it; {REMEDY}"
            )))
        }
    }
}

/// Whether the list of system calls is written for this processor.
pub(crate) fn has_a_list() -> bool {
    calls::program(0, &[]).is_some()
}

fn filter(program: Result<Vec<sock_filter>, Errno>, lacking: Lacking) -> Result<bool, Error> {
    match (program.and_then(|program| sys::refuse_by(&program)), lacking) {
        (Ok(()), _) => Ok(true),
        (Err(_), Lacking::GoOn) => Ok(false),
        (Err(errno), Lacking::Refuse) => {
            let failed =
                Step::Lock.failed("keep the worker to its system calls, which takes seccomp filters").because(errno);
            Err(failed.hint_at(format!("a kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64 has them; {REMEDY}")))
        }
    }
}

/// Whether what it will read again can be read without capabilities.
fn readable(reach: &Reach, lacking: Lacking) -> Result<(), Error> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let able = |path: &PathBuf| accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS);
    let refused = reach.read.iter().chain(&reach.clear).find(|path| able(path) == Err(Errno::ACCESS));
    match refused {
        Some(path) if lacking == Lacking::Refuse => {
            let failed = Step::Lock.failed("go on reading, without root's capabilities,").on(path.display());
            Err(failed.because(Errno::ACCESS).hint_at(
                "it is another user's alone: start exeat as that user, or give its directories to root; \
                 `--unlocked-worker` goes on, but sees no change of it before the next start",
            ))
        }
        _ => Ok(()),
    }
}
