//! The logs of all workers, read for one receiver.
//!
//! Enters: the state directory, and how far each log is shipped. Leaves: batches, in turn from all logs that have something new. Never: a
//! batch beyond its bounds, or one worker served before all others for ever.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::batch::{Batch, MOST_BYTES, MOST_RECORDS, Mark};
use super::cursor::{Cursor, Gap};
use super::source::{self, More, Source};
use crate::places::Places;
use crate::report::Report;

/// What is kept of open calls, of all logs together: a thousand workers with a thousand calls each, as far as they are usual.
const OPEN_BYTES: usize = 64 * 1024 * 1024;
/// What each log has of it at least.
const LEAST_OPEN_BYTES: usize = 256 * 1024;

/// A batch, and what is known once it has arrived.
#[derive(Default)]
pub struct Read {
    /// What is to be sent.
    pub batch: Batch,
    /// How far each of these logs is shipped then, and whether to its end.
    pub marks: Vec<(String, Mark, bool)>,
    /// What was gone before it was read.
    pub gaps: Vec<Gap>,
}

/// The logs.
pub struct Reader<'p> {
    places: &'p Places,
    sources: BTreeMap<String, Source>,
    last: String,
}

impl<'p> Reader<'p> {
    /// Of these places.
    pub fn new(places: &'p Places) -> Self {
        Self { places, sources: BTreeMap::new(), last: String::new() }
    }

    /// What comes next. Nothing to be sent and no marks: there is nothing new.
    ///
    /// # Errors
    /// When the state directory cannot be listed. A log that cannot be read is tried again the next time.
    pub fn next(&mut self, cursor: &mut Cursor) -> Result<Read, Report> {
        let workers = workers(self.places)?;
        let mut read = Read::default();
        self.miss(&workers, cursor, &mut read);
        cursor.forget(|worker| workers.binary_search_by(|other| other.as_str().cmp(worker)).is_err())?;
        let open: Vec<&String> = workers.iter().filter(|worker| !cursor.is_finished(worker)).collect();
        let most = (OPEN_BYTES / open.len().max(1)).max(LEAST_OPEN_BYTES);
        // Behind the one that was last served, and round.
        let from = open.partition_point(|worker| **worker <= self.last);
        let (mut records, mut bytes) = (MOST_RECORDS, MOST_BYTES);
        for worker in open[from..].iter().chain(&open[..from]) {
            if records == 0 || bytes == 0 {
                break;
            }
            let before = cursor.mark(worker);
            let more = match self.more(worker, before, most, records, bytes) {
                Ok(Some(more)) => more,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, worker = %worker, "the log is tried again");
                    self.sources.remove(*worker);
                    continue;
                }
            };
            if more.part.is_some() || more.finished {
                self.last.clone_from(worker);
                read.marks.push(((*worker).clone(), more.mark, more.finished));
            }
            if more.finished {
                self.sources.remove(*worker);
            }
            read.gaps.extend(more.gaps);
            if let Some(part) = more.part {
                records = records.saturating_sub(part.entries.len());
                bytes = bytes.saturating_sub(part.entries.iter().map(|entry| entry.text.len()).sum());
                read.batch.parts.push(part);
            }
        }
        Ok(read)
    }

    fn more(
        &mut self,
        worker: &str,
        mark: Mark,
        most: usize,
        records: usize,
        bytes: usize,
    ) -> Result<Option<More>, record::read::ReadError> {
        if !self.sources.contains_key(worker) {
            let directory = self.places.workers().join(worker);
            let Some(source) = Source::open(self.places, &directory, mark, most)? else { return Ok(None) };
            self.sources.insert(worker.to_owned(), source);
        }
        self.sources.get_mut(worker).map(|source| source.more(records, bytes)).transpose()
    }

    /// Logs that were begun and are gone.
    fn miss(&mut self, workers: &[String], cursor: &Cursor, read: &mut Read) {
        for (worker, mark) in &cursor.shipped().workers {
            if workers.binary_search(worker).is_err() {
                self.sources.remove(worker);
                let (gap, part) = source::gone(worker, *mark);
                read.gaps.push(gap);
                read.batch.parts.push(part);
                read.marks.push((worker.clone(), *mark, true));
            }
        }
    }
}

/// The names of the workers' directories, in order.
///
/// # Errors
/// When they cannot be listed.
pub fn workers(places: &Places) -> Result<Vec<String>, Report> {
    let entries = match fs::read_dir(places.workers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut workers = Vec::new();
    for entry in entries {
        workers.extend(entry?.file_name().into_string().ok());
    }
    workers.sort();
    Ok(workers)
}
