//! Which of a worker's leases still stand.
//!
//! Enters: what the broker took back, asked for four times a second once there is a lease, and the end of the connection. Leaves: a
//! lease's end, as soon as it is known. Never: a lease that is used with no broker left to take it back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::lease::LeaseId;

/// Between two looks: with the broker's own time well within the second in which a standing stream has to end. A look takes some
/// tenths of a millisecond.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// What was taken back of one worker's leases.
pub(super) struct Standing {
    leased: AtomicBool,
    taken_back: watch::Sender<TakenBack>,
}

/// Grows only.
#[derive(Default)]
struct TakenBack {
    leases: HashSet<LeaseId>,
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
    pub(super) fn take_back(&self, leases: Vec<LeaseId>) {
        self.taken_back.send_if_modified(|taken| {
            let before = taken.leases.len();
            taken.leases.extend(leases);
            taken.leases.len() > before
        });
    }

    /// The broker is gone, and has ended every lease of this worker or can no longer say which it ends.
    pub(super) fn take_back_all(&self) {
        self.taken_back.send_modify(|taken| taken.all = true);
    }

    /// Whether the broker is there.
    pub(super) fn is_watched(&self) -> bool {
        !self.taken_back.borrow().all
    }

    /// Whether this one may be used.
    pub(super) fn holds(&self, lease: LeaseId) -> bool {
        !self.taken_back.borrow().includes(lease)
    }

    /// Waits until this one may be used no longer.
    pub(super) async fn end_of(&self, lease: LeaseId) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.taken_back.subscribe().wait_for(|taken| taken.includes(lease)).await;
    }
}

impl TakenBack {
    fn includes(&self, lease: LeaseId) -> bool {
        self.all || self.leases.contains(&lease)
    }
}
