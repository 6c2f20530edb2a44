//! Whether a log is what was written.
//!
//! Enters: lines as they lie there. Leaves: the records, where each follows from the one before it; otherwise the first that does not.
//! Where the oldest segments were removed: from the first that is left on. Never: a record beyond one that does not follow: a log that was
//! changed is evidence of nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::event::{Event, Line, SegmentStart};
use crate::hash::Hash;
use crate::log::Head;
use crate::read::{Position, ReadError, Text, WorkerLog};
use crate::removed::Removed;
use crate::segment::DIRECTORY;
use crate::tree::Tree;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is none of this format.
    #[error("is not a record of this log")]
    Unreadable,
    /// The line before is not the one that was written there.
    #[error("does not follow from the line before it: a line was changed, removed, moved or put in")]
    Broken,
    /// It is the first of a file, and does not say what the file is and what came before it.
    #[error("is not how segment {0} of this log begins: a file was changed, renamed or put together of others")]
    Misplaced(u64),
}

/// The chain, as far as it was followed.
#[derive(Debug, Clone)]
pub struct Chain {
    prev: Hash,
    tree: Tree,
}

/// The links of a line.
#[derive(Deserialize)]
struct Links {
    seq: u64,
    prev: Hash,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { prev: Hash::NONE, tree: Tree::default() }
    }
}

impl Chain {
    /// Goes on behind a line with this hash, the last of those that the tree is over.
    pub fn behind(prev: Hash, tree: Tree) -> Chain {
        Chain { prev, tree }
    }

    /// Goes on where a segment begins, with this line, as that says what came before it. The line itself is still to be followed.
    ///
    /// # Errors
    /// When it is not how the segment of this number begins.
    pub fn at_segment(number: u64, line: &[u8]) -> Result<Chain, Flaw> {
        let Line { seq, prev, event, .. } = serde_json::from_slice(line).map_err(|_| Flaw::Unreadable)?;
        match event {
            Event::SegmentStart(SegmentStart { segment, size, peaks, .. })
                if segment == number && size.checked_add(1) == Some(seq) =>
            {
                Tree::from_peaks(size, peaks).map(|tree| Chain { prev, tree }).ok_or(Flaw::Misplaced(number))
            }
            _ => Err(Flaw::Misplaced(number)),
        }
    }

    /// One more line.
    ///
    /// # Errors
    /// When it is not the next one.
    pub fn follow(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let Links { seq, prev } = serde_json::from_slice(line).map_err(|_| Flaw::Unreadable)?;
        if prev != self.prev || seq != self.tree.size() + 1 {
            return Err(Flaw::Broken);
        }
        self.prev = Hash::of_line(line);
        self.tree.push(self.prev);
        Ok(())
    }

    /// How far it was followed, and what is there up to that.
    pub fn head(&self) -> Head {
        Head { size: self.tree.size(), root: self.tree.root() }
    }
}

/// A log is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Tampered {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line of it is wrong.
    #[error("record {number} (segment {}, byte {}) {flaw}", at.segment, at.offset)]
    Line {
        /// Which, from 1.
        number: u64,
        /// Where it begins.
        at: Position,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A file of it is not there.
    #[error("{}", absent(worker, *from, *to))]
    Missing {
        /// The worker's directory.
        worker: PathBuf,
        /// The number of the first that is missing.
        from: u64,
        /// Of the last.
        to: u64,
    },
    /// What was removed ended elsewhere.
    #[error("what is there in `{}` begins behind record {size}, and what was removed is not written down as ending there", worker.display())]
    Removal {
        /// The worker's directory.
        worker: PathBuf,
        /// How many records there were before the first that is there.
        size: u64,
    },
}

fn absent(worker: &Path, from: u64, to: u64) -> String {
    let worker = worker.display();
    match from == to {
        true => format!("segment {from} of `{worker}` is missing, and not written down as removed"),
        false => format!("segments {from} to {to} of `{worker}` are missing, and not written down as removed"),
    }
}

/// What is there of a log follows from its beginning, or from the end of what was removed.
#[derive(Debug, Clone)]
pub struct Sound {
    /// How long it is, and what it says, with what was removed.
    pub head: Head,
    /// What retention removed of it. Nobody can tell any more whether that was what was written; that it is missing is no finding.
    pub removed: Vec<Removed>,
}

