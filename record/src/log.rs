//! The log as its worker writes it: appended to only, each line bound to all before it.
//!
//! Enters: events. Leaves: lines that the kernel has, each with the hash of the line before it, and at any time the root of the
//! tree over all of them, for whoever signs. Lines that are only noted are written together, before whatever has to come after them. Never: a
//! log with a hole; what failed once stays failed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clerk::Clerk;
use crate::cut::{self, Cuts};
use crate::event::{Event, SegmentKept};
use crate::hash::{Hash, LEAF};
use crate::room::{Bounds, NoRoom, Room};
use crate::rotation::{Rotation, SegmentLimits};
use crate::segment::{DIRECTORY, Segment};
use crate::tree::Tree;
use crate::written::{self, Last, Line};

/// Syncs come every few seconds, as a log is signed for. One that has closed so many files in between writes on in the last.
const UNSYNCED: usize = 16;
/// More than this is not kept from one line to the next: calls take one or two KiB, and only a worker's start takes much more.
const KEPT: usize = 16 * 1024;
/// Noted lines are written when they are more than this: some ten calls of one turn.
const NOTED: usize = KEPT;

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
    /// One at a time: one that began before another failed would not see it.
    syncing: Mutex<()>,
    open: watch::Sender<usize>,
    ended: watch::Sender<Option<Head>>,
}

#[derive(Debug)]
struct State {
    file: Arc<File>,
    rotation: Rotation,
    room: Room,
    /// Files of segments that are closed, and at first the directories that have the first one; not on the disk for all that is known.
    closed: Vec<Arc<File>>,
    prev: Hash,
    tree: Tree,
    /// Where a line is put together: what a leaf of the tree begins with, then the line.
    leaf: Vec<u8>,
    /// Lines that the kernel does not have yet.
    noted: Vec<u8>,
    last: Last,
    broken: Option<io::ErrorKind>,
    /// Why it is not on the disk, and never will be: a kernel that could not write something once forgets it, and syncs well the next time.
    unsynced: Option<io::ErrorKind>,
}

impl State {
    fn new(file: File) -> State {
        let (file, rotation, closed) = (Arc::new(file), Rotation::first(), Vec::new());
        let (prev, tree, leaf, noted, last) = (Hash::NONE, Tree::default(), Vec::new(), Vec::new(), Last::default());
        State {
            file,
            rotation,
            room: Room::default(),
            closed,
            prev,
            tree,
            leaf,
            noted,
            last,
            broken: None,
            unsynced: None,
        }
    }

    /// Writes a line behind those that are noted.
    fn write(&mut self, time: Timestamp, event: &Event, cut: &Cuts) -> io::Result<usize> {
        self.commit()?;
        self.put(time, (event, cut), |file, _, line| file.write_all(line))
    }

    /// Keeps it for a moment.
    fn note(&mut self, time: Timestamp, event: &Event, cut: &Cuts) -> io::Result<usize> {
        if self.noted.len() >= NOTED {
            self.commit()?;
        }
        self.put(time, (event, cut), |_, noted, line| {
            noted.extend_from_slice(line);
            Ok(())
        })
    }

