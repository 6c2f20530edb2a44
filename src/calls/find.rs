//! Finds calls: by the index which, and from the logs what they were.
//!
//! Enters: the logs, a filter. Leaves: the newest calls that it wants, in order of time. Never: a word of a call that the index says and the log
//! does not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs;
use std::num::NonZeroUsize;
use std::rc::Rc;

use record::index::{Entry, Index, Sheet, Span};
use record::read::{Position, ReadError, Text, WorkerLog};

use super::filter::Filter;
use super::follow::Following;
use super::id;
use super::row::Row;
use crate::places::Places;
use crate::progress::Progress;
use crate::report::Report;

/// The logs, and where calls are in them.
pub struct Finder {
    /// Oldest worker first.
    pub logs: Vec<WorkerLog>,
    /// How each worker is called, in the same order.
    pub names: Vec<String>,
    index: Index,
}

/// A call that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// When it began.
    pub time: i64,
    /// In which log, by its place among the finder's.
    pub log: usize,
    /// The number of its first record.
    pub seq: u64,
    start: Position,
    end: Option<Position>,
    agent: Rc<str>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest, in order of time.
    pub hits: Vec<Hit>,
    /// How many there are that are older than these.
    pub older: usize,
}

impl Finder {
    /// Looks where the logs are.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn new(places: &Places) -> Result<Finder, Report> {
        let logs = super::logs(places)?;
        let names = id::short(logs.iter().map(WorkerLog::worker));
        let index = Index::new(places.index());
        // What is not taken away now is the next time.
        let _ = index.tidy(&logs);
        Ok(Finder { logs, names, index })
    }

    /// The same without an index: all is read.
    pub fn without_index(self) -> Finder {
        Finder { index: Index::new(None), ..self }
    }

    /// Shows what of the logs can have calls that the filter wants. What cannot be read of them is left out, and said.
    pub fn sheets(&self, filter: &Filter, span: Span, mut show: impl FnMut(usize, &Sheet)) -> Vec<ReadError> {
        let wanted = self.logs.iter().enumerate().filter(|(_, log)| filter.wants_worker(log.worker()));
        let wanted: Vec<(usize, &WorkerLog)> = wanted.collect();
        let bar = Progress::of("reading the call logs, bytes", wanted.iter().map(|(_, log)| size(log)).sum());
        let mut done = 0;
        let mut more = |bytes| {
            done += bytes;
            bar.to(done);
        };
        let mut flaws = Vec::new();
        for (number, log) in wanted {
            let read = self.index.sheets(log, span, &mut |bytes| more(bytes), &mut |sheet| show(number, sheet));
            flaws.extend(read.err());
        }
        flaws
    }

    /// The newest calls that the filter wants; where they are followed, without those that are open and will be told when they end.
    pub(super) fn find(
        &self,
        filter: &Filter,
        most: Option<NonZeroUsize>,
        mut following: Option<&mut Following>,
    ) -> (Found, Vec<ReadError>) {
        let (mut newest, mut all) = (BinaryHeap::new(), 0);
        // What is followed goes on behind the last segment, so that has to be seen.
        let span = if following.is_some() { Span::ALWAYS } else { filter.span };
        let flaws = self.sheets(filter, span, |log, sheet| {
            let followed = following.as_mut().is_some_and(|following| following.seen(log, sheet));
            let (mut sieve, agent) = (filter.on(sheet), Rc::from(sheet.agent()));
            let over = sheet.entries().iter().filter(|entry| !(followed && entry.is_open()));
            for entry in over.filter(|entry| sieve.wants(entry)) {
                all += 1;
                newest.push(Reverse(Hit::of(log, &agent, entry)));
                if most.is_some_and(|most| newest.len() > most.get()) {
                    newest.pop();
                }
            }
        });
        let mut hits: Vec<Hit> = newest.into_iter().map(|Reverse(hit)| hit).collect();
        hits.sort();
        let older = all - hits.len();
        (Found { hits, older }, flaws)
    }

    /// Reads some of what was found from the logs.
    ///
    /// # Errors
    /// When it is not there: the log is not the one that was looked through.
    pub fn read(&self, hits: &[Hit]) -> Result<Vec<Row>, ReadError> {
        let mut wanted: BTreeMap<usize, Vec<Position>> = BTreeMap::new();
        for hit in hits {
            wanted.entry(hit.log).or_default().extend([Some(hit.start), hit.end].into_iter().flatten());
        }
        let mut texts: BTreeMap<(usize, Position), Text> = BTreeMap::new();
        for (number, mut positions) in wanted {
            positions.sort();
            let found = self.logs[number].at(&positions)?;
            texts.extend(found.into_iter().map(|text| ((number, text.at), text)));
        }
        hits.iter().map(|hit| self.row(hit, &mut texts)).collect()
    }

    fn row(&self, hit: &Hit, texts: &mut BTreeMap<(usize, Position), Text>) -> Result<Row, ReadError> {
        let worker = self.logs[hit.log].worker();
        let gone = |at: Position| ReadError::Record {
            worker: worker.to_owned(),
            at,
            why: "the log was changed while it was looked through".to_owned(),
        };
        let mut record = |at| texts.remove(&(hit.log, at)).ok_or_else(|| gone(at))?.record(worker);
        let start = record(hit.start)?;
        let id = format!("{}/{}", self.names[hit.log], hit.seq);
        let row = Row::of(id, &hit.agent, &start).filter(|_| start.line.seq == hit.seq);
        let row = row.ok_or_else(|| gone(hit.start))?;
        match hit.end {
            Some(end) => row.ended_by(&record(end)?).ok_or_else(|| gone(end)),
            None => Ok(row),
        }
    }
}

impl Hit {
    /// An entry of a sheet.
    pub fn of(log: usize, agent: &Rc<str>, entry: &Entry) -> Hit {
        let end = entry.end.map(|end| end.at);
        Hit { time: entry.time, log, seq: entry.seq, start: entry.at, end, agent: Rc::clone(agent) }
    }
}

/// How much there is to be read at most, as far as one knows: what is compressed becomes a tenth.
fn size(log: &WorkerLog) -> u64 {
    let sizes = log.segments().iter().map(|segment| {
        let size = fs::metadata(segment.path()).map_or(0, |file| file.len());
        if segment.is_compressed() { size * 10 } else { size }
    });
    sizes.sum()
}
