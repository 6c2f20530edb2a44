//! Looks at facts: is this so, by what number, read where?
//!
//! Enters: facts. Leaves: for each question that a control asks, what was measured, or what would have to be. Never: *met* by a fact that is
//! absent, or out of a log that is not what was written (there are no such facts).

use super::control::{Look, Point};
use super::facts::{Activity, Facts, Granted, Policy};

/// Facts, and how they are asked for again.
pub(super) struct Measured<'f> {
    pub(super) facts: &'f Facts,
    pub(super) agent: &'f str,
    pub(super) since: &'f str,
    pub(super) state: &'f str,
}

/// `1 worker`, `2 workers`.
pub(super) fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn open(what: impl Into<String>) -> Look {
    Look::Open(what.into())
}

impl Measured<'_> {
    pub(super) fn met(says: String, source: impl Into<String>, command: impl Into<String>) -> Look {
        Look::Met(Point { says, source: source.into(), command: command.into() })
    }

    fn calls(&self) -> String {
        format!("exeat calls --agent {} --since {}", self.agent, self.since)
    }

    fn logs(&self) -> String {
        let logs = &self.facts.logs;
        format!("{}/workers/*/calls, {} of {}", self.state, many(logs.records, "record"), many(logs.logs, "log"))
    }

    /// Something that only the logs show.
    fn by_logs(&self, look: impl FnOnce(&Activity) -> Look) -> Look {
        let Facts { logs, activity, .. } = self.facts;
        match activity {
            Some(activity) => look(activity),
            None if !logs.broken.is_empty() => open(format!(
                "not measured: {} of {} call logs are not what was written, so that none of them is counted (`exeat verify`)",
                logs.broken.len(),
                logs.logs
            )),
            None => open(format!(
                "not measured: no call log of this agent has a record of the last {}; run it (`exeat run --agent {}`)",
                self.since, self.agent
            )),
        }
    }

    fn by_policy(&self, look: impl FnOnce(&Policy) -> Look) -> Look {
        match &self.facts.policy {
            Some(policy) => look(policy),
            None => open(format!("not measured: there is no policy file of agent `{}` that can be used", self.agent)),
        }
    }

    pub(super) fn by_credentials(&self, look: impl FnOnce(&[Granted]) -> Look) -> Look {
        match &self.facts.credentials {
            Some(credentials) => look(credentials),
            None => open(
                "not measured: there is no credentials.toml here that can be used; where the broker is a service, report there",
            ),
        }
    }

    /// The logs are what was written.
    pub(super) fn log_verified(&self) -> Look {
        let logs = &self.facts.logs;
        match (logs.broken.len(), logs.records) {
            (0, 0) => open(format!("not measured: there is no call log of agent `{}`", self.agent)),
            (0, _) if logs.signed == 0 => open(format!(
                "of {} the lines follow one from another, and the broker signed for none: who can write them can make them anew (`exeat verify`)",
                many(logs.logs, "call log")
            )),
            (0, _) if logs.unsigned > 0 => open(format!(
                "the broker did not sign for {} of {}: who can write them can make them anew (`exeat verify`)",
                logs.unsigned,
                many(logs.logs, "call log")
            )),
            (0, records) => Self::met(
                format!(
                    "Of {} of the agent all is what was written, by {}: {}, of which {} are signed for.",
                    many(logs.logs, "call log"),
                    logs.by,
                    many(records, "record"),
                    logs.signed
                ),
                format!("{0}/workers/*/calls, {0}/checkpoints", self.state),
                "exeat verify --json",
            ),
            (broken, _) => open(format!(
                "{broken} of {} are not what was written: find out who changed them (`exeat verify`)",
                many(logs.logs, "call log")
            )),
        }
    }

    /// Every worker had an identity of its own.
    pub(super) fn identified(&self) -> Look {
        self.by_logs(|activity| match activity.workers - activity.identified {
            _ if activity.workers == 0 => {
                open(format!("not measured: the agent did not run in the last {}", self.since))
            }
            0 => Self::met(
                format!(
                    "Each of {} began with a SPIFFE identity of its own; {} and {} are in their logs.",
                    many(activity.workers, "worker"),
                    many(activity.calls, "call"),
                    many(activity.refused, "refusal")
                ),
                self.logs(),
                format!("{} --json", self.calls()),
            ),
            without => {
                open(format!("{without} of {} began without a SPIFFE identity", many(activity.workers, "worker")))
            }
        })
    }

    /// Something that is seen only where there were calls.
    fn by_calls(&self, look: impl FnOnce(&Activity) -> Look) -> Look {
        self.by_logs(|activity| match activity.calls + activity.refused {
            0 => open(format!("not measured: the agent made no call in the last {}", self.since)),
            _ => look(activity),
        })
    }

    /// Calls without a rule are refused.
    pub(super) fn enforced(&self) -> Look {
        self.by_calls(|activity| match (activity.observing, activity.observed) {
            (0, 0) => Self::met(
                format!(
                    "No worker only observed: of {} each was judged; {} had a permit by a rule, {} were refused.",
                    many(activity.calls + activity.refused, "call"),
                    activity.calls,
                    activity.refused
                ),
                self.logs(),
                format!("{} --refused", self.calls()),
            ),
            (workers, calls) => open(format!(
                "{} only observed, and {} passed that no rule covers: run without `--observe`",
                many(workers, "worker"),
                many(calls, "call")
            )),
        })
    }

    /// Nothing in the period asks to be looked at.
    pub(super) fn no_alerts(&self) -> Look {
        self.by_calls(|activity| match activity.alerts {
            0 => Self::met(
                format!(
                    "None of {} was an alert (a placeholder sent where it does not belong, and the like).",
                    many(activity.refused, "refusal")
                ),
                self.logs(),
                format!("{} --refused", self.calls()),
            ),
            alerts => open(format!("{} to look at, each: `{} --refused --json`", many(alerts, "alert"), self.calls())),
        })
    }

    /// Credentials went over TLS alone.
    pub(super) fn over_tls(&self) -> Look {
        self.by_logs(|activity| match (activity.with_credential_over_tls, activity.with_credential_in_plain) {
            (0, 0) => open("not measured: no call with a credential reached an upstream in this time"),
            (over, 0) => Self::met(
                format!("Of {} with a credential that reached an upstream, each did so over TLS.", many(over, "call")),
                self.logs(),
                format!("{} --json", self.calls()),
            ),
            (over, plain) => {
                open(format!("{plain} of {} with a credential went out in plain", many(over + plain, "call")))
            }
        })
    }

    /// The file that a worker would start with is the one that its last worker had.
    pub(super) fn policy_in_force(&self) -> Look {
        self.by_policy(|policy| match &self.facts.walls {
            None => open("not measured: no worker has said which policy it began with"),
            Some(walls) if walls.policy != policy.digest => open(format!(
                "the policy file was changed since the last worker ({}) began: what is written has not been in force in one since",
                walls.record.worker
            )),
            Some(walls) => Self::met(
                format!("The last worker began with the policy that is in the file now ({}): {} allow rules, {} deny rules.", policy.digest, policy.allow, policy.deny),
                format!("{}; {}", policy.file, self.record(&walls.record.worker, walls.record.seq)),
                format!("sha256sum {}", policy.file),
            ),
        })
    }

    fn policy_again(&self) -> String {
        format!("exeat report --agent {} --json | jq .facts.policy", self.agent)
    }

    /// Every rule with a credential says for which calls.
    pub(super) fn narrowed(&self) -> Look {
        self.by_policy(|policy| {
            match (policy.with_credential, policy.with_credential - policy.with_credential_narrowed) {
                (0, _) => open("no rule of the agent names a credential: nothing to narrow"),
                (all, 0) => Self::met(
                    format!(
                        "Of {} with a credential, each lists methods or paths, or looks into bodies.",
                        many(all as u64, "rule")
                    ),
                    policy.file.clone(),
                    self.policy_again(),
                ),
                (all, whole) => open(format!(
                    "{whole} of {} with a credential are for every method and path: list `methods` and `paths`",
                    many(all as u64, "rule")
                )),
            }
        })
    }

    /// What may be reached is a list of hosts.
    pub(super) fn closed_list(&self) -> Look {
        self.by_policy(|policy| match (policy.allow, policy.allow - policy.one_host) {
            (allow, 0) => Self::met(
                format!(
                    "The agent may reach what {} list, each for one host; {} of them let connections pass unread; {}.",
                    many(allow as u64, "allow rule"),
                    policy.unread,
                    many(policy.deny as u64, "deny rule")
                ),
                policy.file.clone(),
                self.policy_again(),
            ),
            (allow, wide) => open(format!(
                "{wide} of {} are for more than one host: list the hosts that are called",
                many(allow as u64, "allow rule")
            )),
        })
    }

    /// Rules look into what tools are asked for.
    pub(super) fn tools_listed(&self) -> Look {
        self.by_policy(|policy| match policy.with_protocol {
            0 => open("no rule looks into MCP or GraphQL bodies: where the agent calls tools, list them with `mcp` or `graphql`"),
            rules => Self::met(
                format!("{} of {} let through only the MCP tools or GraphQL operations that they list.", rules, many(policy.allow as u64, "allow rule")),
                policy.file.clone(),
                self.policy_again(),
            ),
        })
    }

    /// Rules have rates.
    pub(super) fn rates(&self) -> Look {
        self.by_policy(|policy| match (policy.allow, policy.allow - policy.with_rate) {
            (allow @ 1.., 0) => Self::met(
                format!("Of {} each has a `rate`.", many(allow as u64, "allow rule")),
                policy.file.clone(),
                self.policy_again(),
            ),
            (0, _) => open("no rule allows anything: no rate to have"),
            (allow, without) => open(format!("{without} of {} have no `rate`", many(allow as u64, "allow rule"))),
        })
    }

    /// `exeat check` finds nothing of this risk that nobody accepted.
    pub(super) fn not_found(&self, risk: &str) -> Look {
        let Facts { findings, credentials, notes, .. } = self.facts;
        let (Some(findings), Some(credentials)) = (findings, credentials) else {
            return open("not measured: the files cannot be checked (`exeat check`)");
        };
        let of_risk = || findings.iter().filter(|finding| finding.risk == risk);
        let unaccepted = of_risk().filter(|finding| finding.accepted.is_none()).count();
        if unaccepted > 0 {
            return open(format!(
                "`exeat check` has {unaccepted} findings of {risk}: mend them, or accept them with a reason"
            ));
        }
        if let Some(note) = notes.first().filter(|_| risk == "NHI1") {
            return open(format!("not measured in part: {note}"));
        }
        if credentials.is_empty() {
            return open("no credential is granted to the agent: nothing to judge");
        }
        let accepted = of_risk().count();
        let known =
            if accepted > 0 { format!(" but {accepted} that are accepted with a reason") } else { String::new() };
        Self::met(
            format!("`exeat check` finds nothing of {risk} in {} credentials of the agent{known}.", credentials.len()),
            "credentials.toml and the agent's file",
            "exeat check --strict",
        )
    }

    /// No credential was made by hand.
    pub(super) fn none_fixed(&self) -> Look {
        self.by_credentials(|credentials| {
            let fixed: Vec<_> = credentials.iter().filter(|one| one.fixed).map(|one| format!("`{}`", one.name)).collect();
            match (credentials.len(), fixed.len()) {
                (0, _) => open("no credential is granted to the agent: nothing to judge"),
                (all, 0) => Self::met(
                    format!("None of {all} credentials of the agent is a fixed secret; each is issued anew for a worker."),
                    "credentials.toml",
                    "exeat check --files-only",
                ),
                (all, count) => open(format!(
                    "{count} of {all} credentials are fixed secrets ({}), which a person made and rotates: have them issued for each worker",
                    fixed.join(", ")
                )),
            }
        })
    }

    /// No other agent has the same credential.
    pub(super) fn none_shared(&self) -> Look {
        self.by_credentials(|credentials| {
            match (credentials.len(), credentials.iter().filter(|one| !one.also_of.is_empty()).count()) {
                (0, _) => open("no credential is granted to the agent: nothing to judge"),
                (all, 0) => Self::met(
                    format!("None of {all} credentials of the agent is another agent's too."),
                    "credentials.toml",
                    "exeat check --files-only",
                ),
                (all, shared) => {
                    open(format!("{shared} of {all} credentials are other agents' too: write one for each"))
                }
            }
        })
    }

    /// Clouds are called by the worker's identity.
    pub(super) fn federated(&self) -> Look {
        self.by_credentials(|credentials| {
            let by_identity = credentials.iter().filter(|one| one.by_identity && one.cloud).count();
            match by_identity {
                0 => open("no credential is had from a cloud for the worker's identity (`aws-sts`, `google-sts`, `azure-federated`): where the agent uses a cloud, use these instead of keys"),
                count => Self::met(
                    format!("{count} credentials are had from a cloud for the identity that the broker signs; no key of a cloud is kept for them."),
                    "credentials.toml",
                    "exeat check --files-only",
                ),
            }
        })
    }

    pub(super) fn record(&self, worker: &str, seq: u64) -> String {
        format!("{}/workers/{worker}/calls, record {seq}", self.state)
    }
}
