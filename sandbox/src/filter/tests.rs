//! What the filter says to every number there is, on both processors, against lists that are written down here a second time.
//!
//! For: `filter`. In: its programs, run by `machine`; the kernel's own headers. Out: failures. Never: a look at the tables that the programs
//! are made of, but for their numbers.

use super::{
    Processor, Rules,
    groups::{ALLOWED, NAMESPACES, NOT_PERMITTED},
    machine::{Asked, run},
    program::{Judge, assemble, refuse},
};
use libc::sock_filter;
use std::{collections::BTreeMap, fs};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const fn refused(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}
const NO_SUCH_CALL: u32 = refused(libc::ENOSYS);
const NOT_PERMITTED_: u32 = refused(libc::EPERM);

const PROCESSORS: [Processor; 2] = [Processor::X86_64, Processor::Aarch64];
const ORDINARY: Rules = Rules { from_root: false, nested: false };
const FROM_ROOT: Rules = Rules { from_root: true, nested: false };
const NESTED: Rules = Rules { from_root: false, nested: true };

/// Refused with EPERM.
const PRIVILEGED: &str = "add_key request_key keyctl bpf perf_event_open process_vm_readv process_vm_writev pidfd_getfd \
    fanotify_init fanotify_mark name_to_handle_at open_by_handle_at init_module finit_module delete_module kexec_load \
    kexec_file_load reboot swapon swapoff quotactl quotactl_fd acct syslog vhangup iopl ioperm settimeofday clock_settime \
    adjtimex clock_adjtime lookup_dcookie";
/// The same, unless the sandbox is nested.
const NESTING: &str = "setns mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick open_tree open_tree_attr move_mount \
    mount_setattr sethostname setdomainname";
/// As if the kernel did not have them.
const ABSENT: &str = "_sysctl afs_syscall clone3 create_module epoll_ctl_old epoll_wait_old file_getattr file_setattr \
    get_kernel_syms get_mempolicy get_thread_area getpmsg getxattrat io_uring_enter io_uring_register io_uring_setup kcmp \
    listmount listxattrat lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind memfd_secret migrate_pages modify_ldt \
    move_pages nfsservctl openat2 process_madvise process_mrelease putpmsg query_module remap_file_pages removexattrat \
    security set_mempolicy set_mempolicy_home_node set_thread_area setxattrat statmount sysfs tuxcall uselib userfaultfd ustat \
    vserver";
/// Newer than the headers that Debian 12 has.
const NEW: &str = "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount \
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr \
    file_getattr file_setattr";

/// The processor's system calls, as the kernel's headers (Debian: linux-libc-dev) have them.
fn header(processor: Processor) -> BTreeMap<String, u32> {
    let path = match processor {
        Processor::X86_64 => "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        Processor::Aarch64 => "/usr/include/asm-generic/unistd.h",
    };
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut found: BTreeMap<String, u32> = (451..).zip(NEW.split(' ')).map(|(n, name)| (name.to_owned(), n)).collect();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some("#define") = words.next() else { continue };
        let name = words.next().and_then(|word| word.strip_prefix("__NR_").or(word.strip_prefix("__NR3264_")));
        if let (Some(name), Some(number)) = (name, words.next().and_then(|word| word.parse().ok())) {
            // The generic header's names for 32 bits, and one that it shares.
            let for_32_bits = name.contains("time64") || name == "clock_adjtime64" || name == "sync_file_range2";
            let name = if name == "fstatat" { "newfstatat" } else { name };
            if !for_32_bits && !["syscalls", "arch_specific_syscall"].contains(&name) {
                found.insert(name.to_owned(), number);
            }
        }
    }
    found
}

struct Filter {
    processor: Processor,
    program: Vec<sock_filter>,
    numbers: BTreeMap<String, u32>,
}

fn filters(rules: Rules) -> [Filter; 2] {
    PROCESSORS.map(|processor| Filter { processor, program: processor.program(rules), numbers: header(processor) })
}

impl Filter {
    fn asked(&self, number: u32, arguments: &[u64]) -> (u32, usize) {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        run(&self.program, &Asked { number, architecture: self.processor.architecture(), arguments: all })
    }

    /// A call that this processor may not have; then it has nothing to say.
    fn says(&self, name: &str, arguments: &[u64], expected: u32) {
        let Some(number) = self.numbers.get(name) else { return };
        let (verdict, _) = self.asked(*number, arguments);
        assert_eq!(verdict, expected, "{:?} {name}{arguments:x?}", self.processor);
    }
}

