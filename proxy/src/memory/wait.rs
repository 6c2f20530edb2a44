//! Clients that are waited for, while what is theirs takes room.
//!
//! Enters: when a client begins to be waited for, and when it moves: reads on, or sends the rest. Leaves: an end for the connections of those who have
//! been waited for longest, when somebody has to make room; and the answers that are not read now. Never: an end for one that moved within a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::leave::Offer;
use crate::seats::{Left, Seat};

/// A client that has not moved for so long may be one that never does.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// All clients of which something is held.
#[derive(Debug)]
pub(super) struct Waits {
    begun: Instant,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    made: u64,
    by_number: BTreeMap<u64, Waited>,
}

#[derive(Debug, Clone)]
struct Waited {
    since: Arc<AtomicU64>,
    seat: Weak<Seat>,
    /// The answer that is held, where it is one.
    offer: Option<Offer>,
}

impl Waited {
    fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }
}

/// Something is held for, or of, a client until this is dropped: an answer on its way to it, or what it has sent of a body so far.
#[derive(Debug)]
pub(crate) struct Wait {
    waits: Arc<Waits>,
    number: u64,
    /// Since when it is waited for, in milliseconds; 0 while it is not.
    since: Arc<AtomicU64>,
}

impl Waits {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), held: Mutex::default() })
    }

    /// The client of `seat` is waited for from now on, to read what is on `offer`, or to send.
    pub fn begin(self: &Arc<Self>, seat: &Arc<Seat>, offer: Option<Offer>) -> Wait {
        let since = Arc::new(AtomicU64::new(self.now()));
        let mut held = self.lock();
        held.made += 1;
        let number = held.made;
        held.by_number.insert(number, Waited { since: Arc::clone(&since), seat: Arc::downgrade(seat), offer });
        Wait { waits: Arc::clone(self), number, since }
    }

    /// Ends the connections of so many waits, of those that have lasted longest. Whether there were any.
    pub fn end(&self, most: usize) -> bool {
        let late = self.now().saturating_sub(milliseconds(PATIENCE));
        let waited: Vec<_> = self
            .lock()
            .by_number
            .values()
            .map(|waited| (waited.since(), &waited.seat))
            .filter(|&(since, _)| since > 0 && since <= late)
            .map(|(since, seat)| (since, seat.clone()))
            .collect();
        let seats = waited.into_iter().filter_map(|(since, seat)| Some((since, seat.upgrade()?)));
        let mut waited: Vec<_> = seats.filter(|(_, seat)| !seat.is_ended()).collect();
        waited.sort_by_key(|&(since, _)| since);
        waited.iter().take(most).for_each(|(_, seat)| seat.end(Left::Unread));
        !waited.is_empty()
    }

    /// Whether there is a client that is waited for.
    pub fn any(&self) -> bool {
        self.lock().by_number.values().any(|waited| waited.since() > 0)
    }

    /// The answers whose clients are waited for, with their places.
    pub fn unread(&self) -> Vec<(Offer, Arc<Seat>)> {
        let waited: Vec<_> = self.lock().by_number.values().filter(|waited| waited.since() > 0).cloned().collect();
        // Not with the lock held: the last who has an offer lets go of a call.
        waited.into_iter().filter_map(|waited| waited.offer.zip(waited.seat.upgrade())).collect()
    }

    /// Milliseconds since it began, from 1 on.
    fn now(&self) -> u64 {
        milliseconds(self.begun.elapsed()) + 1
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lock().by_number.is_empty()
    }
}

impl Wait {
    /// Its client has moved.
    pub fn over(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// Its client is waited for again.
    pub fn again(&self) {
        self.since.store(self.waits.now(), Ordering::Relaxed);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waited = self.waits.lock().by_number.remove(&self.number);
        drop(waited);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
