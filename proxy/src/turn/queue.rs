//! Who waits for a turn.
//!
//! Enters: shares with something to do, and what their turns cost. Leaves: the one that is next. Two kinds wait: those whose work fits into
//! their allowance, and lanes with all the others. Never: somebody who waits for ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::RuleId;

use super::lane::Lane;
use super::waiting::Waiting;
use super::{ALLOWANCE, ENOUGH, IN_A_ROW, Place, SLICE, Share, State, lock, nanoseconds};

/// Lanes of rules that are remembered though nothing of theirs is under way: as many rules as a long policy has.
const LANES: usize = 256;
/// What a share has had of its allowance counts so many times: a request then is some milliseconds, as much as a busy lane makes others wait.
const LATER: u32 = 20;
/// For so long somebody who asked for little is expected to ask again, and a lane that had much to do to have more.
const COMPANY: Duration = Duration::from_millis(100);
/// What a lane had before others, as it asked for little at a time, sets it back by so much at most once it asks for more.
const DEBT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those with something to do that fits into their allowance: first come, first served, but whoever has had something, or whose lane has,
    /// counts as having come later by that much. So nobody is passed over for ever.
    light: BinaryHeap<Reverse<Waiting>>,
    /// How many were put there, and when the first was.
    came: u64,
    since: Option<Instant>,
    /// Turns that these had in a row.
    in_a_row: u32,
    /// The virtual time, in nanoseconds: when the turn that was given last began, among those of all lanes.
    clock: u64,
    /// Shares so far.
    pub(super) shares: u64,
    /// How many wait for something to do.
    pub(super) idle: usize,
    /// The lanes of the others with something to do, by when their turn begins. Older ones first.
    heavy: BTreeMap<(u64, u64), Arc<Lane>>,
    /// Lanes so far.
    made: u64,
    /// That of each rule, and that of what no rule lets out.
    lanes: HashMap<Option<RuleId>, Arc<Lane>>,
    /// How many of them make it worth while to look which are over, beyond [`LANES`].
    most: usize,
    /// The lane that was last to have more to do than its allowance covers, and when.
    busy: Option<(u64, Instant)>,
    /// When somebody of another one last asked for little.
    company: Option<Instant>,
}

impl Queue {
    /// A lane for one share alone; the worker's `own`, or a caller's.
    pub(super) fn lane(&mut self, own: bool) -> Arc<Lane> {
        self.made += 1;
        Arc::new(Lane::new(self.made, own, self.clock))
    }

    /// The lane of `rule`, or of what none lets out.
    pub(super) fn lane_of(&mut self, rule: Option<&RuleId>) -> Arc<Lane> {
        let rule = rule.cloned();
        if let Some(lane) = self.lanes.get(&rule) {
            return Arc::clone(lane);
        }
        if self.lanes.len() >= self.most.max(LANES) {
            self.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            self.most = self.lanes.len() * 2;
        }
        let lane = self.lane(false);
        self.lanes.insert(rule, Arc::clone(&lane));
        lane
    }

    /// Whose turn it is, and what was paid for it in advance.
    pub(super) fn next(&mut self, spare: bool, now: Instant) -> Option<(Arc<Share>, Duration)> {
        let enough = !spare && self.is_enough(now);
        self.in_a_row = if enough { 0 } else { self.in_a_row.saturating_add(1) };
        let light = if enough { None } else { self.light.pop() };
        let (share, paid) = match light {
            Some(Reverse(Waiting { share, .. })) => {
                let ahead = lock(&share.lane.state).next;
                // Not past those who wait: whoever comes next would wait behind all that time.
                let first = self.heavy.first_key_value().map_or(ahead, |((first, _), _)| *first);
                self.clock = self.clock.max(ahead.min(first));
                if !share.lane.own && self.busy.is_some_and(|(lane, _)| lane != share.lane.number) {
                    self.company = Some(now);
                }
                (share, Duration::ZERO)
            }
            None if spare => return None,
            None => match self.first_of_lane() {
                Some(share) => {
                    (self.in_a_row, self.busy) = (0, Some((share.lane.number, now)));
                    (share, SLICE)
                }
                None => {
                    self.idle += 1;
                    return None;
                }
            },
        };
        let mut state = lock(&share.state);
        state.next += nanoseconds(paid);
        state.place = Place::InTurn;
        drop(state);
        Some((share, paid))
    }

    /// Whether those who ask for little have had their turns for now: many in a row, or a single one where their lane had more of late than the
    /// one that waits. A new connection has no allowance yet, and would wait so long each time for hundreds that have rested a little.
    fn is_enough(&self, now: Instant) -> bool {
        let (Some((_, waits)), Some(Reverse(light))) = (self.heavy.first_key_value(), self.light.peek()) else {
            return false;
        };
        let lane = &light.share.lane;
        let had_more = || lock(&lane.state).late(now) > lock(&waits.state).late(now);
        self.in_a_row >= IN_A_ROW || (self.in_a_row > 0 && !lane.own && lane.number != waits.number && had_more())
    }

    /// Whether somebody asks for little beside a lane that has always more to do.
    pub(super) fn in_company(&self, now: Instant) -> bool {
        let lately = |then: Instant| now.saturating_duration_since(then) < COMPANY;
        self.company.is_some_and(lately) && self.busy.is_some_and(|(_, then)| lately(then))
    }

    /// Whether nobody waits who asks for little.
    pub(super) fn is_unhurried(&self) -> bool {
        self.light.is_empty()
    }

    /// The first share of the lane whose turn it is.
    fn first_of_lane(&mut self) -> Option<Arc<Share>> {
        let ((first, number), lane) = self.heavy.pop_first()?;
        self.clock = self.clock.max(first);
        let mut of = lock(&lane.state);
        let share = of.take();
        of.next = first + nanoseconds(SLICE);
        if !of.heavy.is_empty() {
            self.heavy.insert((of.next, number), Arc::clone(&lane));
        }
        share
    }

    pub(super) fn put(&mut self, share: &Arc<Share>, state: &mut State, now: Instant) {
        state.place = Place::Waits;
        let mut of = lock(&share.lane.state);
        if state.allowance >= ENOUGH {
            self.came += 1;
            let had = (ALLOWANCE - state.allowance) * LATER + of.late(now);
            let first = nanoseconds(now.saturating_duration_since(*self.since.get_or_insert(now)) + had);
            self.light.push(Reverse(Waiting { first, then: self.came, share: Arc::clone(share) }));
        } else {
            state.next = state.next.max(of.clock);
            if of.heavy.is_empty() {
                of.next = of.next.max(self.clock);
                self.heavy.insert((of.next, share.lane.number), Arc::clone(&share.lane));
            }
            of.heavy.push(Reverse(Waiting { first: state.next, then: share.number, share: Arc::clone(share) }));
        }
    }

    /// Settles what a turn of one of its shares cost `lane`, and what was paid for it.
    pub(super) fn charge(&mut self, lane: &Lane, took: Duration, paid: Duration, now: Instant) {
        let mut of = lock(&lane.state);
        let waits = if of.heavy.is_empty() { None } else { self.heavy.remove(&(of.next, lane.number)) };
        if paid.is_zero() {
            of.next = of.next.max(self.clock);
        }
        of.next = (of.next + nanoseconds(took)).saturating_sub(nanoseconds(paid)).min(self.clock + nanoseconds(DEBT));
        of.had(took, now);
        if let Some(lane) = waits {
            self.heavy.insert((of.next, lane.number), lane);
        }
    }
}
