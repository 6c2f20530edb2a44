//! What nobody could count, refused where what is written is counted.
//!
//! For: `init`, before the command. In: whether root looks. Out: a classic BPF program for seccomp(2). By it fallocate(2) says "not
//! supported", as on many file systems: what is reserved is not counted, and the C library then writes zeros, which are. Unless root
//! looks, prctl(PR_SET_DUMPABLE) closes no process to its user: what such a process writes, that user could not read. It says that it did,
//! as agents for keys will not start otherwise. Never: another call refused.

use libc::sock_filter;

/// Offsets in `seccomp_data`: the number, the low halves of the first two arguments.
const NUMBER: u32 = 0;
const FIRST: u32 = 16;
const SECOND: u32 = 24;

/// The filter of `confine` has refused the calls of any other architecture.
pub(crate) fn program(root_looks: bool) -> Vec<sock_filter> {
    let mut program = vec![
        load(NUMBER),
        skip_unless(libc::SYS_fallocate, 1),
        give(libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP.unsigned_abs()),
    ];
    if !root_looks {
        program.extend([
            skip_unless(libc::SYS_prctl, 5),
            load(FIRST),
            skip_unless(libc::PR_SET_DUMPABLE.into(), 3),
            load(SECOND),
            skip_unless(0, 1),
            give(libc::SECCOMP_RET_ERRNO),
        ]);
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset)
}

/// Skips so many instructions unless the loaded word is this.
fn skip_unless(word: libc::c_long, skipped: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skipped, u32::try_from(word).unwrap_or(u32::MAX))
}

fn give(verdict: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, verdict)
}

fn instruction(code: u32, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt: 0, jf, k }
}
