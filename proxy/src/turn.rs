//! Whose turn it is: of all who have something to do, first who asks for little, then whoever has had least of the worker's time.
//!
//! Enters: the work of connections, a share for each, in one task or in many. Leaves: that work, a slice at a time. A share has an
//! allowance, which comes back while it rests: what fits in goes first. The rest is start-time fair queueing (Goyal, Vin, Cheng,
//! SIGCOMM 1996). In its turn a share has its tasks done one after the other, so that what many of them send goes out at once. Never: a
//! share that is served more often because it has more tasks; one that is served twice at once; a panic that ends the work of another.

mod task;
mod waiting;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::{coop, yield_now};

use self::task::{Cancel, Task, caught};
use self::waiting::Waiting;

/// What one turn takes, if its work has more to do: some tens of requests, or of TLS records.
const SLICE: Duration = Duration::from_micros(250);
/// What one turn costs at most. It may have taken longer because the machine let somebody else go first.
const DEAREST: Duration = Duration::from_millis(2);
/// What a share may have before those that have more to do: a handful of requests, each in some turns. A new one has nothing yet.
const ALLOWANCE: Duration = Duration::from_millis(1);
/// What has to be left of it to go first: a turn of a request.
const ENOUGH: Duration = Duration::from_micros(100);
/// What is had within one of these makes no difference.
const STEP: Duration = Duration::from_micros(100);
/// So many turns in a row go to who asks for little while others wait: however many those are, the others go on.
const IN_A_ROW: u32 = 16;
/// One part in so many of the time for which a share rests is added to its allowance.
const REST: u32 = 8;

thread_local! {
    /// Until when the turn under way on this thread lasts.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Since when the step under way does: one piece of the work of that turn.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits for another turn, if this one has taken its time. To be called between two pieces of a work that has many.
pub(crate) fn poll_slice(context: &Context<'_>) -> Poll<()> {
    if UNTIL.get().is_some_and(|until| Instant::now() >= until) {
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// The same for what is written as `async`.
pub(crate) async fn slice() {
    std::future::poll_fn(|context| poll_slice(context)).await;
}

/// The piece of work under way on this thread, told by its beginning; none outside of turns.
pub(crate) fn under_way() -> Option<Instant> {
    SINCE.get()
}

/// All shares of a worker.
#[derive(Debug)]
pub(crate) struct Turns {
    queue: Mutex<Queue>,
    /// For those who wait for anything, and for the one that waits for who asks for little.
    more: Notify,
    light: Notify,
    begun: Once,
}

#[derive(Debug, Default)]
struct Queue {
    /// Those with something to do that fits into their allowance, by how much of it they have had, in steps; then first come, first
    /// served.
    light: BinaryHeap<Reverse<Waiting>>,
    /// How many were put there.
    came: u64,
    /// Turns that these had in a row.
    in_a_row: u32,
    /// The virtual time, in nanoseconds: when the turn that was given last to one of the others began.
    clock: u64,
    /// Shares so far.
    shares: u64,
    /// How many wait for something to do.
    idle: usize,
    /// The others with something to do, by when their turn begins. Older ones first.
    heavy: BinaryHeap<Reverse<Waiting>>,
}

/// The part of the worker that one connection has.
#[derive(Debug)]
pub(crate) struct Share {
    turns: Arc<Turns>,
    number: u64,
    /// Locked while the queue is, or for a moment.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The virtual time at which its next turn begins at the earliest.
    next: u64,
    allowance: Duration,
    place: Place,
    rests_since: Instant,
    ready: VecDeque<Arc<Task>>,
}

/// Where a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It has nothing to do.
    Rests,
    /// In the queue.
    Waits,
    /// It has its turn, in which whatever becomes ready is done too, or it waits again afterwards.
    InTurn,
}

impl Turns {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), more: Notify::new(), light: Notify::new(), begun: Once::new() })
    }

    /// A share for one more.
    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        let mut queue = lock(&self.queue);
        queue.shares += 1;
        let (next, rests_since) = (queue.clock, Instant::now());
        let state = State { next, allowance: Duration::ZERO, place: Place::Rests, rests_since, ready: VecDeque::new() };
        Arc::new(Share { turns: Arc::clone(self), number: queue.shares, state: Mutex::new(state) })
    }

    /// From its first work on, the runtime has a task for each of its threads that gives turns.
    fn begin(self: &Arc<Self>) {
        self.begun.call_once(|| {
            // One of them keeps its thread for those who ask for little, and leaves the rest to the others.
            for number in 0..tokio::runtime::Handle::current().metrics().num_workers() {
                tokio::spawn(Arc::clone(self).give(number == 1));
            }
        });
    }

    async fn give(self: Arc<Self>, spare: bool) {
        let mut now = Instant::now();
        let mut looked = now;
        loop {
            let next = lock(&self.queue).next(spare);
            let Some((share, paid)) = next else {
                self.wait(spare).await;
                now = Instant::now();
                looked = now;
                continue;
            };
            let begun = now;
            UNTIL.set(Some(begun + SLICE));
            loop {
                SINCE.set(Some(now));
                let more = share.step();
                now = Instant::now();
                if !more || now - begun >= SLICE || !coop::has_budget_remaining() {
                    break;
                }
            }
            UNTIL.set(None);
            SINCE.set(None);
            share.settle(now - begun, paid, now);
            // Sockets and timers have to be looked at, which the runtime does in between; and who else waits for this core, such as the
            // client of the next turn, would wait for the kernel's next tick otherwise.
            if now - looked >= SLICE || !coop::has_budget_remaining() {
                std::thread::yield_now();
                yield_now().await;
                now = Instant::now();
                looked = now;
            }
        }
    }

    /// Waits until there may be something to do.
    async fn wait(&self, spare: bool) {
        if spare {
            self.light.notified().await;
        } else {
            self.more.notified().await;
            lock(&self.queue).idle -= 1;
        }
    }
}

