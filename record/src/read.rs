//! The records as they lie there.
//!
//! Enters: a worker's directory. Leaves: its records in order, from the beginning or from where one stopped. Never: a line that was not
//! written to its end, nor a word on whether it is what was written: that is `verify`'s.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::event::Line;
use crate::hash::Hash;
use crate::segment::Segment;

/// A line has at most a head of a request and its decision; what is longer was not written by a worker, and would have to be held in memory.
pub(crate) const LONGEST: u64 = 4 * 1024 * 1024;

/// Of what is said of a line that is no record: a line can be as long as the one above.
const LONGEST_WHY: usize = 500;

/// What is as near as this is reached by reading on: nearer than that, the file would not be read less.
const NEAR: u64 = 64 * 1024;
/// In a compressed segment: to begin anew there costs as much as some mebibytes of it.
const NEAR_COMPRESSED: u64 = 4 * 1024 * 1024;

/// Where a line begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// In which segment, by its number.
    pub segment: u64,
    /// At which byte of its plain text.
    pub offset: u64,
}

impl Position {
    /// Before everything that there can be.
    pub const START: Position = Position { segment: 0, offset: 0 };
}

/// A line as it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Without its newline.
    pub bytes: Vec<u8>,
    /// Where it begins.
    pub at: Position,
}

impl Text {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no record.
    pub fn record(self, worker: &Path) -> Result<Record, ReadError> {
        let unreadable = |why: &str| {
            // It may quote the line, whose writer nobody knows.
            let why = why.escape_debug().take(LONGEST_WHY).collect();
            ReadError::Record { worker: worker.to_owned(), at: self.at, why }
        };
        let line = serde_json::from_slice(&self.bytes).map_err(|error| unreadable(&error.to_string()))?;
        let text = String::from_utf8(self.bytes.clone()).map_err(|error| unreadable(&error.to_string()))?;
        Ok(Record { line, text, at: self.at })
    }

    /// Whether it says that it comes behind this line.
    fn follows(&self, before: &Text) -> bool {
        #[derive(Deserialize)]
        struct Link {
            prev: Hash,
        }
        serde_json::from_slice(&self.bytes).is_ok_and(|link: Link| link.prev == Hash::of_line(&before.bytes))
    }

    /// Where the next one begins, if it is in the same segment.
    pub fn next(&self) -> Position {
        Position { segment: self.at.segment, offset: self.at.offset + self.bytes.len() as u64 + 1 }
    }
}

/// A record, and the line that it was read from.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it says.
    pub line: Line,
    /// The line, without its newline.
    pub text: String,
    /// Where the line begins.
    pub at: Position,
}

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says no.
    #[error("cannot read the call log in `{}`", worker.display())]
    File {
        /// The worker's directory.
        worker: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a line that no worker wrote.
    #[error("`{}`, segment {}, byte {}: not a record of a call log ({why})", worker.display(), at.segment, at.offset)]
    Record {
        /// The worker's directory.
        worker: PathBuf,
        /// Where the line begins.
        at: Position,
        /// What is wrong with it.
        why: String,
    },
}

impl ReadError {
    /// The directory of the worker whose log it is.
    pub fn worker(&self) -> &Path {
        let (Self::File { worker, .. } | Self::Record { worker, .. }) = self;
        worker
    }
}

/// The log of one worker, which may go on while it is read.
#[derive(Debug)]
pub struct WorkerLog {
    worker: PathBuf,
    segments: Vec<Segment>,
}

impl WorkerLog {
    /// What there is of the log of the worker with this directory. `None`: there is no log.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn open(worker: &Path) -> Result<Option<WorkerLog>, ReadError> {
        let failed = |source| ReadError::File { worker: worker.to_owned(), source };
        let segments = Segment::all(worker).map_err(failed)?;
        Ok((!segments.is_empty()).then(|| WorkerLog { worker: worker.to_owned(), segments }))
    }

    /// The worker's directory.
    pub fn worker(&self) -> &Path {
        &self.worker
    }

    /// Its files, the oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// All records.
    pub fn lines(&self) -> impl Iterator<Item = Result<Record, ReadError>> + '_ {
        self.texts(Position::START).map(|text| text?.record(&self.worker))
    }

    /// All lines from this position on, unread. A line at the end that is not whole yet is left out.
    pub fn texts(&self, from: Position) -> Texts<'_> {
        let open: VecDeque<&Segment> =
            self.segments.iter().filter(|segment| segment.number() >= from.segment).collect();
        Texts { log: self, open, current: None, next_has_begun: false, at: from }
    }

    /// The lines that begin at these positions, in that order, which should be theirs: a compressed segment is read from one to the next.
    ///
    /// # Errors
    /// When one is not there, or cannot be read.
    pub fn at(&self, positions: &[Position]) -> Result<Vec<Text>, ReadError> {
        Ok(self.bound(positions)?.into_iter().map(|(text, _)| text).collect())
    }

    /// The same, each with whether the line behind it has its hash; nothing where none is behind it yet.
    ///
    /// # Errors
    /// When one is not there, or cannot be read.
    pub fn bound(&self, positions: &[Position]) -> Result<Vec<(Text, Option<bool>)>, ReadError> {
        let failed = |source| ReadError::File { worker: self.worker.clone(), source };
        let (mut found, mut texts, mut ahead) = (Vec::with_capacity(positions.len()), None::<Texts<'_>>, None);
        for position in positions {
            let mut reading = match texts.take().map(|texts| (texts.gap(*position), texts)) {
                Some((_, texts)) if ahead.as_ref().is_some_and(|text: &Text| text.at == *position) => texts,
                Some((Some(gap), mut texts)) => {
                    texts.pass(gap).map_err(failed)?;
                    texts
                }
                _ => self.texts(*position),
            };
            let text = match ahead.take().filter(|text| text.at == *position) {
                Some(text) => Some(text),
                None => reading.next().transpose()?.filter(|text| text.at == *position),
            };
            let text = text.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
            // What cannot be read there is said by whoever asks for it.
            ahead = reading.next().and_then(Result::ok);
            let is_bound = ahead.as_ref().map(|next| next.follows(&text));
            texts = ahead.is_some().then_some(reading);
            found.push((text, is_bound));
        }
        Ok(found)
    }
}

