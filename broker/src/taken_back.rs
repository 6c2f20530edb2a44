//! What a worker is to use no longer of what it was lent.
//!
//! Enters: single leases, and moments up to which all is taken back, of a credential or of all. Leaves: whether a lease is among it, also one
//! that another has replaced or that ran out: what was opened with it may still stand. Ids of leases are in the order of time, so a moment
//! is an id. Never: a lease that is good again.

use std::collections::{BTreeSet, HashMap};

use config::CredentialName;
use serde::{Deserialize, Serialize};

use crate::lease::{Lease, LeaseId};

/// Grows only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakenBack {
    leases: BTreeSet<LeaseId>,
    /// Of one credential, all up to this.
    up_to: HashMap<CredentialName, LeaseId>,
    /// Of every credential.
    all_up_to: Option<LeaseId>,
}

impl TakenBack {
    /// One lease.
    pub(crate) fn one(&mut self, lease: LeaseId) {
        self.leases.insert(lease);
    }

    /// All that was lent, or was about to be, until now.
    pub(crate) fn all(&mut self) {
        self.all_up_to = Some(LeaseId::generate());
    }

    /// The same of one credential.
    pub(crate) fn all_of(&mut self, credential: &CredentialName) {
        self.up_to.insert(credential.clone(), LeaseId::generate());
    }

    /// Adds what is known elsewhere. Whether that was more.
    pub(crate) fn add(&mut self, TakenBack { leases, up_to, all_up_to }: TakenBack) -> bool {
        let before = self.clone();
        self.leases.extend(leases);
        for (credential, id) in up_to {
            let known = self.up_to.entry(credential).or_insert(id);
            *known = id.max(*known);
        }
        self.all_up_to = self.all_up_to.max(all_up_to);
        *self != before
    }

    /// Whether it may be used no longer.
    pub(crate) fn has(&self, lease: &Lease) -> bool {
        self.names(lease.id, &lease.credential)
    }

    /// The same by its names.
    pub(crate) fn names(&self, id: LeaseId, credential: &CredentialName) -> bool {
        let up_to = self.all_up_to.max(self.up_to.get(credential).copied());
        up_to.is_some_and(|up_to| id <= up_to) || self.leases.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_all_before_it_and_nothing_after() {
        let (api, other): (CredentialName, CredentialName) = ("api".parse().unwrap(), "other".parse().unwrap());
        let (mut taken, mut known) = (TakenBack::default(), TakenBack::default());
        let (first, second) = (LeaseId::generate(), LeaseId::generate());
        taken.one(second);
        assert!(taken.names(second, &api) && !taken.names(first, &api));
        taken.all_of(&api);
        let third = LeaseId::generate();
        assert!(taken.names(first, &api) && !taken.names(first, &other) && !taken.names(third, &api));
        assert!(known.add(taken.clone()) && known == taken && !known.add(TakenBack::default()));
        taken.all();
        assert!(known.add(taken) && !known.add(known.clone()));
        assert!(known.names(third, &api) && known.names(first, &other));
        let fourth = LeaseId::generate();
        assert!(!known.names(fourth, &api) && !known.names(fourth, &other));
        // What is known already is not forgotten for being told of an earlier moment.
        let mut earlier = TakenBack::default();
        earlier.up_to.insert(api.clone(), first);
        assert!(!known.add(earlier) && known.names(third, &api));
    }
}
