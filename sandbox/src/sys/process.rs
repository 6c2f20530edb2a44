//! Making processes, replacing them, and taking things away from them.

use super::mount::last_errno;
use rustix::{
    io::{Errno, Result},
    process::Pid,
};
use std::{
    ffi::{CStr, CString},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

/// `clone(2)` used like `fork(2)`: the child runs `child` in the namespaces asked for (`CLONE_NEW*`) and exits with
/// what it returns; the parent gets its number and a pidfd. The caller must be the only thread of its process: a lock held by
/// another thread would stay locked for ever in the child. Not clone3(2), which containers and our own filter refuse: its flags cannot be seen.
pub(crate) fn spawn(namespaces: libc::c_int, child: impl FnOnce() -> u8) -> Result<(Pid, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: no CLONE_VM and no stack, so the child goes on with its own copy of this memory, as after fork; with CLONE_PIDFD the
    // third argument, on every processor, is where the descriptor goes, and `pidfd` lives across the call; the last two are unused.
    let answer = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) };
    match i32::try_from(answer) {
        Ok(0) => {
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(70);
            // SAFETY: `_exit` takes any number and does not return; no destructor or exit handler of the parent's copy runs.
            unsafe { libc::_exit(i32::from(code)) }
        }
        Ok(pid) if pid > 0 => {
            let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
            // SAFETY: the kernel has just stored a new descriptor there which nobody else owns.
            Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
        _ => Err(last_errno()),
    }
}

/// More than what a child does before it executes takes, by far; no page of it is touched that is not needed.
const CHILD_STACK: usize = 256 * 1024;

/// `clone(2)` used like `vfork(2)`, but on a stack of its own: the child runs `child` in this very memory while the caller waits, and then executes, or
/// exits with what `child` returns. Nothing is copied. Memory that the child takes and does not give back stays taken. For a caller with one thread;
/// `child` drops no owner of a descriptor that it did not open.
pub(crate) fn spawn_waiting<F: FnOnce() -> u8>(child: F) -> Result<Pid> {
    extern "C" fn begin<F: FnOnce() -> u8>(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the caller passes its own `Option<F>`, and neither touches it nor returns before this process has executed or ended.
        let child = unsafe { &mut *child.cast::<Option<F>>() };
        let code = catch_unwind(AssertUnwindSafe(|| child.take().map_or(70, |child| child()))).unwrap_or(70);
        // SAFETY: `_exit` takes any number and does not return; no destructor or exit handler runs, which are the caller's.
        unsafe { libc::_exit(i32::from(code)) }
    }
    let mut child = Some(child);
    let mut stack: Vec<u128> = Vec::with_capacity(CHILD_STACK / size_of::<u128>());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: one past the end of the allocation, and aligned to 16 bytes as `u128` is; stacks grow downwards on both processors.
    let top = unsafe { stack.as_mut_ptr().add(stack.capacity()) };
    // SAFETY: the stack and `child` outlive the call, which returns when the child has executed or ended (CLONE_VFORK), so that memory is never
    // used by both at a time. The child has a table of descriptors, a directory, dispositions and limits of its own (no CLONE_FILES, _FS, _SIGHAND, _THREAD).
    let pid = unsafe { libc::clone(begin::<F>, top.cast(), flags, (&raw mut child).cast()) };
    if pid > 0 { Pid::from_raw(pid).ok_or(Errno::SRCH) } else { Err(last_errno()) }
}

/// `execve(2)`. Returns only if it failed.
pub(crate) fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers =
        |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays are null-terminated, and they and the NUL-terminated strings they point to outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_errno()
}

/// `close_range(2)` of each of these. For a freshly made child only, which never drops the owners it inherited.
pub(crate) fn close_these(fds: &[BorrowedFd<'_>]) -> Result<()> {
    fds.iter().try_for_each(|fd| {
        let number = fd.as_raw_fd().unsigned_abs();
        // SAFETY: closing touches no memory. The owners of these descriptors are copies from the parent that this child never uses or
        // drops: it ends in `_exit`.
        if unsafe { libc::syscall(libc::SYS_close_range, number, number, 0) } == 0 { Ok(()) } else { Err(last_errno()) }
    })
}

/// Closes every descriptor from 3 on but `keep`.
pub(crate) fn close_other_fds(keep: Option<BorrowedFd<'_>>) -> Result<()> {
    close_all_but(keep.as_slice())
}

/// `close_range(2)`: closes every descriptor from 3 on but those in `keep`. For a freshly made child only, which never drops the
/// owners it inherited.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).filter(|&fd| fd > 2).collect();
    keep.sort_unstable();
    let firsts = [3].into_iter().chain(keep.iter().map(|fd| fd + 1));
    let lasts = keep.iter().map(|fd| fd - 1).chain([u32::MAX]);
    for (first, last) in firsts.zip(lasts) {
        if first > last {
            continue;
        }
        // SAFETY: closing touches no memory. The child has a table of descriptors of its own, and never uses or drops the owners of these,
        // be they copies or the parent's memory itself: it ends in `_exit` or `execve`.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            return Err(last_errno());
        }
    }
    Ok(())
}

/// `getrusage(RUSAGE_CHILDREN)`: how many bytes those wrote to disks that were waited for. (The kernel has it in blocks of 512.)
pub(crate) fn written_by_children() -> Result<u64> {
    // SAFETY: `rusage` is plain numbers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the struct, which lives across the call.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(last_errno());
    }
    Ok(u64::try_from(usage.ru_oublock).unwrap_or(0).saturating_mul(512))
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`: an empty session keyring instead of the inherited one.
pub(crate) fn fresh_session_keyring() -> Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; no memory is read.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<u8>()) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`: from here on `program` judges every system call. Needs no_new_privs.
pub(crate) fn refuse_by(program: &[libc::sock_filter]) -> Result<()> {
    let filter = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from the slice, which outlives the call, and checks the program itself.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// `seccomp(SECCOMP_GET_ACTION_AVAIL)`: whether a filter can have calls answered with an error.
pub(crate) fn filters_are_there() -> Result<()> {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number, which lives across the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// `getsid(2)`: who leads this process's session; 0 where they have no number here, as someone outside of the PID namespace has none
/// (`pid_namespaces(7)`).
pub(crate) fn session_leader() -> libc::pid_t {
    // SAFETY: nothing is passed but a number; 0 is the calling process, which cannot fail.
    unsafe { libc::getsid(0) }
}

/// `getpgrp(2)`: this process's group; 0 where its leader has no number here.
pub(crate) fn process_group() -> libc::pid_t {
    // SAFETY: nothing is passed, and it cannot fail.
    unsafe { libc::getpgrp() }
}
