//! Who waits until there is room.
//!
//! Enters: whoever may not go on, and how many of theirs are under way. Leaves: their turn, to those who are called. Never: a place for somebody who
//! has gone; a search through all who wait.

use std::collections::{BTreeMap, BTreeSet};
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
    waiting: BTreeMap<u64, Waiting>,
    /// The same by how many are under way, and then by who came first.
    by_share: BTreeSet<(usize, u64)>,
}

#[derive(Debug)]
struct Waiting {
    under_way: usize,
    waker: Waker,
}

impl Standing {
    fn leave(&mut self, number: u64) -> Option<Waker> {
        let Waiting { under_way, waker } = self.waiting.remove(&number)?;
        self.by_share.remove(&(under_way, number));
        Some(waker)
    }

    /// The one that came last, or of those with least under way the one that came first.
    fn next(&self, last: bool) -> Option<u64> {
        if last {
            self.waiting.last_key_value().map(|(&number, _)| number)
        } else {
            self.by_share.first().map(|&(_, number)| number)
        }
    }
}

/// A place in the queue, until it is called or given up.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Queue {
    /// Whether to go on: `free` says that nobody need wait, or the ticket has been called. Otherwise it is kept for the next time. So many of
    /// the same client's were `under_way` when it came.
    pub fn poll(
        self: &Arc<Self>,
        ticket: &mut Option<Ticket>,
        under_way: usize,
        free: impl Fn() -> bool,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let mut standing = self.lock();
        // Looked at with the lock held: whoever calls everybody does so afterwards.
        let called = match ticket {
            None => false,
            Some(Ticket { number, .. }) => !standing.waiting.contains_key(number),
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
        let before = standing.waiting.get_mut(&number).map(|waiting| waiting.waker.clone_from(cx.waker()));
        if before.is_none() {
            standing.waiting.insert(number, Waiting { under_way, waker: cx.waker().clone() });
            standing.by_share.insert((under_way, number));
        }
        Poll::Pending
    }

    /// Calls so many, those with least under way first, and of these who came first.
    pub fn call(&self, most: usize) {
        self.call_by(most, |_| false);
    }

    /// Calls so many, one of these and who came last in turn: where many wait, those who came first may long have given up, and who comes
    /// now must not wait for all of them. The numbers of their tickets.
    pub fn call_from_both_ends(&self, most: usize) -> Vec<u64> {
        self.call_by(most, |last| !last)
    }

    /// `turn` says whose is the next one, after one of who came last or first.
    fn call_by(&self, most: usize, turn: impl Fn(bool) -> bool) -> Vec<u64> {
        let mut standing = self.lock();
        let next = |_| {
            standing.last = turn(standing.last);
            let number = standing.next(standing.last)?;
            standing.leave(number).map(|waker| (number, waker))
        };
        let (numbers, called): (Vec<_>, Vec<_>) = (0..most).map_while(next).unzip();
        drop(standing);
        called.into_iter().for_each(Waker::wake);
        numbers
    }

    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
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
        let gone = self.queue.lock().leave(self.number);
        // A waker may have the last word on its task, whose end may lead here again.
        drop(gone);
    }
}
