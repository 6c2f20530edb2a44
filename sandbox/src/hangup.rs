//! SIGHUP, told apart: the end of a terminal, or somebody who wants files read again.
//!
//! For: a process that passes the one on to its command, and acts on the other. In: the signal, kept for reading. Out: who sent it, and
//! who led the session that the process was started in, to be waited for. Never: a signal that ends the process, from when it is made.

use crate::sys;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// The size of a `signalfd_siginfo`.
const RECORD: usize = 128;

/// Who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// The kernel: the terminal is gone.
    OfTheTerminal,
    /// A process: a person who wants files read again; or a shell or a terminal's window that passes on its own end.
    Sent,
}

/// The SIGHUPs of this process.
#[derive(Debug)]
pub struct Hangups {
    signals: OwnedFd,
    /// Who leads the session, where that is somebody else who lives and whom this process can name: a container's may stand outside of it.
    leader: Option<OwnedFd>,
}

impl Hangups {
    /// Keeps them for reading from now on. The process has one thread still, as those that are there already would not keep them.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub fn listen() -> io::Result<Self> {
        sys::block_signal(libc::SIGHUP)?;
        let leader = Pid::from_raw(sys::session_leader()).filter(|leader| *leader != getpid());
        let leader = leader.and_then(|leader| pidfd_open(leader, PidfdFlags::empty()).ok());
        Ok(Self { signals: sys::signal_fd_of(libc::SIGHUP)?, leader })
    }

    /// The next one, if one is there. More of them that come before one is read are one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next(&self) -> io::Result<Option<Hangup>> {
        let mut record = [0_u8; RECORD];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.signals, &mut record)) {
            Ok(RECORD) => {
                let [.., a, b, c, d] = record[..12] else { return Ok(None) };
                // sigaction(2): what the kernel sends has a code above 0.
                let by_kernel = i32::from_ne_bytes([a, b, c, d]) > 0;
                Ok(Some(if by_kernel { Hangup::OfTheTerminal } else { Hangup::Sent }))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Who leads the session: there is something to read once they are gone, and the session with them.
    pub fn take_leader(&mut self) -> Option<OwnedFd> {
        self.leader.take()
    }
}

impl AsFd for Hangups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl AsRawFd for Hangups {
    fn as_raw_fd(&self) -> RawFd {
        self.signals.as_raw_fd()
    }
}
