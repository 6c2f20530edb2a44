//! Counts.
//!
//! Enters: entries of the index. Leaves: numbers for each agent and destination, for each reason of a refusal, and for each part of the time.
//! Never: a percentile that is not the time of a call: they are exact, at eight bytes a call.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use record::index::{Entry, Kind, Sheet, Span};
use serde::Serialize;

use crate::calls::{is_refused, outcome, status};

/// What is refused most: as many as a person reads.
const REFUSALS: usize = 10;
/// Parts of the time: as many as a line in a terminal has room for.
const PARTS: usize = 60;
/// The first status that is the server's fault.
const SERVER_ERROR: u16 = 500;
/// What exeat answers for an upstream that could not be reached, proven or understood, and for nothing else.
const FAILED: [u16; 2] = [502, 504];

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    groups: BTreeMap<String, BTreeMap<String, Times>>,
    refusals: HashMap<(String, String, String), u64>,
    times: Vec<(i64, bool)>,
}

#[derive(Debug, Default)]
struct Times {
    group: Group,
    total: Vec<f32>,
    head: Vec<f32>,
}

/// The calls of one agent to one destination, or of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Group {
    pub(super) agent: String,
    /// Host and port.
    pub(super) to: String,
    /// Calls and tunnels that had their permit.
    pub(super) calls: u64,
    /// What was refused, before its permit or on its way.
    pub(super) refused: u64,
    /// Those that exeat let out and whose upstream could not be reached, proven or understood.
    pub(super) failed: u64,
    /// Those that were answered 500 or more, or whose answer broke off, without those that exeat refused or that failed.
    pub(super) errors: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Milliseconds in all.
    pub(super) total_ms: Percentiles,
    /// Milliseconds to the head of the answer.
    pub(super) head_ms: Percentiles,
}

/// Of the calls that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: Option<f32>,
    pub(super) p99: Option<f32>,
}

/// One kind of refusal.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Refusals {
    pub(super) agent: String,
    pub(super) to: String,
    pub(super) kind: String,
    pub(super) count: u64,
}

/// How the calls are spread over time.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// How long each part is.
    pub(super) seconds: f64,
    pub(super) calls: Vec<u64>,
    pub(super) refused: Vec<u64>,
}

/// All numbers.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    schema: &'static str,
    pub(super) calls: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) errors: u64,
    /// Those with most calls first.
    pub(super) groups: Vec<Group>,
    /// How many groups more there are; their calls are in the sums.
    pub(super) more_groups: usize,
    /// The most frequent first.
    pub(super) refusals: Vec<Refusals>,
    pub(super) over_time: Option<Spread>,
}

impl Tally {
    /// One more.
    pub(super) fn count(&mut self, sheet: &Sheet, entry: &Entry) {
        let (agent, to) = (sheet.agent(), sheet.words().get(entry.to));
        let ended = is_refused(sheet, entry);
        let failed = ended && entry.kind != Kind::Refused && status(entry).is_some_and(|own| FAILED.contains(&own));
        let refused = ended && !failed;
        self.times.push((entry.time, refused));
        // Few agents and hosts, many calls: a text is only copied for the first.
        if !self.groups.contains_key(agent) {
            self.groups.insert(agent.to_owned(), BTreeMap::new());
        }
        let Some(group) = self.groups.get_mut(agent) else { return };
        if !group.contains_key(to) {
            group.insert(to.to_owned(), Times::default());
        }
        let Some(times) = group.get_mut(to) else { return };
        times.count(sheet, entry, refused, failed);
        if refused {
            let kind = match entry.kind {
                Kind::Refused => sheet.words().get(entry.refusal),
                Kind::Call | Kind::Tunnel => "on its way",
            };
            let key = (agent.to_owned(), to.to_owned(), kind.to_owned());
            *self.refusals.entry(key).or_default() += 1;
        }
    }

