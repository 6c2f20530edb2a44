//! The places for connections, and who gives up theirs when all are taken.
//!
//! Enters: connections as they are accepted, and when a call on one begins and ends. Leaves: a place for the next one: a free one, or
//! that of whoever has had nothing to ask for longest, those that never asked anything first. Never: more connections than places,
//! nor a connection that is cut off in the middle of a call for its place; for the room that it takes it may be (`memory`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use config::Destination;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Refusal;

/// Whoever is asked to leave and has nothing to do does so at once.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// When there are fewer free places, who never asked anything is asked to leave: whoever comes next need not wait until it has gone.
const SPARE: usize = 32;

/// All places of a worker.
#[derive(Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    spare: usize,
    taken: Arc<Mutex<Taken>>,
}

/// Who has a place, by number; thus who came first is first.
#[derive(Debug, Default)]
struct Taken {
    /// Who never asked anything, and was not asked to leave yet.
    silent: BTreeMap<u64, Weak<Seat>>,
    /// Who was asked to, and has neither gone nor asked anything since.
    leaving: BTreeSet<u64>,
    /// The others.
    called: BTreeMap<u64, Weak<Seat>>,
}

/// One place. It is free again when nobody holds it any more: neither the connection, nor a call or socket of it.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    /// Calls under way.
    calls: AtomicUsize,
    /// Whether there ever was one.
    called: AtomicBool,
    idle_since: Mutex<Instant>,
    leave: Notify,
    /// Why it is to end whatever is under way, once that is so.
    ended: OnceLock<Left>,
    /// Tells of it whoever has taken the connection over.
    told: Notify,
    taken: Arc<Mutex<Taken>>,
    _place: OwnedSemaphorePermit,
}

/// Why a place is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is needed, and nothing was ever asked for here.
    Silent,
    /// It is needed, and there is nothing to do here.
    Idle,
    /// What its client does not read, or has not sent to its end, takes the room that others need.
    Unread,
    /// So do its calls, which are more than others have.
    Busiest,
    /// The leave of its call was taken back, and its client does not read the answer. The end of that call says so.
    Withdrawn,
}

impl Left {
    /// What is told of it, where it is worth a word.
    pub fn refusal(self, to: &Destination) -> Option<Refusal> {
        match self {
            Self::Silent => Some(Refusal::Crowded(to.clone())),
            Self::Idle | Self::Withdrawn => None,
            Self::Unread => Some(Refusal::Unread(to.clone())),
            Self::Busiest => Some(Refusal::Busiest(to.clone())),
        }
    }
}

/// A call is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Seat>);

impl Busy {
    /// Whose call it is.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.0
    }
}

impl Seats {
    pub fn new(places: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(places)), spare: SPARE.min(places / 4), taken: Arc::default() }
    }

    /// A place for connection `number`. Where all are taken and all have something to do, whoever comes waits.
    pub async fn take(&self, number: u64) -> Arc<Seat> {
        if self.free.available_permits() <= self.spare {
            self.ask_silent();
        }
        let place = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => self.next().await,
        };
        let seat = Arc::new(Seat {
            number,
            calls: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            leave: Notify::new(),
            ended: OnceLock::new(),
            told: Notify::new(),
            taken: Arc::clone(&self.taken),
            _place: place,
        });
        lock(&self.taken).silent.insert(number, Arc::downgrade(&seat));
        seat
    }

    /// Asks who is worth least to leave, until somebody does.
    async fn next(&self) -> OwnedSemaphorePermit {
        loop {
            // Who was asked to leave may not have had a turn yet: that is no reason to ask somebody who is worth more.
            if !self.ask_silent() && lock(&self.taken).leaving.is_empty() {
                self.ask_idle();
            }
            // It may have had a call meanwhile, and somebody else an end.
            if let Ok(Ok(place)) = timeout(ASK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return place;
            }
        }
    }

    /// Asks who came first of those that never asked anything. It goes at once, or has its first call and is no longer one of them.
    fn ask_silent(&self) -> bool {
        // Dropped once the lock is not held any more: it takes itself out of the list.
        let mut taken = lock(&self.taken);
        let seat = taken.silent.pop_first().and_then(|(_, seat)| seat.upgrade());
        taken.leaving.extend(seat.as_ref().map(|seat| seat.number));
        drop(taken);
        seat.inspect(|seat| seat.leave.notify_one()).is_some()
    }

    /// Ends the connections with the most calls under way, and of these the latest, until it has ended so many calls. Whether there were any.
    pub fn end_busiest(&self, calls: usize) -> bool {
        let mut seats: Vec<_> = lock(&self.taken).called.values().filter_map(Weak::upgrade).collect();
        seats.retain(|seat| !seat.is_idle() && !seat.is_ended());
        seats.sort_by_key(|seat| Reverse((seat.calls(), seat.number)));
        let mut ended = 0;
        for seat in seats.iter().take_while(|seat| {
            let before = ended;
            ended += seat.calls();
            before < calls
        }) {
            seat.end(Left::Busiest);
        }
        !seats.is_empty()
    }

    /// Asks who has had nothing to ask for longest.
    fn ask_idle(&self) {
        let seats: Vec<_> = lock(&self.taken).called.values().filter_map(Weak::upgrade).collect();
        let idle = seats.iter().filter(|seat| seat.is_idle());
        if let Some(seat) = idle.min_by_key(|seat| *lock(&seat.idle_since)) {
            seat.leave.notify_one();
        }
    }
}

