//! The places for connections, and who gives up theirs when all are taken.
//!
//! Enters: connections as they are accepted, and when a call on one begins and ends. Leaves: a place for the next one: a free one, or
//! that of whoever has had nothing to ask for longest, those that never asked anything first. Never: more connections than places,
//! nor a connection that is cut off in the middle of a call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Whoever is asked to leave and has nothing to do does so at once.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// All places of a worker.
#[derive(Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    taken: Arc<DashMap<u64, Weak<Seat>>>,
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
    taken: Arc<DashMap<u64, Weak<Seat>>>,
    _place: OwnedSemaphorePermit,
}

/// A call is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Seat>);

impl Seats {
    pub fn new(places: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(places)), taken: Arc::default() }
    }

    /// A place for connection `number`. Where all are taken and all have something to do, whoever comes waits.
    pub async fn take(&self, number: u64) -> Arc<Seat> {
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
            taken: Arc::clone(&self.taken),
            _place: place,
        });
        self.taken.insert(number, Arc::downgrade(&seat));
        seat
    }

    /// Asks who is worth least to leave, until somebody does.
    async fn next(&self) -> OwnedSemaphorePermit {
        loop {
            // One that is gone is dropped after the map was looked through: it takes itself out of it.
            let seats: Vec<_> = self.taken.iter().filter_map(|seat| seat.upgrade()).collect();
            let idle = seats.into_iter().filter(|seat| seat.is_idle());
            if let Some(seat) = idle.min_by_key(|seat| seat.worth()) {
                seat.leave.notify_one();
            }
            // It may have had a call meanwhile, and somebody else an end.
            if let Ok(Ok(place)) = timeout(ASK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return place;
            }
        }
    }
}

impl Seat {
    /// A call begins.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.called.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// The connection's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the place is needed and no call is under way. Says whether there ever was one.
    pub async fn given_up(&self) -> bool {
        loop {
            self.leave.notified().await;
            // One that began meanwhile is worth more than whoever waits; that one asks again.
            if self.is_idle() {
                return self.called.load(Ordering::Relaxed);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.calls.load(Ordering::Relaxed) == 0
    }

    /// Who is worth least goes first.
    fn worth(&self) -> (bool, Instant) {
        (self.called.load(Ordering::Relaxed), *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
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
    async fn a_place_is_free_when_its_last_call_has_ended_though_the_connection_is_gone() {
        let seats = Seats::new(1);
        let seat = seats.take(1).await;
        let socket = seat.busy();
        drop(seat);
        assert!(timeout(NOT_YET, seats.take(2)).await.is_err());
        drop(socket);
        timeout(SOON, seats.take(3)).await.unwrap();
        assert!(seats.taken.is_empty());
    }
}
