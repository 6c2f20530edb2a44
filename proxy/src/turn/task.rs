//! A piece of work, and whether it is asleep, ready or running.
//!
//! Enters: a future, and whoever wakes it. Leaves: one poll a turn. Never: two polls at once, a wake that is lost, a future that
//! outlives whoever waited for it by more than a turn.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::{Share, lock};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// What runs on this thread.
    static RUNNING_HERE: Cell<Option<Arc<Task>>> = const { Cell::new(None) };
}

/// The task that runs on this thread; none outside of turns.
pub(super) fn running_here() -> Option<Arc<Task>> {
    let here = RUNNING_HERE.take();
    RUNNING_HERE.set(here.clone());
    here
}

/// Work that is done in turns.
pub(super) struct Task {
    /// Whose it is.
    pub(super) share: Arc<Share>,
    stage: AtomicU8,
    /// None once it is done or nobody wants it any more.
    work: Mutex<Option<Work>>,
    unwanted: AtomicBool,
}

const ASLEEP: u8 = 0;
const READY: u8 = 1;
const RUNNING: u8 = 2;
/// Woken while it ran.
const RUNNING_AGAIN: u8 = 3;

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Task {
    pub(super) fn new(share: Arc<Share>, work: Work) -> Self {
        Self { share, stage: AtomicU8::new(ASLEEP), work: Mutex::new(Some(work)), unwanted: AtomicBool::new(false) }
    }

    /// Has its turn, and is over with a panic. Whether it was woken meanwhile.
    pub(super) fn run(self: &Arc<Self>) -> bool {
        self.stage.store(RUNNING, Ordering::Release);
        let waker = Waker::from(Arc::clone(self));
        let mut work = lock(&self.work);
        RUNNING_HERE.set(Some(Arc::clone(self)));
        let mut poll = |work: &mut Work| {
            let poll = AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(&waker)));
            catch_unwind(poll).map_or(true, |poll| poll.is_ready())
        };
        let over = self.unwanted.load(Ordering::Acquire) || work.as_mut().is_none_or(&mut poll);
        let ended = if over { work.take() } else { None };
        RUNNING_HERE.take();
        drop(work);
        drop(ended);
        let asleep = self.stage.compare_exchange(RUNNING, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !asleep {
            self.stage.store(READY, Ordering::Release);
        }
        !asleep
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.is_woken() {
            Arc::clone(&self.share).wants(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken() {
            self.share.wants(Arc::clone(self));
        }
    }
}

impl Task {
    /// Takes note of a wake. Whether it slept, so that it has to be put where it gets a turn.
    fn is_woken(&self) -> bool {
        let woken = |stage| match stage {
            ASLEEP => Some(READY),
            RUNNING => Some(RUNNING_AGAIN),
            _ => None,
        };
        self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, woken) == Ok(ASLEEP)
    }
}

/// Ends its task's work when it is dropped.
pub(super) struct Cancel(pub Arc<Task>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.unwanted.store(true, Ordering::Release);
        let work = match self.0.work.try_lock() {
            Ok(mut work) => work.take(),
            Err(_) => {
                // It is running, and is dropped after that.
                self.0.wake_by_ref();
                None
            }
        };
        drop(work);
    }
}

/// Does `work`; a panic is a value.
pub(super) async fn caught<F: Future>(work: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut work = Box::pin(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
