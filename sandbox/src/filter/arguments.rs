//! The system calls that pass or not by what they are asked for.
//!
//! For: the filter. In: what the sandbox is. Out: for each such call the tree of questions that ends in a verdict. Never: a pointer
//! followed; a filter sees numbers only, which is why calls that hide theirs in memory do not exist inside.

use super::{
    Rules,
    groups::{Call, calls, number},
    program::{ALLOW, Judge, refuse},
};

/// The flags with which the open calls read a mode: O_CREAT and O_TMPFILE's own bit.
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// In a mode for mknod: character and block devices, and nothing else that can be made so.
const DEVICE: u32 = libc::S_IFCHR;

/// Every flag of clone and unshare that makes a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;
/// One more for unshare; to clone it is part of the signal to send.
const NEW_TIME: u32 = libc::CLONE_NEWTIME as u32;

/// `SOCK_TYPE_MASK`: what is beside the type are flags.
const SOCKET_TYPE: u32 = 0xf;

/// `TIOCSTI`, `TIOCLINUX` and `TIOCSETD`: the C libraries disagree on their type.
const STI: u32 = 0x5412;
const LINUX: u32 = 0x541c;
const SETD: u32 = 0x5423;
/// `PTRACE_ATTACH` and `PTRACE_SEIZE`, likewise.
const ATTACH: u32 = 16;
const SEIZE: u32 = 0x4206;

/// `PER_LINUX32` and `UNAME26` (setarch), `ADDR_NO_RANDOMIZE` (gdb, sanitizers); all ones only ask.
const PERSONALITIES: [u32; 6] = [0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, u32::MAX];

/// `IPT_SO_SET_REPLACE`, `IPT_SO_SET_ADD_COUNTERS`; their IPv6 twins have the same numbers.
const TABLES: [u32; 2] = [64, 65];

/// The calls of each judgement.
pub(super) fn judged(rules: Rules) -> Vec<(&'static [Call], Judge)> {
    let modes = rules.privileged_modes();
    vec![
        (calls![chmod 90 -, fchmod 91 52, creat 85 -], without(1, modes)),
        (calls![fchmodat 268 53, fchmodat2 452 452], without(2, modes)),
        (calls![mknod 133 -], without(1, modes | DEVICE)),
        (calls![mknodat 259 33], without(2, modes | DEVICE)),
        (calls![open 2 -], opened(1, modes)),
        (calls![openat 257 56], opened(2, modes)),
        (calls![socket 41 198, socketpair 53 199], family()),
        (calls![setsockopt 54 208], if rules.nested { option() } else { ALLOW }),
        (calls![ioctl 16 29], control()),
        (calls![ptrace 101 117], trace()),
        (calls![personality 135 92], Judge::one_of(0, &PERSONALITIES, ALLOW, refuse(libc::EPERM))),
        (calls![clone 56 220], if rules.nested { ALLOW } else { without(0, NAMESPACES) }),
        (calls![unshare 272 97], if rules.nested { ALLOW } else { without(0, NAMESPACES | NEW_TIME) }),
    ]
}

/// Refused where the argument has any of the bits.
fn without(argument: u32, bits: u32) -> Judge {
    Judge::any_bit(argument, bits, refuse(libc::EPERM), ALLOW)
}

/// The mode comes after the flags, and counts only where a file may be made.
fn opened(flags: u32, modes: u32) -> Judge {
    Judge::any_bit(flags, CREATES, without(flags + 1, modes), ALLOW)
}

/// Families that end at the network namespace's border (AF_VSOCK would reach a virtual machine's host), and of those what the capture
/// knows: TCP, UDP, and asking for routes. Each refusal is what a kernel says that was built without it.
fn family() -> Judge {
    let known = [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(libc::c_int::unsigned_abs);
    let protocol = Judge::one_of(2, &known, ALLOW, refuse(libc::EPROTONOSUPPORT));
    let streams = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(libc::c_int::unsigned_abs);
    let other = Judge::one_of(1, &[libc::SOCK_RAW.unsigned_abs()], refuse(libc::EPERM), refuse(libc::ESOCKTNOSUPPORT))
        .of_bits(SOCKET_TYPE);
    let internet = Judge::one_of(1, &streams, protocol, other).of_bits(SOCKET_TYPE);
    let routes = Judge::one_of(2, &[libc::NETLINK_ROUTE.unsigned_abs()], ALLOW, refuse(libc::EPROTONOSUPPORT));
    let families = [libc::AF_INET, libc::AF_INET6].map(libc::c_int::unsigned_abs);
    let netlink = [libc::AF_NETLINK.unsigned_abs()];
    let beyond = Judge::one_of(0, &netlink, routes, refuse(libc::EAFNOSUPPORT));
    let networked = Judge::one_of(0, &families, internet, beyond);
    Judge::one_of(0, &[libc::AF_UNIX.unsigned_abs()], ALLOW, networked)
}

/// Typing into a terminal, and loading the kernel's line disciplines, which are for modems.
fn control() -> Judge {
    Judge::one_of(1, &[STI, LINUX, SETD], refuse(libc::EPERM), ALLOW)
}

/// A child may ask its parent to trace it (gdb and strace start programs so); nobody takes hold of a process that has not.
fn trace() -> Judge {
    Judge::one_of(0, &[ATTACH, SEIZE], refuse(libc::EPERM), ALLOW)
}

/// Whoever is root of a network namespace may load its packet tables, a way that has cost the kernel much.
fn option() -> Judge {
    let levels = [libc::SOL_IP, libc::SOL_IPV6].map(libc::c_int::unsigned_abs);
    Judge::one_of(2, &TABLES, Judge::one_of(1, &levels, refuse(libc::EPERM), ALLOW), ALLOW)
}
