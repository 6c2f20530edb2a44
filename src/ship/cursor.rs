//! How far the logs are shipped to one receiver, on the disk.
//!
//! Enters: what has arrived there. Leaves: the same after any end of this process, as a file that is replaced whole once its bytes are on the
//! disk. Never: further than what the receiver has; a worker that was shipped to its end once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::batch::Mark;
use crate::places::Places;
use crate::report::Report;

const CURSOR: &str = "cursor.json";
const DRAFT: &str = "cursor.json.new";
/// Workers that were shipped to their end, a line each.
const FINISHED: &str = "finished";
/// Whoever only asks whether somebody ships holds the lock for a moment, too.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(20);
/// As many of them are shown; how many there were is counted.
const MOST_GAPS: usize = 100;

/// Records that were gone before they were shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Whose.
    pub worker: String,
    /// The number of the first.
    pub from: u64,
    /// The number of the last; nobody knows it where the whole log is gone.
    pub to: Option<u64>,
    /// When that was found.
    pub found: Timestamp,
}

/// What is in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Shipped {
    /// Logs that were begun and not shipped to their end, by worker.
    pub workers: BTreeMap<String, Mark>,
    /// Records that have arrived.
    pub records: u64,
    /// Those that the receiver did not want.
    pub rejected: u64,
    /// When any last arrived.
    pub last: Option<Timestamp>,
    /// The last gaps.
    pub gaps: Vec<Gap>,
    /// How many there were.
    pub gaps_ever: u64,
}

/// The file, and what is kept beside it.
#[derive(Debug)]
pub struct Cursor {
    directory: PathBuf,
    shipped: Shipped,
    finished: BTreeSet<String>,
}