/// Follows a log from its first record that is there to its last. Each line goes to `each` once it was found to follow. A last line without a newline is
/// one that was being written when the worker was killed; it is left out.
///
/// # Errors
/// Where the chain breaks, a file is missing or is not what its name says.
pub fn follow(worker: &Path, mut each: impl FnMut(&Text)) -> Result<Sound, Tampered> {
    let mut walk = Walk::begin(worker)?;
    let log = WorkerLog::open(worker)?;
    for text in log.iter().flat_map(|log| log.texts(Position::START)) {
        let text = text?;
        walk.step(&text)?;
        each(&text);
    }
    walk.end()
}

/// The way through a log, line by line and from file to file.
pub(crate) struct Walk {
    worker: PathBuf,
    chain: Chain,
    /// The first segment that is there, and the one that the last line was in.
    begins: Option<u64>,
    segment: u64,
    removed: Vec<Removed>,
    _unremoved: Option<File>,
}

impl Walk {
    /// Until it is over, nothing of the log is removed.
    pub fn begin(worker: &Path) -> Result<Walk, ReadError> {
        let failed = |source| ReadError::File { worker: worker.to_owned(), source };
        let held = hold(worker).map_err(failed)?;
        let removed = Removed::all(worker).map_err(failed)?;
        let (worker, chain) = (worker.to_owned(), Chain::default());
        Ok(Walk { worker, chain, begins: None, segment: 0, removed, _unremoved: held })
    }

    /// One more line.
    pub fn step(&mut self, text: &Text) -> Result<(), Tampered> {
        let at = text.at;
        let number = self.chain.tree.size() + 1;
        let wrong = |flaw| Tampered::Line { number, at, flaw };
        if at.segment == 0 {
            // They are counted from 1.
            return Err(wrong(Flaw::Misplaced(0)));
        }
        if at.segment != self.segment {
            let is_first = self.begins.is_none();
            if is_first {
                self.missing(at.segment)?;
                self.begins = Some(at.segment);
            } else if at.segment != self.segment + 1 {
                let (worker, from, to) = (self.worker.clone(), self.segment + 1, at.segment - 1);
                return Err(Tampered::Missing { worker, from, to });
            }
            self.segment = at.segment;
            if at.segment > 1 {
                let begun = Chain::at_segment(at.segment, &text.bytes).map_err(wrong)?;
                if is_first {
                    self.ends_as_noted(begun.head())?;
                    self.chain = begun;
                } else if begun.head() != self.chain.head() {
                    return Err(wrong(Flaw::Misplaced(at.segment)));
                }
            }
        }
        let number = self.chain.tree.size() + 1;
        self.chain.follow(&text.bytes).map_err(|flaw| Tampered::Line { number, at, flaw })
    }

    /// How far it went, and what is there up to that.
    pub fn head(&self) -> Head {
        self.chain.head()
    }

    /// What was removed before the first line that is there; or all that there was.
    pub fn end(mut self) -> Result<Sound, Tampered> {
        let begins = self.begins.unwrap_or(u64::MAX);
        self.removed.retain(|removed| removed.segment < begins);
        if let (None, Some(last)) = (self.begins, self.removed.last()) {
            self.missing(last.segment.saturating_add(1))?;
        }
        let head = match (self.begins, self.removed.last()) {
            (None, Some(last)) => last.head(),
            _ => self.chain.head(),
        };
        Ok(Sound { head, removed: self.removed })
    }

    /// Each segment before this one was written down as removed.
    fn missing(&self, before: u64) -> Result<(), Tampered> {
        let is_there = |number: &u64| self.removed.iter().any(|removed| removed.segment == *number);
        // Nobody has as many as a name can say: of one more than were removed, one at least was not.
        match (1..before).take(self.removed.len() + 1).find(|number| !is_there(number)) {
            None => Ok(()),
            Some(from) => Err(Tampered::Missing { worker: self.worker.clone(), from, to: before - 1 }),
        }
    }

    /// What is there goes on where what was removed ended.
    fn ends_as_noted(&self, head: Head) -> Result<(), Tampered> {
        match self.removed.iter().find(|removed| removed.segment.checked_add(1) == Some(self.segment)) {
            Some(last) if last.head() == head => Ok(()),
            _ => Err(Tampered::Removal { worker: self.worker.clone(), size: head.size }),
        }
    }
}

