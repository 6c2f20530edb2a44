//! Finds calls: by the index which, and from the logs what they were.
//!
//! Enters: the logs, a filter. Leaves: the newest calls that it wants, in order of time. Never: a word of a call that the index says and the log
//! does not.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use record::Event;
use record::index::{Entry, Index, Sheet, Span};
use record::read::{Position, ReadError, Record, WorkerLog};

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
    /// The first record of each log that was read and is not what was written.
    changed: RefCell<BTreeMap<usize, Position>>,
    /// Of which logs it is known whether a battery's worker wrote them.
    batteries: RefCell<HashMap<PathBuf, bool>>,
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
        Ok(Finder { logs, names, index, changed: RefCell::default(), batteries: RefCell::default() })
    }

    /// The same without an index: all is read.
    pub fn without_index(self) -> Finder {
        Finder { index: Index::new(None), ..self }
    }

    /// Whether the filter can want any of this log. What a battery of `exeat probe` tries is not what an agent does.
    pub(super) fn wants(&self, filter: &Filter, log: &WorkerLog) -> bool {
        filter.wants_worker(log.worker()) && (filter.probes || !self.is_battery(log))
    }

    /// Whether a battery's worker wrote this log, by what exeat itself says: its command's words are anybody's.
    fn is_battery(&self, log: &WorkerLog) -> bool {
        let mut known = self.batteries.borrow_mut();
        *known.entry(log.worker().to_owned()).or_insert_with(|| {
            let first = log.lines().next().and_then(Result::ok);
            first.is_some_and(|record| matches!(&record.line.event, Event::WorkerStart(start) if start.probe))
        })
    }

    /// How many batteries were left out in which the filter would have found something.
    pub fn left_out(&self, filter: &Filter) -> usize {
        let batteries = |log: &&WorkerLog| filter.wants_worker(log.worker()) && self.is_battery(log);
        let has_wanted = |log: &&WorkerLog| {
            let mut found = false;
            // What cannot be read of it is not shown with `--probes` either.
            let _ = self.index.sheets(log, filter.span, &mut |_| {}, &mut |sheet| {
                let mut sieve = filter.on(sheet);
                found = found || sheet.entries().iter().any(|entry| sieve.wants(entry));
            });
            found
        };
        if filter.probes { 0 } else { self.logs.iter().filter(batteries).filter(has_wanted).count() }
    }

    /// Where records were read that are not what was written: the line behind them has another hash. Of each log once, whose number is then `told`.
    pub(super) fn changed(&self, told: &mut BTreeSet<usize>) -> Vec<(&Path, Position)> {
        let changed = self.changed.borrow();
        let new = changed.iter().filter(|(log, _)| told.insert(**log));
        new.map(|(log, at)| (self.logs[*log].worker(), *at)).collect()
    }

    /// Shows what of the logs can have calls that the filter wants. What cannot be read of them is left out, and said.
    pub fn sheets(&self, filter: &Filter, span: Span, mut show: impl FnMut(usize, &Sheet)) -> Vec<ReadError> {
        let wanted = self.logs.iter().enumerate().filter(|(_, log)| self.wants(filter, log));
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
        let (rows, flaws) = self.readable(hits, &mut Cuts::default());
        flaws.into_iter().next().map_or(Ok(rows), Err)
    }

    /// The same as far as it can be read: a log is left out from the line on that cannot be, now and whenever it is asked with the same `cuts`. What
    /// was wrong is told once. A call whose end cannot be read has not ended.
    pub(super) fn readable(&self, hits: &[Hit], cuts: &mut Cuts) -> (Vec<Row>, Vec<ReadError>) {
        let mut wanted: BTreeMap<usize, Vec<Position>> = BTreeMap::new();
        for hit in hits {
            let positions = [Some(hit.start), hit.end].into_iter().flatten().filter(|at| cuts.before(hit.log, *at));
            wanted.entry(hit.log).or_default().extend(positions);
        }
        let (mut records, mut flaws) = (BTreeMap::new(), Vec::new());
        for (number, positions) in wanted {
            let (found, flaw) = self.records(number, positions);
            records.extend(found.into_iter().map(|record| ((number, record.at), record)));
            flaws.extend(flaw.map(|(at, error)| cuts.cut(number, at, error)));
        }
        let mut rows = Vec::with_capacity(hits.len());
        for hit in hits {
            if !cuts.before(hit.log, hit.start) {
                continue;
            }
            match self.row(hit, &mut records, cuts.of(hit.log)) {
                Ok(row) => rows.push((hit, row)),
                Err((at, error)) => flaws.push(cuts.cut(hit.log, at, error)),
            }
        }
        let rows = rows.into_iter().filter(|(hit, _)| cuts.before(hit.log, hit.start));
        (rows.map(|(_, row)| row).collect(), flaws)
    }

    /// The records at these positions, to the first that is not there or is none.
    fn records(&self, number: usize, mut positions: Vec<Position>) -> (Vec<Record>, Option<(Position, ReadError)>) {
        let log = &self.logs[number];
        positions.sort();
        let (texts, mut flaw) = match log.bound(&positions) {
            Ok(texts) => (texts, None),
            Err(error) => {
                // So many are there, and so many are not all there.
                let (mut there, mut not) = (0, positions.len());
                while not - there > 1 {
                    let middle = there.midpoint(not);
                    let side = if log.at(&positions[..middle]).is_ok() { &mut there } else { &mut not };
                    *side = middle;
                }
                (log.bound(&positions[..there]).unwrap_or_default(), Some((positions[there], error)))
            }
        };
        let mut records = Vec::with_capacity(texts.len());
        for (text, bound) in texts {
            let at = text.at;
            if bound == Some(false) {
                self.changed.borrow_mut().entry(number).or_insert(at);
            }
            match text.record(log.worker()) {
                Ok(record) => records.push(record),
                Err(error) => {
                    flaw = Some((at, error));
                    break;
                }
            }
        }
        (records, flaw)
    }

    fn row(
        &self,
        hit: &Hit,
        records: &mut BTreeMap<(usize, Position), Record>,
        cut: Position,
    ) -> Result<Row, (Position, ReadError)> {
        let gone = |at: Position| {
            let why = "the log was changed while it was looked through".to_owned();
            (at, ReadError::Record { worker: self.logs[hit.log].worker().to_owned(), at, why })
        };
        let mut record = |at| records.remove(&(hit.log, at)).ok_or_else(|| gone(at));
        let start = record(hit.start)?;
        let id = format!("{}/{}", self.names[hit.log], hit.seq);
        let row = Row::of(id, &hit.agent, &start).filter(|_| start.line.seq == hit.seq);
        let row = row.ok_or_else(|| gone(hit.start))?;
        match hit.end.filter(|end| *end < cut) {
            Some(end) => row.ended_by(&record(end)?).ok_or_else(|| gone(end)),
            None => Ok(row),
        }
    }
}

/// From where on logs are left out, by their place among the finder's.
#[derive(Debug, Default)]
pub(super) struct Cuts(BTreeMap<usize, Position>);

impl Cuts {
    /// Behind everything, where the log is whole.
    fn of(&self, log: usize) -> Position {
        self.0.get(&log).copied().unwrap_or(Position { segment: u64::MAX, offset: u64::MAX })
    }

    fn before(&self, log: usize, at: Position) -> bool {
        at < self.of(log)
    }

    /// Whether this log is left out from some line on.
    pub(super) fn has(&self, log: usize) -> bool {
        self.0.contains_key(&log)
    }

    fn cut(&mut self, log: usize, at: Position, why: ReadError) -> ReadError {
        self.0.insert(log, at.min(self.of(log)));
        why
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
