//! The files that a worker at work reads, and what it may take away: everything else is refused, by Landlock.
//!
//! For: `lock`. In: places, each with what may be done there. Out: a domain that the calling thread, and each that it starts, stays in.
//! Never: for a worker, a file or a directory made, written or cut short; for anybody, one executed; a program to which the sandbox of an older kernel gives more,
//! as the filter of system calls has a say of its own.

use crate::sys::{self, Ruled};
use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::{Errno, Result},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_FILE: u64 = 1 << 8;

/// All that there is to refuse about files, by ABI: 13 rights from the start, then moving to another directory, cutting short, and
/// speaking to devices.
const FILES: [(i64, u64); 4] = [(1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];
/// Listening. Connecting is left alone: an upstream may be on any port, and an edited policy may name another one.
const PORTS: [(i64, u64); 1] = [(4, 1 << 0)];
/// Abstract Unix sockets. Signals are left alone: this would also keep the kernel from ending the sandbox with its worker; the filter of system
/// calls says which may be sent.
const SCOPES: [(i64, u64); 1] = [(6, 1 << 0)];

/// What may be done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Read the file, or all that is below the directory.
    Read,
    /// The same, and take files away.
    Clear,
    /// The same, and make files and write them.
    Keep,
}

/// A domain, to be entered. A place that is not there, or that this user cannot reach, is left out.
#[derive(Debug)]
pub(super) struct Domain(OwnedFd);

impl Domain {
    pub fn enter(&self) -> Result<()> {
        sys::landlock_enter(self.0.as_fd())
    }
}

/// Makes the domain.
pub(super) fn domain<'a>(abi: i64, places: impl Iterator<Item = (&'a Path, Right)>) -> Result<Domain> {
    let ruleset = sys::landlock_ruleset(ruled(abi))?;
    for (path, right) in places {
        let place = match open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno),
        };
        let directory = FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Directory;
        let rights = match right {
            Right::Read if directory => READ_FILE | READ_DIR,
            Right::Read => READ_FILE,
            Right::Clear => READ_FILE | READ_DIR | REMOVE_FILE,
            Right::Keep => READ_FILE | READ_DIR | REMOVE_FILE | WRITE_FILE | MAKE_FILE,
        };
        sys::landlock_allow(ruleset.as_fd(), place.as_fd(), rights)?;
    }
    Ok(Domain(ruleset))
}

/// What this version of Landlock can refuse.
fn ruled(abi: i64) -> Ruled {
    let up_to =
        |rights: &[(i64, u64)]| rights.iter().filter(|(from, _)| *from <= abi).fold(0, |all, (_, one)| all | one);
    Ruled { files: up_to(&FILES), ports: up_to(&PORTS), scopes: up_to(&SCOPES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_kernel_is_asked_for_nothing_that_it_does_not_know() {
        let of = |abi| {
            let Ruled { files, ports, scopes } = ruled(abi);
            (files, ports, scopes)
        };
        let known = [(0x1fff, 0, 0), (0x3fff, 0, 0), (0x7fff, 0, 0), (0x7fff, 1, 0), (0xffff, 1, 0), (0xffff, 1, 1)];
        for (abi, expected) in (1..).zip(known) {
            assert_eq!(of(abi), expected, "ABI {abi}");
        }
        assert_eq!(of(99), known[5]);
    }
}
