//! The list, asked as the kernel asks it: the program is run over the words of a call.

use super::*;
use crate::filter::machine::{Asked, run};

const OWN: u32 = 4711;
const SANDBOX: RawFd = 9;
const ANOTHER: RawFd = 12;

const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const NOT_PERMITTED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const NO_SUCH_FAMILY: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
const NOT_IMPLEMENTED: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What the kernel would answer.
fn judge(call: c_long, arguments: [u64; 6]) -> u32 {
    let architecture = Processor::own().unwrap().architecture();
    let asked = Asked { number: u32::try_from(call).unwrap(), architecture, arguments };
    run(&program(OWN, &[SANDBOX, ANOTHER]).unwrap(), &asked).0
}

fn bits(number: i32) -> u64 {
    u64::from(number.unsigned_abs())
}

#[test]
fn a_call_that_is_not_listed_is_refused_and_one_that_is_newer_is_missing() {
    let judged =
        [SYS_OF_ARGUMENTS.to_vec(), always(), opens().into_iter().map(|(call, _)| call).collect(), ABSENT.to_vec()]
            .concat();
    for call in 0..1000 {
        let newer = call > c_long::from(NEWEST);
        if judged.contains(&call) {
            continue;
        }
        let expected = if newer { NOT_IMPLEMENTED } else { NOT_PERMITTED };
        assert_eq!(judge(call, [0; 6]), expected, "{call}");
        assert_eq!(judge(call, [u64::MAX; 6]), expected, "{call}");
    }
    assert!(always().into_iter().all(|call| judge(call, [u64::MAX; 6]) == ALLOWED));
    for call in [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_io_uring_setup, 0x4000_0000 | libc::SYS_read] {
        assert_eq!(judge(call, [0; 6]), NOT_IMPLEMENTED);
    }
}

/// Those that are judged by their arguments.
const SYS_OF_ARGUMENTS: [c_long; 13] = [
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_socket,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_clone,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_tgkill,
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
];

#[test]
fn files_are_opened_for_reading() {
    for (call, at) in opens() {
        let opened = |flags: i32| {
            let mut arguments = [0; 6];
            arguments[at as usize] = bits(flags);
            judge(call, arguments)
        };
        assert_eq!(opened(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY | libc::O_PATH), ALLOWED);
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE] {
            assert_eq!(opened(flags), NOT_PERMITTED, "{flags:#x}");
        }
    }
}

#[test]
fn threads_are_made_and_no_processes_or_namespaces() {
    let glibc = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SYSVSEM | libc::CLONE_SIGHAND;
    let more = libc::CLONE_THREAD | libc::CLONE_SETTLS | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID;
    let cloned = |flags: i32| judge(libc::SYS_clone, [bits(flags), 0, 0, 0, 0, 0]);
    assert_eq!(cloned(glibc | more), ALLOWED);
    assert_eq!(cloned(glibc | more | libc::CLONE_DETACHED), ALLOWED);
    for other in
        [libc::SIGCHLD, glibc, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, libc::CLONE_NEWNET | glibc | more]
    {
        assert_eq!(cloned(other), NOT_PERMITTED, "{other:#x}");
    }
}

#[test]
fn signals_go_to_the_worker_itself_its_job_and_its_sandbox() {
    let (kill, tgkill, pidfd) = (libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_send_signal);
    let sandbox = u64::from(SANDBOX.unsigned_abs());
    let (killed, stopped, aborted) = (bits(libc::SIGKILL), bits(libc::SIGTSTP), bits(libc::SIGABRT));
    assert_eq!(judge(kill, [0, stopped, 0, 0, 0, 0]), ALLOWED);
    assert_eq!(judge(tgkill, [u64::from(OWN), 4712, aborted, 0, 0, 0]), ALLOWED);
    for child in [SANDBOX, ANOTHER] {
        assert_eq!(judge(pidfd, [u64::from(child.unsigned_abs()), killed, 0, 0, 0, 0]), ALLOWED);
    }
    // A number is an `int` to the kernel, whatever is above it.
    for (call, arguments) in [
        (kill, [1, stopped, 0, 0, 0, 0]),
        (kill, [u64::from(u32::MAX), stopped, 0, 0, 0, 0]),
        (kill, [0, killed, 0, 0, 0, 0]),
        (tgkill, [1, 1, aborted, 0, 0, 0]),
        (pidfd, [sandbox + 1, killed, 0, 0, 0, 0]),
        (pidfd, [sandbox, stopped, 0, 0, 0, 0]),
        (pidfd, [sandbox, killed, 0, 4, 0, 0]),
    ] {
        assert_eq!(judge(call, arguments), NOT_PERMITTED, "{call} {arguments:?}");
    }
}

