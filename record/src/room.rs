//! Whether there is room for the records of another call.
//!
//! Enters: how much a log may have, how much of its disk is to stay free, and what is written. Leaves: leave for another call, or why there is none. Never: a
//! record that is not written for it: what begins no call is written for as long as it can be, and so is how a call ends.

use std::fmt;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::fs::fstatvfs;

/// What stays free of a disk for which nothing is said: room for others' work, and for what is still written here.
const FREE: u64 = 256 << 20;
/// At most one part in so many of all of it: a small one is somebody's decision.
const PART: u64 = 20;
/// Others write there, too.
const LOOK_APART: Duration = Duration::from_secs(1);

/// How much room calls may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one log, as it was written; all that there is room for, where nothing is said.
    pub worker: Option<u64>,
    /// Bytes of its disk that stay free; 256 MiB or a twentieth of the disk, where nothing is said.
    pub free: Option<u64>,
}

/// Why there is no room for another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The log is as long as it may be.
    #[error("it has {0}, and log.toml lets no worker write more for its calls")]
    Worker(Size),
    /// The disk is nearly full.
    #[error("its disk has {left} left, and {free} stay free")]
    Disk {
        /// What others than root may still write.
        left: Size,
        /// What is to stay free.
        free: Size,
    },
    /// The kernel does not say how much there is.
    #[error("how much room its disk has cannot be found out: {0}")]
    Unknown(io::ErrorKind),
}

/// Bytes, told in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size(bytes) = self;
        if *bytes < 1 << 20 { write!(f, "{} KiB", bytes >> 10) } else { write!(f, "{} MiB", bytes >> 20) }
    }
}

/// The room of one log.
#[derive(Debug, Default)]
pub(crate) struct Room {
    bounds: Bounds,
    written: u64,
    looked: Option<Instant>,
    /// What was found then, and up to how long a log that holds.
    none: Option<NoRoom>,
    until: u64,
}

impl Room {
    pub fn within(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// So many more bytes.
    pub fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Whether there is room in this file's log, and on its disk as it was a moment ago.
    pub fn look(&mut self, file: &File, now: Instant) -> Result<(), NoRoom> {
        if self.bounds.worker.is_some_and(|most| self.written >= most) {
            return Err(NoRoom::Worker(Size(self.written)));
        }
        let over = self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_APART);
        if over || (self.none.is_none() && self.written >= self.until) {
            let found = on_disk(file, self.bounds.free);
            // Half of what there is, so that what is written in between does not use it up.
            self.until = self.written.saturating_add(found.unwrap_or_default() / 2);
            (self.looked, self.none) = (Some(now), found.err());
        }
        self.none.map_or(Ok(()), Err)
    }
}

/// How many bytes there are beyond what stays free.
fn on_disk(file: &File, free: Option<u64>) -> Result<u64, NoRoom> {
    let disk = fstatvfs(file).map_err(|errno| NoRoom::Unknown(io::Error::from(errno).kind()))?;
    let (left, all) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    // Some file systems have no size of their own, and say nothing.
    if all == 0 {
        return Ok(u64::MAX);
    }
    let free = free.unwrap_or(FREE.min(all / PART));
    left.checked_sub(free).ok_or(NoRoom::Disk { left: Size(left), free: Size(free) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_and_its_disk_have_room_up_to_their_bounds() {
        let file = tempfile::tempfile().unwrap();
        let begun = Instant::now();
        let mut room = Room::default();
        assert_eq!(room.look(&file, begun), Ok(()));
        room.within(Bounds { worker: Some(1000), free: None });
        room.wrote(999);
        assert_eq!(room.look(&file, begun), Ok(()));
        room.wrote(1);
        assert_eq!(room.look(&file, begun), Err(NoRoom::Worker(Size(1000))));
        // More than any disk has; it is looked at again after a while, and so it is once there is more.
        room.within(Bounds { worker: None, free: Some(u64::MAX) });
        assert_eq!(room.look(&file, begun), Ok(()));
        let later = begun + LOOK_APART;
        assert!(matches!(room.look(&file, later), Err(NoRoom::Disk { .. })));
        room.within(Bounds::default());
        assert!(room.look(&file, later).is_err());
        assert_eq!(room.look(&file, later + LOOK_APART), Ok(()));
    }
}
