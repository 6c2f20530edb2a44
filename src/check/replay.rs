//! `exeat check --replay`: what the files as they are now would have decided otherwise.
//!
//! Enters: policies, and the call logs of a time. Leaves: each call and refusal of it that a policy could judge again, where its decision would be
//! another, grouped and counted; and how much could not be judged. Never: a change to anything; a refusal that was not the policy's.

mod difference;
mod logged;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use config::{AgentId, Policy};
use jiff::Timestamp;
use record::Event;
use record::read::{ReadError, WorkerLog};

pub(super) use self::difference::Difference;
use self::difference::{Key, Seen};
use self::logged::{Judgeable, Logged, word};
use super::usage;
use crate::calls;
use crate::places::Places;
use crate::report::Report;

/// More than anybody reads; what else differs is counted, so that a log of a million paths takes no memory for each.
const MAX_DIFFERENCES: usize = 10_000;

/// What came of it.
pub(super) struct Replayed {
    /// How far back, as it was written, and from when on that is.
    pub(super) window: String,
    pub(super) since: Timestamp,
    /// Whose calls.
    pub(super) agents: BTreeSet<String>,
    /// Calls and refusals that were judged again, and how many of them would be decided otherwise.
    pub(super) judged: u64,
    pub(super) otherwise: u64,
    /// In the order of agents, destinations, paths and methods.
    pub(super) differences: Vec<Difference>,
    /// Calls that would be decided otherwise and are not among these, as there are too many.
    pub(super) unlisted: u64,
    /// Calls of which only the head was judged: the rule looks into bodies, which no log has.
    pub(super) heads: u64,
    /// Why others were not judged again, and how many.
    pub(super) left_out: BTreeMap<String, u64>,
    /// Logs that could not be read to their ends: what they have more, nobody judged.
    pub(super) unread: u64,
    pub(super) notes: Vec<String>,
}

/// Judges again what is in the logs of the last `window`, of one agent or of all.
///
/// # Errors
/// When the logs cannot be listed, or the agent has no file without mistakes.
pub(super) fn run(
    places: &Places,
    policies: &[Policy],
    window: usage::Window<'_>,
    agent: Option<&AgentId>,
    now: Timestamp,
) -> Result<Replayed, Report> {
    let policies: HashMap<&str, &Policy> = policies
        .iter()
        .filter(|policy| agent.is_none_or(|agent| policy.agent() == agent))
        .map(|policy| (policy.agent().as_str(), policy))
        .collect();
    if let (Some(agent), true) = (agent, policies.is_empty()) {
        let file = places.agent_file(agent).display().to_string();
        let told = Report::new(format!("nothing can be judged by `{file}`: it is not there, or has mistakes"));
        return Err(told.hint("`exeat check` names them; --config DIR judges by another directory's files"));
    }
    let mut replay =
        Replay { policies, only: agent.map(AgentId::as_str), since: window.start(now), ..Replay::default() };
    for log in calls::logs(places)? {
        if let Err(error) = replay.add(&log) {
            replay.unread += 1;
            replay.notes.push(format!("a log was not read to its end; see `exeat verify`: {error}"));
        }
    }
    Ok(replay.finish(window.text()))
}

#[derive(Default)]
struct Replay<'a> {
    policies: HashMap<&'a str, &'a Policy>,
    only: Option<&'a str>,
    since: Timestamp,
    agents: BTreeSet<String>,
    judged: u64,
    otherwise: u64,
    unlisted: u64,
    heads: u64,
    differences: BTreeMap<Key, Seen>,
    left_out: BTreeMap<String, u64>,
    unread: u64,
    notes: Vec<String>,
}

impl Replay<'_> {
    /// A line at a time: a log has no bound of its own.
    fn add(&mut self, log: &WorkerLog) -> Result<(), ReadError> {
        let mut agent = String::new();
        for record in log.lines() {
            let line = record?.line;
            match &line.event {
                Event::SegmentStart(start) => agent.clone_from(&start.agent),
                Event::WorkerStart(start) => agent.clone_from(&start.agent),
                _ => {}
            }
            let time = line.time;
            if time >= self.since && self.only.is_none_or(|only| only == agent) {
                match logged::read(line) {
                    None => {}
                    Some(Err(why)) => self.leave_out(why),
                    Some(Ok(logged)) => self.judge(&agent, time, &logged),
                }
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, why: String) {
        *self.left_out.entry(why).or_default() += 1;
    }

    fn judge(&mut self, agent: &str, time: Timestamp, logged: &Logged) {
        let Some(policy) = self.policies.get(agent) else {
            return self.leave_out(format!("of agent `{}`, which has no file without mistakes", word(agent)));
        };
        let (now, by_head) = match logged.judged(policy) {
            Judgeable::Whole(now) => (now, false),
            Judgeable::Head(now) => (now, true),
            Judgeable::Not(why) => return self.leave_out(why.to_owned()),
        };
        if !self.agents.contains(agent) {
            self.agents.insert(agent.to_owned());
        }
        self.judged += 1;
        self.heads += u64::from(by_head);
        let Some(change) = difference::between(&logged.before, &now) else { return };
        self.otherwise += 1;
        let key = Key::new(agent, logged, change);
        if let Some(seen) = self.differences.get_mut(&key) {
            return seen.again(time, &logged.before);
        }
        match self.differences.len() < MAX_DIFFERENCES {
            true => _ = self.differences.insert(key, Seen::first(time, &logged.before, now)),
            false => self.unlisted += 1,
        }
    }

    fn finish(self, window: &str) -> Replayed {
        let Self {
            policies,
            since,
            agents,
            judged,
            otherwise,
            unlisted,
            heads,
            differences,
            left_out,
            unread,
            notes,
            ..
        } = self;
        let told = |(key, seen): (Key, Seen)| Some(Difference::new(policies.get(key.agent())?, key, seen));
        Replayed {
            window: window.to_owned(),
            since,
            agents,
            judged,
            otherwise,
            differences: differences.into_iter().filter_map(told).collect(),
            unlisted,
            heads,
            left_out,
            unread,
            notes,
        }
    }
}

#[cfg(test)]
mod tests;
