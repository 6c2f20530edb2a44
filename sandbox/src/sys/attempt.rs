//! System calls that a hostile command would try. Each does, at most, something that ends with the calling process.

use super::mount::last_errno;
use rustix::{io::Result, process::Pid};
use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd},
};

/// The start of the kernel's argument structures, all zeroes: nothing asked for. As long as the longest of them.
type Zeroes = [u64; 24];

fn done(answer: libc::c_long) -> Result<libc::c_long> {
    if answer < 0 { Err(last_errno()) } else { Ok(answer) }
}

/// `unshare(2)`: new namespaces for the calling thread.
pub(crate) fn unshare(namespaces: libc::c_int) -> Result<()> {
    // SAFETY: the callers' flags are `CLONE_NEW*` only, which share or unshare no memory and no descriptors.
    done(libc::c_long::from(unsafe { libc::unshare(namespaces) })).map(drop)
}

/// `io_uring_setup(2)`; the ring stays open until the process ends.
pub(crate) fn io_uring() -> Result<()> {
    let mut parameters: Zeroes = [0; 24];
    // SAFETY: `io_uring_params` is 120 bytes, of which the kernel reads and writes all; the array is longer and lives on.
    done(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) }).map(drop)
}

/// `bpf(BPF_MAP_CREATE)`: an array of one word, which stays open until the process ends.
pub(crate) fn bpf_map() -> Result<()> {
    const MAP_CREATE: libc::c_int = 0;
    // map_type 2 (array), key_size 4, value_size 4, max_entries 1; two 32-bit fields in each word, in host order.
    let words: [u32; 4] = [2, 4, 4, 1];
    // SAFETY: the kernel reads as many bytes as the size passed says, which is the array's own.
    done(unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, words.as_ptr(), size_of_val(&words)) }).map(drop)
}

/// `ptrace(PTRACE_SEIZE)`, which does not stop the process and ends with the caller.
pub(crate) fn seize(process: Pid) -> Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: with this request both pointers are plain numbers: no address, no options.
    done(unsafe { libc::ptrace(libc::PTRACE_SEIZE, process.as_raw_nonzero().get(), none, none) }).map(drop)
}

/// `ioctl(TIOCSTI)`: a newline, as if it had been typed.
pub(crate) fn type_into(terminal: BorrowedFd<'_>) -> Result<()> {
    let typed = b'\n';
    // SAFETY: the kernel reads one byte, which lives across the call.
    done(libc::c_long::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, &raw const typed) })).map(drop)
}

/// `delete_module(2)`.
pub(crate) fn unload_module(name: &CStr) -> Result<()> {
    // SAFETY: the kernel reads a NUL-terminated string.
    done(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) }).map(drop)
}

/// `add_key(2)`: a key of type `user` in the user's keyring.
pub(crate) fn add_key(name: &CStr) -> Result<()> {
    let (kind, payload) = (c"user", b"x");
    let ring = libc::KEY_SPEC_USER_KEYRING;
    // SAFETY: two NUL-terminated strings, and a payload of which the kernel reads the length passed.
    done(unsafe {
        libc::syscall(libc::SYS_add_key, kind.as_ptr(), name.as_ptr(), payload.as_ptr(), payload.len(), ring)
    })
    .map(drop)
}

/// `keyctl(KEYCTL_SEARCH)` for a key of type `user` in the user's keyring; its number.
pub(crate) fn find_key(name: &CStr) -> Result<libc::c_long> {
    let (kind, ring) = (c"user", libc::KEY_SPEC_USER_KEYRING);
    // SAFETY: two NUL-terminated strings, and no ring to link to.
    done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SEARCH, ring, kind.as_ptr(), name.as_ptr(), 0) })
}

/// `keyctl(KEYCTL_INVALIDATE)`.
pub(crate) fn drop_key(key: libc::c_long) -> Result<()> {
    // SAFETY: plain numbers.
    done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_INVALIDATE, key) }).map(drop)
}
