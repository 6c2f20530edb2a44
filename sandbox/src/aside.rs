//! A process of the run's own that stands beside the worker and is none of the sandbox's.
//!
//! For: the command, before there are threads or secrets. In: what it has open, what it does. Out: a process with nothing else of the caller's: no
//! descriptor, no stream, no key pressed in its terminal, closed memory. Never: a wait of the caller's for its end; who kills it by number does no
//! harm to the caller.

use crate::{
    lock,
    process::{ChildProcess, single_threaded},
    sys,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::{
    ffi::CStr,
    fs::OpenOptions,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Forks such a process under this name, to which the caller gives one thing that it has open. It is nobody's to wait for. What is to be held is not looked
/// at in it, but for when to let go: the kernel ends that when nobody else has it either. The caller has one thread; that is checked.
///
/// # Errors
/// When the process cannot be made.
pub fn fork_aside<T: AsFd>(
    name: &CStr,
    open: T,
    held: Vec<OwnedFd>,
    f: impl FnOnce(T, Vec<OwnedFd>) -> u8,
) -> io::Result<()> {
    single_threaded().map_err(io::Error::other)?;
    // In the caller, what was given away is closed with the closure.
    let child = move || be_apart(name, open.as_fd(), &held).map_or(1, |()| f(open, held));
    ChildProcess::spawn(0, child)?.detach();
    Ok(())
}

fn be_apart(name: &CStr, open: BorrowedFd<'_>, held: &[OwnedFd]) -> io::Result<()> {
    // A key pressed in the worker's terminal is not for it.
    sys::block_signals()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    sys::close_all_but(&held.iter().map(AsFd::as_fd).chain([open]).collect::<Vec<_>>())?;
    let_go_of_streams()?;
    Ok(rustix::thread::set_name(name)?)
}

/// Keeps the calling process, for good, to this directory: it reads, makes, writes and removes files there, reads what else is listed, and listens
/// nowhere. It has no capability from here on.
///
/// # Errors
/// Where the kernel lacks something of that; what it has is in force.
pub fn keep_to_directory(directory: &Path, read: &[PathBuf]) -> io::Result<()> {
    lock::keep_to_directory(directory, read)
}

/// Whoever waits for the end of the run's output must not wait for a process that is not the run.
pub(crate) fn let_go_of_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
