//! How much of what is judged one worker has in memory at once.
//!
//! Enters: a body or an answer that wants to be held. Leaves: a place, kept for as long as the bytes are. Never: more places than
//! the bound; who finds none waits, and not for ever.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::coding::Decoders;
use crate::limit;

/// The places of one worker.
#[derive(Debug)]
pub struct Room {
    bodies: Arc<Semaphore>,
    listings: Arc<Semaphore>,
    /// In KiB.
    signed: Arc<Semaphore>,
    decoders: Arc<Decoders>,
}

/// A place, free again when it is dropped. None is needed for what is empty.
#[derive(Debug, Default)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl Room {
    /// All of it free; `took` is told what decoders took.
    pub fn new(took: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(limit::JUDGED_AT_ONCE)),
            listings: Arc::new(Semaphore::new(limit::LISTINGS_AT_ONCE)),
            signed: Arc::new(Semaphore::new(limit::SIGNED_AT_ONCE >> 10)),
            decoders: Decoders::new(limit::DECODED_AT_ONCE, took),
        }
    }

    /// Waits for a place for the body of a request.
    pub(super) async fn body(&self) -> Place {
        Place(Arc::clone(&self.bodies).acquire_owned().await.ok())
    }

    /// Waits for a place for so many bytes of a request that is signed.
    pub(crate) async fn signed(&self, bytes: usize) -> Place {
        let kibibytes = bytes.div_ceil(1024).min(limit::SIGNED_AT_ONCE >> 10);
        let kibibytes = u32::try_from(kibibytes).unwrap_or(u32::MAX);
        Place(Arc::clone(&self.signed).acquire_many_owned(kibibytes).await.ok())
    }

    /// Of which decoders have theirs.
    pub(crate) fn decoders(&self) -> &Arc<Decoders> {
        &self.decoders
    }

    /// Waits for a place for an answer.
    pub(super) async fn listing(&self) -> Place {
        Place(Arc::clone(&self.listings).acquire_owned().await.ok())
    }
}
