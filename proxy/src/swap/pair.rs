//! The key pair by which the calls of a rule are signed.
//!
//! Enters: the head of a call that was permitted. Leaves: the placeholders of the pair that its rule names, and the plan of its lease.
//! Never: a pair for another destination than its grant's, or without TLS.

use config::{CredentialName, Part, Placeholder};

use super::{Head, Plan, Swap};

/// What an agent signs with, where it is granted to.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What stands for the id.
    pub id: Placeholder,
    /// What stands for the secret.
    pub secret: Placeholder,
    /// The credential, to be leased for a signature.
    pub plan: Plan,
}

impl Swap {
    /// The pair that the call behind `head` may be signed with.
    pub fn pair(&self, head: &Head<'_>) -> Option<Pair> {
        let grants = &self.0.grants;
        let granted = grants.iter().find(|(grant, _)| {
            grant.signs() && head.permitted == Some(grant.credential()) && grant.allows(head.destination)
        })?;
        let of_it = |credential: &CredentialName| *credential == *granted.0.credential();
        let (_, id) = grants.iter().find(|(grant, _)| grant.part() == Part::Id && of_it(grant.credential()))?;
        let mut plan = Plan::new(granted);
        plan.stands_in("signature");
        Some(Pair { id: id.clone(), secret: granted.1.clone(), plan })
    }
}
