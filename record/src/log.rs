//! The log as its worker writes it: appended to only, each line bound to all before it.
//!
//! Enters: events. Leaves: lines that the kernel has, each with the hash of the line before it, and at any time the root of the
//! tree over all of them, for whoever signs. Never: a log with a hole; what failed once stays failed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::event::{Event, Line};
use crate::hash::Hash;
use crate::segment::{DIRECTORY, Segment};
use crate::tree::Tree;

/// The log cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the call log `{}`", path.display())]
pub struct LogError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The log of one worker, open for appending.
#[derive(Debug)]
pub struct CallLog {
    path: PathBuf,
    state: Mutex<State>,
    open: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    file: Arc<File>,
    prev: Hash,
    tree: Tree,
    broken: Option<io::ErrorKind>,
}

impl State {
    fn new(file: File) -> State {
        State { file: Arc::new(file), prev: Hash::NONE, tree: Tree::default(), broken: None }
    }
}

/// How long a log is, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its lines.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl CallLog {
    /// Creates the log in a worker's directory, readable by its owner only. It must not be there yet.
    ///
    /// # Errors
    /// When it exists or cannot be created.
    pub fn create(worker: &Path) -> Result<Self, LogError> {
        let path = Segment::plain(worker, 1);
        let created = DirBuilder::new().mode(0o700).create(worker.join(DIRECTORY));
        match created.and_then(|()| OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)) {
            Ok(file) => Ok(Self { path, state: Mutex::new(State::new(file)), open: watch::Sender::new(0) }),
            Err(source) => Err(LogError { action: "create", path, source }),
        }
    }

    /// Where its first segment is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one event; when it returns, the kernel has the line.
    ///
    /// # Errors
    /// When the line cannot be written whole. From then on every append fails: a log with a hole is none.
    pub fn append(&self, time: Timestamp, event: Event) -> Result<(), LogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| LogError { action: "append to", path: self.path.clone(), source };
        if let Some(kind) = state.broken {
            return Err(failed(kind.into()));
        }
        let line = Line { seq: state.tree.size() + 1, time, prev: state.prev, event };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
        let hash = Hash::of_line(&bytes);
        bytes.push(b'\n');
        if let Err(source) = (&*state.file).write_all(&bytes) {
            state.broken = Some(source.kind());
            return Err(failed(source));
        }
        state.prev = hash;
        state.tree.push(hash);
        Ok(())
    }

    /// How long it is now, and what it says.
    pub fn head(&self) -> Head {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Head { size: state.tree.size(), root: state.tree.root() }
    }

    /// A call has begun that will have an end.
    pub fn opened(&self) {
        self.open.send_modify(|open| *open += 1);
    }

    /// A call has ended.
    pub fn closed(&self) {
        self.open.send_modify(|open| *open -= 1);
    }

    /// Waits until every call that has begun has ended.
    pub async fn all_ended(&self) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Waits until what was appended is on the disk. Who appends meanwhile does not wait.
    ///
    /// # Errors
    /// When the kernel cannot.
    pub fn sync(&self) -> Result<(), LogError> {
        let file = Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).file);
        file.sync_data().map_err(|source| LogError { action: "sync", path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NameAsked;

    #[test]
    fn a_log_that_failed_once_stays_failed() {
        let event = || Event::NameAsked(NameAsked { name: "a".to_owned(), kind: "A".to_owned() });
        let full = Path::new("/dev/full");
        let file = OpenOptions::new().append(true).open(full).unwrap();
        let log = CallLog { path: full.to_owned(), state: Mutex::new(State::new(file)), open: watch::Sender::new(0) };
        assert!(log.append(Timestamp::UNIX_EPOCH, event()).is_err());
        assert!(log.append(Timestamp::UNIX_EPOCH, event()).is_err());
        assert_eq!(log.head(), Head { size: 0, root: Tree::default().root() });
    }
}