impl Seat {
    /// A call begins.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.called.swap(true, Ordering::Relaxed) {
            let mut taken = lock(&self.taken);
            taken.silent.remove(&self.number);
            taken.leaving.remove(&self.number);
            taken.called.insert(self.number, Arc::downgrade(self));
        }
        Busy(Arc::clone(self))
    }

    /// The connection's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many calls are under way.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The connection is to end, whatever is under way.
    pub fn end(&self, why: Left) {
        // Only the first reason counts.
        let _ = self.ended.set(why);
        self.leave.notify_one();
        self.told.notify_waiters();
    }

    /// Whether it was told so.
    pub fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Waits until it is told so: for what goes on when the connection itself is nobody's any more.
    pub async fn ended(&self) -> Left {
        let mut told = std::pin::pin!(self.told.notified());
        loop {
            told.as_mut().enable();
            if let Some(&why) = self.ended.get() {
                return why;
            }
            told.as_mut().await;
            told.set(self.told.notified());
        }
    }

    /// Waits until the place is needed and no call is under way, or it is to end.
    pub async fn given_up(&self) -> Left {
        loop {
            self.leave.notified().await;
            if let Some(&why) = self.ended.get() {
                return why;
            }
            // One that began meanwhile is worth more than whoever waits; that one asks again.
            if self.is_idle() {
                return if self.called.load(Ordering::Relaxed) { Left::Idle } else { Left::Silent };
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.calls() == 0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.silent.remove(&self.number);
        taken.leaving.remove(&self.number);
        taken.called.remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.idle_since) = Instant::now();
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const NOT_YET: Duration = Duration::from_millis(50);

    /// A connection that leaves when it is asked to.
    fn polite(seat: Arc<Seat>) -> tokio::task::JoinHandle<u64> {
        tokio::spawn(async move {
            seat.given_up().await;
            seat.number
        })
    }

    #[tokio::test]
    async fn who_never_asked_goes_before_who_is_idle_and_nobody_in_a_call() {
        let seats = Seats::new(3);
        let calling = seats.take(1).await;
        let call = calling.busy();
        let idle = seats.take(2).await;
        drop(idle.busy());
        let silent = seats.take(3).await;
        let [calling, idle, silent] = [calling, idle, silent].map(polite);
        let fourth = timeout(SOON, seats.take(4)).await.unwrap();
        assert_eq!(silent.await.unwrap(), 3);
        let call_of_fourth = fourth.busy();
        let fifth = timeout(SOON, seats.take(5)).await.unwrap();
        assert_eq!(idle.await.unwrap(), 2);
        let call_of_fifth = fifth.busy();
        assert!(timeout(NOT_YET, seats.take(6)).await.is_err(), "all have something to do");
        assert!(!calling.is_finished());
        drop((call, call_of_fourth, call_of_fifth));
        timeout(SOON, seats.take(7)).await.unwrap();
        assert_eq!(calling.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn who_never_asked_leaves_before_all_places_are_taken_first_come_first_gone() {
        let seats = Seats::new(4);
        let first = seats.take(1).await;
        let call = first.busy();
        let [second, third] = [seats.take(2).await, seats.take(3).await];
        assert_eq!(seats.free.available_permits(), 1);
        let [second, third] = [second, third].map(polite);
        timeout(SOON, seats.take(4)).await.unwrap();
        assert_eq!(timeout(SOON, second).await.unwrap().unwrap(), 2);
        assert!(!third.is_finished(), "there is room again");
        drop((first, call));
    }

    #[tokio::test]
    async fn nobody_idle_is_asked_while_who_never_asked_is_about_to_leave() {
        let seats = Seats::new(2);
        let idle = seats.take(1).await;
        drop(idle.busy());
        let slow = seats.take(2).await;
        let idle = polite(idle);
        assert!(timeout(NOT_YET, seats.take(3)).await.is_err());
        assert!(!idle.is_finished(), "the other one has had no turn yet");
        drop(slow);
        timeout(SOON, seats.take(4)).await.unwrap();
        assert!(!idle.is_finished());
    }

    #[tokio::test]
    async fn a_place_is_free_when_its_last_call_has_ended_though_the_connection_is_gone() {
        let seats = Seats::new(1);
        let seat = seats.take(1).await;
        let socket = seat.busy();
        drop(seat);
        assert!(timeout(NOT_YET, seats.take(2)).await.is_err());
        drop(socket);
        timeout(SOON, seats.take(3)).await.unwrap();
        assert!(lock(&seats.taken).silent.is_empty() && lock(&seats.taken).called.is_empty());
    }
}
