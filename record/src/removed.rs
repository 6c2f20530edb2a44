//! What retention took away of a log, as it is written down before it goes.
//!
//! Enters: a closed segment. Leaves: a line in the worker's directory that says how long the log was at its end, and what it said. Never: proof that it
//! was so: whoever may remove a file may write such a line. It tells what was removed on purpose from what is missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::log::Head;

/// The file in a worker's directory.
pub const REMOVED: &str = "removed";
/// A line for each segment: a log of so many would have been one of terabytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A segment that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its number.
    pub segment: u64,
    /// How many records it had.
    pub records: u64,
    /// When the first of them was written.
    pub first: Timestamp,
    /// When the last of them was written.
    pub last: Timestamp,
    /// How many records the log had at its end.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// Whether its last record was the log's own end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Why it was removed.
    pub why: String,
    /// When.
    pub when: Timestamp,
}

impl Removed {
    /// How long the log was at its end, and what it said.
    pub fn head(&self) -> Head {
        Head { size: self.size, root: self.root }
    }

    /// The number of its first record.
    pub fn first_record(&self) -> u64 {
        self.size.saturating_sub(self.records) + 1
    }

    /// All that were removed of the log in this worker's directory, by their numbers. Lines that are none are left out: what they should say
    /// is missing then.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn all(worker: &Path) -> io::Result<Vec<Removed>> {
        let file = match File::open(worker.join(REMOVED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut found: Vec<Removed> = Vec::new();
        for line in BufReader::new(file.take(LARGEST)).split(b'\n') {
            found.extend(serde_json::from_slice::<Removed>(&line?).ok());
        }
        // The last word on a segment counts: one that was written down may have stayed, as something failed, and grown no more.
        found.reverse();
        found.sort_by_key(|removed| removed.segment);
        found.dedup_by_key(|removed| removed.segment);
        Ok(found)
    }

    /// In words, those that went together in one.
    pub fn spans(removed: &[Removed]) -> Vec<String> {
        let together = |one: &Removed, other: &Removed| (one.when, &one.why) == (other.when, &other.why);
        let said = removed.chunk_by(together).filter_map(|span| {
            let (first, last) = (span.first()?, span.last()?);
            let segments = match first.segment == last.segment {
                true => format!("segment {}", first.segment),
                false => format!("segments {} to {}", first.segment, last.segment),
            };
            let (records, why) = (first.first_record(), first.why.escape_debug());
            Some(format!(
                "{segments} (records {records} to {}, {} to {}) removed at {}, as is written down: {why}",
                last.size, first.first, last.last, last.when
            ))
        });
        said.collect()
    }

    /// Writes it down; when it returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) fn note(&self, worker: &Path) -> io::Result<()> {
        let path = worker.join(REMOVED);
        let is_new = !path.exists();
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        // A line that was cut off when there was no room must not swallow this one.
        if fs::metadata(&path)?.len() > 0 && !ends_a_line(&path)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_all()?;
        if is_new { File::open(worker)?.sync_all() } else { Ok(()) }
    }
}

fn ends_a_line(path: &Path) -> io::Result<bool> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(segment: u64, why: &str) -> Removed {
        let (time, root) = (Timestamp::UNIX_EPOCH, Hash::NONE);
        Removed {
            segment,
            records: 5,
            first: time,
            last: time,
            size: 5 * segment,
            root,
            ended: false,
            why: why.to_owned(),
            when: time,
        }
    }

    #[test]
    fn what_was_noted_is_read_and_the_last_word_counts() {
        let worker = tempfile::tempdir().unwrap();
        assert_eq!(Removed::all(worker.path()).unwrap(), []);
        for (segment, why) in [(2, "a"), (1, "b"), (2, "c")] {
            removed(segment, why).note(worker.path()).unwrap();
        }
        let mut file = OpenOptions::new().append(true).open(worker.path().join(REMOVED)).unwrap();
        file.write_all(b"{\"segment\":7,").unwrap();
        removed(3, "d").note(worker.path()).unwrap();
        assert_eq!(Removed::all(worker.path()).unwrap(), [removed(1, "b"), removed(2, "c"), removed(3, "d")]);
        assert_eq!(removed(3, "d").first_record(), 11);
    }
}
