//! Who waits until there is room.
//!
//! Enters: whoever may not go on. Leaves: their turn, to those who are called. Never: a place for somebody who has gone; a search through all who
//! wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Those who wait, by the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    came: u64,
    /// Whether it is the turn of who came last.
    last: bool,
    wakers: BTreeMap<u64, Waker>,
}

/// A place in the queue, until it is called or given up.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Queue {
    /// Whether to go on: `free` says that nobody need wait, or the ticket has been called. Otherwise it is kept for the next time.
    pub fn poll(self: &Arc<Self>, ticket: &mut Option<Ticket>, free: impl Fn() -> bool, cx: &Context<'_>) -> Poll<()> {
        let mut standing = self.lock();
        // Looked at with the lock held: whoever calls everybody does so afterwards.
        let called = match ticket {
            None => false,
            Some(Ticket { number, .. }) => !standing.wakers.contains_key(number),
        };
        if called || free() {
            drop(standing);
            *ticket = None;
            return Poll::Ready(());
        }
        let number = match ticket {
            Some(ticket) => ticket.number,
            None => {
                standing.came += 1;
                *ticket = Some(Ticket { queue: Arc::clone(self), number: standing.came });
                standing.came
            }
        };
        standing.wakers.insert(number, cx.waker().clone());
        Poll::Pending
    }

    /// Calls so many of those who came first.
    pub fn call(&self, most: usize) {
        self.call_by(most, |_| false);
    }

    /// Calls so many, who came first and who came last in turn: where many wait, those who came first may long have given up, and who comes
    /// now must not wait for all of them. The numbers of their tickets.
    pub fn call_from_both_ends(&self, most: usize) -> Vec<u64> {
        self.call_by(most, |last| !last)
    }

    /// `turn` says whose is the next one, after one of who came last or first.
    fn call_by(&self, most: usize, turn: impl Fn(bool) -> bool) -> Vec<u64> {
        let mut standing = self.lock();
        let Standing { last, wakers, .. } = &mut *standing;
        let next = |_| {
            *last = turn(*last);
            if *last { wakers.pop_last() } else { wakers.pop_first() }
        };
        let (numbers, called): (Vec<_>, Vec<_>) = (0..most).map_while(next).unzip();
        drop(standing);
        called.into_iter().for_each(Waker::wake);
        numbers
    }

    pub fn is_empty(&self) -> bool {
        self.lock().wakers.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let gone = self.queue.lock().wakers.remove(&self.number);
        // A waker may have the last word on its task, whose end may lead here again.
        drop(gone);
    }
}