/// All records of a log that are there, checked.
///
/// # Errors
/// As [`follow`]; the records before that are lost to the caller.
pub fn verified(worker: &Path) -> Result<Vec<Line>, Tampered> {
    let mut lines = Vec::new();
    let mut unreadable = None;
    follow(worker, |text| match serde_json::from_slice(&text.bytes) {
        Ok(line) => lines.push(line),
        Err(_) => drop(unreadable.get_or_insert((lines.len() as u64 + 1, text.at))),
    })?;
    match unreadable {
        Some((number, at)) => Err(Tampered::Line { number, at, flaw: Flaw::Unreadable }),
        None => Ok(lines),
    }
}

/// While it is held, nothing of a log is removed.
pub(crate) fn hold(worker: &Path) -> io::Result<Option<File>> {
    match File::open(worker.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        directory => {
            let directory = directory?;
            // A copy on a file system without locks is one from which nobody removes anything.
            let held = directory.lock_shared().is_ok();
            Ok(held.then_some(directory))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::Timestamp;

    use super::*;
    use crate::event::{Event, NameAsked};
    use crate::log::CallLog;

    fn written(names: &[&str]) -> (tempfile::TempDir, CallLog) {
        let worker = tempfile::tempdir().unwrap();
        let log = CallLog::create(worker.path()).unwrap();
        for name in names {
            let event = Event::NameAsked(NameAsked { name: (*name).to_owned(), kind: "A".to_owned() });
            log.append(Timestamp::UNIX_EPOCH, event).unwrap();
        }
        (worker, log)
    }

    fn broken_at(worker: &Path) -> u64 {
        match verified(worker) {
            Err(Tampered::Line { number, .. }) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_as_written_verifies() {
        let (worker, log) = written(&["a", "b", "c"]);
        assert_eq!(verified(worker.path()).unwrap().len(), 3);
        let mut chain = Chain::default();
        fs::read_to_string(log.path()).unwrap().lines().for_each(|line| chain.follow(line.as_bytes()).unwrap());
        assert_eq!(chain.head(), log.head());
        assert_eq!(verified(written(&[]).0.path()).unwrap().len(), 0);
        assert_eq!(verified(tempfile::tempdir().unwrap().path()).unwrap().len(), 0);
    }

    #[test]
    fn what_a_segment_says_came_before_it_is_not_counted_too_far() {
        for (size, seq) in [(u64::MAX, 0), (u64::MAX - 1, u64::MAX), (1 << 63, (1 << 63) + 1)] {
            let peaks = vec!["0".repeat(64); size.count_ones() as usize];
            let line = serde_json::json!({
                "seq": seq, "time": Timestamp::UNIX_EPOCH, "prev": "0".repeat(64), "event": "segment-start",
                "segment": 2, "worker": "w", "agent": "bot", "size": size, "peaks": peaks,
            });
            let begun = Chain::at_segment(2, line.to_string().as_bytes());
            assert_eq!(begun.unwrap_err(), Flaw::Misplaced(2), "{size}");
        }
    }

    #[test]
    fn a_changed_removed_or_swapped_line_is_seen() {
        let (worker, log) = written(&["a", "b", "c"]);
        let text = fs::read_to_string(log.path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let of = |text: String| {
            fs::write(log.path(), text).unwrap();
            broken_at(worker.path())
        };
        assert_eq!(of(text.replace("\"name\":\"b\"", "\"name\":\"x\"")), 3);
        assert_eq!(of(format!("{}\n{}\n", lines[0], lines[2])), 2);
        assert_eq!(of(format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2])), 1);
        assert_eq!(of(format!("{}\n{}\n{}\n{}\n", lines[0], lines[1], lines[1], lines[2])), 3);
    }

    #[test]
    fn a_line_cut_off_by_a_kill_is_left_out() {
        let (worker, log) = written(&["a", "b"]);
        let mut text = fs::read(log.path()).unwrap();
        text.truncate(text.len() - 5);
        fs::write(log.path(), text).unwrap();
        assert_eq!(verified(worker.path()).unwrap().len(), 1);
    }
}
