//! What came of one attempt.
//!
//! Enters: an observation. Leaves: a finding, also as JSON with a schema that README.md describes. Never: *held* for an attempt
//! that was not made, or whose failure could have another reason than the wall.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::brief::Brief;
use super::inside;

/// How a wall fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The attempt was made and refused.
    Held,
    /// The attempt got through.
    Broke,
    /// There was nothing to try it on, or nothing would have shown it.
    NotApplicable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "held",
            Self::Broke => "broke",
            Self::NotApplicable => "not applicable",
        })
    }
}

/// What one attempt came to: a verdict, and the fact that was observed.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) seen: String,
}

impl Outcome {
    pub(crate) fn held(seen: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Held, seen: seen.to_string() }
    }

    pub(crate) fn broke(seen: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Broke, seen: seen.to_string() }
    }

    pub(crate) fn not_applicable(seen: impl fmt::Display) -> Self {
        Self { verdict: Verdict::NotApplicable, seen: seen.to_string() }
    }

    /// One outcome for several of a kind: the worst decides, and every distinct fact of it is told,
    /// as is what could not be tried beside what held.
    pub(crate) fn of_all(outcomes: impl IntoIterator<Item = Self>, none: &str) -> Self {
        let outcomes: Vec<Self> = outcomes.into_iter().collect();
        let worst = [Verdict::Broke, Verdict::Held, Verdict::NotApplicable]
            .into_iter()
            .find(|verdict| outcomes.iter().any(|outcome| outcome.verdict == *verdict));
        let Some(verdict) = worst else { return Self::not_applicable(none) };
        let mut facts: Vec<String> = Vec::new();
        for outcome in outcomes {
            let fact = match (outcome.verdict, verdict) {
                (own, worst) if own == worst => outcome.seen,
                (Verdict::NotApplicable, Verdict::Held) => format!("not tried: {}", outcome.seen),
                _ => continue,
            };
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        Self { verdict, seen: facts.join("; ") }
    }
}

/// One attempt of the battery.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    /// Group and name.
    pub(crate) id: &'static str,
    /// What is tried.
    pub(crate) tried: &'static str,
    /// Whether the same attempt, made outside, has to get through; otherwise nothing can be said.
    pub(crate) control: bool,
    pub(crate) attempt: fn(&Brief) -> Outcome,
}

impl Probe {
    pub(crate) const fn new(id: &'static str, tried: &'static str, attempt: fn(&Brief) -> Outcome) -> Self {
        Self { id, tried, control: false, attempt }
    }

    /// One that has to get through outside.
    pub(crate) const fn with_control(id: &'static str, tried: &'static str, attempt: fn(&Brief) -> Outcome) -> Self {
        Self { id, tried, control: true, attempt }
    }

    pub(crate) fn finding(&self, outcome: Outcome) -> Finding {
        Finding { id: self.id.to_owned(), verdict: outcome.verdict, tried: self.tried.to_owned(), seen: outcome.seen }
    }
}

/// An attempt and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) id: String,
    pub(crate) verdict: Verdict,
    pub(crate) tried: String,
    pub(crate) seen: String,
}

impl Finding {
    /// `network` of `network/tcp-loopback`.
    pub(crate) fn group(&self) -> &str {
        self.id.split_once('/').map_or(self.id.as_str(), |(group, _)| group)
    }

    /// `tcp-loopback` of `network/tcp-loopback`.
    pub(crate) fn name(&self) -> &str {
        self.id.split_once('/').map_or(self.id.as_str(), |(_, name)| name)
    }
}

/// All attempts that are made inside, in order.
pub(crate) fn battery() -> impl Iterator<Item = &'static Probe> {
    inside::GROUPS.iter().flat_map(|group| group.iter())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_worst_of_several_decides_and_nothing_is_not_held() {
        let all = [Outcome::held("refused"), Outcome::broke("reached"), Outcome::not_applicable("absent")];
        let worst = Outcome::of_all(all, "none");
        assert_eq!((worst.verdict, worst.seen.as_str()), (Verdict::Broke, "reached"));
        let same = Outcome::of_all([Outcome::held("refused"), Outcome::held("refused")], "none");
        assert_eq!((same.verdict, same.seen.as_str()), (Verdict::Held, "refused"));
        assert_eq!(Outcome::of_all([], "none").verdict, Verdict::NotApplicable);
    }

    #[test]
    fn every_attempt_has_a_name_of_its_own() {
        let ids: BTreeSet<&str> = battery().map(|probe| probe.id).collect();
        assert_eq!(ids.len(), battery().count());
        assert!(ids.iter().all(|id| id.split_once('/').is_some()));
    }
}
