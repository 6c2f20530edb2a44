//! The credentials that a worker was given, for as long as an answer may show them.
//!
//! Enters: each lease's credential with its placeholder. Leaves: a [`Scrub`] for all of them, renewed ones included; one that an answer
//! has already knows those that come later. Never: more than a bounded number, or one gone that may still be good, or that somebody uses: who expired
//! goes, then who was replaced a day ago and never expires, and where there is neither, no further one is lent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use broker::Lease;
use zeroize::Zeroizing;

use super::{Live, Scrub};
use crate::error::Refusal;
use crate::limit::{KNOWN_CREDENTIALS, KNOWN_FOR_REFUSALS, KNOWN_REPLACED, KNOWN_SKEW};

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
    /// `None` where nobody has said that it ends.
    expires: Option<SystemTime>,
    /// When it was last lent.
    lent: SystemTime,
}

impl Pair {
    /// Whether it is good for nothing any more, whoever has seen it.
    fn is_over(&self, now: SystemTime) -> bool {
        self.lease.strong_count() == 0 && self.expires.is_some_and(|at| is_past(at, KNOWN_SKEW, now))
    }

    /// Whether another has had its place for so long that it may be forgotten where there is room for no more: of a secret that nobody says the
    /// end of, which is changed again and again.
    fn is_replaced(&self, now: SystemTime) -> bool {
        self.lease.strong_count() == 0 && self.expires.is_none() && is_past(self.lent, KNOWN_REPLACED, now)
    }
}

impl Known {
    /// Nothing yet; `expects` says that credentials may come.
    pub fn new(expects: bool) -> Known {
        let Scrub(none, _) = Scrub::new([]);
        Known { pairs: Mutex::default(), live: Arc::new(ArcSwap::new(none)), expects }
    }

    /// Remembers what a lease has, before it is first sent.
    ///
    /// # Errors
    /// [`Refusal::CredentialUnavailable`] where too many are still good.
    pub fn remember(&self, lease: &Arc<Lease>, secret: &str, placeholder: &str) -> Result<(), Refusal> {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let (credential, expires, lease) = (&lease.credential, lease.expires, Arc::downgrade(lease));
        if let Some(known) = pairs.iter_mut().find(|one| *one.secret == secret && one.placeholder == placeholder) {
            (known.lease, known.lent) = (lease, SystemTime::now());
            known.expires = known.expires.zip(expires).map(|(one, other)| one.max(other));
            return Ok(());
        }
        let now = SystemTime::now();
        pairs.retain(|one| !one.is_over(now));
        if pairs.len() >= KNOWN_CREDENTIALS
            && let Some(oldest) = pairs.iter().position(|one| one.is_replaced(now))
        {
            pairs.remove(oldest);
        }
        if pairs.len() >= KNOWN_CREDENTIALS {
            return Err(Refusal::CredentialUnavailable {
                credential: credential.clone(),
                reason: format!(
                    "credential `{credential}`: this worker has {KNOWN_CREDENTIALS} secrets that are still good, and can scrub answers of no more"
                ),
            });
        }
        let (secret, placeholder) = (Zeroizing::new(secret.to_owned()), placeholder.to_owned());
        pairs.push_back(Pair { secret, placeholder, lease, expires, lent: now });
        let Scrub(forms, _) = Scrub::new(pairs.iter().map(|one| (one.secret.as_str(), one.placeholder.as_str())));
        self.live.store(forms);
        Ok(())
    }

    /// Whether there is room for one that is fetched only because an upstream refused the last: an agent can have that happen at will, and
    /// is not to take the room of those that are due.
    pub fn has_room(&self) -> bool {
        let now = SystemTime::now();
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.iter().filter(|one| !one.is_over(now)).count() < KNOWN_FOR_REFUSALS
    }

    /// The scrub for all credentials, of now and of later.
    pub fn scrub(&self) -> Scrub {
        Scrub(self.live.load_full(), self.expects.then(|| Arc::clone(&self.live)))
    }
}

/// Whether `after` the time `at` has passed. A time that cannot be told has not.
fn is_past(at: SystemTime, after: Duration, now: SystemTime) -> bool {
    at.checked_add(after).is_some_and(|over| over <= now)
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}

