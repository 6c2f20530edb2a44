//! A worker's process, held so that its number can be no other's.
//!
//! Enters: the number, and what was written down of its beginning. Leaves: whether it is gone, with all its threads; its end. Never: a
//! process that has only the number, nor the worker's own word: what was taken over may let go of its lock and of its order, and go on.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Fields of `/proc/PID/stat` between the program's name, which ends with the last parenthesis, and the time at which it began.
const BEFORE_BEGUN: usize = 19;

/// A process that was there when it was taken hold of.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process with this number that began then. `None`: it is gone.
    pub fn that_began(pid: u32, begun: &str) -> Option<Process> {
        let process = Process::with_number(pid)?;
        // Its number is its own for as long as it is held: what is read now is of it, or of none.
        (began(pid).ok()? == begun && !process.is_gone()).then_some(process)
    }

    /// The process with this number, whichever it is.
    pub fn with_number(pid: u32) -> Option<Process> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Process)
    }

    /// Whether none of its threads is left. One that nobody has waited for is gone, too.
    pub fn is_gone(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Kills it.
    ///
    /// # Errors
    /// When the system does not let this user.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

/// When a process began, since which start of the machine: no two of one number have the same.
///
/// # Errors
/// When there is none.
pub fn began(pid: u32) -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    let ticks = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_ascii_whitespace().nth(BEFORE_BEGUN));
    let ticks = ticks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not say when it began"))?;
    Ok(format!("{} {ticks}", boot.trim_end()))
}