impl Queue {
    /// Whose turn it is, and what was paid for it in advance.
    fn next(&mut self, spare: bool) -> Option<(Arc<Share>, Duration)> {
        let enough = !spare && self.in_a_row >= IN_A_ROW && !self.heavy.is_empty();
        self.in_a_row = if enough { 0 } else { self.in_a_row.saturating_add(1) };
        let light = if enough { None } else { self.light.pop() };
        let (share, paid) = match light {
            Some(Reverse(waiting)) => (waiting.share, Duration::ZERO),
            None if spare => return None,
            None => match self.heavy.pop() {
                Some(Reverse(waiting)) => {
                    self.clock = self.clock.max(waiting.first);
                    self.in_a_row = 0;
                    (waiting.share, SLICE)
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

    fn put(&mut self, share: &Arc<Share>, state: &mut State) {
        state.place = Place::Waits;
        if state.allowance >= ENOUGH {
            self.came += 1;
            let had = nanoseconds(ALLOWANCE - state.allowance) / nanoseconds(STEP);
            self.light.push(Reverse(Waiting { first: had, then: self.came, share: Arc::clone(share) }));
        } else {
            state.next = state.next.max(self.clock);
            self.heavy.push(Reverse(Waiting { first: state.next, then: share.number, share: Arc::clone(share) }));
        }
    }
}

impl Share {
    /// Does `work` in this share's turns. It ends when it is done, or with the future that is returned.
    ///
    /// # Panics
    /// With the work.
    pub async fn run<T: Send + 'static>(self: &Arc<Self>, work: impl Future<Output = T> + Send + 'static) -> T {
        let (done, end) = oneshot::channel();
        let work = async move {
            let _ = done.send(caught(work).await);
        };
        let _task = Cancel(self.begin(work));
        match end.await {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // The runtime has ended, and this with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Does `work` in this share's turns, whoever waits for it. A panic in it has been told; nobody else asks.
    pub fn spawn(self: &Arc<Self>, work: impl Future + Send + 'static) {
        self.begin(async move {
            work.await;
        });
    }

    fn begin(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) -> Arc<Task> {
        self.turns.begin();
        let task = Arc::new(Task::new(Arc::clone(self), Box::pin(work)));
        Arc::clone(&task).wake();
        task
    }

    fn wants(self: &Arc<Self>, task: Arc<Task>) {
        {
            let mut state = lock(&self.state);
            state.ready.push_back(task);
            if state.place != Place::Rests {
                return;
            }
        }
        let mut queue = lock(&self.turns.queue);
        let mut state = lock(&self.state);
        if state.place != Place::Rests {
            return;
        }
        let rested = state.rests_since.elapsed();
        state.allowance = ALLOWANCE.min(state.allowance + rested / REST);
        queue.put(self, &mut state);
        // Who is busy looks for more by itself.
        if queue.idle > 0 {
            self.turns.more.notify_one();
        } else if state.allowance >= ENOUGH {
            self.turns.light.notify_one();
        }
    }

    /// Does one piece of what it has to do. Whether there is more.
    fn step(&self) -> bool {
        let Some(task) = lock(&self.state).ready.pop_front() else { return false };
        let again = task.run();
        let mut state = lock(&self.state);
        if again {
            state.ready.push_back(task);
        }
        !state.ready.is_empty()
    }

    /// Settles what a turn cost against the allowance, and against what was paid for it. If there is more to do, it waits for another.
    fn settle(self: &Arc<Self>, took: Duration, paid: Duration, now: Instant) {
        let mut queue = lock(&self.turns.queue);
        let mut state = lock(&self.state);
        let took = took.min(DEAREST);
        let over = took.saturating_sub(state.allowance);
        state.allowance -= took - over;
        if paid.is_zero() {
            state.next = state.next.max(queue.clock);
        }
        state.next = (state.next + nanoseconds(over)).saturating_sub(nanoseconds(paid));
        state.rests_since = now;
        state.place = Place::Rests;
        if !state.ready.is_empty() {
            queue.put(self, &mut state);
        }
    }
}

/// Has the tasks of a connection done in the turns of its share.
#[derive(Debug, Clone)]
pub(crate) struct InTurn(pub Arc<Share>);

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for InTurn {
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
