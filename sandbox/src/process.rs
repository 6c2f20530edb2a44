//! A forked process and its end.
//!
//! For: pid 1 of the sandbox, and the embedded broker. In: what the child does. Out: a pidfd to wait on or kill by. Never: a
//! zombie or an orphan; dropped, the child is killed and waited for.

use crate::{
    error::{Error, Step},
    sys,
};
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

/// A child of this process.
#[derive(Debug)]
pub struct ChildProcess {
    pid: Pid,
    pidfd: OwnedFd,
    /// The code it exited with; 128 and the number for a signal.
    ended: Option<u8>,
}

/// Forks: `f` runs in a copy of this process, which exits with the code it returns (70 if it panics). To be called while
/// there is one thread; that is checked.
pub fn fork_process(f: impl FnOnce() -> u8) -> io::Result<ChildProcess> {
    single_threaded().map_err(io::Error::other)?;
    Ok(ChildProcess::spawn(0, f)?)
}

/// A directory for each thread of this process.
const TASKS: &str = "/proc/self/task";

/// A lock that another thread holds would stay locked in a forked child for ever.
pub(crate) fn single_threaded() -> Result<(), Error> {
    // What a directory has for its own name, for `.`, and for each thread. Elsewhere than on Linux's own /proc it may be another number.
    const OF_ONE: u64 = 3;
    if fs::metadata(TASKS).is_ok_and(|tasks| tasks.nlink() == OF_ONE) {
        return Ok(());
    }
    let threads = fs::read_dir(TASKS).map(Iterator::count);
    let threads = threads.map_err(|error| Step::Plan.failed("count the threads in").on(TASKS).because(error))?;
    if threads == 1 {
        return Ok(());
    }
    Err(Step::Plan
        .failed(format!("fork a process of {threads} threads"))
        .hint_at("prepare the sandbox before any is started"))
}

impl ChildProcess {
    pub(crate) fn spawn(namespaces: libc::c_int, child: impl FnOnce() -> u8) -> Result<Self, Errno> {
        let (pid, pidfd) = sys::spawn(namespaces, child)?;
        Ok(Self { pid, pidfd, ended: None })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Its process number.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for its end, and says its exit code, or 128 and the number of the signal that ended it.
    pub fn wait(&mut self) -> io::Result<u8> {
        if let Some(code) = self.ended {
            return Ok(code);
        }
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        let code =
            status.and_then(|status| status.exit_status().or(status.terminating_signal().map(|number| 128 + number)));
        Ok(*self.ended.insert(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)))
    }

    /// Lets it live on by itself.
    pub fn detach(mut self) {
        self.ended = Some(0);
    }

    /// Kills it, if it is still there.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

impl AsFd for ChildProcess {
    /// The pidfd: readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.ended.is_none() && self.kill().is_ok() {
            let _ended = self.wait();
        }
    }
}
