//! The system calls that a worker at work makes: everything else is refused.
//!
//! For: `lock`. In: the worker's own number, and the descriptors by which it may kill its children. Out: a classic BPF program for seccomp(2).
//! Never: a process, a program, a privilege, a namespace, a way into another process, a socket of another family than the internet's, a file
//! opened for writing, memory that becomes executable, a signal to anybody but the worker itself, its job and its children.

use crate::filter::{
    Processor,
    program::{ALLOW, Judge, assemble, refuse},
};
use libc::{c_long, sock_filter};
use std::{collections::BTreeMap, os::fd::RawFd};

/// The newest call that was known when this list was made (`open_tree_attr`). Whatever is newer is told to be missing, so that a C library
/// of a later year does without.
const NEWEST: u32 = 467;

/// Those whose absence every C library is prepared for: what they would do cannot be seen by a filter.
const ABSENT: [c_long; 3] = [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_io_uring_setup];

/// What a thread of the same process is made with, glibc's and musl's.
const THREAD: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID
    | libc::CLONE_DETACHED) as u32;

/// Opening for anything but reading.
const WRITES: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// Terminals as the relay needs them (in the two forms that C libraries use), and sockets made non-blocking.
const TERMINAL: [u32; 14] = [
    0x5401,
    0x5402,
    0x5403,
    0x5404, // TCGETS, TCSETS, TCSETSW, TCSETSF
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d, // the same with termios2
    0x540f,
    0x5413,
    0x5414, // TIOCGPGRP, TIOCGWINSZ, TIOCSWINSZ
    0x5421,
    0x5451,
    0x541b, // FIONBIO, FIOCLEX, FIONREAD
];

/// `None`: not written for this processor.
pub(super) fn program(own: u32, children: &[RawFd]) -> Option<Vec<sock_filter>> {
    let mut judged: BTreeMap<u32, Judge> = (0..=NEWEST).map(|number| (number, refuse(libc::EPERM))).collect();
    let listed = always().into_iter().map(|call| (call, ALLOW)).chain(by_arguments(own, children));
    for (call, judge) in listed.chain(ABSENT.map(|call| (call, refuse(libc::ENOSYS)))) {
        judged.insert(u32::try_from(call).ok()?, judge);
    }
    let judged: Vec<(u32, Judge)> = judged.into_iter().collect();
    Some(assemble(Processor::own()?.architecture(), &judged, &refuse(libc::ENOSYS)))
}

/// Allowed for what they are asked for.
fn by_arguments(own: u32, children: &[RawFd]) -> Vec<(c_long, Judge)> {
    let opened = |flags| Judge::any_bit(flags, WRITES, refuse(libc::EPERM), ALLOW);
    let mut judged: Vec<(c_long, Judge)> = opens().into_iter().map(|(call, flags)| (call, opened(flags))).collect();
    // Not F_SETFL: the log stays open for appending.
    let descriptors = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC].map(i32::unsigned_abs);
    judged.extend([
        (libc::SYS_socket, socket()),
        (libc::SYS_getsockopt, option()), // SO_ORIGINAL_DST, SO_ERROR
        (libc::SYS_setsockopt, option()),
        (libc::SYS_mmap, mapping()),
        (libc::SYS_mprotect, Judge::any_bit(2, libc::PROT_EXEC.unsigned_abs(), refuse(libc::EPERM), ALLOW)),
        (libc::SYS_clone, thread()),
        (libc::SYS_ioctl, only(1, &TERMINAL, ALLOW)),
        (libc::SYS_fcntl, only(1, &descriptors, ALLOW)),
        // A thread's name, and that of a piece of memory; not whether memory can be read from outside.
        (libc::SYS_prctl, only(0, &[libc::PR_SET_NAME.unsigned_abs(), 0x5356_4d41], ALLOW)),
        // Limits are asked for, and set for nobody.
        (libc::SYS_prlimit64, only(2, &[0], only(2, &[0], ALLOW).of_high_half())),
        // Abort; and Ctrl-Z, which stops the worker's own job.
        (libc::SYS_tgkill, only(0, &[own], ALLOW)),
        (libc::SYS_kill, only(0, &[0], only(1, &[libc::SIGTSTP.unsigned_abs()], ALLOW))),
        // There are no other descriptors of processes than those of the worker's own children, and none can be made.
        (libc::SYS_pidfd_send_signal, killing(children)),
    ]);
    judged
}

