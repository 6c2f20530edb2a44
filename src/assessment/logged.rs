//! What an agent's call logs show, where they are what was written.
//!
//! Enters: the workers' directories, and what their broker signed for. Leaves: how many logs there are and which are not what was written; and,
//! where none is, what they show of a period. Never: a number out of a log that was changed, nor any number beside such a log: what it hid
//! nobody knows.

use std::collections::BTreeSet;
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
        let audited = audited(places, &directory, &notary, &keys)?;
        // Whose it was is told by the log, by the roll, and by the worker's own file. Where none does, it may have been this one.
        let told = [audited.agent.clone(), running_for(places, &worker)];
        let told: Vec<&str> = told.iter().flatten().map(String::as_str).collect();
        if !told.is_empty() && !told.contains(&agent.as_str()) {
            continue;
        }
        let wrong = audited.findings.iter().filter(|finding| !is_unsigned(finding.fault));
        let wrong: Vec<&str> = wrong.map(|finding| finding.says.as_str()).collect();
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

/// The judgement on one log. Its worker may run, and have begun after the roll was read.
fn audited(places: &Places, directory: &Path, notary: &Notary, keys: &[VerifierKey]) -> Result<Audited, Report> {
    // Without a key every signature is one that nobody knows.
    if keys.is_empty() {
        return chain_alone(directory);
    }
    let audited = audit::log(directory, notary, keys)?;
    if audited.findings.is_empty() {
        return Ok(audited);
    }
    Ok(audit::log(directory, &Notary::read(&places.checkpoints(), keys)?, keys)?)
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
        take(&text.record(directory)?.line);
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
