//! How long closed segments are kept: which of them are to go, the oldest first, and how they go.
//!
//! Enters: the directories of all workers, and for how long or up to which size their logs are kept. Leaves: fewer segments, and for each that went a line
//! in its worker's directory. Never: a segment gone that a running worker may write, that somebody still needs, that is not the oldest of its log, or that
//! is not what was written: that one is evidence. Nor, for the size of all, one that is younger than a day or of a worker that runs: an agent chooses how
//! much its log says, and would choose what is gone.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::clerk::WORTH_COMPRESSING;
use crate::compress::compress;
use crate::log::Head;
use crate::read::{Position, ReadError, WorkerLog};
use crate::removed::Removed;
use crate::segment::{DIRECTORY, Segment};
use crate::verify::{Chain, Tampered};

/// For so long nothing goes for the size of all: somebody has to be able to look at what an agent did, however much it has said since.
pub const LOOKED_AT: Duration = Duration::from_secs(24 * 60 * 60);

/// What of the logs is kept. By default, all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// No record that is older.
    pub time: Option<Duration>,
    /// Of all logs together, no more bytes than these, as they lie there, but for what is of a worker that runs or younger than [`LOOKED_AT`].
    pub size: Option<u64>,
}

impl Keep {
    /// Whether there is anything that would go.
    pub fn is_bounded(&self) -> bool {
        self.time.is_some() || self.size.is_some()
    }
}

/// The logs of a state directory, and who else has a say in what is removed.
pub struct Retention<'a> {
    /// Where the workers' directories are.
    pub workers: &'a Path,
    /// What is kept.
    pub keep: Keep,
    /// Whether the worker with this directory runs.
    pub lives: &'a dyn Fn(&Path) -> io::Result<bool>,
    /// The number of the oldest segment that somebody still needs, of the worker with this directory.
    pub needed: &'a dyn Fn(&Path) -> Option<u64>,
    /// The time.
    pub now: Timestamp,
}

