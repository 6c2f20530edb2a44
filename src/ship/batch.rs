//! What is sent at a time.
//!
//! Enters: records, and the calls that they tell to their end. Leaves: parts, each of one worker, and how far each log is shipped once
//! they have arrived. Never: more than its bounds, but for a single record.

use std::sync::Arc;

use jiff::Timestamp;
use record::read::Position;
use record::{Event, Line};
use serde::{Deserialize, Serialize};

use crate::call::{Author, Call, Span};

/// Records of a batch: a second of a busy worker. A collector takes thousands.
pub const MOST_RECORDS: usize = 512;
/// Their text. Collectors refuse requests beyond some MiB (OpenTelemetry's own: 20).
pub const MOST_BYTES: usize = 1024 * 1024;

/// How urgent a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Something was refused, or did not end well.
    Warning,
    /// Something is wrong with exeat's own files.
    Error,
    /// Someone should look at once.
    Alert,
}

/// One record on its way.
#[derive(Debug)]
pub struct Entry {
    /// The line of the log as it stands there.
    pub text: String,
    /// Its number in its log. What never was a record has none.
    pub seq: Option<u64>,
    /// When it was written.
    pub time: Timestamp,
    /// What it tells of, as the log names it.
    pub kind: String,
    /// How urgent that is.
    pub level: Level,
    /// The span of the call that it belongs to.
    pub span: Option<Span>,
}

/// How far one log is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The first line that is not.
    pub next: Position,
    /// The number of the last record that is.
    pub seq: u64,
    /// Where reading has to begin, so that calls which end later are whole: not behind `next`.
    pub from: Position,
}

impl Default for Mark {
    fn default() -> Self {
        Self { next: Position::START, seq: 0, from: Position::START }
    }
}

/// What of a batch one worker wrote.
#[derive(Debug)]
pub struct Part {
    /// Who.
    pub author: Arc<Author>,
    /// The records.
    pub entries: Vec<Entry>,
    /// The calls that ended.
    pub calls: Vec<Call>,
}

/// What is sent at a time.
#[derive(Debug, Default)]
pub struct Batch {
    /// Its parts, none of them empty.
    pub parts: Vec<Part>,
}

impl Batch {
    /// How many records.
    pub fn records(&self) -> usize {
        self.parts.iter().map(|part| part.entries.len()).sum()
    }

    /// The same without its records, as they were taken.
    pub fn without_records(mut self) -> Batch {
        self.parts.iter_mut().for_each(|part| part.entries.clear());
        self.parts.retain(|part| !part.calls.is_empty());
        self
    }

    /// Two batches with what is in this one, if there is more than one thing in it.
    ///
    /// # Errors
    /// It is the one thing.
    pub fn halves(mut self) -> Result<[Batch; 2], Batch> {
        if self.parts.len() > 1 {
            let parts = self.parts.split_off(self.parts.len() / 2);
            return Ok([self, Batch { parts }]);
        }
        let Some(part) = self.parts.first_mut().filter(|part| part.entries.len() + part.calls.len() > 1) else {
            return Err(self);
        };
        let author = Arc::clone(&part.author);
        let entries = part.entries.split_off(part.entries.len() / 2);
        let calls = part.calls.split_off(part.calls.len().div_ceil(2));
        Ok([self, Batch { parts: vec![Part { author, entries, calls }] }])
    }
}

impl Entry {
    /// A record as it was read. `span` is that of the call which it belongs to.
    pub fn of(line: &Line, text: String, span: Option<Span>) -> Self {
        #[derive(Deserialize)]
        struct Tag {
            event: String,
        }
        let kind = serde_json::from_str(&text).map_or_else(|_| "unknown".to_owned(), |Tag { event }| event);
        Self { seq: Some(line.seq), time: line.time, level: level(&line.event), text, kind, span }
    }

    /// A line that is no record: it was changed, and nobody can say what it told.
    pub fn unreadable(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (kind, level) = ("unreadable".to_owned(), Level::Error);
        Self { text, seq: None, time: Timestamp::now(), kind, level, span: None }
    }
}

fn level(event: &Event) -> Level {
    match event {
        Event::Refused(refused) if refused.alert => Level::Alert,
        Event::Refused(_) => Level::Warning,
        Event::CallEnd(end) if !matches!(&*end.outcome, "done" | "answered-here") => Level::Warning,
        Event::PolicyRejected { .. } => Level::Error,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(entries: usize) -> Batch {
        let author = Arc::new(Author::default());
        let entries = (0..entries).map(|n| Entry::unreadable(&[b'0' + u8::try_from(n).unwrap()])).collect();
        Batch { parts: vec![Part { author, entries, calls: Vec::new() }] }
    }

    #[test]
    fn halves_have_all_of_it_in_order_down_to_one() {
        let mut open = vec![batch(5)];
        let mut texts = String::new();
        while let Some(batch) = open.pop() {
            match batch.halves() {
                Ok([first, second]) => open.extend([second, first]),
                Err(one) => texts += &one.parts[0].entries[0].text,
            }
        }
        assert_eq!(texts, "01234");
    }
}
