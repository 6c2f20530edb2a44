//! What an agent called, by its logs.
//!
//! Enters: the logs of its workers, whatever the agent had them say. Leaves: each different call once, with how often and when; and what
//! went no further. Never: text that was not parsed into a name, a method or a path; more calls in memory than bound.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;

use config::{CallFacts, Destination, Method, NormalPath, Policy, Scheme, Sighting, Times};
use jiff::Timestamp;
use record::read::{ReadError, WorkerLog};
use record::{CallEnd, CallStart, Event, Refused};

use crate::places::Places;
use crate::report::Report;
use crate::running;

/// Different calls: more than any command makes whose rules a person would read; some hundred MiB at the very worst.
const DIFFERENT: usize = 50_000;
/// Destinations of which it is told that they gave no answer, or were shown a placeholder.
const TOLD: usize = 100;

/// What makes two calls the same.
type Key = (Destination, &'static str, Method, String);
type Calls = BTreeMap<Key, Sighting>;

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Calls that went out, or would have but for the address that they led to, and that the policy does not allow; each once.
    pub calls: Calls,
    /// Calls that a deny rule had.
    pub denied: Calls,
    /// Destinations from which no answer came, and why, as the last such call has it.
    pub unanswered: BTreeMap<Destination, (String, Times)>,
    /// Destinations to which a placeholder was on its way that does not go there.
    pub misdirected: BTreeMap<Destination, Times>,
    /// Destinations to which something else was spoken than TLS or HTTP, or nothing.
    pub unspoken: BTreeMap<Destination, Times>,
    /// How many calls the policy in force allows: there may be many more of them than there is room for.
    pub allowed: u64,
    /// Whether any worker observed.
    pub observed: bool,
    /// Calls that were one too many.
    pub left_out: u64,
    /// Calls of whose method or path the log has only the beginning: nobody knows what a rule would have to let out.
    pub cut: u64,
    /// Why a log is left out from some line on.
    pub flaws: Vec<ReadError>,
}

/// Reads the logs of an agent, from a time on, for what `policy` has no rule for. One that was changed is read to the line that is no record.
///
/// # Errors
/// When they cannot be listed.
pub fn read(places: &Places, policy: &Policy, since: Option<Timestamp>) -> Result<Seen, Report> {
    let mut seen = Seen::default();
    let entries = match fs::read_dir(places.workers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(seen),
        entries => entries.map_err(|error| {
            Report::new(error).hint(format!("`{}` has to be readable by whoever reviews", places.workers().display()))
        })?,
    };
    for entry in entries {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // Another agent's log is not even opened.
        let other = id.and_then(|id| running::who(places, &id)).is_some_and(|worker| worker.agent != *policy.agent());
        if !other && let Some(log) = WorkerLog::open(&entry.path())? {
            of_one(&log, policy, since, &mut seen);
        }
    }
    Ok(seen)
}

/// One worker's log.
fn of_one(log: &WorkerLog, policy: &Policy, since: Option<Timestamp>, seen: &mut Seen) {
    let (agent, mut observes) = (policy.agent(), false);
    let mut open: HashMap<u64, (CallStart, Timestamp)> = HashMap::new();
    for record in log.lines() {
        let line = match record {
            Ok(record) => record.line,
            Err(error) => {
                seen.flaws.push(error);
                break;
            }
        };
        let recent = since.is_none_or(|since| line.time >= since);
        let whole = line.is_whole(&["method", "path"]);
        match line.event {
            Event::WorkerStart(start) if start.agent != agent.as_str() => return,
            Event::SegmentStart(start) if start.agent != agent.as_str() => return,
            Event::WorkerStart(start) => observes = start.observe,
            Event::SegmentStart(start) => observes = start.observe,
            Event::CallStart(_) | Event::Refused(_) if recent && !whole => seen.cut += 1,
            Event::CallStart(start) if recent => drop(open.insert(start.call, (start, line.time))),
            Event::CallEnd(end) => {
                if let Some((start, time)) = open.remove(&end.call) {
                    seen.take(policy, (&start, time), Some(&end));
                }
            }
            Event::Refused(refused) if recent && observes => seen.take_refused(&refused, line.time),
            _ => {}
        }
    }
    seen.observed |= observes;
    // They may have reached whom they were for.
    for (start, time) in open.into_values() {
        seen.take(policy, (&start, time), None);
    }
}