/// The lines of a log.
pub struct Texts<'l> {
    log: &'l WorkerLog,
    /// Those that are still to be read; the first is the current one, if there is a current one.
    open: VecDeque<&'l Segment>,
    current: Option<Box<dyn BufRead + Send>>,
    /// Whether one behind the current one had begun before the current one was read the last time.
    next_has_begun: bool,
    at: Position,
}

impl Texts<'_> {
    /// The position behind the last line that was given out.
    pub fn position(&self) -> Position {
        self.at
    }

    /// How far on from here this position is, if it is reached by reading on.
    fn gap(&self, position: Position) -> Option<u64> {
        let near = self.open.front().map_or(0, |one| if one.is_compressed() { NEAR_COMPRESSED } else { NEAR });
        let gap = position.offset.checked_sub(self.at.offset).filter(|_| self.at.segment == position.segment);
        gap.filter(|gap| self.current.is_some() && *gap <= near)
    }

    /// Leaves so many bytes of the current segment out.
    fn pass(&mut self, gap: u64) -> io::Result<()> {
        if let Some(current) = &mut self.current {
            io::copy(&mut current.by_ref().take(gap), &mut io::sink())?;
            self.at.offset += gap;
        }
        Ok(())
    }

    fn advance(&mut self) -> io::Result<Option<Text>> {
        loop {
            let Some(segment) = self.open.front() else { return Ok(None) };
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    if segment.number() != self.at.segment {
                        self.at = Position { segment: segment.number(), offset: 0 };
                    }
                    match segment.open(self.at.offset) {
                        Ok(lines) => self.current.insert(lines),
                        // Retention took it since it was listed. Whether it may is `verify`'s to say.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            self.open.pop_front();
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            let mut bytes = Vec::new();
            current.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
            if bytes.pop_if(|last| *last == b'\n').is_some() {
                let text = Text { bytes, at: self.at };
                self.at = text.next();
                return Ok(Some(text));
            }
            if bytes.len() as u64 + 1 >= LONGEST {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line is longer than any that a worker writes",
                ));
            }
            // Its end, or the beginning of a line: the worker is writing it, or was killed over it. Once the next segment has begun, nothing
            // comes here any more; but what came before that may have come after it was read here.
            self.current = None;
            if segment.is_compressed() || self.next_has_begun {
                self.next_has_begun = false;
                self.open.pop_front();
            } else if self.open.iter().skip(1).any(|later| later.has_begun()) {
                self.next_has_begun = true;
            } else {
                self.open.clear();
            }
        }
    }
}

impl Iterator for Texts<'_> {
    type Item = Result<Text, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |source| ReadError::File { worker: self.log.worker.clone(), source };
        self.advance().map_err(failed).inspect_err(|_| self.open.clear()).transpose()
    }
}

/// Reads a log as it grows.
#[derive(Debug, Clone)]
pub struct Follower {
    worker: PathBuf,
    at: Position,
}

impl Follower {
    /// Begins at this position.
    pub fn new(worker: &Path, at: Position) -> Follower {
        Follower { worker: worker.to_owned(), at }
    }

    /// Behind the last record that was given out.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Goes on from there.
    pub fn go_on_from(&mut self, at: Position) {
        self.at = at;
    }

    /// At most so many records that came since the last time.
    ///
    /// # Errors
    /// As [`WorkerLog::open`] and [`Text::record`]; the position stays where it was.
    pub fn more(&mut self, most: usize) -> Result<Vec<Record>, ReadError> {
        let before = self.at;
        let records: Result<_, _> = self.texts(most)?.into_iter().map(|text| text.record(&self.worker)).collect();
        records.inspect_err(|_| self.at = before)
    }

    /// The same, unread. What cannot be read is an error once all before it was given out.
    ///
    /// # Errors
    /// As [`WorkerLog::open`].
    pub fn texts(&mut self, most: usize) -> Result<Vec<Text>, ReadError> {
        let Some(log) = WorkerLog::open(&self.worker)? else { return Ok(Vec::new()) };
        let mut texts = log.texts(self.at);
        let mut found = Vec::new();
        for text in texts.by_ref().take(most) {
            match text {
                Ok(text) => found.push(text),
                Err(error) if found.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        self.at = texts.position();
        Ok(found)
    }
}
