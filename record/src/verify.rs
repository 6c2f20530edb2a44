//! Whether a log is what was written.
//!
//! Enters: lines as they lie there. Leaves: the records, where each follows from the one before it; otherwise the first that does not.
//! Never: a record beyond that one: a log that was changed is evidence of nothing.

use std::path::Path;

use serde::Deserialize;

use crate::event::Line;
use crate::hash::Hash;
use crate::log::Head;
use crate::read::{Position, ReadError, WorkerLog};
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
}

/// All records of a log whose first segment is there, checked. A last line without a newline is one that was being written when the worker
/// was killed; it is left out.
///
/// # Errors
/// Where the chain breaks, with the records before it lost to the caller.
pub fn verified(worker: &Path) -> Result<Vec<Line>, Tampered> {
    let mut chain = Chain::default();
    let mut lines = Vec::new();
    let Some(log) = WorkerLog::open(worker)? else { return Ok(lines) };
    for text in log.texts(Position::START) {
        let text = text?;
        let (number, at) = (chain.head().size + 1, text.at);
        let wrong = |flaw| Tampered::Line { number, at, flaw };
        chain.follow(&text.bytes).map_err(wrong)?;
        lines.push(serde_json::from_slice(&text.bytes).map_err(|_| wrong(Flaw::Unreadable))?);
    }
    Ok(lines)
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
