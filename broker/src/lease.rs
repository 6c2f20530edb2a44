//! One credential, lent to one worker, until a time.
//!
//! Enters: what an issuer gave. Leaves: the same with a name of its own, which is what logs and the ledger show. Whether
//! it still holds is a function of the lease and the time; a lease never renews itself.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use config::CredentialName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::secret::Secret;

/// The name of a lease. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(Uuid);

impl LeaseId {
    /// A new name, in the order of time.
    pub fn generate() -> LeaseId {
        LeaseId(Uuid::now_v7())
    }
}

/// What was read is no lease's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a lease's id, which looks like `0192f0c1-2b3c-7d4e-8f50-617283940a1b`; `exeat leases` lists them")]
pub struct NoLeaseId;

impl FromStr for LeaseId {
    type Err = NoLeaseId;

    /// As it is displayed.
    fn from_str(text: &str) -> Result<LeaseId, NoLeaseId> {
        text.parse().map(LeaseId).map_err(|_| NoLeaseId)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A credential on loan.
#[derive(Debug)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The credential it is a loan of.
    pub credential: CredentialName,
    /// What the upstream wants to see.
    pub secret: Secret,
    /// When the upstream stops taking it. `None`: never, as with a fixed secret.
    pub expires: Option<SystemTime>,
    /// When to ask for the next one. Before `expires`.
    pub refresh: SystemTime,
}

impl Lease {
    /// Good, and not yet due for the next.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.refresh && self.is_valid(now)
    }

    /// Good, if perhaps not for long.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fresh_then_due_then_over() {
        let now = SystemTime::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let credential: CredentialName = "github".parse().unwrap();
        let lease = |expires, refresh| Lease {
            id: LeaseId::generate(),
            credential: credential.clone(),
            secret: Secret::new("x"),
            expires,
            refresh,
        };
        let short = lease(Some(at(10)), at(8));
        assert!(short.is_fresh(at(7)) && !short.is_fresh(at(8)));
        assert!(short.is_valid(at(9)) && !short.is_valid(at(10)));
        assert!(lease(None, at(8)).is_valid(at(1_000_000)));
    }
}