#[cfg(test)]
mod tests {
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
        known.remember(&lease(), "a-secret-of-later", "placeholder").unwrap();
        assert_eq!(body.push(Bytes::from_static(b"a-secret-of-later. ")), "placeholder. ");
        assert!(Known::new(false).scrub().is_empty());
    }

    fn until(expires: Option<SystemTime>) -> Arc<Lease> {
        Arc::new(Lease { expires, ..Arc::into_inner(lease()).unwrap() })
    }

    #[test]
    fn what_is_good_or_in_use_is_not_forgotten_however_many_come() {
        let now = SystemTime::now();
        let (hour, over) = (Some(now + Duration::from_secs(3600)), Some(now - 2 * KNOWN_SKEW));
        let (known, used) = (Known::new(true), until(over));
        known.remember(&used, "the-first-of-all-secrets", "first").unwrap();
        known.remember(&until(hour), "good-for-an-hour", "hour").unwrap();
        known.remember(&until(None), "good-for-all-times", "ever").unwrap();
        for number in 0..KNOWN_CREDENTIALS + 16 {
            known.remember(&until(over), &format!("another-secret-{number:05}"), "other").unwrap();
        }
        let all = b"the-first-of-all-secrets good-for-an-hour good-for-all-times another-secret-00000";
        assert_eq!(known.scrub().text(all).unwrap().0, b"first hour ever another-secret-00000");
        assert!(known.has_room());
    }

    #[test]
    fn where_too_many_are_good_no_other_is_lent_and_none_is_forced_before() {
        let (known, good) = (Known::new(true), until(None));
        for number in 0..KNOWN_CREDENTIALS {
            assert_eq!(known.has_room(), number < KNOWN_FOR_REFUSALS);
            known.remember(&until(None), &format!("another-secret-{number:05}"), "other").unwrap();
        }
        let refusal = known.remember(&good, "one-too-many", "other").unwrap_err();
        assert!(refusal.to_string().contains("still good"), "{refusal}");
        known.remember(&good, "another-secret-00000", "other").unwrap();
        assert_eq!(known.scrub().text(b"another-secret-00000").unwrap().0, b"other");
    }

    #[test]
    fn one_without_an_end_that_was_replaced_a_day_ago_makes_room_and_none_that_is_used_or_newer() {
        let (known, used) = (Known::new(true), until(None));
        known.remember(&used, "the-first-of-all-secrets", "first").unwrap();
        for number in 1..KNOWN_CREDENTIALS {
            known.remember(&until(None), &format!("another-secret-{number:05}"), "other").unwrap();
        }
        let day_ago = SystemTime::now() - KNOWN_REPLACED;
        known.pairs.lock().unwrap().iter_mut().take(2).for_each(|one| one.lent = day_ago);
        known.remember(&until(None), "the-last-of-all-secrets", "last").unwrap();
        let all = b"the-first-of-all-secrets another-secret-00001 another-secret-00002";
        assert_eq!(known.scrub().text(all).unwrap().0, b"first another-secret-00001 other");
        assert!(known.remember(&until(None), "one-too-many", "other").is_err());
    }

    #[test]
    fn one_that_is_renewed_is_good_for_as_long_as_the_later_end_says() {
        let now = SystemTime::now();
        let (hour, over) = (Some(now + Duration::from_secs(3600)), Some(now - 2 * KNOWN_SKEW));
        let known = Known::new(true);
        for (secret, ends) in [
            ("renewed-for-an-hour", [over, hour]),
            ("an-hour-is-an-hour", [hour, over]),
            ("no-end-is-known", [None, over]),
            ("nor-of-this-one", [over, None]),
        ] {
            ends.into_iter().for_each(|end| known.remember(&until(end), secret, "known").unwrap());
        }
        known.remember(&until(hour), "another-secret", "other").unwrap();
        let all = b"renewed-for-an-hour an-hour-is-an-hour no-end-is-known nor-of-this-one";
        assert_eq!(known.scrub().text(all).unwrap().0, b"known known known known");
    }

    #[test]
    fn one_that_is_lent_once_more_is_new_and_used() {
        let (known, used) = (Known::new(true), until(None));
        for number in 0..KNOWN_CREDENTIALS {
            known.remember(&until(None), &format!("another-secret-{number:05}"), "other").unwrap();
        }
        let age = |index: usize| known.pairs.lock().unwrap()[index].lent = SystemTime::now() - KNOWN_REPLACED;
        age(0);
        known.remember(&until(None), "another-secret-00000", "other").unwrap();
        assert!(known.remember(&until(None), "one-too-many", "other").is_err(), "what was lent just now has gone");
        known.remember(&used, "another-secret-00001", "other").unwrap();
        age(1);
        assert!(known.remember(&until(None), "one-too-many", "other").is_err(), "what somebody uses has gone");
        age(2);
        known.remember(&until(None), "one-too-many", "other").unwrap();
    }
}
