//! What an agent's call logs show, where they are what was written.
//!
//! Enters: the workers' directories, and what their broker signed for. Leaves: how many logs there are and which are not what was written; and,
//! where none is, what they show of a period. Never: a number out of a log that was changed, nor any number beside such a log: what it hid
//! nobody knows.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use config::{AgentId, WorkerId};
use jiff::Timestamp;
use record::audit::{self, Audited, Fault, Notary};
use record::note::VerifierKey;
use record::read::{Position, WorkerLog};
use record::{Chain, Event, Line};

use super::facts::{Broken, Facts};
use super::tally::Tally;
use super::walls;
use crate::places::Places;
use crate::report::Report;
use crate::running;

/// By what a log is verified here.
const BY_SIGNATURES: &str = "the hash of each line in the next and the checkpoints that the broker signed";
const BY_CHAIN: &str = "the hash of each line in the next alone, as no key of a broker is in the state directory";

/// Adds what the logs say.
///
/// # Errors
/// When a directory or a log cannot be read.
pub(super) fn add(facts: &mut Facts, places: &Places, agent: &AgentId, since: Timestamp) -> Result<(), Report> {
    // Workers first, then what was signed for them: a log goes on, and what was signed is of its beginning.
    let mut workers = workers(places)?;
    let keys = keys(&places.checkpoints())?;
    let notary = Notary::read(&places.checkpoints(), &keys)?;
    let by = if keys.is_empty() { BY_CHAIN } else { BY_SIGNATURES };
    by.clone_into(&mut facts.logs.by);
    workers.extend(notary.workers().into_iter().map(str::to_owned));
    for finding in &notary.findings {
        facts.logs.broken.push(Broken { worker: "the roll of all workers".to_owned(), why: finding.says.clone() });
    }
    let mut tally = Tally::new(since);
    let mut last = None;
    for worker in workers {
        let directory = places.workers().join(&worker);
        let (audited, on_roll) = audited(places, &directory, &notary, &keys)?;
        let wrong = audited.findings.iter().filter(|finding| !is_unsigned(finding.fault));
        let wrong: Vec<&str> = wrong.map(|finding| finding.says.as_str()).collect();
        // Whose it was is told by the roll, before anything else: that is signed. What else there is, the log and the worker's own file, whoever
        // changed the log can have changed too; it is asked only for a log with which nothing is wrong.
        let told = match on_roll {
            Some(on_roll) => vec![on_roll],
            None if wrong.is_empty() => {
                [audited.agent.clone(), running_for(places, &worker)].into_iter().flatten().collect()
            }
            None => Vec::new(),
        };
        // Where nothing tells it, it may have been this one's.
        if !told.is_empty() && !told.iter().any(|told| told == agent.as_str()) {
            continue;
        }
        if wrong.is_empty() && audited.records == 0 {
            continue;
        }
        facts.logs.logs += 1;
        if !wrong.is_empty() {
            facts.logs.broken.push(Broken { worker: directory.display().to_string(), why: wrong.join("; ") });
            continue;
        }
        facts.logs.records += audited.records;
        facts.logs.signed += audited.signed;
        facts.logs.unsigned += u64::from(is_unsigned_log(&directory, &audited)?);
        follow(&directory, audited.records, |line| {
            if let Event::WorkerStart(start) = &line.event {
                last = Some((line.seq, line.time, start.clone()));
            }
            tally.take(line);
        })?;
        tally.worker_over();
    }
    if facts.logs.broken.is_empty() {
        facts.activity = tally.activity();
        facts.walls = last.map(|(seq, at, start)| walls::of(seq, at, &start));
    }
    Ok(())
}

/// Whether it is only that nobody has signed, as where the broker is elsewhere, or was killed; how much was signed for is counted.
fn is_unsigned(fault: Fault) -> bool {
    fault == Fault::Unsigned
}

/// Whether nobody signed for a log, or not for the end that it has. Only who runs, or was killed, leaves last records that nobody signed for.
fn is_unsigned_log(directory: &Path, audited: &Audited) -> io::Result<bool> {
    let nothing = audited.findings.iter().any(|finding| is_unsigned(finding.fault));
    Ok(nothing
        || audited.signed < audited.records && (audited.ended || audited.signed == 0 && !running::lives(directory)?))
}

/// The judgement on one log, and whose it is by the roll. Its worker may run, and have begun or ended after the roll was read.
fn audited(
    places: &Places,
    directory: &Path,
    notary: &Notary,
    keys: &[VerifierKey],
) -> Result<(Audited, Option<String>), Report> {
    // Without a key every signature is one that nobody knows.
    if keys.is_empty() {
        return Ok((chain_alone(directory)?, None));
    }
    let on_roll = |notary: &Notary| {
        let worker = directory.file_name().and_then(OsStr::to_str)?;
        notary.agent(worker).map(str::to_owned)
    };
    let audited = audit::log(directory, notary, keys)?;
    if audited.findings.is_empty() && !is_unsigned_log(directory, &audited)? {
        return Ok((audited, on_roll(notary)));
    }
    let notary = Notary::read(&places.checkpoints(), keys)?;
    Ok((audit::log(directory, &notary, keys)?, on_roll(&notary)))
}

fn chain_alone(directory: &Path) -> Result<Audited, Report> {
    let mut audited = audit::log(directory, &Notary::default(), &[])?;
    audited.findings.retain(|finding| finding.fault != Fault::UnknownKey);
    Ok(audited)
}

/// So many records of a log, which were verified, and are still what they were.
fn follow(directory: &Path, records: u64, mut take: impl FnMut(&Line)) -> Result<(), Report> {
    let Some(log) = WorkerLog::open(directory)? else { return Ok(()) };
    let mut chain = Chain::default();
    for text in log.texts(Position::START) {
        if chain.head().size == records {
            break;
        }
        let text = text?;
        chain
            .follow(&text.bytes)
            .map_err(|_| Report::new(format!("the log in `{}` was changed while it was read", directory.display())))?;
        // One that is none is a finding of the log already.
        if let Ok(record) = text.record(directory) {
            take(&record.line);
        }
    }
    Ok(())
}

/// What signs here; nothing where no broker has signed yet, or it is elsewhere.
fn keys(checkpoints: &Path) -> Result<Vec<VerifierKey>, Report> {
    match Notary::keys(checkpoints) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        keys => Ok(keys?),
    }
}

fn running_for(places: &Places, worker: &str) -> Option<String> {
    let worker: WorkerId = worker.parse().ok()?;
    Some(running::who(places, &worker)?.agent.to_string())
}

/// The names of their directories, the oldest first: their ids are ordered by time.
fn workers(places: &Places) -> Result<BTreeSet<String>, Report> {
    let directory = places.workers();
    match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => {
            Err(Report::new(error).hint(format!("`{}` has to be readable by whoever reports", directory.display())))
        }
        Ok(entries) => {
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<io::Result<_>>().map_err(Report::from)
        }
    }
}
