//! Which of a worker's leases still stand.
//!
//! Enters: what the broker took back, asked for four times a second once there is a lease, and the end of the connection. Leaves: a
//! lease's end, as soon as it is known. Never: a lease that is used with no broker left to take it back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::lease::Lease;
use crate::taken_back::TakenBack;

/// Between two looks: with the broker's own time well within the second in which a standing stream has to end. A look takes some
/// tenths of a millisecond.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// What was taken back of one worker's leases.
pub(super) struct Standing {
    leased: AtomicBool,
    taken_back: watch::Sender<Known>,
}

/// Grows only.
#[derive(Default)]
struct Known {
    taken: TakenBack,
    /// Nobody is left who would say more.
    all: bool,
}

impl Standing {
    pub(super) fn new() -> Self {
        Self { leased: AtomicBool::new(false), taken_back: watch::Sender::default() }
    }

    /// There will be a lease that may be taken back.
    pub(super) fn leased(&self) {
        self.leased.store(true, Ordering::Relaxed);
    }

    /// Whether there is any.
    pub(super) fn is_leased(&self) -> bool {
        self.leased.load(Ordering::Relaxed)
    }

    /// The broker said so.
    pub(super) fn take_back(&self, taken: TakenBack) {
        self.taken_back.send_if_modified(|known| known.taken.add(taken));
    }

    /// The broker is gone, and has ended every lease of this worker or can no longer say which it ends.
    pub(super) fn take_back_all(&self) {
        self.taken_back.send_modify(|known| known.all = true);
    }

    /// Whether the broker is there.
    pub(super) fn is_watched(&self) -> bool {
        !self.taken_back.borrow().all
    }

    /// Whether this one may be used.
    pub(super) fn holds(&self, lease: &Lease) -> bool {
        !self.taken_back.borrow().includes(lease)
    }

    /// Tells of what is taken back from now on.
    pub(super) fn takings(&self) -> Takings {
        Takings(self.taken_back.subscribe())
    }

    /// Waits until this one may be used no longer.
    pub(super) async fn end_of(&self, lease: &Lease) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.taken_back.subscribe().wait_for(|known| known.includes(lease)).await;
    }
}

/// Tells of what more is taken back.
pub struct Takings(watch::Receiver<Known>);

impl Takings {
    /// Waits for the next word of it.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Known {
    fn includes(&self, lease: &Lease) -> bool {
        self.all || self.taken.has(lease)
    }
}
