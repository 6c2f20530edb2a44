//! What goes upstream behind the head of a call.
//!
//! Enters: how much of it goes, and what breaks it off. Leaves: the same, to whoever writes of it. Never: a second reason; the first ended it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::Refusal;

/// What goes upstream of one call, counted as it goes. Clones are of one call.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: AtomicU64,
    swapped: AtomicU64,
    broke_off: OnceLock<Refusal>,
}

impl Sent {
    /// So many more bytes.
    pub fn bytes(&self, more: usize) {
        self.0.bytes.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// So many more placeholders became the credential.
    pub fn swapped(&self, more: usize) {
        self.0.swapped.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Whether any has.
    pub fn has_swapped(&self) -> bool {
        self.counted().1 > 0
    }

    /// Bytes and placeholders so far.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.0.bytes.load(Ordering::Relaxed), self.0.swapped.load(Ordering::Relaxed))
    }

    /// There is no more of it. Only the first reason counts.
    pub fn break_off(&self, refusal: Refusal) {
        let _ = self.0.broke_off.set(refusal);
    }

    /// Why there is no more, where it did not end as it should.
    pub fn broke_off(&self) -> Option<&Refusal> {
        self.0.broke_off.get()
    }
}