/// Allowed with whatever arguments.
fn always() -> Vec<c_long> {
    let mut calls = vec![
        // What is open is read and written: connections, the log, the terminal, the broker.
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg, // glibc's resolver asks for both kinds of address at once
        libc::SYS_accept4,
        libc::SYS_connect,
        libc::SYS_shutdown,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_lseek,
        libc::SYS_fdatasync,
        libc::SYS_fsync,
        // The runtime waits, for descriptors, time and other threads.
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_create1,
        libc::SYS_eventfd2,
        libc::SYS_ppoll,
        libc::SYS_futex,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        libc::SYS_waitid, // the end of the sandbox
        // Threads and memory.
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_mseal, // glibc seals what it has loaded
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_membarrier,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // Files that are looked at again: the policy, the resolver's, whether to stop. Which ones is for Landlock to say.
        libc::SYS_newfstatat,
        libc::SYS_fstat,
        libc::SYS_fstatfs, // how full the disk of the call log is
        libc::SYS_statx,
        libc::SYS_readlinkat,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_pread64,
        libc::SYS_unlinkat, // the file that asked it to stop
        // Clocks, random bytes, and who one is.
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getppid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getpgid,
        libc::SYS_uname,
        libc::SYS_sysinfo,
    ];
    // The same under the older names, which C libraries still use where there are such.
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        libc::SYS_epoll_wait,
        libc::SYS_poll,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_readlink,
        libc::SYS_access,
        libc::SYS_unlink,
        libc::SYS_rmdir,
        libc::SYS_getpgrp,
        libc::SYS_time,
    ]);
    calls
}

/// The calls that open, and which argument is the flags.
fn opens() -> Vec<(c_long, u32)> {
    let mut calls = vec![(libc::SYS_openat, 2)];
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, 1));
    calls
}

/// TCP and UDP, over IPv4 and IPv6.
fn socket() -> Judge {
    let protocols = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(i32::unsigned_abs);
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(i32::unsigned_abs);
    let families = [libc::AF_INET, libc::AF_INET6].map(i32::unsigned_abs);
    // What is beside the kind are flags.
    let kind = only(1, &kinds, only(2, &protocols, ALLOW)).of_bits(0xf);
    Judge::one_of(0, &families, kind, refuse(libc::EAFNOSUPPORT))
}

/// All but those that would have the kernel make a descriptor of the process on the other side: `SO_PASSPIDFD`, `SO_PEERPIDFD`.
fn option() -> Judge {
    let of_a_process = Judge::one_of(2, &[76, 77], refuse(libc::EPERM), ALLOW);
    Judge::one_of(1, &[libc::SOL_SOCKET.unsigned_abs()], of_a_process, ALLOW)
}

/// SIGKILL to these processes.
fn killing(children: &[RawFd]) -> Judge {
    let children: Vec<u32> = children.iter().map(|child| child.unsigned_abs()).collect();
    only(0, &children, only(1, &[libc::SIGKILL.unsigned_abs()], only(3, &[0], ALLOW)))
}

/// What is executable is a file's, and not writable: libraries that the resolver loads.
fn mapping() -> Judge {
    let of_a_file = Judge::any_bit(3, libc::MAP_ANONYMOUS.unsigned_abs(), refuse(libc::EPERM), ALLOW);
    let executable = Judge::any_bit(2, libc::PROT_WRITE.unsigned_abs(), refuse(libc::EPERM), of_a_file);
    Judge::any_bit(2, libc::PROT_EXEC.unsigned_abs(), executable, ALLOW)
}

/// A thread, and neither a process nor a namespace.
fn thread() -> Judge {
    let thread = Judge::any_bit(0, libc::CLONE_THREAD.unsigned_abs(), ALLOW, refuse(libc::EPERM));
    Judge::any_bit(0, !THREAD, refuse(libc::EPERM), thread)
}

/// Only where the argument is one of these.
fn only(argument: u32, values: &[u32], then: Judge) -> Judge {
    Judge::one_of(argument, values, then, refuse(libc::EPERM))
}

#[cfg(test)]
mod tests;