    /// The numbers; over time, those of this span where it has ends. Of the groups so many at most.
    pub(super) fn summary(self, span: Span, most: usize) -> Summary {
        let over_time = spread(&self.times, span);
        let mut groups = Vec::new();
        for (agent, of_agent) in self.groups {
            groups.extend(of_agent.into_iter().map(|(to, times)| times.group(agent.clone(), to)));
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.calls + group.refused));
        let refusals = self.refusals.into_iter();
        let refusals = refusals.map(|((agent, to, kind), count)| Refusals { agent, to, kind, count });
        let mut refusals: Vec<Refusals> = refusals.collect();
        refusals.sort_by(|one, other| {
            let names = |one: &Refusals| (one.agent.clone(), one.to.clone(), one.kind.clone());
            other.count.cmp(&one.count).then_with(|| names(one).cmp(&names(other)))
        });
        refusals.truncate(REFUSALS);
        let sum = |of: fn(&Group) -> u64| groups.iter().map(of).sum();
        let (calls, refused) = (sum(|group| group.calls), sum(|group| group.refused));
        let (failed, errors) = (sum(|group| group.failed), sum(|group| group.errors));
        let more_groups = groups.len().saturating_sub(most);
        groups.truncate(most);
        Summary { schema: "exeat-stats/1", calls, refused, failed, errors, groups, more_groups, refusals, over_time }
    }
}

impl Times {
    fn count(&mut self, sheet: &Sheet, entry: &Entry, refused: bool, failed: bool) {
        let group = &mut self.group;
        group.calls += u64::from(entry.kind != Kind::Refused);
        group.refused += u64::from(refused);
        group.failed += u64::from(failed);
        let error = outcome(sheet, entry) == "broken" || status(entry).is_some_and(|status| status >= SERVER_ERROR);
        group.errors += u64::from(error && !refused && !failed);
        if let Some(end) = entry.end {
            group.sent = group.sent.saturating_add(end.sent);
            group.received = group.received.saturating_add(end.received);
            self.total.push(end.total);
            self.head.extend(end.head);
        }
    }

    fn group(mut self, agent: String, to: String) -> Group {
        let (total_ms, head_ms) = (Percentiles::of(&mut self.total), Percentiles::of(&mut self.head));
        Group { agent, to, total_ms, head_ms, ..self.group }
    }
}

impl Percentiles {
    fn of(times: &mut [f32]) -> Percentiles {
        let mut nearest = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).checked_sub(1)?;
            Some(*times.select_nth_unstable_by(rank, f32::total_cmp).1)
        };
        Percentiles { p50: nearest(50), p99: nearest(99) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a length of time is shown")]
fn spread(times: &[(i64, bool)], span: Span) -> Option<Spread> {
    let first = times.iter().map(|(time, _)| *time).min()?;
    let last = times.iter().map(|(time, _)| *time).max()?;
    let from = if span.from == i64::MIN { first } else { span.from };
    let to = if span.to == i64::MAX { last } else { span.to };
    // At least a nanosecond each, and the last one has the end.
    let part = (i128::from(to) - i128::from(from)) / PARTS as i128 + 1;
    let (mut calls, mut refused) = (vec![0; PARTS], vec![0; PARTS]);
    for (time, was_refused) in times {
        let number = (i128::from(*time) - i128::from(from)) / part;
        let number = usize::try_from(number).unwrap_or(0).min(PARTS - 1);
        let counts = if *was_refused { &mut refused } else { &mut calls };
        counts[number] += 1;
    }
    let time = |nanoseconds: i64| Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
    let (from, to, seconds) = (time(from), time(to), part as f64 / 1e9);
    Some(Spread { from, to, seconds, calls, refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_there() {
        let mut times: Vec<f32> = (1..=200_u8).rev().map(f32::from).collect();
        assert_eq!(Percentiles::of(&mut times), Percentiles { p50: Some(100.0), p99: Some(198.0) });
        assert_eq!(Percentiles::of(&mut [7.0]), Percentiles { p50: Some(7.0), p99: Some(7.0) });
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }

    #[test]
    fn time_has_sixty_parts_and_each_call_is_in_one() {
        let spread_of = |times: &[(i64, bool)], span| spread(times, span).unwrap();
        let even: Vec<(i64, bool)> = (0..6000).map(|number| (number * 10, number % 3 == 0)).collect();
        let found = spread_of(&even, Span::ALWAYS);
        assert_eq!(found.calls.iter().chain(&found.refused).sum::<u64>(), 6000);
        assert!(found.calls.iter().all(|count| (60..=72).contains(count)), "{:?}", found.calls);
        let one = spread_of(&[(5, false)], Span::ALWAYS);
        assert_eq!((one.calls[0], one.calls.iter().sum::<u64>()), (1, 1));
        let extreme = spread_of(&[(i64::MIN, false), (i64::MAX, true)], Span::ALWAYS);
        assert_eq!((extreme.calls[0], extreme.refused[PARTS - 1]), (1, 1));
        assert_eq!(spread_of(&[(50, false)], Span { from: 0, to: 99 }).calls[25], 1);
        assert_eq!(spread(&[], Span::ALWAYS), None);
    }
}
