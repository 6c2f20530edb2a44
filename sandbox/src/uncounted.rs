//! What nobody could count, refused where what is written is counted.
//!
//! For: `init`, before the command. In: whether root looks. Out: a classic BPF program for seccomp(2). By it fallocate(2) says "not
//! supported", as on many file systems: what is reserved is not counted, and the C library then writes zeros, which are. Unless root
//! looks, prctl(PR_SET_DUMPABLE) closes no process to its user: what such a process writes, that user could not read. It says that it did,
//! as agents for keys will not start otherwise. Never: another call refused.

use crate::filter::{
    Processor,
    program::{ALLOW, Judge, assemble, refuse},
};
use libc::{c_long, sock_filter};

/// `None`: the filters are not written for this processor.
pub(crate) fn program(root_looks: bool) -> Option<Vec<sock_filter>> {
    let mut judged = vec![(libc::SYS_fallocate, refuse(libc::EOPNOTSUPP))];
    if !root_looks {
        let closing = Judge::one_of(1, &[0], refuse(0), ALLOW);
        judged.push((libc::SYS_prctl, Judge::one_of(0, &[libc::PR_SET_DUMPABLE.unsigned_abs()], closing, ALLOW)));
    }
    let numbered = |(call, judge): (c_long, Judge)| Some((u32::try_from(call).ok()?, judge));
    let mut judged: Vec<(u32, Judge)> = judged.into_iter().filter_map(numbered).collect();
    judged.sort_unstable_by_key(|(number, _)| *number);
    // The filter of `confine` has refused the calls of any other architecture.
    Some(assemble(Processor::own()?.architecture(), &judged, &ALLOW))
}
