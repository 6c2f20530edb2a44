//! A share in a queue.
//!
//! Enters: a share, and what it is sorted by. Leaves: an order. Never: two that are equal, as of each pair of numbers there is one.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Share;

/// What comes first is the least.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) first: u64,
    pub(super) then: u64,
    pub(super) share: Arc<Share>,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.first, self.then).cmp(&(other.first, other.then))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}
