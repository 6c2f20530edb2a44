//! Between the terminal outside and the command's own.
//!
//! For: the time the command runs on a terminal. In: both terminals, init's reports. Out: bytes both ways, the window's
//! size, stops (Ctrl-Z) passed on to the worker's own job. Never: the outer terminal left in another mode than it was found
//! in, or touched from the background.

use crate::{
    message::{Channel, Order, Report},
    running::{Exit, last_report},
    sys,
    terminal::Terminals,
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, ioctl_fionbio, read, write},
    process::{Signal, kill_current_process_group},
    stdio::stdin,
    termios::{
        OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
    },
};
use std::{
    borrow::Cow,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
};

/// A terminal's input line is at most 4 KiB; output is taken in pieces of the same size.
const PIECE: usize = 4096;
/// How long a stop signal to ourselves may take to arrive.
const STOPPING: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A shell that brings a job to the foreground which runs already tells it nothing; so often it is looked at.
const BACKGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The relaying thread.
#[derive(Debug)]
pub(crate) struct Relay(Option<JoinHandle<Option<Exit>>>);

impl Relay {
    pub fn start(master: OwnedFd, channel: Arc<Channel>) -> io::Result<Self> {
        let terminals = Terminals::now();
        let woken = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // The window changed, or we run again after a stop, perhaps now in the foreground.
        sys::poke_on(&[libc::SIGWINCH, libc::SIGCONT], woken.try_clone()?)?;
        ioctl_fionbio(&master, true)?;
        let found = tcgetattr(terminals.outer())?;
        let mut ends = Ends {
            terminals,
            found,
            raw: false,
            unsettled: !in_foreground(terminals),
            master,
            channel,
            woken,
            typed: Vec::new(),
            input: terminals.0[0],
            exit: None,
        };
        let thread = thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            let _over = ends.relay(); // the terminal on either side is gone
            ends.restore();
            ends.exit.or_else(|| last_report(&ends.channel))
        })?;
        Ok(Self(Some(thread)))
    }

    /// Waits until all output is out and the outer terminal is as it was.
    pub fn end(mut self) -> Option<Exit> {
        self.join()
    }

    fn join(&mut self) -> Option<Exit> {
        self.0.take()?.join().ok()?
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.join();
    }
}

struct Ends {
    terminals: Terminals,
    found: Termios,
    raw: bool,
    /// Never in the foreground so far.
    unsettled: bool,
    master: OwnedFd,
    channel: Arc<Channel>,
    woken: OwnedFd,
    /// Typed, and not yet taken by the command's terminal.
    typed: Vec<u8>,
    /// Whether there is still somebody typing.
    input: bool,
    /// How the command ended, once init has said so.
    exit: Option<Exit>,
}

