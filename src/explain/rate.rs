//! What is left of a rule's rate.
//!
//! Enters: the call logs of an agent's workers that run. Leaves: a number for each. Never: a question to a worker; what it let
//! through is in its log before it is sent.

use config::{AgentId, Rate, RuleId, WorkerId};
use jiff::Timestamp;
use record::Event;
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
        let used = log.map_or(Ok(0), |log| used(&log, &rule.to_string(), since))?;
        all.push(Left { worker: running.worker, left: rate.requests().get().saturating_sub(used) });
    }
    Ok(all)
}

fn used(log: &WorkerLog, rule: &str, since: Timestamp) -> Result<u32, ReadError> {
    let mut used = 0;
    for record in log.lines() {
        let line = record?.line;
        let by = match &line.event {
            Event::CallStart(start) => &start.rule,
            Event::TunnelStart(start) => &start.rule,
            _ => continue,
        };
        used += u32::from(by == rule && line.time >= since);
    }
    Ok(used)
}
