//! Landlock's three system calls.

use super::mount::last_errno;
use rustix::io::Result;
use std::{
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// `landlock_ruleset_attr` as of ABI 6; where an older kernel's is shorter, the rest has to be zero.
#[repr(C)]
struct Handled {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `landlock_path_beneath_attr`, which the kernel's header packs.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: RawFd,
}

/// `landlock_create_ruleset(2)` asked only for its version; an error where the kernel has no Landlock in force.
pub(crate) fn landlock_abi() -> Result<i64> {
    const VERSION: libc::c_int = 1;
    // SAFETY: with this flag the kernel wants a null pointer and a zero size, and only returns a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, VERSION) };
    if answer < 0 { Err(last_errno()) } else { Ok(answer) }
}

/// `landlock_create_ruleset(2)`: what of files is refused unless a rule allows it, and what is kept to those inside.
pub(crate) fn landlock_ruleset(files: u64, scoped: u64) -> Result<OwnedFd> {
    let handled = Handled { files, network: 0, scoped };
    // SAFETY: the kernel reads as many bytes as are passed as the size, which is the struct's own.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<Handled>(), 0_u32) };
    match RawFd::try_from(answer) {
        // SAFETY: a new descriptor that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_errno()),
    }
}

/// `landlock_add_rule(LANDLOCK_RULE_PATH_BENEATH)`: allows this on `parent` and everything below it.
pub(crate) fn landlock_allow(ruleset: impl AsFd, allowed: u64, parent: impl AsFd) -> Result<()> {
    const PATH_BENEATH: libc::c_int = 1;
    let rule = PathBeneath { allowed, parent: parent.as_fd().as_raw_fd() };
    let ruleset = ruleset.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the struct, which lives across the call, as both descriptors do.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0_u32) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// `landlock_restrict_self(2)`: from here on this thread and all that it makes are held to the rules.
pub(crate) fn landlock_restrict_self(ruleset: impl AsFd) -> Result<()> {
    // SAFETY: a descriptor that lives across the call, and no flags.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0_u32) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}
