//! Landlock: a domain of files, ports and processes that the calling thread, and whoever it starts, never leaves.

use super::mount::last_errno;
use rustix::io::Result;
use std::{
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// What a domain rules over: everything listed is refused but for the rules. As `landlock_ruleset_attr` of ABI 6.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ruled {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`, from ABI 4 on.
    pub ports: u64,
    /// `LANDLOCK_SCOPE_*`, from ABI 6 on.
    pub scopes: u64,
}

/// `landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// `landlock_create_ruleset(2)` asked only for its version; an error where the kernel has no Landlock in force.
pub(crate) fn landlock_abi() -> Result<i64> {
    const VERSION: libc::c_int = 1;
    // SAFETY: with this flag the kernel wants a null pointer and a zero size, and only returns a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, VERSION) };
    if answer < 0 { Err(last_errno()) } else { Ok(answer) }
}

/// `landlock_create_ruleset(2)`. A kernel that knows fewer fields takes those it does not know where they are zero.
pub(crate) fn landlock_ruleset(ruled: Ruled) -> Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as the size passed says, which is the structure's own.
    let fd = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruled, size_of::<Ruled>(), 0 as libc::c_int)
    };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_errno()),
    }
}

/// `landlock_add_rule(2)`: these rights for a file, or for all that is below a directory.
pub(crate) fn landlock_allow(ruleset: BorrowedFd<'_>, place: BorrowedFd<'_>, rights: u64) -> Result<()> {
    const PATH_BENEATH: libc::c_int = 1;
    let rule = Beneath { allowed: rights, parent: place.as_raw_fd() };
    // SAFETY: the kernel reads one `landlock_path_beneath_attr`, which lives across the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0 as libc::c_int)
    };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// `landlock_restrict_self(2)`: for the calling thread. Needs no_new_privs.
pub(crate) fn landlock_enter(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: plain numbers.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0 as libc::c_int) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}
