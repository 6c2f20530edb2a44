//! Whose turn it is: of all who have something to do, first who asks for little, then whoever has had least of the worker's time.
//!
//! Enters: the work of connections, a share for each, in one task or in many; shares of what one rule lets out are a lane. Leaves: that work, a
//! slice at a time. A share has an allowance, which comes back while it rests: what fits in goes first, of lanes that had little before that of
//! others. The rest is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996), of lanes and of the shares of each. In its turn a share has its
//! tasks done one after the other, so that what many of them send goes out at once. Never: a share that is served more often because it has more
//! tasks, or a lane for its shares; one that is served twice at once; a panic that ends the work of another.

mod lane;
mod machine;
mod queue;
mod task;
mod waiting;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

use config::RuleId;
use tokio::sync::{Notify, oneshot};
use tokio::task::{coop, yield_now};

use self::lane::Lane;
use self::machine::Machine;
use self::queue::Queue;
use self::task::{Cancel, Task, caught, running_here};

/// What one turn takes, if its work has more to do: some tens of requests, or of TLS records.
const SLICE: Duration = Duration::from_micros(250);
/// The same while somebody of another lane asks for little, who may have to wait for the end of one several times in a request. As long for
/// everybody, it would cost a sixth more CPU a request.
const BRIEF: Duration = Duration::from_micros(100);
/// Then, too, a core is left for so long (and some 50 µs, the kernel's slack) where more threads want one than there are: a thread that never
/// sleeps keeps its core to itself, while client and upstream wait for another one.
const GAP: Duration = Duration::from_micros(30);
/// What one turn costs at most. It may have taken longer because the machine let somebody else go first.
const DEAREST: Duration = Duration::from_millis(2);
/// What a share may have before those that have more to do: a handful of requests, each in some turns. A new one has nothing yet.
const ALLOWANCE: Duration = Duration::from_millis(1);
/// What has to be left of it to go first: a turn of a request.
const ENOUGH: Duration = Duration::from_micros(100);
/// So many turns in a row go to who asks for little while others wait: however many those are, the others go on. A single one, where those are of a
/// lane that had more of late.
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

/// What comes of what waits for nothing but its turn, where there are no turns.
#[cfg(test)]
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> T {
    let Poll::Ready(value) = std::pin::pin!(work).poll(&mut Context::from_waker(std::task::Waker::noop())) else {
        panic!("it waits")
    };
    value
}

/// The piece of work under way on this thread, told by its beginning; none outside of turns.
pub(crate) fn under_way() -> Option<Instant> {
    SINCE.get()
}

/// A piece of work that others than whoever waits for it can end.
#[derive(Debug, Clone)]
pub(crate) struct Work(Weak<Task>);

impl Work {
    /// What is under way on this thread, where nobody waits for what comes of it.
    pub fn under_way() -> Option<Self> {
        running_here().map(|task| Self(Arc::downgrade(&task)))
    }

    /// Drops it, wherever it is with what it does.
    pub fn end(&self) {
        self.0.upgrade().map(Cancel);
    }
}

/// All shares of a worker.
#[derive(Debug)]
pub(crate) struct Turns {
    queue: Mutex<Queue>,
    /// For those who wait for anything, and for the one that waits for who asks for little.
    more: Notify,
    light: Notify,
    begun: Once,
    machine: Machine,
    ended: Ended,
}

/// What is done when a turn is over.
struct Ended(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ended")
    }
}

/// The part of the worker that one connection has.
#[derive(Debug)]
pub(crate) struct Share {
    turns: Arc<Turns>,
    lane: Arc<Lane>,
    number: u64,
    /// Locked while the queue is, or for a moment.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The virtual time of its lane at which its next turn begins at the earliest.
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
    /// Of a worker that does `each` when a turn is over: what its work may put off until then.
    pub fn new(each: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let (more, light, begun, ended) = (Notify::new(), Notify::new(), Once::new(), Ended(Box::new(each)));
        Arc::new(Self { queue: Mutex::default(), more, light, begun, machine: Machine::new(), ended })
    }

