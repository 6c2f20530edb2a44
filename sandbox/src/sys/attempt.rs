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

/// `clone3(2)`: a child in new namespaces, which ends at once.
pub(crate) fn clone3(namespaces: libc::c_int) -> Result<()> {
    // SAFETY: `clone_args` is plain numbers, for which all zeroes is the documented "nothing asked for".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.unsigned_abs());
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    // SAFETY: no CLONE_VM and no stack, so the child goes on with its own copy of this memory; the size passed is the struct's.
    let child = done(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) })?;
    if child == 0 {
        // SAFETY: `_exit` takes any number and does not return.
        unsafe { libc::_exit(0) }
    }
    let child = libc::pid_t::try_from(child).unwrap_or(-1);
    // SAFETY: no place for a status is passed.
    done(libc::c_long::from(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) })).map(drop)
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

/// `perf_event_open(2)`: a software counter of the calling process, outside the kernel; it stays open until the process ends.
pub(crate) fn perf_event() -> Result<()> {
    // type 1 (software) and size 112; then, in the sixth word, exclude_kernel and exclude_hv.
    let mut attributes: Zeroes = [0; 24];
    let (software, size, excluded) = (1_u64, 112_u64, 0x60_u64);
    attributes[0] = software | size << 32;
    attributes[5] = excluded;
    // SAFETY: the kernel reads as many bytes as the second field says, which is less than the array has; all else is numbers.
    done(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) }).map(drop)
}

/// `userfaultfd(2)` for faults outside the kernel; it stays open until the process ends.
pub(crate) fn userfault() -> Result<()> {
    const USER_MODE_ONLY: libc::c_int = 1;
    // SAFETY: plain numbers.
    done(unsafe { libc::syscall(libc::SYS_userfaultfd, USER_MODE_ONLY | libc::O_CLOEXEC) }).map(drop)
}

/// `name_to_handle_at(2)` of the root directory.
pub(crate) fn file_handle() -> Result<()> {
    // A `file_handle` with room for the 128 bytes that the kernel may write at most, which its first field says.
    let mut handle: Zeroes = [0; 24];
    handle[0] = 128;
    let mut mount: libc::c_int = 0;
    let path = c"/";
    // SAFETY: a NUL-terminated string, and two places that live across the call and hold what the kernel may write.
    done(unsafe {
        let (handle, mount) = (handle.as_mut_ptr(), &raw mut mount);
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), handle, mount, 0)
    })
    .map(drop)
}

/// `ioctl(TIOCSETD)`: the line discipline that every terminal has.
pub(crate) fn line_discipline(terminal: BorrowedFd<'_>) -> Result<()> {
    let of_terminals: libc::c_int = 0;
    // SAFETY: the kernel reads one number, which lives across the call.
    done(libc::c_long::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSETD, &raw const of_terminals) }))
        .map(drop)
}

/// `syslog(2)`: how long the kernel's log is.
pub(crate) fn kernel_log() -> Result<()> {
    const SIZE: libc::c_int = 10;
    // SAFETY: this action wants no place to write to.
    done(unsafe { libc::syscall(libc::SYS_syslog, SIZE, std::ptr::null_mut::<u8>(), 0) }).map(drop)
}

/// `process_vm_readv(2)`: one byte of another process, from where this one has `what`; both may be forks of one.
pub(crate) fn read_from(process: Pid, what: &u8) -> Result<u8> {
    let mut byte = 0_u8;
    let into = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let from = libc::iovec { iov_base: (&raw const *what).cast_mut().cast(), iov_len: 1 };
    let pid = process.as_raw_nonzero().get();
    // SAFETY: the kernel writes one byte into `byte`, which lives across the call; the other address is the other process's.
    done(unsafe { libc::process_vm_readv(pid, &raw const into, 1, &raw const from, 1, 0) } as libc::c_long)?;
    Ok(byte)
}

/// `mmap(2)` of a page that can be written and executed, and its end.
pub(crate) fn executable_memory() -> Result<()> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice, which nothing else refers to.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(last_errno());
    }
    // SAFETY: the page that was just mapped.
    done(libc::c_long::from(unsafe { libc::munmap(page, 4096) })).map(drop)
}

/// `mprotect(2)`: a page of this process's own, which was data, is code.
pub(crate) fn make_executable() -> Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice, which nothing else refers to.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(last_errno());
    }
    // SAFETY: the page that was just mapped; nothing in it is executed.
    let made = done(libc::c_long::from(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) }));
    // SAFETY: as above; nobody has its address any more.
    done(libc::c_long::from(unsafe { libc::munmap(page, 4096) }))?;
    made.map(drop)
}

/// `memfd_create(2)`: a file that has no path, and could be executed.
pub(crate) fn nameless_file() -> Result<()> {
    // SAFETY: a NUL-terminated name.
    done(unsafe { libc::syscall(libc::SYS_memfd_create, c"x".as_ptr(), 0) }).map(drop)
}
