//! The log of one worker, read for one receiver.
//!
//! Enters: a worker's directory, and how far its log is shipped. Leaves: the records behind that with the calls that they end, and whether
//! more will come. Never: a record twice; one left out in silence; more in memory of what is open than its bound.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use record::Event;
use record::read::{Position, ReadError, WorkerLog};

use super::batch::{Entry, Level, Mark, Part};
use super::cursor::Gap;
use crate::call::{Author, Open, Span};
use crate::places::Places;
use crate::running;

/// A worker whose directory nobody holds, and whose log nobody has written to for so long, has died, or never lived.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// What came of reading on.
pub struct More {
    /// What there is to send, if anything.
    pub part: Option<Part>,
    /// How far the log is shipped once that has arrived.
    pub mark: Mark,
    /// What was gone before it was read, in order.
    pub gaps: Vec<Gap>,
    /// Whether there is nothing else, and never will be.
    pub finished: bool,
}

/// A log that is shipped.
pub struct Source {
    directory: PathBuf,
    author: Arc<Author>,
    open: Open,
    mark: Mark,
    has_end: bool,
}

impl Source {
    /// The log in this directory, shipped as far as `mark` says; of its open calls, `most` bytes are kept. `None`: there is none yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(places: &Places, directory: &Path, mark: Mark, most: usize) -> Result<Option<Self>, ReadError> {
        let Some(log) = WorkerLog::open(directory)? else { return Ok(None) };
        let Some(first) = log.texts(Position::START).next() else { return Ok(None) };
        let first =
            first?.record(directory).map_or(Event::PolicyReloaded { policy: String::new() }, |first| first.line.event);
        let author = Arc::new(Author::first(places, directory, &first));
        let mut open = Open::new(Arc::clone(&author), most);
        // Only what was still open then is of interest, and that it was open.
        for text in log.texts(mark.from).take_while(|text| text.as_ref().is_ok_and(|text| text.at < mark.next)) {
            let text = text?;
            let (at, bytes) = (text.at, text.bytes.len());
            if let Ok(record) = text.record(directory) {
                drop(open.take(record.line, at, bytes));
            }
        }
        Ok(Some(Self { directory: directory.to_owned(), author, open, mark, has_end: false }))
    }

    /// At most so many records and bytes more.
    ///
    /// # Errors
    /// When the log cannot be read; nothing is lost then.
    pub fn more(&mut self, records: usize, bytes: usize) -> Result<More, ReadError> {
        // Before it is read to its end: what is written afterwards is found next time.
        let is_held = running::lives(&self.directory).unwrap_or(true);
        let mut part = Part { author: Arc::clone(&self.author), entries: Vec::new(), calls: Vec::new() };
        let (mut gaps, mut sum, mut at_end) = (Vec::new(), 0, true);
        if let Some(log) = WorkerLog::open(&self.directory)? {
            let mut texts = log.texts(self.mark.next);
            loop {
                if part.entries.len() >= records || sum >= bytes {
                    at_end = false;
                    break;
                }
                let Some(text) = texts.next() else { break };
                let text = text?;
                let (at, length) = (text.at, text.bytes.len());
                sum += length;
                self.mark.next = text.next();
                let bytes = text.bytes.clone();
                match text.record(&self.directory) {
                    Ok(record) => {
                        if let Some(gap) = self.gap_before(record.line.seq) {
                            part.entries.push(missed(&gap));
                            gaps.push(gap);
                        }
                        self.mark.seq = record.line.seq;
                        self.has_end |= matches!(record.line.event, Event::WorkerEnd(_));
                        let span = self.span(&record.line.event);
                        let begins = begins(&record.line.event);
                        let mut entry = Entry::of(&record.line, record.text, span);
                        let ended = self.open.take(record.line, at, length);
                        if entry.span.is_none()
                            && let [refused] = &ended[..]
                        {
                            entry.span = Some(refused.span());
                        }
                        if let Some(begun) = begins {
                            entry.span = self.open.span(begun);
                        }
                        part.entries.push(entry);
                        part.calls.extend(ended);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "it is shipped as it stands there; see `exeat verify`");
                        part.entries.push(Entry::unreadable(&bytes));
                        // It stands where a record stood.
                        self.mark.seq = self.mark.seq.saturating_add(1);
                    }
                }
            }
        }
        // A worker that says its end and goes on has been taken over, and is not done.
        let finished = at_end && !is_held && (self.has_end || self.is_old());
        if finished {
            part.calls.extend(self.open.drain());
        }
        self.mark.from = self.open.oldest().map_or(self.mark.next, |oldest| oldest.min(self.mark.next));
        let part = Some(part).filter(|part| !part.entries.is_empty() || !part.calls.is_empty());
        Ok(More { part, mark: self.mark, gaps, finished })
    }

    /// The span of the call that a record goes on with.
    fn span(&self, event: &Event) -> Option<Span> {
        match event {
            Event::CallEnd(end) => self.open.span(end.call),
            Event::CallRetried(retried) => self.open.span(retried.call),
            _ => None,
        }
    }

    /// What is missing before the record of this number.
    fn gap_before(&self, seq: u64) -> Option<Gap> {
        // A line that somebody forged may have any number.
        let from = self.mark.seq.saturating_add(1);
        let gap = |from| Gap { worker: self.author.worker.clone(), from, to: Some(seq - 1), found: Timestamp::now() };
        (seq > from).then(|| gap(from))
    }

    fn is_old(&self) -> bool {
        let files = WorkerLog::open(&self.directory).ok().flatten();
        let last = files.and_then(|log| log.segments().last()?.path().metadata().ok()?.modified().ok());
        last.is_none_or(|time: SystemTime| time.elapsed().is_ok_and(|age| age > DEAD_AFTER))
    }
}