    /// A share in a lane of its own.
    #[cfg(test)]
    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        let mut queue = lock(&self.queue);
        let lane = queue.lane(false);
        self.share_in(lane, &mut queue)
    }

    /// A share for what the worker does of itself.
    pub fn own(self: &Arc<Self>) -> Arc<Share> {
        let mut queue = lock(&self.queue);
        let lane = queue.lane(true);
        self.share_in(lane, &mut queue)
    }

    /// A share for one more of what `rule` lets out, or of what none does.
    pub fn share_of(self: &Arc<Self>, rule: Option<&RuleId>) -> Arc<Share> {
        let mut queue = lock(&self.queue);
        let lane = queue.lane_of(rule);
        self.share_in(lane, &mut queue)
    }

    fn share_in(self: &Arc<Self>, lane: Arc<Lane>, queue: &mut Queue) -> Arc<Share> {
        queue.shares += 1;
        let (next, rests_since) = (lock(&lane.state).clock, Instant::now());
        let state = State { next, allowance: Duration::ZERO, place: Place::Rests, rests_since, ready: VecDeque::new() };
        Arc::new(Share { turns: Arc::clone(self), lane, number: queue.shares, state: Mutex::new(state) })
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
        let (mut looked, mut heavy) = (now, false);
        loop {
            let (next, company) = {
                let mut queue = lock(&self.queue);
                (queue.next(spare, now), queue.in_company(now))
            };
            let Some((share, paid)) = next else {
                self.wait(spare).await;
                now = Instant::now();
                (looked, heavy) = (now, false);
                continue;
            };
            let (begun, slice) = (now, if company { BRIEF } else { SLICE });
            UNTIL.set(Some(begun + slice));
            loop {
                SINCE.set(Some(now));
                let more = share.step();
                now = Instant::now();
                if !more || now - begun >= slice || !coop::has_budget_remaining() {
                    break;
                }
            }
            UNTIL.set(None);
            SINCE.set(None);
            (self.ended.0)();
            share.settle(now - begun, paid, now);
            heavy |= !paid.is_zero();
            // Sockets and timers have to be looked at, which the runtime does in between; and who else waits for this core, such as the
            // client of the next turn, would wait for the kernel's next tick otherwise.
            if now - looked >= slice || !coop::has_budget_remaining() {
                if heavy && company && lock(&self.queue).is_unhurried() && self.machine.is_crowded() {
                    std::thread::sleep(GAP);
                } else {
                    std::thread::yield_now();
                }
                yield_now().await;
                now = Instant::now();
                (looked, heavy) = (now, false);
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

impl Share {
    /// Another one in the same lane.
    pub fn beside(&self) -> Arc<Self> {
        self.turns.share_in(Arc::clone(&self.lane), &mut lock(&self.turns.queue))
    }

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
    pub fn spawn(self: &Arc<Self>, work: impl Future + Send + 'static) -> Work {
        let task = self.begin(async move {
            work.await;
        });
        Work(Arc::downgrade(&task))
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
        let now = Instant::now();
        let rested = now.saturating_duration_since(state.rests_since);
        state.allowance = ALLOWANCE.min(state.allowance + rested / REST);
        queue.put(self, &mut state, now);
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
        let took = took.min(DEAREST);
        let mut queue = lock(&self.turns.queue);
        queue.charge(&self.lane, took, paid, now);
        let mut state = lock(&self.state);
        let over = took.saturating_sub(state.allowance);
        state.allowance -= took - over;
        if paid.is_zero() {
            state.next = state.next.max(lock(&self.lane.state).clock);
        }
        state.next = (state.next + nanoseconds(over)).saturating_sub(nanoseconds(paid));
        state.rests_since = now;
        state.place = Place::Rests;
        if !state.ready.is_empty() {
            queue.put(self, &mut state, now);
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
