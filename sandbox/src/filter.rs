//! The system calls that exist inside: a list of those that pass, and of nothing else.
//!
//! For: `confine`. In: who started exeat, and whether namespaces may be made inside. Out: a classic BPF program for
//! seccomp(2). What is listed passes (`groups`), some of it by its arguments (`arguments`). What needs a privilege that nobody
//! has inside is not permitted. Everything else is not implemented (ENOSYS), and libraries then do without: io_uring, openat2
//! and clone3, whose arguments lie in memory where no filter sees them (the C library falls back to calls that it sees),
//! userfaultfd, the placing of memory on NUMA nodes, calls that are yet to be invented, and the numbers of other processors
//! and of x32. Never: a call that passes because nobody thought of it.

mod arguments;
mod groups;
#[cfg(test)]
pub(crate) mod machine;
pub(crate) mod program;
#[cfg(test)]
mod tests;

use self::{
    groups::{ALLOWED, Call, NAMESPACES, NOT_PERMITTED},
    program::{ALLOW, Judge, assemble, refuse},
};
use libc::sock_filter;

/// A processor whose numbers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processor {
    X86_64,
    Aarch64,
}

/// What the sandbox is, as far as it changes what passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Root started exeat: in write paths the command's files are root's.
    pub from_root: bool,
    /// Namespaces may be made inside, and mounts in them.
    pub nested: bool,
}

/// `None`: not written for this processor.
pub(crate) fn program(rules: Rules) -> Option<Vec<sock_filter>> {
    Some(Processor::own()?.program(rules))
}

impl Rules {
    /// A set-group-ID directory is an ordinary thing among a user's own files, but group root is not to be given away.
    fn privileged_modes(self) -> u32 {
        if self.from_root { libc::S_ISUID | libc::S_ISGID } else { libc::S_ISUID }
    }
}

impl Processor {
    pub(crate) fn own() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// `AUDIT_ARCH_*`.
    pub(crate) fn architecture(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    fn number(self, call: &Call) -> Option<u32> {
        match self {
            Self::X86_64 => call.x86_64,
            Self::Aarch64 => call.aarch64,
        }
    }

    fn program(self, rules: Rules) -> Vec<sock_filter> {
        let not_permitted = refuse(libc::EPERM);
        let namespaces = if rules.nested { ALLOW } else { not_permitted.clone() };
        let mut groups: Vec<(&[Call], Judge)> = ALLOWED.iter().map(|group| (*group, ALLOW)).collect();
        groups.extend([(NAMESPACES, namespaces), (NOT_PERMITTED, not_permitted)]);
        groups.extend(arguments::judged(rules));
        let mut judged: Vec<(u32, Judge)> = Vec::new();
        for (calls, judge) in groups {
            judged.extend(calls.iter().filter_map(|call| Some((self.number(call)?, judge.clone()))));
        }
        judged.sort_unstable_by_key(|(number, _)| *number);
        assemble(self.architecture(), &judged, &refuse(libc::ENOSYS))
    }
}
