//! Leave by permission: whether a worker may have a credential that a person has to permit.
//!
//! Enters: that a worker wants it; an operator's decision; the time. Leaves: that it may, that it is asked for, or who said no and why. A
//! `Permission` is a function of these alone. Never: a permission that outlives its worker or its time, or that is for another
//! credential or another worker of the same agent.

mod desk;
mod id;
mod journal;

use config::{AgentId, CredentialName, Destination, WorkerId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::desk::{Desk, Gate};
pub use self::id::{ApprovalId, NoApprovalId};

/// What an operator may say in their own words.
pub(crate) const LONGEST_WHY: usize = 500;
/// The longest permission with an end. A worker seldom lives as long.
pub(crate) const LONGEST_TERM: u64 = 30 * 24 * 60 * 60;

/// A worker's wish to use a credential, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// By what it is approved or denied.
    pub id: ApprovalId,
    /// Who wants it.
    pub worker: WorkerId,
    /// For whom the worker works.
    pub agent: AgentId,
    /// What it wants to use.
    pub credential: CredentialName,
    /// Where it first wanted to use it. The permission is for all that the credential is granted for.
    pub destination: Destination,
    /// Since when.
    pub since: Timestamp,
    /// What became of it.
    pub state: ApprovalState,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ApprovalState {
    /// Nobody has decided yet.
    Pending,
    /// It may be used.
    Approved {
        /// The user id of who said so.
        by: u32,
        /// When.
        at: Timestamp,
        /// For how long.
        term: Term,
        /// When it ends by itself. For one lease, known once that is there.
        until: Option<Timestamp>,
    },
    /// It may not, as long as the worker lives and nobody says otherwise.
    Denied {
        /// The user id of who said so.
        by: u32,
        /// When.
        at: Timestamp,
        /// In their words.
        why: String,
    },
}

/// What an operator decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decision {
    /// It may be used.
    Approve(Term),
    /// It may not.
    Deny {
        /// Why, for the agent to read.
        why: String,
    },
}

/// How long a permission lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Term {
    /// One lease: all calls until it would be renewed.
    Once,
    /// So many seconds.
    For(u64),
    /// As long as the worker lives.
    Worker,
}

/// A decision that cannot be taken as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDecision {
    /// No words, too many, or not words only.
    #[error("say why in 1 to {LONGEST_WHY} characters, none of them a control character")]
    Why,
    /// No time, or too long a one.
    #[error("a permission is for at least a second and at most 30 days")]
    Term,
}

impl Decision {
    /// Whether it can be taken.
    ///
    /// # Errors
    /// [`NoDecision`]
    pub fn check(&self) -> Result<(), NoDecision> {
        match self {
            Decision::Deny { why } => {
                let fits = !why.trim().is_empty() && why.chars().count() <= LONGEST_WHY;
                if fits && !why.chars().any(char::is_control) { Ok(()) } else { Err(NoDecision::Why) }
            }
            Decision::Approve(Term::For(seconds)) if !(1..=LONGEST_TERM).contains(seconds) => Err(NoDecision::Term),
            Decision::Approve(_) => Ok(()),
        }
    }
}

/// One worker's permission for one credential, from its being asked for to its end.
#[derive(Clone, Debug)]
pub(crate) struct Permission {
    approval: Approval,
}

/// What a permission says of a wish, at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// The issuer may be asked.
    Yes,
    /// The one lease that may be had was had, and is good.
    OneThatIsThere,
    /// Nobody has decided.
    NotYet,
    /// Somebody said no.
    No(String),
    /// It has run out, and is to be asked for anew.
    Over,
}

impl Permission {
    /// One that is asked for.
    pub(crate) fn asked(approval: Approval) -> Permission {
        Permission { approval }
    }

    pub(crate) fn approval(&self) -> &Approval {
        &self.approval
    }

    /// What it says now.
    pub(crate) fn says(&self, now: Timestamp) -> Says {
        match &self.approval.state {
            ApprovalState::Pending => Says::NotYet,
            ApprovalState::Denied { why, .. } => Says::No(why.clone()),
            ApprovalState::Approved { until: Some(until), .. } if *until <= now => Says::Over,
            ApprovalState::Approved { term: Term::Once, until: Some(_), .. } => Says::OneThatIsThere,
            ApprovalState::Approved { .. } => Says::Yes,
        }
    }

    /// Takes an operator's decision, which is checked. The last one counts.
    pub(crate) fn decide(&mut self, decision: &Decision, by: u32, at: Timestamp) {
        self.approval.state = match decision {
            Decision::Deny { why } => ApprovalState::Denied { by, at, why: why.clone() },
            Decision::Approve(term) => {
                let until = match term {
                    Term::For(seconds) => Some(after(at, *seconds)),
                    Term::Once | Term::Worker => None,
                };
                ApprovalState::Approved { by, at, term: *term, until }
            }
        };
    }

    /// A lease was given out, which is to be renewed at `due`. Where the permission was for one, that is its end; the answer is whether it
    /// became so now.
    pub(crate) fn lent(&mut self, due: Timestamp) -> bool {
        match &mut self.approval.state {
            ApprovalState::Approved { term: Term::Once, until: until @ None, .. } => {
                *until = Some(due);
                true
            }
            _ => false,
        }
    }
}

fn after(at: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds.min(LONGEST_TERM)).unwrap_or(0);
    at.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(at)
}

#[cfg(test)]
mod tests;
