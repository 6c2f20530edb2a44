//! The credentials that a worker was given, for as long as an answer may show them.
//!
//! Enters: each lease's credential with its placeholder. Leaves: a [`Scrub`] for all of them, renewed ones included. Never:
//! more than a bounded number; the oldest goes first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::Scrub;
use crate::limit::KNOWN_CREDENTIALS;

/// What there is to scrub in this worker.
#[derive(Default)]
pub struct Known(Mutex<State>);

struct State {
    pairs: VecDeque<(Zeroizing<String>, String)>,
    scrub: Scrub,
}

impl Default for State {
    fn default() -> Self {
        Self { pairs: VecDeque::new(), scrub: Scrub::new([]) }
    }
}

impl Known {
    /// Remembers a credential before it is first sent, and gives the scrub for it and all before it.
    pub fn remember(&self, secret: &str, placeholder: &str) -> Scrub {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.pairs.iter().any(|(known, with)| known.as_str() == secret && with == placeholder) {
            if state.pairs.len() == KNOWN_CREDENTIALS {
                state.pairs.pop_front();
            }
            state.pairs.push_back((Zeroizing::new(secret.to_owned()), placeholder.to_owned()));
            let pairs = state.pairs.iter().map(|(secret, placeholder)| (secret.as_str(), placeholder.as_str()));
            state.scrub = Scrub::new(pairs);
        }
        state.scrub.clone()
    }

    /// The scrub for all credentials so far.
    pub fn scrub(&self) -> Scrub {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).scrub.clone()
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}
