//! Looks at what was lent, by whose leave, and at its end.
//!
//! Enters: facts. Leaves: as `measure`. Never: a lease called ended of which its issuer has not said so.

use super::control::Look;
use super::measure::{Measured, many, open};

/// As in `config`'s audit: what lives no longer is short-lived; a minute for clocks and the way of the answer.
const SHORT_S: i64 = 61 * 60;

impl Measured<'_> {
    /// People decide.
    pub(super) fn permission(&self) -> Look {
        self.by_credentials(|credentials| {
            let asked = credentials.iter().filter(|one| one.needs_permission).count();
            match (asked, &self.facts.decisions) {
                (0, _) => open("no credential of the agent needs a person's permission (`approve = true`)"),
                (_, None) => open(format!("not measured: {asked} credentials need a person's permission, and no decision was ever written")),
                (_, Some(decisions)) if decisions.approved + decisions.denied == 0 => {
                    open(format!("not measured: {asked} credentials need a person's permission, and none was asked for in the last {}", self.since))
                }
                (_, Some(decisions)) => Self::met(
                    format!(
                        "{asked} of {} credentials need a person's permission; people approved {} and denied {} times, by user ids {:?}.",
                        credentials.len(), decisions.approved, decisions.denied, decisions.by
                    ),
                    format!("{}/leases/approvals.jsonl", self.state),
                    "exeat approvals --all --json",
                ),
            }
        })
    }

    /// What was lent is back.
    pub(super) fn taken_back(&self) -> Look {
        let Some(leases) = &self.facts.leases else {
            return open(format!("not measured: no lease was asked for in the last {}", self.since));
        };
        match (leases.kept, leases.unanswered, leases.returned, leases.revoked + leases.expired) {
            (0, 0, 0, ended @ 1..) => Self::met(
                format!(
                    "Of {} given, {} were revoked at their issuer, {} ran out and {} are with living workers; none is left over.",
                    many(leases.given, "lease"),
                    leases.revoked,
                    leases.expired,
                    leases.leased
                ),
                format!("{}/leases, {} that ended", self.state, many(ended, "lease")),
                "exeat leases --all --json",
            ),
            (0, 0, 0, 0) => open("not measured: no lease has ended yet"),
            (kept, unanswered, returned, _) => open(format!(
                "{kept} leases could not be revoked and {unanswered} may have been given unseen (`exeat leases`); {returned} loans of fixed secrets ended with nothing to revoke"
            )),
        }
    }

    /// Nothing lives long.
    pub(super) fn short_lived(&self) -> Look {
        match self.facts.leases.as_ref().map(|leases| (leases.longest_issued_s, leases)) {
            None => open(format!("not measured: no lease was asked for in the last {}", self.since)),
            Some((None, _)) => open("not measured: no lease of the agent has an end that its issuer named"),
            Some((Some(longest), leases)) if longest <= SHORT_S && leases.returned == 0 => Self::met(
                format!("The longest of {} was issued for {longest} s.", many(leases.given, "lease")),
                format!("{}/leases", self.state),
                "exeat leases --all --json",
            ),
            Some((Some(longest), leases)) => open(format!(
                "the longest lease was issued for {longest} s, and {} were loans of fixed secrets: an hour is short, and it is renewed while its worker lives",
                leases.returned
            )),
        }
    }

    /// An end was made of the agent, and nothing of it is left; nothing to say of one that is in service.
    pub(super) fn offboarded(&self) -> Option<Look> {
        let offboarded = self.facts.offboarded.as_ref()?;
        let running = self.facts.running.as_ref()?.len();
        let left = self.facts.leases.as_ref().map_or(0, |leases| leases.kept + leases.unanswered + leases.leased);
        if running > 0 || left > 0 {
            return Some(open(format!(
                "the agent is offboarded, and {running} workers run and {left} leases stand: `exeat offboard {}` again",
                self.agent
            )));
        }
        let at = offboarded
            .at
            .map_or("at a time that is not told".to_owned(), |at| at.strftime("on %Y-%m-%dT%H:%M:%SZ").to_string());
        Some(Self::met(
            format!(
                "The agent was offboarded {at}: no worker of it runs, and no lease of the last {} stands.",
                self.since
            ),
            format!("{}/offboarded/{}", self.state, self.agent),
            "exeat workers; exeat leases",
        ))
    }
}