#[test]
fn every_number_that_there_is_passes_or_is_refused_as_written_here() {
    for (rules, nesting) in [(ORDINARY, NOT_PERMITTED_), (FROM_ROOT, NOT_PERMITTED_), (NESTED, ALLOW)] {
        for filter in filters(rules) {
            let mut names: BTreeMap<u32, &str> = BTreeMap::new();
            for (name, number) in &filter.numbers {
                names.insert(*number, name);
            }
            let has = |list: &str, name: &str| list.split_whitespace().any(|listed| listed == name);
            for number in 0..=500 {
                let (verdict, steps) = filter.asked(number, &[]);
                let expected = match names.get(&number) {
                    None => NO_SUCH_CALL,
                    // With no arguments: AF_UNSPEC.
                    Some(&("socket" | "socketpair")) => refused(libc::EAFNOSUPPORT),
                    Some(name) if has(PRIVILEGED, name) => NOT_PERMITTED_,
                    Some(name) if has(NESTING, name) => nesting,
                    Some(name) if has(ABSENT, name) => NO_SUCH_CALL,
                    Some(&("uretprobe" | "uprobe")) | Some(_) => ALLOW,
                };
                // The kernel's own trampolines, in no older header.
                let trampoline = filter.processor == Processor::X86_64 && [335, 336].contains(&number);
                let expected = if trampoline { ALLOW } else { expected };
                assert_eq!(verdict, expected, "{:?} {number} {:?}", filter.processor, names.get(&number));
                assert!(steps <= 20, "{number} takes {steps} instructions");
            }
        }
    }
}

#[test]
fn the_numbers_are_the_kernels() {
    for processor in PROCESSORS {
        let header = header(processor);
        let tables = ALLOWED.iter().chain([&NAMESPACES, &NOT_PERMITTED]).flat_map(|group| group.iter());
        let judged = super::arguments::judged(ORDINARY).into_iter().flat_map(|(calls, _)| calls);
        for call in tables.chain(judged).filter(|call| !call.name.ends_with("probe")) {
            assert_eq!(processor.number(call), header.get(call.name).copied(), "{processor:?} {}", call.name);
        }
    }
}

#[test]
fn other_numbers_and_other_processors_have_no_calls() {
    for filter in filters(NESTED) {
        for number in [501, 4096, 0x4000_0000, 0x4000_0001, 0x4000_0200, 0x7fff_ffff, 0xffff_ffff] {
            assert_eq!(filter.asked(number, &[]).0, NO_SUCH_CALL, "{number:#x}");
        }
        for architecture in [0x4000_0003, 0x4000_0028, 0xc000_00f3, 0] {
            for number in 0..=500 {
                let asked = Asked { number, architecture, arguments: [0; 6] };
                assert_eq!(run(&filter.program, &asked).0, NO_SUCH_CALL, "{architecture:#x} {number}");
            }
        }
        assert!(filter.program.len() < 1000, "{} of the kernel's 4096 instructions", filter.program.len());
    }
}

#[test]
fn no_file_is_made_that_runs_as_its_owner() {
    let creates = u64::from((libc::O_CREAT | libc::O_WRONLY).unsigned_abs());
    let temporary = u64::from((libc::O_TMPFILE | libc::O_RDWR).unsigned_abs());
    let reads = u64::from((libc::O_RDONLY | libc::O_DIRECTORY).unsigned_abs());
    for (rules, group) in [(ORDINARY, ALLOW), (FROM_ROOT, NOT_PERMITTED_), (NESTED, ALLOW)] {
        for filter in filters(rules) {
            for (mode, expected) in [(0o755, ALLOW), (0o1777, ALLOW), (0o4755, NOT_PERMITTED_), (0o2755, group)] {
                for (name, before) in [("chmod", 1), ("fchmod", 1), ("creat", 1), ("fchmodat", 2), ("fchmodat2", 2)] {
                    filter.says(name, &[&[7; 2][..before], &[mode]].concat(), expected);
                }
                filter.says("mknod", &[7, mode], expected);
                filter.says("mknodat", &[7, 7, mode], expected);
                for flags in [creates, temporary] {
                    filter.says("open", &[7, flags, mode], expected);
                    filter.says("openat", &[7, 7, flags, mode], expected);
                }
                // Without a file to make, what lies there as a mode is nothing.
                filter.says("open", &[7, reads, mode], ALLOW);
                filter.says("openat", &[7, 7, reads, mode], ALLOW);
            }
            for (kind, expected) in [
                (libc::S_IFREG, ALLOW),
                (libc::S_IFIFO, ALLOW),
                (libc::S_IFSOCK, ALLOW),
                (libc::S_IFCHR, NOT_PERMITTED_),
                (libc::S_IFBLK, NOT_PERMITTED_),
            ] {
                filter.says("mknod", &[7, u64::from(kind | 0o600)], expected);
                filter.says("mknodat", &[7, 7, u64::from(kind | 0o600)], expected);
            }
        }
    }
}

