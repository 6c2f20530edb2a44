//! What stands beside the logs: leases, decisions, the mark of an offboarded agent, the last battery, and the workers that run.
//!
//! Enters: the state directory. Leaves: facts. Never: a file that cannot be read taken for one that is not there.

use std::fs;
use std::io;
use std::path::Path;

use ::broker::ledger::{self, Entry, State};
use ::broker::{Approval, ApprovalState};
use config::AgentId;
use jiff::Timestamp;
use serde::Deserialize;

use super::facts::{Decisions, Facts, Leases, Offboarded, Probed, Worker};
use crate::offboard::is_offboarded;
use crate::places::Places;
use crate::report::Report;
use crate::{broker, running};

/// The file of decisions, in the directory of the ledgers.
const DECISIONS: &str = "approvals.jsonl";

/// Adds what there is.
///
/// # Errors
/// When something is there and cannot be read.
pub(super) fn add(facts: &mut Facts, places: &Places, agent: &AgentId, since: Timestamp) -> Result<(), Report> {
    let found = ledger::read(&places.ledgers()).map_err(broker::unusable)?;
    // What was asked for before and still stands is no matter of the past.
    let now = Timestamp::now();
    let counts = |entry: &&Entry| entry.agent == *agent && (entry.asked >= since || entry.is_open(now));
    let own = found.iter().map(|found| &found.entry).filter(counts);
    facts.leases = leases(own);
    facts.decisions = decisions(&places.ledgers().join(DECISIONS), agent, since)?;
    facts.probe = there(&places.probe(agent))?.map(|text| parsed::<Probed>(&text, &places.probe(agent))).transpose()?;
    facts.offboarded = is_offboarded(places, agent).then(|| mark(&places.offboarded().join(agent.as_str())));
    let own = running::all(places)?.into_iter().filter(|worker| worker.agent == *agent);
    facts.running = Some(own.map(|worker| Worker { worker: worker.worker.to_string(), since: worker.since }).collect());
    Ok(())
}

fn leases<'e>(entries: impl Iterator<Item = &'e Entry>) -> Option<Leases> {
    let mut told = None;
    for entry in entries {
        let leases: &mut Leases = told.get_or_insert_default();
        let count = match entry.state {
            State::Revoked => &mut leases.revoked,
            State::Expired => &mut leases.expired,
            State::Returned => &mut leases.returned,
            State::Leased => &mut leases.leased,
            State::Kept => &mut leases.kept,
            State::Asked | State::Unanswered => &mut leases.unanswered,
            State::Refused => &mut leases.refused,
        };
        *count += 1;
        if matches!(entry.state, State::Asked | State::Unanswered | State::Refused) {
            continue;
        }
        leases.given += 1;
        let longer = |known: Option<i64>, end: Timestamp| known.max(Some(end.duration_since(entry.asked).as_secs()));
        if let Some(expires) = entry.expires {
            leases.longest_issued_s = longer(leases.longest_issued_s, expires);
        }
        if matches!(entry.state, State::Revoked | State::Expired | State::Returned) {
            leases.longest_lived_s = longer(leases.longest_lived_s, entry.changed);
        }
    }
    told
}

fn decisions(file: &Path, agent: &AgentId, since: Timestamp) -> Result<Option<Decisions>, Report> {
    let Some(text) = there(file)? else { return Ok(None) };
    let mut told = Decisions::default();
    for line in text.lines() {
        let approval: Approval = parsed(line, file)?;
        let (count, by, at) = match approval.state {
            ApprovalState::Approved { by, at, .. } => (&mut told.approved, by, at),
            ApprovalState::Denied { by, at, .. } => (&mut told.denied, by, at),
            ApprovalState::Pending => continue,
        };
        if approval.agent == *agent && at >= since {
            *count += 1;
            told.by.push(by);
        }
    }
    told.by.sort_unstable();
    told.by.dedup();
    Ok(Some(told))
}

/// That it is offboarded is said by the file being there; what is in it may be anything.
fn mark(file: &Path) -> Offboarded {
    #[derive(Default, Deserialize)]
    struct Mark {
        at: Option<Timestamp>,
        by: Option<u32>,
    }
    let read = fs::read(file).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let Mark { at, by } = read.unwrap_or_default();
    Offboarded { at, by }
}

/// What is in a file; `None` where there is none.
fn there(file: &Path) -> Result<Option<String>, Report> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(Some(text.map_err(|error| Report::new(format!("cannot read `{}`: {error}", file.display())))?)),
    }
}

fn parsed<T: for<'d> Deserialize<'d>>(text: &str, file: &Path) -> Result<T, Report> {
    serde_json::from_str(text).map_err(|error| {
        let what = format!("`{}` is not what exeat writes there: {error}", file.display());
        Report::new(what).hint("move it away, and what it said is told as not measured")
    })
}
