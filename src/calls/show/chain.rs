//! A log up to the last record of one call.
//!
//! Enters: the log, and where the call's records are. Leaves: them, who wrote the log, and whether each line up to there follows from the one before
//! it. Never: a word on what comes behind.

use std::borrow::Cow;
use std::collections::VecDeque;

use record::index::Entry;
use record::read::{Position, Record, Text, WorkerLog};
use record::{Event, Hash, WorkerStart};
use serde::{Deserialize, Serialize};

use crate::report::Report;

/// Questions for names come right before the connections that they are for.
const ASKED: usize = 256;

/// Whether the records are what was written.
#[derive(Debug, Serialize)]
pub(super) struct Chain {
    /// The first record that is there: those before it may have been taken away in time.
    pub(super) from: u64,
    /// The last that was looked at.
    pub(super) to: u64,
    /// The first that does not follow from the one before it.
    pub(super) broken: Option<u64>,
}

impl Chain {
    /// Whether all follow.
    pub(super) fn holds(&self) -> bool {
        self.broken.is_none()
    }
}

/// What was found on the way.
pub(super) struct Scan {
    pub(super) author: Option<WorkerStart>,
    pub(super) asked: Option<Record>,
    pub(super) records: Vec<Record>,
    pub(super) chain: Chain,
}

#[derive(Deserialize)]
struct Link<'l> {
    seq: u64,
    prev: Hash,
    #[serde(borrow)]
    event: Cow<'l, str>,
    #[serde(default)]
    call: u64,
}

impl Scan {
    /// Goes through the log from its beginning.
    pub(super) fn of(log: &WorkerLog, entry: &Entry) -> Result<Scan, Report> {
        let last = entry.end.map(|end| end.at);
        let mut scan =
            Scan { author: None, asked: None, records: Vec::new(), chain: Chain { from: 0, to: 0, broken: None } };
        let (mut before, mut asked) = (None::<Hash>, VecDeque::new());
        for text in log.texts(Position::START) {
            let text = text?;
            let link: Link<'_> = serde_json::from_slice(&text.bytes)?;
            scan.follow(&link, before);
            before = Some(Hash::of_line(&text.bytes));
            let at = text.at;
            let is_retry = &*link.event == "call-retried" && link.call == entry.call && entry.call != 0;
            if at == entry.at || Some(at) == last || is_retry {
                scan.records.push(text.record(log.worker())?);
            } else if &*link.event == "worker-start" {
                scan.author = author(text.record(log.worker())?);
            } else if &*link.event == "name-asked" && at < entry.at {
                asked.push_back(text);
                if asked.len() > ASKED {
                    asked.pop_front();
                }
            }
            if at >= last.unwrap_or(if entry.is_open() { MAX } else { entry.at }) {
                break;
            }
        }
        scan.asked = scan.records.first().and_then(|start| name_of(start, asked, log));
        Ok(scan)
    }

    fn follow(&mut self, link: &Link<'_>, before: Option<Hash>) {
        let follows = match before {
            Some(before) => link.prev == before && link.seq == self.chain.to + 1,
            None => link.seq != 1 || link.prev == Hash::NONE,
        };
        if before.is_none() {
            self.chain.from = link.seq;
        }
        if !follows && self.chain.broken.is_none() {
            self.chain.broken = Some(link.seq);
        }
        self.chain.to = link.seq;
    }
}

/// Behind everything that there can be.
const MAX: Position = Position { segment: u64::MAX, offset: u64::MAX };

fn author(record: Record) -> Option<WorkerStart> {
    match record.line.event {
        Event::WorkerStart(start) => Some(start),
        _ => None,
    }
}

/// When the host of a call was looked up last.
fn name_of(start: &Record, asked: VecDeque<Text>, log: &WorkerLog) -> Option<Record> {
    let to = match &start.line.event {
        Event::CallStart(start) => &start.to,
        Event::TunnelStart(start) => &start.to,
        Event::Refused(refused) => &refused.to,
        _ => return None,
    };
    let (host, _) = to.rsplit_once(':')?;
    let records = asked.into_iter().rev().filter_map(|text| text.record(log.worker()).ok());
    let mut of_host = records.filter(|record| match &record.line.event {
        Event::NameAsked(asked) => asked.name.trim_end_matches('.').eq_ignore_ascii_case(host),
        _ => false,
    });
    of_host.next()
}