    /// Writes the lines that are noted. Should that fail, the tree has lines that nobody will ever read: nothing is signed for any more.
    fn commit(&mut self) -> io::Result<()> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        if self.noted.is_empty() {
            return Ok(());
        }
        let written = (&*self.file).write_all(&self.noted);
        self.noted.clear();
        if self.noted.capacity() > 2 * KEPT {
            self.noted = Vec::new();
        }
        written.inspect_err(|error| (self.broken, self.unsynced) = (Some(error.kind()), Some(error.kind())))
    }

    fn put(
        &mut self,
        time: Timestamp,
        (event, cut): (&Event, &Cuts),
        put: impl FnOnce(&mut &File, &mut Vec<u8>, &[u8]) -> io::Result<()>,
    ) -> io::Result<usize> {
        let line = Line { seq: self.tree.size() + 1, time, prev: self.prev, event, cut };
        self.leaf.clear();
        self.leaf.push(LEAF);
        written::write(&mut self.leaf, &mut self.last, &line)?;
        let hash = Hash::of(&self.leaf);
        self.leaf.push(b'\n');
        let bytes = &self.leaf[1..];
        if let Err(error) = put(&mut &*self.file, &mut self.noted, bytes) {
            self.broken = Some(error.kind());
            return Err(error);
        }
        self.prev = hash;
        self.tree.push(hash);
        let length = bytes.len();
        self.rotation.wrote(length, time, event);
        self.room.wrote(length);
        if self.leaf.capacity() > KEPT {
            self.leaf = Vec::new();
        }
        Ok(length)
    }

    fn say(&mut self, time: Timestamp, kept: SegmentKept) -> io::Result<()> {
        if self.rotation.says() {
            self.write(time, &Event::SegmentKept(kept), &Cuts::new())?;
        }
        Ok(())
    }

    fn head(&self) -> Head {
        Head { size: self.tree.size(), root: self.tree.root() }
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
        let made = created.and_then(|()| {
            let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
            Ok((file, [File::open(worker.join(DIRECTORY))?, File::open(worker)?]))
        });
        match made {
            Ok((file, directories)) => {
                let log = Self::of(path, file);
                log.state.lock().unwrap_or_else(PoisonError::into_inner).closed.extend(directories.map(Arc::new));
                Ok(log)
            }
            Err(source) => Err(LogError { action: "create", path, source }),
        }
    }

    fn of(path: PathBuf, file: File) -> Self {
        let (open, ended) = (watch::Sender::new(0), watch::Sender::new(None));
        Self { path, state: Mutex::new(State::new(file)), syncing: Mutex::new(()), open, ended }
    }

    /// Goes on in a new segment whenever the one in use is as large or as old as this; who makes the files is at the other end of the line.
    ///
    /// # Errors
    /// When that is gone already.
    pub fn rotate(&self, worker: &Path, clerk: Clerk, limits: SegmentLimits) -> Result<(), LogError> {
        let path = worker.to_owned();
        clerk.work_at(worker).map_err(|source| LogError { action: "tell its clerk of", path, source })?;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rotation.by(clerk, limits);
        Ok(())
    }

    /// Has calls take no more room than this.
    pub fn within(&self, bounds: Bounds) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).room.within(bounds);
    }

    /// Whether there is room for the records of another call, as it was at most a second before `now`.
    ///
    /// # Errors
    /// Why there is none. What is no call is written nevertheless.
    pub fn has_room(&self, now: Instant) -> Result<(), NoRoom> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { room, file, .. } = &mut *state;
        room.look(file, now)
    }

    /// How long it was, and what it said, when a segment was last closed: where a signed statement about it lets all before it be removed.
    pub fn segment_ended(&self) -> watch::Receiver<Option<Head>> {
        self.ended.subscribe()
    }

    /// Where its first segment is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one event; when it returns, the kernel has the line, and all before it. Where a segment is full and the next is there, the
    /// line is in that. Leaves how many bytes it has.
    ///
    /// # Errors
    /// When the line cannot be written whole. From then on every append fails: a log with a hole is none.
    pub fn append(&self, time: Timestamp, event: Event) -> Result<usize, LogError> {
        self.add(time, event, State::write)
    }

    /// The same, but the kernel has the line only when [`CallLog::commit`] has returned, or another append has.
    ///
    /// # Errors
    /// As [`CallLog::append`], of this line or one before it.
    pub fn note(&self, time: Timestamp, event: Event) -> Result<usize, LogError> {
        self.add(time, event, State::note)
    }

    /// Writes what is noted; when it returns, the kernel has all lines.
    ///
    /// # Errors
    /// As [`CallLog::append`], then and from then on.
    pub fn commit(&self) -> Result<(), LogError> {
        let written = self.state.lock().unwrap_or_else(PoisonError::into_inner).commit();
        written.map_err(|source| LogError { action: "append to", path: self.path.clone(), source })
    }

    fn add(
        &self,
        time: Timestamp,
        mut event: Event,
        add: fn(&mut State, Timestamp, &Event, &Cuts) -> io::Result<usize>,
    ) -> Result<usize, LogError> {
        let cuts = cut::cut(&mut event);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| LogError { action: "append to", path: self.path.clone(), source };
        if let Some(kind) = state.broken {
            return Err(failed(kind.into()));
        }
        let turned = if state.closed.len() < UNSYNCED { state.rotation.turn(time) } else { Ok(None) };
        match turned {
            Ok(None) => {}
            Ok(Some(file)) => {
                state.commit().map_err(failed)?;
                let start = state.rotation.start(&state.tree);
                self.ended.send_replace(Some(state.head()));
                let closed = std::mem::replace(&mut state.file, Arc::new(file));
                state.closed.push(closed);
                state.rotation.turned();
                state.write(time, &Event::SegmentStart(start), &Cuts::new()).map_err(failed)?;
            }
            Err(kept) => state.say(time, kept).map_err(failed)?,
        }
        let bytes = add(&mut state, time, &event, &cuts).map_err(failed)?;
        if state.rotation.asks(time) {
            state.commit().map_err(failed)?;
            if let Err(kept) = state.rotation.ask() {
                // What it is about is in the log by now.
                state.say(time, kept).map_err(failed)?;
            }
        }
        Ok(bytes)
    }

    /// How long it is now, and what it says.
    pub fn head(&self) -> Head {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).head()
    }

    /// A call has begun that will have an end.
    pub fn opened(&self) {
        self.open.send_if_modified(|open| {
            *open += 1;
            // Whoever waits does so for the last end.
            false
        });
    }

    /// A call has ended.
    pub fn closed(&self) {
        self.open.send_if_modified(|open| {
            *open -= 1;
            *open == 0
        });
    }

    /// Waits until every call that has begun has ended.
    pub async fn all_ended(&self) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Waits until what was appended is on the disk. Who appends meanwhile does not wait.
    ///
    /// # Errors
    /// When the kernel cannot. From then on every sync and every append fails: what was lost would be signed for.
    pub fn sync(&self) -> Result<(), LogError> {
        let failed = |source| LogError { action: "sync", path: self.path.clone(), source };
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, closed) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // One that is broken has nothing more to write, and what it has can be signed for.
            let _ = state.commit();
            if let Some(kind) = state.unsynced {
                return Err(failed(kind.into()));
            }
            (Arc::clone(&state.file), std::mem::take(&mut state.closed))
        };
        for file in closed.iter().chain([&file]) {
            if let Err(source) = file.sync_data() {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                (state.broken, state.unsynced) = (Some(source.kind()), Some(source.kind()));
                return Err(failed(source));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
