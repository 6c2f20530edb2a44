//! A second wall behind the mounts: Landlock, as far as the kernel has it.
//!
//! For: `child`, when nothing is mounted any more. In: the plan's write paths, the standard descriptors. Out: a process that
//! reads and executes what is shown, writes only in write paths, scratch space, devices and /proc, makes no device file
//! anywhere, and signals nobody and connects to no socket outside; and what of it is in force. Never: a condition for a start. Without Landlock the mounts
//! stand alone, and that is said.
//!
//! TCP ports are left alone. A rule names one port, so that all but a few would take 65,000 rules; every port leads to
//! the proxy, whose refusal can be read; and the ports that the proxy has are bound, so that nobody else gets them.

use crate::{
    error::{Error, Step},
    filesystem::{DEVICES, SCRATCH},
    plan::Plan,
    status::Landlock,
    sys::{self, Ruled},
};
use rustix::{
    fs::{FileType, Mode, OFlags, fcntl_getfl, fstat, open},
    io::Errno,
    stdio::{stderr, stdin, stdout},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// `LANDLOCK_ACCESS_FS_*`.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// To get at a socket by its path that was made outside; those that are made inside need no right. Given nowhere.
const RESOLVE_UNIX: u64 = 1 << 16;

/// The rights that mean something on what is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const SHOWN: u64 = EXECUTE | READ_FILE | READ_DIR;
/// Everything but device files, what devices of others would do, and sockets of others.
const WRITTEN: u64 = !(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV | RESOLVE_UNIX);
/// Terminals are asked for much; what the others are asked for they refuse themselves, in the words that programs expect.
const DEVICE: u64 = READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | IOCTL_DEV;
/// Names of threads, readiness to be killed, maps of nested users. What is the machine's there is mounted read-only.
const PROCESSES: u64 = SHOWN | WRITE_FILE | TRUNCATE;

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`.
const SCOPES: u64 = 1 | 1 << 1;

/// What a kernel of this ABI can refuse of files. ABI 1 is of no use: it refuses every move between directories, which git
/// and others do all the time.
const fn files(abi: i64) -> u64 {
    match abi {
        ..=1 => 0,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        5..=8 => (1 << 16) - 1,
        _ => (1 << 17) - 1,
    }
}

const fn scopes(abi: i64) -> u64 {
    if abi >= 6 { SCOPES } else { 0 }
}

/// Whether no command gets at a socket that was made outside, wherever and whenever that was.
pub(crate) fn keeps_sockets(nested: bool) -> bool {
    !nested && sys::landlock_abi().is_ok_and(|abi| files(abi) & RESOLVE_UNIX != 0)
}

/// Whether what was handed over to be read stays so, whatever name it is opened by.
pub fn keeps_files(nested: bool) -> bool {
    !nested && sys::landlock_abi().is_ok_and(|abi| files(abi) & TRUNCATE != 0)
}

/// Puts it up. `None`: this kernel has none, or none that would help.
pub(crate) fn restrict(plan: &Plan, nested: bool) -> Result<Option<Landlock>, Error> {
    let Ok(abi) = sys::landlock_abi() else { return Ok(None) };
    let binds = plan.binds.iter().filter(|bind| bind.write).map(|bind| bind.target.as_path());
    restrict_as(abi, nested, SCRATCH.iter().map(Path::new).chain(binds))
}

fn restrict_as<'a>(abi: i64, nested: bool, written: impl Iterator<Item = &'a Path>) -> Result<Option<Landlock>, Error> {
    let failed = |tried: &'static str| move |errno: Errno| Step::Confine.failed(tried).because(errno);
    // Whoever is held to any rule about files can mount nothing, in no namespace of its own either.
    let (files, scopes) = (if nested { 0 } else { files(abi) }, scopes(abi));
    if (files, scopes) == (0, 0) {
        return Ok(None);
    }
    let ruleset =
        sys::landlock_ruleset(Ruled { files, ports: 0, scopes }).map_err(failed("make rules for Landlock"))?;
    if files != 0 {
        allow_files(&ruleset, files, written)?;
    }
    sys::landlock_enter(ruleset.as_fd()).map_err(failed("put Landlock in force"))?;
    Ok(Some(Landlock { abi, files: files != 0, scopes: scopes != 0, sockets: files & RESOLVE_UNIX != 0 }))
}

fn allow_files<'a>(ruleset: &OwnedFd, handled: u64, written: impl Iterator<Item = &'a Path>) -> Result<(), Error> {
    let allow = |path: &Path, rights: u64| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        open(path, flags, Mode::empty())
            .and_then(|place| allow_on(ruleset, handled, rights, &place))
            .map_err(|errno| Step::Confine.failed("tell Landlock of").on(path.display()).because(errno))
    };
    allow(Path::new("/"), SHOWN)?;
    allow(Path::new("/proc"), PROCESSES)?;
    // This program, wherever it lies: `exeat probe` is a command that has no other name inside.
    allow(Path::new("/proc/self/exe"), EXECUTE | READ_FILE)?;
    for name in DEVICES.iter().chain(&["pts"]) {
        allow(&Path::new("/dev").join(name), DEVICE)?;
    }
    for path in written {
        allow(path, WRITTEN)?;
    }
    for fd in [stdin(), stdout(), stderr()] {
        allow_anew(ruleset, handled, fd)
            .map_err(|errno| Step::Confine.failed("tell Landlock of the standard descriptors").because(errno))?;
    }
    Ok(())
}

/// A file that was handed over may be opened anew by its name in /proc (`> /dev/stderr`), for what it was handed over for.
fn allow_anew(ruleset: &OwnedFd, handled: u64, fd: impl AsFd) -> Result<(), Errno> {
    let Ok(found) = fstat(&fd) else { return Ok(()) }; // closed
    let kind = FileType::from_raw_mode(found.st_mode);
    let access = fcntl_getfl(&fd)? & OFlags::RWMODE;
    let read = if access == OFlags::WRONLY { 0 } else { READ_FILE };
    let write = if access == OFlags::RDONLY { 0 } else { WRITE_FILE | TRUNCATE };
    let device = if kind == FileType::CharacterDevice { IOCTL_DEV } else { 0 };
    match allow_on(ruleset, handled, read | write | device, &fd) {
        // Pipes and sockets, which Landlock does not look at.
        Err(Errno::BADFD) => Ok(()),
        allowed => allowed,
    }
}

fn allow_on(ruleset: &OwnedFd, handled: u64, rights: u64, place: impl AsFd) -> Result<(), Errno> {
    let is_directory = FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Directory;
    let rights = rights & handled & if is_directory { u64::MAX } else { OF_FILES };
    sys::landlock_allow(ruleset.as_fd(), place.as_fd(), rights)
}

#[cfg(test)]
mod tests;
