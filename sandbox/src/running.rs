//! A command that runs in its sandbox, and its end.
//!
//! For: the caller, until the command has ended. In: signals to pass on. Out: a pidfd to wait on, and the [`Exit`]. Never:
//! anything left behind; dropped or killed, the whole namespace goes.

use crate::{
    keeper::Keeper,
    message::{Channel, Order, Report},
    met::Met,
    process::ChildProcess,
    relay::Relay,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited.
    Code(u8),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// As a shell says it: the code, or 128 and the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// The command at work. Waiting for it without blocking: its pidfd ([`AsFd`]) becomes readable when all is over.
#[derive(Debug)]
pub struct Running {
    // In this order: the processes go first, then the terminal is put back, then who looked after the limits cleans up.
    child: ChildProcess,
    relay: Option<Relay>,
    keeper: Option<Keeper>,
    channel: Arc<Channel>,
    exit: Option<Exit>,
}

impl Running {
    pub(crate) fn new(
        child: ChildProcess,
        channel: Arc<Channel>,
        relay: Option<Relay>,
        keeper: Option<Keeper>,
    ) -> Self {
        Self { child, relay, keeper, channel, exit: None }
    }

    /// Waits until the command has ended and nothing of the sandbox is left, and says how it ended. Blocks; at once if the
    /// pidfd is readable. Asked again it gives the same answer.
    pub fn wait(&mut self) -> io::Result<Exit> {
        self.child.wait()?;
        if self.exit.is_none() {
            let reported = match self.relay.take() {
                Some(relay) => relay.end(),
                None => last_report(&self.channel),
            };
            // Without a last word, init was killed.
            self.exit = Some(reported.unwrap_or(Exit::Signal(libc::SIGKILL)));
        }
        Ok(self.exit.unwrap_or(Exit::Signal(libc::SIGKILL)))
    }

    /// Who looks after its limits, where somebody has to: a pidfd. It ends after the sandbox; where it has ended before, the limits are not
    /// held any more.
    pub fn keeper(&self) -> Option<BorrowedFd<'_>> {
        self.keeper.as_ref().map(Keeper::process)
    }

    /// What came of the limits. To be asked after [`wait`](Self::wait).
    pub fn met(&mut self) -> Met {
        self.keeper.as_mut().map(Keeper::end).unwrap_or_default()
    }

    /// Asks every process in the sandbox to end (SIGTERM), also those that are stopped.
    pub fn terminate(&self) -> io::Result<()> {
        self.order(&Order::Terminate)
    }

    /// Passes a signal on to the command; to its whole process group if it is one that a terminal would send.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        self.order(&Order::Signal(number))
    }

    fn order(&self, order: &Order) -> io::Result<()> {
        match self.channel.send(order) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()), // it has just ended
            sent => Ok(sent?),
        }
    }

    /// Kills everything in the sandbox, at once and for good. [`wait`](Self::wait) then returns.
    pub fn kill(&self) -> io::Result<()> {
        // Init also ends when the channel does, should this process have lost the right to signal it.
        rustix::net::shutdown(self.channel.as_fd(), rustix::net::Shutdown::Write)?;
        self.child.kill()
    }
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }
}

/// What init said at its end, if it came to say it.
pub(crate) fn last_report(channel: &Channel) -> Option<Exit> {
    let mut exit = None;
    while let Ok(Some((report, _))) = channel.receive() {
        if let Report::Ended(how) = report {
            exit = Some(how);
        }
    }
    exit
}
