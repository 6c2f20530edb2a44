//! What came of the limits of a sandbox.
//!
//! For: whoever waited for the command. In: what cgroups counted, what was written, how the command ended. Out: which limit ended it, and
//! which others it met. Never: a SIGKILL taken for the memory's where the kernel killed nobody for memory.

use crate::running::Exit;
use serde::{Deserialize, Serialize};

/// Numbers, as they were when everything was over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Processes that the kernel killed for memory.
    pub memory_kills: u64,
    /// The most memory that all of them had together, in bytes. Killed far below the limit, it was the machine that had no more.
    pub memory_peak: Option<u64>,
    /// Processes or threads that were not made, as there were too many.
    pub processes_refused: u64,
    /// For how long processes were held back for having had their share of the processors.
    pub cpu_slowed_ms: u64,
    /// Bytes that were written, where `disk` is limited.
    pub written: Option<u64>,
    /// Whether that was more than there is leave for.
    pub disk_full: bool,
    /// Whether the sandbox was ended because what it writes could no longer be counted.
    pub uncounted: bool,
}

/// A limit that can end a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of all processes together, or of the machine.
    Memory,
    /// How many there are at a time.
    Processes,
    /// Of one file.
    FileSize,
    /// Of all that is written.
    Disk,
}

impl Limit {
    /// Its key in `[sandbox]`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::FileSize => "file_size",
            Self::Disk => "disk",
        }
    }
}

impl Met {
    /// The limit that ended the command itself.
    pub fn ended(&self, exit: Exit) -> Option<Limit> {
        match exit {
            Exit::Signal(libc::SIGKILL) if self.disk_full || self.uncounted => Some(Limit::Disk),
            Exit::Signal(libc::SIGKILL) if self.memory_kills > 0 => Some(Limit::Memory),
            Exit::Signal(libc::SIGXFSZ) => Some(Limit::FileSize),
            _ => None,
        }
    }

    /// The limits that something met and did not end the command, as far as anybody can tell.
    pub fn others(&self, exit: Exit) -> Vec<Limit> {
        // What a shell says of a child.
        let child_wrote_too_much = exit == Exit::Code(128 + u8::try_from(libc::SIGXFSZ).unwrap_or(0));
        let met = [
            (Limit::Memory, self.memory_kills > 0),
            (Limit::Processes, self.processes_refused > 0),
            (Limit::FileSize, child_wrote_too_much),
            (Limit::Disk, self.disk_full),
        ];
        let ended = self.ended(exit);
        met.into_iter().filter_map(|(limit, met)| (met && ended != Some(limit)).then_some(limit)).collect()
    }

    /// Whether there is anything to tell.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Exit = Exit::Signal(libc::SIGKILL);

    #[test]
    fn a_kill_is_for_memory_only_where_the_kernel_killed_somebody_for_it() {
        let met = Met { memory_kills: 1, ..Met::default() };
        assert_eq!(met.ended(KILLED), Some(Limit::Memory));
        assert_eq!(Met::default().ended(KILLED), None);
        assert_eq!(Met { memory_peak: Some(9), ..Met::default() }.ended(KILLED), None, "somebody else killed it");
        assert_eq!((met.ended(Exit::Code(0)), met.others(Exit::Code(0))), (None, vec![Limit::Memory]), "a child was");
        assert_eq!(met.ended(Exit::Signal(libc::SIGTERM)), None);
    }

    #[test]
    fn what_is_written_ends_it_by_its_own_name() {
        let met = Met { disk_full: true, memory_kills: 1, ..Met::default() };
        assert_eq!((met.ended(KILLED), met.others(KILLED)), (Some(Limit::Disk), vec![Limit::Memory]));
        assert_eq!(met.others(Exit::Code(1)), [Limit::Memory, Limit::Disk], "it ended before it was seen");
        assert_eq!(Met::default().ended(Exit::Signal(libc::SIGXFSZ)), Some(Limit::FileSize));
        assert_eq!(Met::default().others(Exit::Code(153)), [Limit::FileSize]);
        assert_eq!(Met { uncounted: true, ..Met::default() }.ended(KILLED), Some(Limit::Disk));
    }
}