/// What became of a segment that is to go.
#[derive(Debug)]
pub enum Told {
    /// It went, or would.
    Removed {
        /// The worker's directory.
        worker: PathBuf,
        /// How many bytes are free now.
        bytes: u64,
        /// What was written down.
        removed: Removed,
    },
    /// It stays, and so do those after it.
    Stays {
        /// The worker's directory.
        worker: PathBuf,
        /// Its number.
        segment: u64,
        /// Why.
        why: String,
    },
    /// All logs together are still larger than they may be, by what is too young to go for that, of a worker that runs, or stays.
    TooMuch {
        /// How many bytes they have, or would.
        bytes: u64,
    },
    /// It is none of a log's files, or cannot be looked at, and was passed over.
    Odd {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum Unkept {
    /// The system says no.
    #[error("cannot look through `{}`", path.display())]
    Look {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Only one does this at a time.
    #[error("another process is removing old segments at this moment")]
    Busy,
}

/// A closed segment, as the system sees it.
struct Closed {
    segment: Segment,
    bytes: u64,
    changed: SystemTime,
}

/// One log, the oldest segment last.
struct Shelf {
    worker: PathBuf,
    runs: bool,
    closed: Vec<Closed>,
}

impl Retention<'_> {
    /// Removes what is to go, or with `dry` only says what would.
    ///
    /// # Errors
    /// When the directories cannot be listed, or somebody else is at it.
    pub fn apply(&self, dry: bool, tell: &mut dyn FnMut(Told)) -> Result<(), Unkept> {
        let failed = |source| Unkept::Look { path: self.workers.to_owned(), source };
        let alone = match File::open(self.workers) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            directory => directory.map_err(failed)?,
        };
        match alone.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(Unkept::Busy),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
        let (mut shelves, mut total) = self.shelves(tell).map_err(failed)?;
        let oldest = |shelves: &[Shelf]| {
            let of = |shelf: &Shelf| shelf.closed.last().map(|closed| closed.changed);
            (0..shelves.len()).filter_map(|at| Some((of(&shelves[at])?, at))).min().map(|(_, at)| at)
        };
        while let Some(at) = oldest(&shelves) {
            let Shelf { worker, runs, closed } = &mut shelves[at];
            let Some(Closed { segment, bytes, changed }) = closed.pop() else { continue };
            let Some(why) = self.why(changed, total, *runs) else {
                closed.clear();
                continue;
            };
            let told = match self.remove(worker, &segment, why, dry) {
                Ok(None) => None,
                Ok(Some(removed)) => {
                    total -= bytes;
                    Some(Told::Removed { worker: worker.clone(), bytes, removed })
                }
                Err(why) => Some(Told::Stays { worker: worker.clone(), segment: segment.number(), why }),
            };
            // What stays keeps those after it.
            if !matches!(told, Some(Told::Removed { .. })) {
                closed.clear();
            }
            told.into_iter().for_each(&mut *tell);
        }
        if self.keep.size.is_some_and(|size| total > size) {
            tell(Told::TooMuch { bytes: total });
        }
        Ok(())
    }

    /// Compresses what clerks left plain that were killed, of workers that have ended, and says how many segments. What cannot be compressed stays
    /// as it is.
    ///
    /// # Errors
    /// When the directories cannot be listed.
    pub fn compress_left(&self) -> Result<usize, Unkept> {
        let failed = |source| Unkept::Look { path: self.workers.to_owned(), source };
        let (shelves, _) = self.shelves(&mut |_| {}).map_err(failed)?;
        let mut done = 0;
        for Shelf { worker, closed, .. } in
            shelves.iter().filter(|shelf| matches!((self.lives)(&shelf.worker), Ok(false)))
        {
            let plain =
                closed.iter().filter(|closed| !closed.segment.is_compressed() && closed.bytes >= WORTH_COMPRESSING);
            done += plain.filter(|closed| compress(worker, closed.segment.number()).is_ok()).count();
        }
        Ok(done)
    }

    /// What could go, and how much there is of everything.
    fn shelves(&self, tell: &mut dyn FnMut(Told)) -> io::Result<(Vec<Shelf>, u64)> {
        let (mut shelves, mut total) = (Vec::new(), 0);
        for entry in fs::read_dir(self.workers)? {
            let worker = entry?.path();
            match self.shelf(&worker, &mut total, tell) {
                Ok(shelf) => shelves.extend(shelf),
                Err(error) => tell(Told::Odd { path: worker, why: error.to_string() }),
            }
        }
        Ok((shelves, total))
    }

    fn shelf(&self, worker: &Path, total: &mut u64, tell: &mut dyn FnMut(Told)) -> io::Result<Option<Shelf>> {
        let mut closed = Vec::new();
        let mut needed = (self.needed)(worker).unwrap_or(u64::MAX);
        for segment in Segment::all(worker)? {
            // One that is gone or renamed meanwhile is the next time's.
            let Ok(metadata) = fs::symlink_metadata(segment.path()) else { continue };
            if !metadata.is_file() {
                // Whatever is behind it is not the oldest of what there was.
                needed = needed.min(segment.number());
                tell(Told::Odd { path: segment.path().to_owned(), why: "it is no file".to_owned() });
                continue;
            }
            *total += metadata.len();
            if metadata.len() > 0 {
                closed.push(Closed { segment, bytes: metadata.len(), changed: metadata.modified()? });
            }
        }
        if closed.is_empty() {
            return Ok(None);
        }
        // The last one of a worker that runs is the one that it writes.
        let runs = (self.lives)(worker)?;
        if runs {
            closed.pop();
        }
        closed.retain(|closed| closed.segment.number() < needed);
        closed.reverse();
        Ok(Some(Shelf { worker: worker.to_owned(), runs, closed }))
    }

    fn why(&self, changed: SystemTime, total: u64, runs: bool) -> Option<Why> {
        let changed = Timestamp::try_from(changed).unwrap_or(self.now);
        let age = Duration::try_from(self.now.duration_since(changed)).unwrap_or_default();
        let by_size = self.keep.size.filter(|size| total > *size && !runs && age > LOOKED_AT).map(Why::Size);
        by_size.or(self.keep.time.filter(|time| age > *time).map(Why::Age))
    }

    /// `None`: it is younger than the system says.
    fn remove(&self, worker: &Path, segment: &Segment, why: Why, dry: bool) -> Result<Option<Removed>, String> {
        let busy = || "it is being read".to_owned();
        let _unread = match File::open(worker.join(DIRECTORY)).map(|directory| directory.try_lock().map(|()| directory))
        {
            Ok(Ok(directory)) => directory,
            Ok(Err(TryLockError::WouldBlock)) => return Err(busy()),
            Ok(Err(TryLockError::Error(error))) | Err(error) => return Err(error.to_string()),
        };
        let found = look(worker, segment).map_err(|tampered| format!("it is not what was written: {tampered}"))?;
        let Some(Found { records, first, last, head, ended }) = found else {
            return Err("it has no record".to_owned());
        };
        let older_than = match why {
            Why::Age(time) => time,
            Why::Size(_) => LOOKED_AT,
        };
        if Duration::try_from(self.now.duration_since(last)).is_ok_and(|age| age <= older_than) {
            return Ok(None);
        }
        let (segment_number, Head { size, root }) = (segment.number(), head);
        let (why, when) = (why.to_string(), self.now);
        let removed = Removed { segment: segment_number, records, first, last, size, root, ended, why, when };
        if !dry {
            removed.note(worker).map_err(|error| format!("it cannot be written down that it goes: {error}"))?;
            for path in [Segment::plain(worker, segment_number), Segment::compressed(worker, segment_number)] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
                    _ => {}
                }
            }
        }
        Ok(Some(removed))
    }
}

