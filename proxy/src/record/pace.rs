//! How fast calls may fill the log, and who waits once they are faster.
//!
//! Enters: what the records of each connection take, and calls as they come. Leaves: leave to take a call up: at once as long as the log is within its pace, and
//! beyond it to one after the other, first whoever has had least since the log fell behind (start-time fair queueing, as in `turn`, of connections and the
//! bytes of their records). Never: a record that waits or is left out; a call that is judged before its turn, so that who goes away writes no more
//! than who stays; a wait once the worker stops.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::RoomSettings;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use record::{CallLog, Event, LogError};
use tokio::sync::{Notify, watch};

/// What is counted, in bytes: the limiter's times are whole nanoseconds.
const UNIT: u32 = 16;
/// What the records of a call take at least, in these: so much of its turn's is counted before they are written.
const CALL: u64 = 1024 / UNIT as u64;
/// Who comes anew has not shown how little it asks for: one that stands goes before it.
const ANEW: u64 = (64 << 10) / UNIT as u64;
/// A refusal costs its agent nothing, and needs no rule: a byte of it counts for so many.
const REFUSED: u64 = 8;
/// Where there is no room for calls any more, for so many: at 8 MiB a second that leaves 4 KiB, for which even the 256 MiB that stay free last for 18 hours.
const SCARCE: u64 = 2048;
/// While that is so, who waits looks so often whether there is room again.
const LOOK: Duration = Duration::from_secs(1);

/// The pace of one worker's log.
#[derive(Debug)]
pub(crate) struct Pace {
    log: Arc<CallLog>,
    limiter: DefaultDirectRateLimiter,
    /// As much as the limiter takes at once.
    burst: u64,
    /// What was written beyond the pace, and is not made up for.
    behind: AtomicU64,
    /// What it counted for beyond that as there was no room: it is forgotten once there is.
    scarce: AtomicU64,
    queue: Mutex<Queue>,
}

/// The connections that wait, by the virtual time at which their next turn begins, in units; each one's calls as they came. What a call costs is known
/// once it is written: the calls behind it wait as long as their connection then has to, however many there are.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Key, VecDeque<Arc<Notify>>>,
    /// When the turn that was given last began, or what each of those who wait would have had by now.
    clock: u64,
    /// The latest time that any connection was set back to: from there all are equal again, once nobody waits.
    latest: u64,
}

/// When a connection's next turn begins, and its number.
type Key = (u64, u64);

/// One connection's way into the log, and what it took there.
#[derive(Debug)]
pub struct Account {
    /// The connection's number in its worker, from 1.
    pub(crate) number: u64,
    pace: Arc<Pace>,
    /// The virtual time at which its next turn begins at the earliest; zero while it has had none.
    next: AtomicU64,
    /// What was counted before it is written.
    paid: AtomicU64,
    /// Calls that were not taken up, as their client did not wait.
    gone: AtomicU64,
}

impl Pace {
    pub(crate) fn new(log: &Arc<CallLog>, RoomSettings { second, burst, .. }: RoomSettings) -> Arc<Self> {
        let units = |bytes: NonZeroU32| NonZeroU32::MIN.saturating_add((bytes.get() / UNIT).saturating_sub(1));
        let quota = Quota::per_second(units(second)).allow_burst(units(burst));
        let (limiter, burst) = (RateLimiter::direct(quota), units(burst).get().into());
        let [behind, scarce] = [(); 2].map(|()| AtomicU64::new(0));
        Arc::new(Self { log: Arc::clone(log), limiter, burst, behind, scarce, queue: Mutex::default() })
    }

    /// Counts so much. Whether it is within the pace.
    fn takes(&self, units: u64) -> bool {
        let taken = !self.is_behind() && (units == 0 || self.check(units).is_none());
        if !taken {
            self.behind.fetch_add(units, Ordering::Relaxed);
        }
        taken
    }

    fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > 0 || self.scarce.load(Ordering::Relaxed) > 0
    }

    /// Makes up for what is behind; for how long not all of it can be.
    fn catch_up(&self) -> Option<Duration> {
        loop {
            let scarce = self.scarce.load(Ordering::Relaxed) > 0;
            if scarce && self.log.has_room(Instant::now()).is_ok() {
                self.scarce.store(0, Ordering::Relaxed);
                continue;
            }
            let counted = if scarce { &self.scarce } else { &self.behind };
            let behind = counted.load(Ordering::Relaxed).min(self.burst);
            if behind == 0 {
                return None;
            }
            if let Some(wait) = self.check(behind) {
                return Some(if scarce { wait.min(LOOK) } else { wait });
            }
            counted.fetch_sub(behind, Ordering::Relaxed);
        }
    }

    /// Takes so many units of the limiter's; for how long it has not as many.
    fn check(&self, units: u64) -> Option<Duration> {
        let units = u32::try_from(units).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        match self.limiter.check_n(units) {
            Ok(Ok(())) => None,
            Ok(Err(not_until)) => Some(not_until.wait_time_from(DefaultClock::default().now())),
            // More than it ever takes at once: that is behind, and made up for in parts.
            Err(_) => Some(Duration::ZERO),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// That of connection `number`.
    pub(crate) fn new(pace: &Arc<Pace>, number: u64) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self { number, pace: Arc::clone(pace), next: zero(), paid: zero(), gone: zero() })
    }

    /// The log.
    pub(crate) fn log(&self) -> &Arc<CallLog> {
        &self.pace.log
    }

    /// Writes a record; where it is only noted, the kernel has it when whoever has to come after it does.
    pub(super) fn add(&self, event: Event, add: super::Add) -> Result<(), LogError> {
        let bytes = add(&self.pace.log, Timestamp::now(), event)?;
        self.wrote(bytes, 1);
        Ok(())
    }

    /// Writes what is no call's record: a refusal, for one.
    pub(crate) fn tell(&self, event: Event) -> Result<(), LogError> {
        let times = if matches!(event, Event::Refused(_)) { REFUSED } else { 1 };
        let bytes = self.pace.log.append(Timestamp::now(), event)?;
        if self.pace.log.has_room(Instant::now()).is_err() {
            self.pace.scarce.fetch_add(units(bytes) * (SCARCE - times), Ordering::Relaxed);
        }
        self.wrote(bytes, times);
        Ok(())
    }

    /// Whether the log is behind, so that further calls have to wait for their turn.
    pub(crate) fn waits(&self) -> bool {
        self.pace.is_behind()
    }

    /// Whether turns were given of which not all is written yet.
    pub(crate) fn has_had_its_turn(&self) -> bool {
        self.paid.load(Ordering::Relaxed) > 0
    }

    /// Waits for the turn of a call; no longer than until `stop` turns true.
    pub(crate) async fn turn(&self, stop: &watch::Receiver<bool>) {
        let mut stop = stop.clone();
        let mut place = Place::take(self);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = place.first() => self.advance(),
        }
        place.left = false;
    }

    /// Calls that were not taken up since this was asked.
    pub(crate) fn gone(&self) -> u64 {
        self.gone.swap(0, Ordering::Relaxed)
    }

    /// Counts a call before its records: who waits next waits for that as well.
    fn advance(&self) {
        self.pace.takes(CALL);
        self.paid.fetch_add(CALL, Ordering::Relaxed);
        self.pace.queue().set_back(self, CALL);
    }

    fn wrote(&self, bytes: usize, times: u64) {
        let units = units(bytes) * times;
        let paid = self.paid.swap(0, Ordering::Relaxed);
        if paid > units {
            self.paid.fetch_add(paid - units, Ordering::Relaxed);
        }
        let rest = units.saturating_sub(paid);
        if self.pace.takes(rest) {
            if self.next.load(Ordering::Relaxed) == 0 {
                // It stands from now on, if it has not begun to wait meanwhile.
                let stands = self.pace.queue().clock.max(1);
                let _ = self.next.compare_exchange(0, stands, Ordering::Relaxed, Ordering::Relaxed);
            }
            return;
        }
        let mut queue = self.pace.queue();
        queue.set_back(self, rest);
        // As if all who wait had been served at once: who comes anew all the time, and owes nothing, would be the first for ever otherwise.
        queue.clock = queue.clock.saturating_add(units / (queue.waiting.len() as u64 + 1));
    }

    fn key(&self) -> Key {
        (self.next.load(Ordering::Relaxed), self.number)
    }
}

impl Queue {
    /// `account`'s next turn is later by so much.
    fn set_back(&mut self, account: &Account, units: u64) {
        let (next, calls) = (account.next.load(Ordering::Relaxed), self.waiting.remove(&account.key()));
        let begins = match next {
            0 => self.clock + ANEW,
            next if calls.is_some() => next,
            // Who does not wait saves up nothing.
            next => next.max(self.clock),
        };
        account.next.store(begins.saturating_add(units), Ordering::Relaxed);
        self.latest = self.latest.max(begins.saturating_add(units));
        if let Some(calls) = calls {
            self.waiting.insert(account.key(), calls);
            self.wake();
        }
    }

    /// Tells the first that it is the first.
    fn wake(&self) {
        if let Some(first) = self.first() {
            first.notify_one();
        }
    }

    fn first(&self) -> Option<&Arc<Notify>> {
        self.waiting.first_key_value().and_then(|(_, calls)| calls.front())
    }
}

fn units(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(UNIT.into())
}

/// A place among those who wait.
struct Place<'a> {
    account: &'a Account,
    told: Arc<Notify>,
    /// Whether its client has left, if it is given up now.
    left: bool,
}

impl<'a> Place<'a> {
    fn take(account: &'a Account) -> Self {
        let (mut queue, told) = (account.pace.queue(), Arc::new(Notify::new()));
        queue.set_back(account, 0);
        queue.waiting.entry(account.key()).or_default().push_back(Arc::clone(&told));
        drop(queue);
        Self { account, told, left: true }
    }

    /// Waits until it is the first, and the log is not behind.
    async fn first(&self) {
        let pace = &self.account.pace;
        loop {
            let first = pace.queue().first().is_none_or(|first| Arc::ptr_eq(first, &self.told));
            if !first {
                self.told.notified().await;
            } else if let Some(wait) = pace.catch_up() {
                tokio::time::sleep(wait).await;
            } else {
                let mut queue = pace.queue();
                queue.clock = queue.clock.max(self.account.key().0);
                return;
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.account.pace.queue();
        if let Entry::Occupied(mut connection) = queue.waiting.entry(self.account.key()) {
            connection.get_mut().retain(|told| !Arc::ptr_eq(told, &self.told));
            if connection.get().is_empty() {
                connection.remove();
            }
        }
        if queue.waiting.is_empty() {
            queue.clock = queue.clock.max(queue.latest);
        }
        queue.wake();
        drop(queue);
        if self.left {
            self.account.gone.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