#[test]
fn of_the_sockets_only_those_are_made_that_the_capture_knows() {
    let (no_family, no_protocol) = (refused(libc::EAFNOSUPPORT), refused(libc::EPROTONOSUPPORT));
    let (raw, no_type) = (NOT_PERMITTED_, refused(libc::ESOCKTNOSUPPORT));
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for filter in [filters(ORDINARY), filters(NESTED)].into_iter().flatten() {
        for (family, kind, protocol, expected) in [
            (libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ALLOW),
            (libc::AF_INET, libc::SOCK_STREAM, 0, ALLOW),
            (libc::AF_INET, libc::SOCK_STREAM | flags, libc::IPPROTO_TCP, ALLOW),
            (libc::AF_INET6, libc::SOCK_DGRAM | flags, libc::IPPROTO_UDP, ALLOW),
            (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP, no_protocol),
            (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP, no_protocol),
            (libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6, no_protocol),
            (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, raw),
            (libc::AF_INET6, libc::SOCK_RAW | flags, libc::IPPROTO_RAW, raw),
            (libc::AF_INET, libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP, no_type),
            (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE, ALLOW),
        ] {
            let arguments = [family, kind, protocol].map(|word| u64::from(word.unsigned_abs()));
            filter.says("socket", &arguments, expected);
        }
        for protocol in 1..=30 {
            filter.says("socket", &[libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, protocol], no_protocol);
        }
        let held = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|family| family as u64);
        for family in (0..=60).chain([u64::from(u32::MAX)]).filter(|family| !held.contains(family)) {
            filter.says("socket", &[family, 1, 0], no_family);
            filter.says("socketpair", &[family, 1, 0], no_family);
        }
        // The kernel looks at the low half only.
        filter.says("socket", &[1 << 32 | libc::AF_VSOCK as u64, 1, 0], no_family);
    }
}

#[test]
fn namespaces_are_made_only_where_the_policy_says_so() {
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    let new = [0x80, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
    for (rules, made) in [(ORDINARY, NOT_PERMITTED_), (NESTED, ALLOW)] {
        for filter in filters(rules) {
            for pass in [thread, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, libc::SIGCHLD | libc::CLONE_PIDFD]
            {
                filter.says("clone", &[u64::from(pass.unsigned_abs())], ALLOW);
            }
            filter.says("unshare", &[libc::CLONE_FILES as u64 | libc::CLONE_FS as u64], ALLOW);
            for flag in new {
                filter.says("unshare", &[flag | libc::CLONE_FS as u64], made);
                if flag != 0x80 {
                    filter.says("clone", &[flag | libc::SIGCHLD as u64], made);
                }
            }
            filter.says("clone3", &[], NO_SUCH_CALL);
        }
    }
}

#[test]
fn terminals_tracing_personalities_and_packet_tables() {
    for filter in filters(ORDINARY) {
        for (request, expected) in [
            (0x5412, NOT_PERMITTED_),
            (0x541c, NOT_PERMITTED_),
            (0x5423, NOT_PERMITTED_),
            (0x5413, ALLOW),
            (0x5421, ALLOW),
        ] {
            filter.says("ioctl", &[0, request], expected);
            filter.says("ioctl", &[0, request | 0xffff_ffff << 32], expected);
        }
        for (request, expected) in [(0, ALLOW), (7, ALLOW), (16, NOT_PERMITTED_), (0x4206, NOT_PERMITTED_)] {
            filter.says("ptrace", &[request, 1], expected);
        }
        let (read_implies_exec, no_randomize) = (0x40_0000, 0x4_0000);
        for (personality, expected) in
            [(0, ALLOW), (u64::from(u32::MAX), ALLOW), (no_randomize, ALLOW), (read_implies_exec, NOT_PERMITTED_)]
        {
            filter.says("personality", &[personality], expected);
        }
        filter.says("setsockopt", &[3, 0, 64], ALLOW);
    }
    for filter in filters(NESTED) {
        for (level, option, expected) in [
            (libc::SOL_IP, 64, NOT_PERMITTED_),
            (libc::SOL_IPV6, 65, NOT_PERMITTED_),
            (libc::SOL_IP, libc::IP_TTL, ALLOW),
            (libc::SOL_SOCKET, 64, ALLOW),
        ] {
            filter.says("setsockopt", &[3, level as u64, option as u64], expected);
        }
    }
}

#[test]
fn a_program_of_any_length_finds_each_number() {
    let judged: Vec<(u32, Judge)> =
        (0..1500).step_by(2).map(|number| (number, refuse(i32::try_from(number % 100).unwrap() + 1))).collect();
    let program = assemble(7, &judged, &refuse(libc::ENOSYS));
    for number in 0..1600 {
        let (verdict, steps) = run(&program, &Asked { number, architecture: 7, arguments: [0; 6] });
        let listed = number < 1500 && number % 2 == 0;
        let expected = if listed { refused(i32::try_from(number % 100).unwrap() + 1) } else { NO_SUCH_CALL };
        assert_eq!(verdict, expected, "{number}");
        assert!(steps < 30, "{number} takes {steps} instructions");
    }
}
