//! What is left of a rule's rate.
//!
//! Enters: the call logs of an agent's workers that run. Leaves: a number for each. Never: a question to a worker; what it let
//! through is in its log before it is sent.

use config::{AgentId, Rate, RuleId, WorkerId};
use jiff::Timestamp;
use record::index::{Index, Kind, Span, nanoseconds};
use record::read::{ReadError, WorkerLog};
use serde::Serialize;

use crate::places::Places;
use crate::report::Report;
use crate::running;

/// What one worker may still do.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub(super) worker: WorkerId,
    /// Calls, or connections where those pass unread.
    pub(super) left: u32,
}

/// Counts what the rule let through in the last of its periods.
pub(super) fn left(places: &Places, agent: &AgentId, rule: &RuleId, rate: Rate) -> Result<Vec<Left>, Report> {
    let since = Timestamp::now().checked_sub(rate.per()).unwrap_or(Timestamp::MIN);
    let mut all = Vec::new();
    for running in running::all(places)?.into_iter().filter(|running| running.agent == *agent) {
        let log = WorkerLog::open(&places.workers().join(running.worker.to_string()))?;
        let used = log.map_or(Ok(0), |log| used(places, &log, &rule.to_string(), since))?;
        all.push(Left { worker: running.worker, left: rate.requests().get().saturating_sub(used) });
    }
    Ok(all)
}

fn used(places: &Places, log: &WorkerLog, rule: &str, since: Timestamp) -> Result<u32, ReadError> {
    let (mut used, span) = (0, Span { from: nanoseconds(since), to: i64::MAX });
    Index::new(places.index()).sheets(log, span, &mut |_| {}, &mut |sheet| {
        let late = sheet.entries().iter().filter(|entry| entry.time >= span.from && entry.kind != Kind::Refused);
        let by_rule = late.filter(|entry| sheet.words().get(entry.rule) == rule);
        used += u32::try_from(by_rule.count()).unwrap_or(u32::MAX);
    })?;
    Ok(used)
}