impl Seen {
    /// A call that had a permit.
    fn take(&mut self, policy: &Policy, (start, time): (&CallStart, Timestamp), end: Option<&CallEnd>) {
        let sighting = sighting(&start.to, &start.scheme, (&start.method, &start.path), time);
        let forbidden = end.and_then(|end| end.forbidden);
        let Some(mut sighting) = sighting.map(|sighting| Sighting { forbidden, ..sighting }) else { return };
        sighting.times.observed = u64::from(start.observed.is_some());
        let answered = end.is_none_or(|end| end.outcome != "refused" || end.head_ms.is_some());
        if forbidden.is_none() && is_allowed(policy, &sighting) {
            self.allowed += 1;
        } else if answered || forbidden.is_some() {
            self.left_out += add(&mut self.calls, sighting);
        } else if self.unanswered.len() < TOLD || self.unanswered.contains_key(&sighting.destination) {
            let why = end.and_then(|end| end.reason.clone()).unwrap_or_default();
            let (to, once) = (sighting.destination, sighting.times);
            let times = self.unanswered.get(&to).map_or(once, |(_, times)| times.and(once));
            self.unanswered.insert(to, (why, times));
        }
    }

    /// A call that went no further: what a deny rule had, and what carried a placeholder elsewhere.
    fn take_refused(&mut self, refused: &Refused, time: Timestamp) {
        match (refused.kind.as_str(), &refused.method, &refused.path) {
            ("denied-by-rule", Some(method), Some(path)) => {
                let usual = if refused.to.ends_with(":80") { "http" } else { "https" };
                let scheme = refused.scheme.as_deref().unwrap_or(usual);
                let sighting = sighting(&refused.to, scheme, (method, path), time);
                self.left_out += sighting.map_or(0, |sighting| add(&mut self.denied, sighting));
            }
            ("placeholder-misdirected", ..) => {
                tell(&mut self.misdirected, &refused.to, time);
            }
            // A hello of TLS that is too old or malformed is mended at the client.
            ("not-http", ..) if !refused.reason.contains("ClientHello") && !refused.reason.contains("TLS version") => {
                tell(&mut self.unspoken, &refused.to, time);
            }
            _ => {}
        }
    }
}

/// Once more to this destination, of so many at most.
fn tell(told: &mut BTreeMap<Destination, Times>, to: &str, time: Timestamp) {
    if let Ok(to) = to.parse::<Destination>()
        && (told.len() < TOLD || told.contains_key(&to))
    {
        let once = Times::once(time);
        told.entry(to).and_modify(|times| *times = times.and(once)).or_insert(once);
    }
}

/// `None` for what no worker would have let out: it is nothing to make a rule of.
fn sighting(to: &str, scheme: &str, (method, path): (&str, &str), time: Timestamp) -> Option<Sighting> {
    Some(Sighting {
        destination: to.parse().ok()?,
        scheme: if scheme == "http" { Scheme::Http } else { Scheme::Https },
        method: method.parse().ok()?,
        path: NormalPath::parse(path).ok()?,
        forbidden: None,
        times: Times::once(time),
    })
}

fn is_allowed(policy: &Policy, Sighting { destination, scheme, method, path, .. }: &Sighting) -> bool {
    policy.call(&CallFacts { destination, scheme: *scheme, method, path }).is_ok()
}

/// The answer is how many were one too many.
fn add(calls: &mut Calls, sighting: Sighting) -> u64 {
    let Sighting { destination, scheme, method, path, .. } = &sighting;
    let key = (destination.clone(), scheme.as_str(), method.clone(), path.as_str().to_owned());
    let full = calls.len() >= DIFFERENT;
    match calls.entry(key) {
        Entry::Occupied(entry) => {
            let known = entry.into_mut();
            known.times = known.times.and(sighting.times);
            // What was reached once is reached.
            known.forbidden = known.forbidden.and(sighting.forbidden);
            0
        }
        Entry::Vacant(_) if full => 1,
        Entry::Vacant(entry) => {
            entry.insert(sighting);
            0
        }
    }
}
