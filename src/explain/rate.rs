//! What is left of a rule's rate.
//!
//! Enters: the call logs of an agent's workers that run. Leaves: a number for each. Never: a question to a worker; what it let
//! through is in its log before it is sent.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use config::{AgentId, Rate, RuleId, WorkerId};
use jiff::Timestamp;
use proxy::record::{self, Event, Line};
use serde::Serialize;

use crate::places::Places;
use crate::running;

/// What one worker may still do.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub(super) worker: WorkerId,
    /// Calls, or connections where those pass unread.
    pub(super) left: u32,
}

/// Counts what the rule let through in the last of its periods.
pub(super) fn left(places: &Places, agent: &AgentId, rule: &RuleId, rate: Rate) -> io::Result<Vec<Left>> {
    let since = Timestamp::now().checked_sub(rate.per()).unwrap_or(Timestamp::MIN);
    let mut all = Vec::new();
    for running in running::all(places)?.into_iter().filter(|running| running.agent == *agent) {
        let log = places.workers().join(running.worker.to_string()).join(record::FILE_NAME);
        let used = used(BufReader::new(File::open(log)?), &rule.to_string(), since)?;
        all.push(Left { worker: running.worker, left: rate.requests().get().saturating_sub(used) });
    }
    Ok(all)
}

fn used(log: impl BufRead, rule: &str, since: Timestamp) -> io::Result<u32> {
    let mut used = 0;
    for text in log.lines() {
        // The last line may be half written.
        let Ok(line) = serde_json::from_str::<Line>(&text?) else { break };
        let by = match &line.event {
            Event::CallStart(start) => &start.rule,
            Event::TunnelStart(start) => &start.rule,
            _ => continue,
        };
        used += u32::from(by == rule && line.time >= since);
    }
    Ok(used)
}
