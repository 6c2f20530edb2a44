//! How much of what is judged one worker has in memory at once.
//!
//! Enters: a body or an answer that wants to be held. Leaves: a place, kept for as long as the bytes are. Never: more places than
//! the bound; who finds none waits, and not for ever.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limit;

/// The places of one worker.
#[derive(Debug)]
pub struct Room {
    bodies: Arc<Semaphore>,
    listings: Arc<Semaphore>,
}

/// A place, free again when it is dropped. None is needed for what is empty.
#[derive(Debug, Default)]
pub(super) struct Place(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl Default for Room {
    fn default() -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(limit::JUDGED_AT_ONCE)),
            listings: Arc::new(Semaphore::new(limit::LISTINGS_AT_ONCE)),
        }
    }
}

impl Room {
    /// Waits for a place for the body of a request.
    pub(super) async fn body(&self) -> Place {
        Place(Arc::clone(&self.bodies).acquire_owned().await.ok())
    }

    /// Waits for a place for an answer.
    pub(super) async fn listing(&self) -> Place {
        Place(Arc::clone(&self.listings).acquire_owned().await.ok())
    }
}
