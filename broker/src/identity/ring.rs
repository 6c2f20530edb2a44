//! The keys of one broker, and which of them signs when.
//!
//! Enters: keys, each with the time from which it signs, and the time of asking. Leaves: the one that signs, all that are
//! published, and what has to be done so that the next is published long before it signs and the last for as long as anything
//! stands that it has signed. All of it is a function of the keys and the time: brokers that share a file agree without a word.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::SigningAlgorithm;
use jsonwebtoken::jwk::JwkSet;

use super::IDENTITY_LIFETIME;
use super::key::SigningKey;

/// Verifiers look again for keys at least once a day; where keys are rotated faster than that, they have half of the time.
const LONGEST_LEAD: Duration = Duration::from_secs(24 * 3600);
/// After the last identity that a key signed has run out: clocks differ.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// A key and from when it signs.
#[derive(Clone, Debug)]
pub(crate) struct Dated {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) signs_from: SystemTime,
}

/// All keys that are published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring(Vec<Dated>);

/// What is to be done to a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The keys to make, each with the time from which it is to sign.
    pub(crate) make: Vec<(SigningAlgorithm, SystemTime)>,
    /// Whether some key has gone.
    pub(crate) drop: bool,
}

impl Ring {
    pub(crate) fn new(mut keys: Vec<Dated>) -> Ring {
        keys.sort_by_key(|one| one.signs_from);
        Ring(keys)
    }

    /// The key that signs: the last whose time has come. Where the clock was set back, the first there is.
    pub(crate) fn signing(&self, algorithm: SigningAlgorithm, now: SystemTime) -> Option<&SigningKey> {
        let mut fit = self.of(algorithm);
        let first = fit.clone().next();
        fit.rfind(|one| one.signs_from <= now).or(first).map(|one| &*one.key)
    }

    /// The public halves of all.
    pub(crate) fn published(&self) -> JwkSet {
        JwkSet { keys: self.0.iter().map(|one| one.key.public().clone()).collect() }
    }

    /// The algorithms that some key signs.
    pub(crate) fn algorithms(&self) -> BTreeSet<SigningAlgorithm> {
        self.0.iter().map(|one| one.key.algorithm()).collect()
    }

    pub(crate) fn keys(&self) -> &[Dated] {
        &self.0
    }

    /// What is to be done at `now`, where a key signs for `rotate` and is published for some of that before.
    pub(crate) fn due(&self, wanted: &BTreeSet<SigningAlgorithm>, rotate: Duration, now: SystemTime) -> Due {
        let lead = LONGEST_LEAD.min(rotate / 2);
        let mut due = Due::default();
        for algorithm in wanted {
            match self.of(*algorithm).next_back() {
                // There is nothing that a verifier could know instead.
                None => due.make.push((*algorithm, now)),
                Some(last) if last.signs_from + (rotate - lead) <= now => due.make.push((*algorithm, now + lead)),
                Some(_) => {}
            }
        }
        due.drop = self.0.iter().any(|one| self.is_over(one, now));
        due
    }

    /// The same without the keys that have signed nothing that still stands.
    pub(crate) fn without_old(&self, now: SystemTime) -> Ring {
        Ring(self.0.iter().filter(|one| !self.is_over(one, now)).cloned().collect())
    }

    /// The same with one more.
    pub(crate) fn with(&self, one: Dated) -> Ring {
        Ring::new(self.0.iter().cloned().chain([one]).collect())
    }

    fn is_over(&self, one: &Dated, now: SystemTime) -> bool {
        let next = self.of(one.key.algorithm()).find(|other| other.signs_from > one.signs_from);
        next.is_some_and(|next| next.signs_from + IDENTITY_LIFETIME + MARGIN <= now)
    }

    fn of(&self, algorithm: SigningAlgorithm) -> impl DoubleEndedIterator<Item = &Dated> + Clone {
        self.0.iter().filter(move |one| one.key.algorithm() == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ES256: SigningAlgorithm = SigningAlgorithm::Es256;

    fn made(signs_from: SystemTime) -> Dated {
        Dated { key: Arc::new(SigningKey::generate(ES256).unwrap()), signs_from }
    }

    fn kid(key: &SigningKey) -> String {
        key.public().common.key_id.clone().unwrap()
    }

    /// One look after the other, as a broker takes them; what it sees at each.
    struct Seen {
        at: SystemTime,
        signs: String,
        published: Vec<String>,
    }

    fn watch(rotate: Duration, looks: &[Duration]) -> Vec<Seen> {
        let (mut ring, mut now, mut seen) = (Ring::default(), SystemTime::UNIX_EPOCH, Vec::new());
        for pause in looks {
            now += *pause;
            let due = ring.due(&[ES256].into(), rotate, now);
            if due.drop {
                ring = ring.without_old(now);
            }
            for (_, signs_from) in due.make {
                ring = ring.with(made(signs_from));
            }
            let published = ring.keys().iter().map(|one| kid(&one.key)).collect();
            seen.push(Seen { at: now, signs: kid(ring.signing(ES256, now).unwrap()), published });
        }
        seen
    }

    #[test]
    fn a_key_signs_for_its_time_and_overlaps_with_the_next_on_both_sides() {
        let (day, minute) = (Duration::from_secs(24 * 3600), Duration::from_secs(60));
        let looks = [minute, day, 28 * day - minute, minute, day - minute, minute, 10 * minute - minute, minute];
        let seen = watch(30 * day, &looks);
        let keys: Vec<_> = seen.iter().map(|seen| seen.published.len()).collect();
        assert_eq!(
            keys,
            [1, 1, 1, 2, 2, 2, 2, 1],
            "alone, then with the next for a day, then with the last for ten minutes"
        );
        let first = &seen[0].signs;
        assert!(seen[..5].iter().all(|seen| seen.signs == *first) && seen[5..].iter().all(|seen| seen.signs != *first));
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_a_key_that_signs() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ring = Ring::new(vec![made(late)]);
        assert!(ring.signing(ES256, SystemTime::UNIX_EPOCH).is_some());
        assert!(ring.signing(SigningAlgorithm::Rs256, late).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever the looks: what was signed verifies until it runs out, with the keys of any later look; and whoever looked
        /// within the lead before knows the key already.
        #[test]
        fn what_was_signed_verifies_until_it_runs_out(
            hours in 1_u64..100, looks in proptest::collection::vec(1_u64..40_000, 1..60),
        ) {
            let rotate = Duration::from_secs(hours * 3600);
            let looks: Vec<_> = looks.into_iter().map(Duration::from_secs).collect();
            let seen = watch(rotate, &looks);
            let lead = LONGEST_LEAD.min(rotate / 2);
            for (index, one) in seen.iter().enumerate() {
                prop_assert!(one.published.contains(&one.signs));
                // The look before was the last change: between the two, the keys were those of the look before.
                for later in &seen[index..] {
                    let stands = later.at < one.at + IDENTITY_LIFETIME;
                    prop_assert!(!stands || later.published.contains(&one.signs), "gone too soon");
                }
                let first = seen.iter().position(|other| other.published.contains(&one.signs)).unwrap();
                prop_assert!(first == 0 || one.at >= seen[first].at + lead, "signs too soon");
                prop_assert!(one.published.len() <= 4);
            }
        }
    }
}