impl Cursor {
    /// That of the receiver with this name. Without a file, nothing has been shipped.
    ///
    /// # Errors
    /// When it cannot be read. One that cannot be understood is for a person to look at.
    pub fn open(places: &Places, name: &str) -> Result<Self, Report> {
        let directory = places.shipped().join(name);
        let file = directory.join(CURSOR);
        let mut shipped = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Shipped::default(),
            read => serde_json::from_slice(&read?).map_err(|error| {
                let hint = format!("take `{}` away to ship everything that is there once more", file.display());
                Report::new(error).hint(hint)
            })?,
        };
        let finished = match fs::read_to_string(directory.join(FINISHED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        // A line that was cut off names no worker; that one is shipped to its end once more, which is nothing.
        let finished: BTreeSet<String> = finished.lines().map(str::to_owned).collect();
        shipped.workers.retain(|worker, _| !finished.contains(worker));
        Ok(Self { directory, shipped, finished })
    }

    /// What it says.
    pub fn shipped(&self) -> &Shipped {
        &self.shipped
    }

    /// Whether the log of this worker is shipped to its end.
    pub fn is_finished(&self, worker: &str) -> bool {
        self.finished.contains(worker)
    }

    /// How far the log of this worker is shipped.
    pub fn mark(&self, worker: &str) -> Mark {
        self.shipped.workers.get(worker).copied().unwrap_or_default()
    }

    /// Remembers a gap; [`Cursor::advance`] keeps it.
    pub fn gap(&mut self, gap: Gap) {
        self.shipped.gaps_ever += 1;
        self.shipped.gaps.push(gap);
        let too_many = self.shipped.gaps.len().saturating_sub(MOST_GAPS);
        self.shipped.gaps.drain(..too_many);
    }

    /// Remembers what has arrived. When this returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written: then nothing more may be sent.
    pub fn advance(&mut self, marks: &[(String, Mark, bool)], records: u64, rejected: u64) -> io::Result<()> {
        let over: Vec<&str> = marks.iter().filter(|(_, _, finished)| *finished).map(|(worker, ..)| &**worker).collect();
        for (worker, mark, finished) in marks {
            match finished {
                true => drop(self.shipped.workers.remove(worker)),
                false => drop(self.shipped.workers.insert(worker.clone(), *mark)),
            }
        }
        self.shipped.records = self.shipped.records.saturating_add(records);
        self.shipped.rejected = self.shipped.rejected.saturating_add(rejected);
        if records > 0 {
            self.shipped.last = Some(Timestamp::now());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        if !over.is_empty() {
            self.finished.extend(over.iter().map(ToString::to_string));
            let mut file = self.file(FINISHED, OpenOptions::new().append(true))?;
            // It begins a line of its own: a line before it may have been cut off.
            file.write_all(over.iter().map(|worker| format!("\n{worker}\n")).collect::<String>().as_bytes())?;
            file.sync_data()?;
        }
        let mut draft = self.file(DRAFT, OpenOptions::new().write(true).truncate(true))?;
        draft.write_all(&serde_json::to_vec(&self.shipped)?)?;
        draft.sync_data()?;
        fs::rename(self.directory.join(DRAFT), self.directory.join(CURSOR))?;
        File::open(&self.directory)?.sync_all()
    }

    /// Forgets workers that have no directory any more.
    ///
    /// # Errors
    /// When the file cannot be replaced.
    pub fn forget(&mut self, gone: impl Fn(&str) -> bool) -> io::Result<()> {
        let before = self.finished.len();
        self.finished.retain(|worker| !gone(worker));
        if self.finished.len() == before {
            return Ok(());
        }
        let mut draft = self.file(DRAFT, OpenOptions::new().write(true).truncate(true))?;
        draft.write_all(self.finished.iter().map(|worker| format!("{worker}\n")).collect::<String>().as_bytes())?;
        draft.sync_data()?;
        fs::rename(self.directory.join(DRAFT), self.directory.join(FINISHED))
    }

    fn file(&self, name: &str, options: &mut OpenOptions) -> io::Result<File> {
        options.create(true).mode(0o600).open(self.directory.join(name))
    }
}

/// The directory of a receiver's cursor.
pub fn directory(places: &Places, name: &str) -> PathBuf {
    places.shipped().join(name)
}

/// Takes the one place of those who ship from this state directory; it is held until the file is dropped. `None`: somebody has it.
///
/// # Errors
/// When the lock cannot be made.
pub fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock"))?;
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use record::read::Position;

    use super::*;

    fn mark(offset: u64) -> Mark {
        let next = Position { segment: 1, offset };
        Mark { next, seq: offset, from: next }
    }

    #[test]
    fn what_has_arrived_is_known_after_any_end() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { config: directory.path().to_owned(), state: directory.path().to_owned() };
        let mut cursor = Cursor::open(&places, "siem").unwrap();
        assert_eq!((cursor.mark("a"), cursor.is_finished("a")), (Mark::default(), false));
        let gap = Gap { worker: "b".to_owned(), from: 1, to: None, found: Timestamp::UNIX_EPOCH };
        cursor.gap(gap.clone());
        cursor.advance(&[("a".to_owned(), mark(7), false), ("b".to_owned(), mark(9), true)], 16, 1).unwrap();
        let mut cursor = Cursor::open(&places, "siem").unwrap();
        assert_eq!((cursor.mark("a"), cursor.is_finished("a"), cursor.is_finished("b")), (mark(7), false, true));
        assert_eq!(
            (cursor.shipped().records, cursor.shipped().rejected, &cursor.shipped().gaps[..]),
            (16, 1, &[gap][..])
        );
        // Cut off in the middle of a line, by a kill.
        let file = cursor.directory.join(FINISHED);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\nhal")).unwrap();
        cursor.advance(&[("c".to_owned(), mark(1), true)], 0, 0).unwrap();
        let mut cursor = Cursor::open(&places, "siem").unwrap();
        assert!(cursor.is_finished("b") && cursor.is_finished("c"));
        cursor.forget(|worker| worker != "c").unwrap();
        let cursor = Cursor::open(&places, "siem").unwrap();
        assert!(!cursor.is_finished("b") && cursor.is_finished("c"));
    }

    #[test]
    fn there_is_one_place() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        assert!(first.is_some() && lock(directory.path()).unwrap().is_none());
        drop(first);
        assert!(lock(directory.path()).unwrap().is_some());
    }
}
