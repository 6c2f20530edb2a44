//! System calls refused because their effect would outlive the sandbox or reach around it.
//!
//! For: `confine`. In: whether root started exeat. Out: a classic BPF program for seccomp(2). Refused are: sockets that no
//! network namespace holds (AF_VSOCK reaches a virtual machine's host) or that nobody needs, set-user-ID files (in a write
//! path of root's they would be root's), typing into a terminal, and the calls whose arguments a filter cannot see (io_uring,
//! openat2: both say "not implemented", and programs then do without). Never: a list of the calls that are allowed.

use libc::sock_filter;

/// `AUDIT_ARCH_*` of the processors the numbers below are right for.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Option<u32> = None;

/// Offsets in `seccomp_data`: number, architecture, the low half of an argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// The x32 numbers of x86-64 start here: other numbers for the same calls.
const X32: u32 = 0x4000_0000;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOT_PERMITTED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const NO_SUCH_FAMILY: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
const NOT_IMPLEMENTED: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The flags with which the open calls read a mode: O_CREAT and O_TMPFILE's own bit.
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// `None`: not written for this processor.
pub(crate) fn program(from_root: bool) -> Option<Vec<sock_filter>> {
    // A set-group-ID directory is an ordinary thing among a user's own files, but group root is not to be given away.
    let privileged = if from_root { libc::S_ISUID | libc::S_ISGID } else { libc::S_ISUID };
    let mut program = vec![
        load(ARCH),
        skip_if(libc::BPF_JEQ, ARCHITECTURE?, 1, 0),
        give(NOT_IMPLEMENTED),
        load(NUMBER),
        skip_if(libc::BPF_JGE, X32, 0, 1),
        give(NOT_IMPLEMENTED),
    ];
    for call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_openat2] {
        on(&mut program, call, &[give(NOT_IMPLEMENTED)]);
    }
    for (call, mode) in modes() {
        on(&mut program, call, &refuse_bits(mode, privileged));
    }
    for (call, flags) in opens() {
        let creating = [load(argument(flags)), skip_if(libc::BPF_JSET, CREATES, 1, 0), give(ALLOW)];
        on(&mut program, call, &[&creating[..], &refuse_bits(flags + 1, privileged)].concat());
    }
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        on(&mut program, call, &families());
    }
    let mut typing = vec![load(argument(1))];
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        typing.extend([skip_if(libc::BPF_JEQ, u32::try_from(request).ok()?, 0, 1), give(NOT_PERMITTED)]);
    }
    typing.push(give(ALLOW));
    on(&mut program, libc::SYS_ioctl, &typing);
    program.push(give(ALLOW));
    Some(program)
}

/// The address families that end at the namespace's border.
fn families() -> Vec<sock_filter> {
    let held = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let mut judge = vec![load(argument(0))];
    for family in held {
        judge.extend([skip_if(libc::BPF_JEQ, family.unsigned_abs(), 0, 1), give(ALLOW)]);
    }
    judge.push(give(NO_SUCH_FAMILY));
    judge
}

/// The calls that set a mode, and which argument it is.
fn modes() -> Vec<(libc::c_long, u32)> {
    const FCHMODAT2: libc::c_long = 452;
    let mut calls = vec![(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (FCHMODAT2, 2), (libc::SYS_mknodat, 2)];
    #[cfg(target_arch = "x86_64")]
    calls.extend([(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1)]);
    calls
}

/// The calls that may create a file, and which argument is the flags; the mode comes after it.
fn opens() -> Vec<(libc::c_long, u32)> {
    let mut calls = vec![(libc::SYS_openat, 2)];
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, 1));
    calls
}

fn refuse_bits(mode: u32, bits: u32) -> [sock_filter; 4] {
    [load(argument(mode)), skip_if(libc::BPF_JSET, bits, 0, 1), give(NOT_PERMITTED), give(ALLOW)]
}

/// `then`, which ends in a verdict, if this is the call; the number stays loaded otherwise.
fn on(program: &mut Vec<sock_filter>, call: libc::c_long, then: &[sock_filter]) {
    let length = u8::try_from(then.len()).unwrap_or(u8::MAX);
    program.push(skip_if(libc::BPF_JEQ, u32::try_from(call).unwrap_or(u32::MAX), 0, length));
    program.extend(then);
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Compares the loaded word; skips so many instructions if it does, or does not, compare so.
fn skip_if(comparison: u32, with: u32, holds: u8, fails: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, holds, fails, with)
}

fn give(verdict: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, verdict)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}
