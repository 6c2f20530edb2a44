//! A piece of work, and whether it is asleep, ready or running.
//!
//! Enters: a future, and whoever wakes it. Leaves: one poll a turn. Never: two polls at once, a wake that is lost, a future that
//! outlives whoever waited for it by more than a turn.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Share, lock};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that is done in turns.
pub(super) struct Task {
    /// Whose it is.
    pub(super) share: Arc<Share>,
    stage: Mutex<Stage>,
    /// None once it is done or nobody wants it any more.
    work: Mutex<Option<Work>>,
    unwanted: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asleep,
    Ready,
    Running,
    /// Woken while it ran.
    RunningAgain,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Task {
    pub(super) fn new(share: Arc<Share>, work: Work) -> Self {
        Self { share, stage: Mutex::new(Stage::Asleep), work: Mutex::new(Some(work)), unwanted: AtomicBool::new(false) }
    }

    /// Has its turn. Whether it was woken meanwhile.
    pub(super) fn run(self: &Arc<Self>) -> bool {
        *lock(&self.stage) = Stage::Running;
        let waker = Waker::from(Arc::clone(self));
        let mut work = lock(&self.work);
        let over = self.unwanted.load(Ordering::Acquire)
            || work.as_mut().is_none_or(|work| work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        let ended = if over { work.take() } else { None };
        drop(work);
        drop(ended);
        let mut stage = lock(&self.stage);
        let again = *stage == Stage::RunningAgain;
        *stage = if again { Stage::Ready } else { Stage::Asleep };
        again
    }

    /// The turn is over.
    pub(super) fn settle(self: &Arc<Self>, took: Duration, paid: Duration, again: bool) {
        self.share.pay(took, paid);
        if again {
            self.share.wants(Arc::clone(self));
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut stage = lock(&self.stage);
        let before = *stage;
        *stage = match before {
            Stage::Asleep | Stage::Ready => Stage::Ready,
            Stage::Running | Stage::RunningAgain => Stage::RunningAgain,
        };
        drop(stage);
        if before == Stage::Asleep {
            self.share.wants(Arc::clone(self));
        }
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
