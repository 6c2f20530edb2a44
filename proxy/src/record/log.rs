//! The file: appended to by its worker only, chained by hash, read whole by whoever checks it.
//!
//! Enters: events. Leaves: lines that the kernel has, each holding the SHA-256 of the line before it, so that a line changed,
//! removed or put in later is seen by [`verify`]. Never: a log with a hole; what failed once stays failed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use tokio::sync::watch;

use super::event::{Event, Line};

/// The name of the log inside a worker's state directory.
pub const FILE_NAME: &str = "calls.jsonl";

/// What the first line of a log holds in place of a predecessor's hash.
const NO_PREDECESSOR: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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
    file: File,
    seq: u64,
    prev: String,
    broken: Option<io::ErrorKind>,
}

impl CallLog {
    /// Creates the log in `directory`, readable by its owner only. The file must not be there yet.
    ///
    /// # Errors
    /// When the file exists or cannot be created.
    pub fn create(directory: &Path) -> Result<Self, LogError> {
        let path = directory.join(FILE_NAME);
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self {
                path,
                state: Mutex::new(State { file, seq: 0, prev: NO_PREDECESSOR.to_owned(), broken: None }),
                open: watch::Sender::new(0),
            }),
            Err(source) => Err(LogError { action: "create", path, source }),
        }
    }

    /// Where the log is.
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
        let line = Line { seq: state.seq + 1, time, prev: state.prev.clone(), event };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
        let prev = hash(&bytes);
        bytes.push(b'\n');
        if let Err(source) = state.file.write_all(&bytes) {
            state.broken = Some(source.kind());
            return Err(failed(source));
        }
        state.seq += 1;
        state.prev = prev;
        Ok(())
    }

    /// A call has begun that will have an end.
    pub(super) fn opened(&self) {
        self.open.send_modify(|open| *open += 1);
    }

    /// A call has ended.
    pub(super) fn closed(&self) {
        self.open.send_modify(|open| *open -= 1);
    }

    /// Waits until every call that has begun has ended.
    pub(crate) async fn all_ended(&self) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Waits until what was appended is on the disk.
    ///
    /// # Errors
    /// When the kernel cannot.
    pub fn sync(&self) -> Result<(), LogError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.file.sync_data().map_err(|source| LogError { action: "sync", path: self.path.clone(), source })
    }
}

/// The first place where a log is not what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Tampered {
    /// Not a line of this format.
    #[error("line {line} is not a record of this log")]
    Unreadable {
        /// Which line, from 1.
        line: usize,
    },
    /// The line before is not the one that was written there.
    #[error("line {line} does not follow from the line before it: a line was changed, removed or put in")]
    Broken {
        /// Which line, from 1.
        line: usize,
    },
}

/// Reads a whole log and checks its chain. A last line without a newline is one that was being written when the worker
/// was killed; it is left out.
///
/// # Errors
/// Where the chain breaks, with the lines before it lost to the caller: a log that was changed is evidence of nothing.
pub fn verify(log: &[u8]) -> Result<Vec<Line>, Tampered> {
    let whole = log.iter().rposition(|&b| b == b'\n').map_or(&log[..0], |end| &log[..end]);
    let mut prev = NO_PREDECESSOR.to_owned();
    let mut lines = Vec::new();
    for (index, bytes) in
        whole.split(|&b| b == b'\n').enumerate().filter(|(_, bytes)| !whole.is_empty() || !bytes.is_empty())
    {
        let line: Line = serde_json::from_slice(bytes).map_err(|_| Tampered::Unreadable { line: index + 1 })?;
        if line.prev != prev || line.seq != index as u64 + 1 {
            return Err(Tampered::Broken { line: index + 1 });
        }
        prev = hash(bytes);
        lines.push(line);
    }
    Ok(lines)
}

/// In hexadecimal. Two of these are made for every call; formatting each byte took longer than hashing.
fn hash(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = digest(&SHA256, bytes);
    let nibbles = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::event::NameAsked;
    use super::*;

    fn event(name: &str) -> Event {
        Event::NameAsked(NameAsked { name: name.to_owned(), kind: "A".to_owned() })
    }

    fn written(names: &[&str]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let log = CallLog::create(directory.path()).unwrap();
        for name in names {
            log.append(Timestamp::UNIX_EPOCH, event(name)).unwrap();
        }
        std::fs::read(log.path()).unwrap()
    }

    #[test]
    fn a_log_as_written_verifies() {
        assert_eq!(verify(&written(&["a", "b", "c"])).unwrap().len(), 3);
        assert_eq!(verify(b"").unwrap().len(), 0);
    }

    #[test]
    fn a_changed_removed_or_swapped_line_is_seen() {
        let log = String::from_utf8(written(&["a", "b", "c"])).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let changed = log.replace("\"name\":\"b\"", "\"name\":\"x\"");
        assert_eq!(verify(changed.as_bytes()).unwrap_err(), Tampered::Broken { line: 3 });
        let removed = format!("{}\n{}\n", lines[0], lines[2]);
        assert_eq!(verify(removed.as_bytes()).unwrap_err(), Tampered::Broken { line: 2 });
        let swapped = format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]);
        assert_eq!(verify(swapped.as_bytes()).unwrap_err(), Tampered::Broken { line: 1 });
    }

    #[test]
    fn a_line_cut_off_by_a_kill_is_left_out() {
        let mut log = written(&["a", "b"]);
        log.truncate(log.len() - 5);
        assert_eq!(verify(&log).unwrap().len(), 1);
    }

    #[test]
    fn a_log_that_failed_once_stays_failed() {
        let full = Path::new("/dev/full");
        let file = OpenOptions::new().append(true).open(full).unwrap();
        let state = State { file, seq: 0, prev: NO_PREDECESSOR.to_owned(), broken: None };
        let log = CallLog { path: full.to_owned(), state: Mutex::new(state), open: watch::Sender::new(0) };
        assert!(log.append(Timestamp::UNIX_EPOCH, event("a")).is_err());
        assert!(log.append(Timestamp::UNIX_EPOCH, event("a")).is_err());
    }
}