/// The number of the call that a record begins.
fn begins(event: &Event) -> Option<u64> {
    match event {
        Event::CallStart(start) => Some(start.call),
        Event::TunnelStart(start) => Some(start.call),
        _ => None,
    }
}

/// What the receiver is told of records that it will never have.
fn missed(gap: &Gap) -> Entry {
    let text = serde_json::json!({
        "event": "ship-gap",
        "worker": gap.worker,
        "from": gap.from,
        "to": gap.to,
        "reason": "these records were removed before they were shipped",
    });
    let (kind, level) = ("ship-gap".to_owned(), Level::Error);
    Entry { text: text.to_string(), seq: None, time: gap.found, kind, level, span: None }
}

/// What a receiver is told of a log that is gone as a whole.
pub fn gone(worker: &str, mark: Mark) -> (Gap, Part) {
    let gap = Gap { worker: worker.to_owned(), from: mark.seq.saturating_add(1), to: None, found: Timestamp::now() };
    let author = Arc::new(Author { worker: worker.to_owned(), ..Author::default() });
    let part = Part { author, entries: vec![missed(&gap)], calls: Vec::new() };
    (gap, part)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use record::Segment;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_gap_is_told_in_its_place_and_a_line_that_is_no_record_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { config: directory.path().to_owned(), state: directory.path().to_owned() };
        let worker = directory.path().join("w");
        fs::create_dir_all(worker.join(record::DIRECTORY)).unwrap();
        let line = |seq: u64| {
            let prev = "0".repeat(64);
            format!(
                r#"{{"seq":{seq},"time":"2026-01-31T12:00:00Z","prev":"{prev}","event":"name-asked","name":"a","kind":"A"}}"#
            )
        };
        let lines = [line(1), line(4), "no record".to_owned(), line(6), line(9), line(u64::MAX), line(10), line(12)];
        fs::write(Segment::plain(&worker, 1), lines.join("\n") + "\n").unwrap();
        let mut source = Source::open(&places, &worker, Mark::default(), 1024).unwrap().unwrap();
        let more = source.more(100, 1 << 20).unwrap();
        let gaps: Vec<_> = more.gaps.iter().map(|gap| (gap.from, gap.to.unwrap())).collect();
        assert_eq!(gaps, [(2, 3), (7, 8), (10, u64::MAX - 1), (11, 11)]);
        let entries = more.part.unwrap().entries;
        let order: Vec<_> = entries.iter().map(|entry| entry.seq.map_or(&*entry.kind, |_| "-")).collect();
        let [gap, bad] = ["ship-gap", "unreadable"];
        assert_eq!(order, ["-", gap, "-", bad, "-", gap, "-", gap, "-", "-", gap, "-"]);
        let (gap, _) = gone("w", Mark { seq: u64::MAX, ..Mark::default() });
        assert_eq!(gap.from, u64::MAX);
    }

    #[test]
    fn a_worker_that_says_its_end_and_goes_on_is_not_done() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { config: directory.path().to_owned(), state: directory.path().to_owned() };
        let worker = directory.path().join("w");
        fs::create_dir_all(worker.join(record::DIRECTORY)).unwrap();
        let mut text = String::new();
        let mut write = |seq: u64, mut event: serde_json::Value| {
            event["seq"] = json!(seq);
            event["time"] = json!("2026-01-31T12:00:00Z");
            event["prev"] = json!("0".repeat(64));
            text += &format!("{event}\n");
            fs::write(Segment::plain(&worker, 1), &text).unwrap();
        };
        write(1, json!({ "event": "name-asked", "name": "a", "kind": "A" }));
        write(
            2,
            json!({ "event": "worker-end", "outcome": "exit", "calls": 0, "refused": 0, "revoked": 0, "kept": 0 }),
        );
        let held = File::open(&worker).unwrap();
        held.lock().unwrap();
        let mut source = Source::open(&places, &worker, Mark::default(), 1024).unwrap().unwrap();
        let more = source.more(10, 1024).unwrap();
        assert_eq!((more.part.unwrap().entries.len(), more.mark.seq, more.finished), (2, 2, false));
        write(3, json!({ "event": "name-asked", "name": "b", "kind": "A" }));
        let more = source.more(10, 1024).unwrap();
        assert_eq!((more.part.unwrap().entries.len(), more.mark.seq, more.finished), (1, 3, false));
        drop(held);
        let more = source.more(10, 1024).unwrap();
        assert!(more.part.is_none() && more.finished);
    }
}