/// What is in a segment.
struct Found {
    records: u64,
    first: Timestamp,
    last: Timestamp,
    head: Head,
    ended: bool,
}

#[derive(serde::Deserialize)]
struct When<'l> {
    time: Timestamp,
    event: Cow<'l, str>,
}

/// Follows a segment from its first line to its last.
fn look(worker: &Path, segment: &Segment) -> Result<Option<Found>, Tampered> {
    let number = segment.number();
    let Some(log) = WorkerLog::open(worker)? else { return Ok(None) };
    let mut found: Option<(Chain, Found)> = None;
    let texts = log.texts(Position { segment: number, offset: 0 });
    for text in texts.take_while(|text| text.as_ref().map_or(true, |text| text.at.segment == number)) {
        let text = text?;
        let at = text.at;
        let wrong = |number| move |flaw| Tampered::Line { number, at, flaw };
        let unreadable = |why: serde_json::Error| {
            Tampered::Read(ReadError::Record { worker: worker.to_owned(), at, why: why.to_string() })
        };
        let When { time, event } = serde_json::from_slice(&text.bytes).map_err(unreadable)?;
        let (mut chain, before) = match found.take() {
            Some((chain, found)) => (chain, found),
            None if number == 1 => (
                Chain::default(),
                Found { records: 0, first: time, last: time, head: Chain::default().head(), ended: false },
            ),
            None => {
                let chain = Chain::at_segment(number, &text.bytes).map_err(wrong(1))?;
                let head = chain.head();
                (chain, Found { records: 0, first: time, last: time, head, ended: false })
            }
        };
        chain.follow(&text.bytes).map_err(wrong(before.records + 1))?;
        found =
            Some((chain, Found { records: before.records + 1, last: time, ended: event == "worker-end", ..before }));
    }
    Ok(found.map(|(chain, found)| Found { head: chain.head(), ..found }))
}

/// Why a segment is to go.
#[derive(Clone, Copy)]
enum Why {
    Age(Duration),
    Size(u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TIMES: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
        const SIZES: [(&str, u64); 5] =
            [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
        let (what, units, number) = match self {
            Why::Age(time) => ("older than", &TIMES[..], time.as_secs()),
            Why::Size(size) => ("all logs together are larger than", &SIZES[..], *size),
        };
        // As log.toml has it: a whole number of the largest unit.
        let (unit, one) = units.iter().find(|(_, one)| number.is_multiple_of(*one)).copied().unwrap_or(("", 1));
        write!(f, "{what} {}{unit}", number / one)
    }
}
