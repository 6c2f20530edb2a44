//! The credentials that a worker was given, for as long as an answer may show them.
//!
//! Enters: each lease's credential with its placeholder. Leaves: a [`Scrub`] for all of them, renewed ones included; one that an answer
//! has already knows those that come later. Never: more than a bounded number, or one gone that somebody still uses: the oldest goes
//! first of those that nobody does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use broker::Lease;
use zeroize::Zeroizing;

use super::{Live, Scrub};
use crate::limit::KNOWN_CREDENTIALS;

/// What there is to scrub in this worker.
pub struct Known {
    pairs: Mutex<VecDeque<Pair>>,
    live: Live,
    /// Whether there will be any: a worker without credentials scrubs nothing.
    expects: bool,
}

struct Pair {
    secret: Zeroizing<String>,
    placeholder: String,
    lease: Weak<Lease>,
}

impl Known {
    /// Nothing yet; `expects` says that credentials may come.
    pub fn new(expects: bool) -> Known {
        let Scrub(none, _) = Scrub::new([]);
        Known { pairs: Mutex::default(), live: Arc::new(ArcSwap::new(none)), expects }
    }

    /// Remembers what a lease has, before it is first sent.
    pub fn remember(&self, lease: &Arc<Lease>, secret: &str, placeholder: &str) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = Arc::downgrade(lease);
        if let Some(known) = pairs.iter_mut().find(|one| *one.secret == secret && one.placeholder == placeholder) {
            known.lease = lease;
            return;
        }
        if pairs.len() == KNOWN_CREDENTIALS {
            let unused = pairs.iter().position(|one| one.lease.strong_count() == 0);
            pairs.remove(unused.unwrap_or(0));
        }
        pairs.push_back(Pair { secret: Zeroizing::new(secret.to_owned()), placeholder: placeholder.to_owned(), lease });
        let Scrub(forms, _) = Scrub::new(pairs.iter().map(|one| (one.secret.as_str(), one.placeholder.as_str())));
        self.live.store(forms);
    }

    /// The scrub for all credentials, of now and of later.
    pub fn scrub(&self) -> Scrub {
        Scrub(self.live.load_full(), self.expects.then(|| Arc::clone(&self.live)))
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use broker::{LeaseId, Secret};
    use bytes::Bytes;

    use super::*;

    fn lease() -> Arc<Lease> {
        let (id, credential) = (LeaseId::generate(), "api".parse().unwrap());
        Arc::new(Lease { id, credential, secret: Secret::new("x"), expires: None, refresh: SystemTime::now() })
    }

    #[test]
    fn an_answer_that_stands_is_scrubbed_of_what_is_leased_later() {
        let known = Known::new(true);
        let scrub = known.scrub();
        assert!(!scrub.is_empty(), "it may come to something");
        let mut body = scrub.body(Arc::default());
        assert_eq!(body.push(Bytes::from_static(b"nothing yet. ")), "nothing yet. ");
        known.remember(&lease(), "a-secret-of-later", "placeholder");
        assert_eq!(body.push(Bytes::from_static(b"a-secret-of-later. ")), "placeholder. ");
        assert!(Known::new(false).scrub().is_empty());
    }

    #[test]
    fn what_somebody_uses_is_not_forgotten_however_many_come() {
        let (known, used) = (Known::new(true), lease());
        known.remember(&used, "the-first-of-all-secrets", "first");
        for number in 0..KNOWN_CREDENTIALS + 16 {
            known.remember(&lease(), &format!("another-secret-{number:05}"), "other");
        }
        let text = known.scrub().text(b"the-first-of-all-secrets another-secret-00000 another-secret-00079").unwrap().0;
        assert_eq!(text, b"first another-secret-00000 other");
        assert_eq!(known.pairs.lock().unwrap().len(), KNOWN_CREDENTIALS);
    }
}