impl Ends {
    fn relay(&mut self) -> Result<(), Errno> {
        self.settle();
        let mut piece = [0; PIECE];
        loop {
            let foreground = self.in_foreground();
            let listen = self.input && self.typed.is_empty() && foreground;
            let wanted = |wanted| if wanted { PollFlags::IN } else { PollFlags::empty() };
            let to_master = if self.typed.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut polled = [
                PollFd::new(&self.master, PollFlags::IN | to_master),
                PollFd::new(&self.woken, PollFlags::IN),
                PollFd::new(&*self.channel, PollFlags::IN),
                PollFd::from_borrowed_fd(stdin(), wanted(listen)),
            ];
            // An idle descriptor that has hung up would wake us for nothing; the master says when it is over.
            let count = if listen { 4 } else { 3 };
            let look = (self.input && !foreground).then_some(&BACKGROUND);
            rustix::io::retry_on_intr(|| poll(&mut polled[..count], look))?;
            let [master, woken, channel, typed] = polled.map(|fd| fd.revents());
            if master.contains(PollFlags::OUT) {
                let taken = write(&self.master, &self.typed)?;
                self.typed.drain(..taken);
            }
            if master.intersects(PollFlags::IN | PollFlags::HUP) {
                // The error at the end says that nobody has the other side any more.
                match read(&self.master, &mut piece) {
                    Ok(0) => return Ok(()),
                    Ok(length) => self.print(&piece[..length]),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if woken.contains(PollFlags::IN) {
                self.settle();
            }
            // Hung up, it is over: the master will say so when the last output is out.
            if channel.contains(PollFlags::IN) && !channel.contains(PollFlags::HUP) {
                match self.channel.receive()? {
                    Some((Report::Stopped, _)) => self.stop(),
                    Some((Report::Ended(exit), _)) => self.exit = Some(exit),
                    _ => {}
                }
            }
            if listen && !typed.is_empty() {
                self.read_typed(typed, &mut piece);
            }
            if !foreground && self.in_foreground() {
                self.settle();
            }
        }
    }

    fn in_foreground(&self) -> bool {
        in_foreground(self.terminals)
    }

    /// Reads the window's size and, in the foreground, lets every key through.
    fn settle(&mut self) {
        let _none = read(&self.woken, &mut [0; 8]);
        let outer = self.terminals.outer();
        // Failing means that the terminal is gone, which the next read says better.
        let _gone = tcgetwinsize(outer).and_then(|size| tcsetwinsize(&self.master, size));
        if self.terminals.interactive() && self.in_foreground() && !self.raw {
            // Begun in the background, it saw the terminal as the shell has it while it reads a line itself.
            if std::mem::take(&mut self.unsettled)
                && let Ok(found) = tcgetattr(outer)
            {
                let _gone = tcsetattr(&self.master, OptionalActions::Now, &found);
                self.found = found;
            }
            let mut modes = self.found.clone();
            modes.make_raw();
            self.raw = tcsetattr(outer, OptionalActions::Drain, &modes).is_ok();
        }
    }

    fn restore(&mut self) {
        if self.raw && self.in_foreground() {
            let _gone = tcsetattr(self.terminals.outer(), OptionalActions::Drain, &self.found);
        }
        self.raw = false;
    }

    /// The command was stopped: so are we and our pipeline, and when we go on so does it.
    fn stop(&mut self) {
        self.restore();
        let _none = read(&self.woken, &mut [0; 8]);
        // Without a job-controlling parent the kernel ignores this, and both go on.
        let _ignored = kill_current_process_group(Signal::TSTP);
        let _late = poll(&mut [PollFd::new(&self.woken, PollFlags::IN)], Some(&STOPPING));
        if let Ok(found) = tcgetattr(self.terminals.outer()) {
            self.found = found;
        }
        self.settle();
        let _gone = self.channel.send(&Order::Resume);
    }

    fn print(&self, piece: &[u8]) {
        let output = self.terminals.output();
        // In the background the outer terminal still makes its own line ends.
        let doubled = self.terminals.interactive() && !self.raw;
        let piece = if doubled { Cow::Owned(without_returns(piece)) } else { Cow::Borrowed(piece) };
        let mut piece = &piece[..];
        while !piece.is_empty() {
            match write(output, piece) {
                Ok(length) => piece = &piece[length..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let _ready = poll(&mut [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT)], None);
                }
                Err(_) => return, // nobody looks any more; the command goes on
            }
        }
    }

    fn read_typed(&mut self, events: PollFlags, piece: &mut [u8]) {
        match read(stdin(), &mut *piece) {
            Ok(0) if events.contains(PollFlags::HUP) => self.input = false,
            // A line terminal's end of file is a key, and is pressed again on the other side.
            Ok(0) => self.typed.push(self.found.special_codes[SpecialCodeIndex::VEOF]),
            Ok(length) => self.typed.extend(&piece[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input = false,
        }
    }
}

fn in_foreground(terminals: Terminals) -> bool {
    // Not our controlling terminal: then nobody stops us for using it.
    tcgetpgrp(terminals.outer()).map_or(true, |group| group.as_raw_pid() == sys::process_group())
}

fn without_returns(piece: &[u8]) -> Vec<u8> {
    let kept = piece.iter().enumerate().filter(|&(at, &byte)| byte != b'\r' || piece.get(at + 1) != Some(&b'\n'));
    kept.map(|(_, &byte)| byte).collect()
}