#[test]
fn sockets_are_the_internets_and_of_its_two_protocols() {
    let opened = |family, kind, protocol| judge(libc::SYS_socket, [bits(family), bits(kind), bits(protocol), 0, 0, 0]);
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for family in [libc::AF_INET, libc::AF_INET6] {
        assert_eq!(opened(family, libc::SOCK_STREAM | flags, libc::IPPROTO_TCP), ALLOWED);
        assert_eq!(opened(family, libc::SOCK_DGRAM | flags, 0), ALLOWED);
        assert_eq!(opened(family, libc::SOCK_DGRAM, libc::IPPROTO_ICMP), NOT_PERMITTED);
        assert_eq!(opened(family, libc::SOCK_RAW, libc::IPPROTO_UDP), NOT_PERMITTED);
        assert_eq!(opened(family, libc::SOCK_STREAM, libc::IPPROTO_SCTP), NOT_PERMITTED);
    }
    for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG] {
        assert_eq!(opened(family, libc::SOCK_STREAM, 0), NO_SUCH_FAMILY);
    }
}

#[test]
fn memory_becomes_executable_only_as_a_file_that_is_not_written() {
    let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    let mapped = |protection, flags| judge(libc::SYS_mmap, [0, 4096, bits(protection), bits(flags), 3, 0]);
    assert_eq!(mapped(read | write, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), ALLOWED);
    assert_eq!(mapped(read | execute, libc::MAP_PRIVATE), ALLOWED);
    assert_eq!(mapped(read | execute, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), NOT_PERMITTED);
    assert_eq!(mapped(read | write | execute, libc::MAP_PRIVATE), NOT_PERMITTED);
    let protected = |protection| judge(libc::SYS_mprotect, [0, 4096, bits(protection), 0, 0, 0]);
    assert_eq!((protected(read | write), protected(read | execute)), (ALLOWED, NOT_PERMITTED));
}

#[test]
fn what_is_open_stays_as_it_was_opened_and_limits_as_they_are() {
    let controlled = |what| judge(libc::SYS_fcntl, [3, bits(what), 0, 0, 0, 0]);
    assert_eq!((controlled(libc::F_DUPFD_CLOEXEC), controlled(libc::F_SETFL)), (ALLOWED, NOT_PERMITTED));
    assert_eq!(judge(libc::SYS_prlimit64, [0, 7, 0, 0x7fff_0000_1000, 0, 0]), ALLOWED);
    for new in [0x7fff_0000_1000, 0x7fff_0000_0000, 0x1000] {
        assert_eq!(judge(libc::SYS_prlimit64, [0, 7, new, 0, 0, 0]), NOT_PERMITTED);
    }
    let asked = |what| judge(libc::SYS_prctl, [bits(what), 1, 0, 0, 0, 0]);
    assert_eq!((asked(libc::PR_SET_NAME), asked(libc::PR_SET_DUMPABLE)), (ALLOWED, NOT_PERMITTED));
    let terminal = |request: u64| judge(libc::SYS_ioctl, [0, request, 0, 0, 0, 0]);
    assert_eq!((terminal(0x5413), terminal(libc::TIOCSTI)), (ALLOWED, NOT_PERMITTED));
}

#[test]
fn no_socket_tells_of_the_process_on_its_other_side() {
    for call in [libc::SYS_getsockopt, libc::SYS_setsockopt] {
        let asked = |level: i32, option: u64| judge(call, [7, bits(level), option, 0, 0, 0]);
        for option in [76, 77] {
            assert_eq!(asked(libc::SOL_SOCKET, option), NOT_PERMITTED, "{option}");
        }
        assert_eq!(asked(libc::SOL_SOCKET, bits(libc::SO_ERROR)), ALLOWED);
        assert_eq!(asked(libc::IPPROTO_IP, 80), ALLOWED); // SO_ORIGINAL_DST
    }
}
