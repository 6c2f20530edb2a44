//! `mount_setattr(2)`.

use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What to change on a mount and on everything mounted below it.
#[derive(Default)]
pub(crate) struct MountAttributes<'a> {
    /// `MOUNT_ATTR_*` flags to set.
    pub set: u64,
    /// `MS_*` propagation type, 0 to leave it.
    pub propagation: u64,
    /// The user namespace whose mapping the mount takes on.
    pub idmap: Option<BorrowedFd<'a>>,
}

/// Changes the mount that `tree` refers to, and recursively what is mounted below it.
pub(crate) fn set_mount_attributes(tree: impl AsFd, change: &MountAttributes<'_>) -> Result<()> {
    let idmap = if change.idmap.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: change.set | idmap,
        attr_clr: 0,
        propagation: change.propagation,
        userns_fd: change.idmap.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a NUL-terminated constant, `attributes` is a live `mount_attr` and its true size is passed; the
    // kernel only reads both. The descriptors are borrowed for the length of the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
