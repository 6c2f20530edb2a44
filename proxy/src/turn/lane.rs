//! Shares that have something in common: what one rule lets out.
//!
//! Enters: shares of it that have much to do, and what its turns cost. Leaves: which of its shares is next, and how much all of them have had of
//! late. Never: a lane that is served more often because it has more shares.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::waiting::Waiting;
use super::{Share, nanoseconds};

/// What was had is forgotten at this rate: long against a burst of work, short against a person's patience.
const MEMORY: Duration = Duration::from_millis(64);

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: u64,
    /// Whether it is the worker's own work, and no caller's.
    pub(super) own: bool,
    /// Locked while the queue is, or for a moment.
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    /// The virtual time at which its next turn begins at the earliest. While it waits among lanes, it does so under this.
    pub(super) next: u64,
    /// The virtual time among its shares, in nanoseconds: when the turn that was given last to one of them began.
    pub(super) clock: u64,
    /// Its shares that have more to do than their allowance covers, by when their turn begins. Older ones first.
    pub(super) heavy: BinaryHeap<Reverse<Waiting>>,
    /// What it had of late, as it was then.
    late: Duration,
    then: Instant,
}

impl Lane {
    pub(super) fn new(number: u64, own: bool, next: u64) -> Self {
        let state = State { next, clock: 0, heavy: BinaryHeap::new(), late: Duration::ZERO, then: Instant::now() };
        Self { number, own, state: Mutex::new(state) }
    }
}

impl State {
    /// The share whose turn it is.
    pub(super) fn take(&mut self) -> Option<Arc<Share>> {
        let Reverse(Waiting { first, share, .. }) = self.heavy.pop()?;
        self.clock = self.clock.max(first);
        Some(share)
    }

    /// Notes what a turn of one of its shares cost.
    pub(super) fn had(&mut self, took: Duration, now: Instant) {
        self.late = self.late(now) + took;
        self.then = now;
    }

    /// What it had of late.
    pub(super) fn late(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.then);
        match MEMORY.checked_sub(since) {
            None => Duration::ZERO,
            Some(rest) => {
                let left = u128::from(nanoseconds(self.late)) * rest.as_nanos() / MEMORY.as_nanos();
                Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
            }
        }
    }
}
