//! What was measured of one agent, and nothing else.
//!
//! Enters: nothing. Leaves: plain values; what was not measured, or cannot be trusted, is absent. Never: a default that reads like a fact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Facts {
    /// The policy file that a worker would start with now; null where there is none that could be used.
    pub policy: Option<Policy>,
    /// Why there is none.
    pub policy_unusable: Option<String>,
    /// The credentials that list the agent; null where credentials.toml is not there or cannot be used.
    pub credentials: Option<Vec<Granted>>,
    /// What `exeat check` finds of these and of the agent's rules; null where it could not look.
    pub findings: Option<Vec<Found>>,
    /// What `exeat check` could not judge, and why.
    pub notes: Vec<String>,
    /// Leases that were asked for in the period, or stand; null where no ledger has one.
    pub leases: Option<Leases>,
    /// Whether the agent's call logs are what was written.
    pub logs: Logs,
    /// What they show of the period; null where they show nothing, or one of them is not what was written.
    pub activity: Option<Activity>,
    /// What was in force for the agent's last worker, by its own log.
    pub walls: Option<Walls>,
    /// What came of the last `exeat probe`; null where none has left a result.
    pub probe: Option<Probed>,
    /// What people decided about the agent's wishes in the period; null where no decision was ever written.
    pub decisions: Option<Decisions>,
    /// Whether the agent was offboarded.
    pub offboarded: Option<Offboarded>,
    /// The agent's workers that run now.
    pub running: Option<Vec<Worker>>,
}

/// The policy file.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Policy {
    /// Where it is.
    pub file: String,
    /// Its digest (SHA-256).
    pub digest: String,
    /// `[[allow]]` rules.
    pub allow: usize,
    /// `[[deny]]` rules.
    pub deny: usize,
    /// Allow rules for one host each.
    pub one_host: usize,
    /// Allow rules that name a credential.
    pub with_credential: usize,
    /// Those of them that list methods or paths, or look into bodies.
    pub with_credential_narrowed: usize,
    /// Allow rules with a rate.
    pub with_rate: usize,
    /// Allow rules that look into MCP or GraphQL bodies.
    pub with_protocol: usize,
    /// Allow rules by which connections pass unread.
    pub unread: usize,
    /// Allow rules that let plain HTTP through.
    pub plain: usize,
    /// The widest allow rules, the widest first.
    pub widest: Vec<Wide>,
}

/// A rule that lets much through.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Wide {
    /// Which, and its line in the file.
    pub rule: String,
    /// Its destinations.
    pub to: String,
    /// What is wide about it.
    pub because: Vec<String>,
}

/// A credential that lists the agent.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Granted {
    /// Its name.
    pub name: String,
    /// The file and the line.
    pub place: String,
    /// What issues it, by its name in `issuer`.
    pub issuer: String,
    /// Whether somebody made it by hand, so that it lives until it is rotated.
    pub fixed: bool,
    /// Whether it is had for the worker's own identity, so that no secret of its issuer's is kept here.
    pub by_identity: bool,
    /// Whether its issuer is a cloud's.
    pub cloud: bool,
    /// Where it may go.
    pub to: Vec<String>,
    /// Whether each worker needs a person's permission.
    pub needs_permission: bool,
    /// Whether a rule of the agent names it.
    pub named_by_a_rule: bool,
    /// The other agents that may use it.
    pub also_of: Vec<String>,
}

/// A finding of `exeat check`.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Found {
    /// The risk's number in OWASP's list.
    pub risk: String,
    /// File, line and key.
    pub place: String,
    /// What is so.
    pub reason: String,
    /// Why the file says that it has to be so.
    pub accepted: Option<String>,
}

/// What the ledgers say.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Leases {
    /// How many were given.
    pub given: u64,
    /// Those that their issuer was told to take no longer, and confirmed it.
    pub revoked: u64,
    /// Those that ran out.
    pub expired: u64,
    /// Those whose worker has ended with nothing to revoke: loans of fixed secrets, which stand until these are rotated.
    pub returned: u64,
    /// Those that a living worker has.
    pub leased: u64,
    /// Those that should be used no longer and still stand.
    pub kept: u64,
    /// Those of which nobody knows whether their issuer gave them.
    pub unanswered: u64,
    /// How often an issuer gave nothing.
    pub refused: u64,
    /// The longest time for which one was issued, in seconds; null where none has an end.
    pub longest_issued_s: Option<i64>,
    /// The longest time from asking for one to its end, in seconds; null where none has ended.
    pub longest_lived_s: Option<i64>,
}

/// Whether logs are what was written.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Logs {
    /// By what they were verified.
    pub by: String,
    /// Logs of this agent.
    pub logs: u64,
    /// Records in those that are what was written.
    pub records: u64,
    /// Those of these records that are in a checkpoint which the broker signed.
    pub signed: u64,
    /// Logs of these that nobody signed for, or not to the end that they have.
    pub unsigned: u64,
    /// Those that are not, or could not be read.
    pub broken: Vec<Broken>,
}

/// A log that is not what was written.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Broken {
    /// The worker's directory.
    pub worker: String,
    /// What is wrong, and where.
    pub why: String,
}

/// What the call logs show of the period.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Activity {
    /// When the first record of the period was written.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub first: Option<Timestamp>,
    /// When the last was.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub last: Option<Timestamp>,
    /// Records of the period.
    pub records: u64,
    /// Workers with such a record.
    pub workers: u64,
    /// Batteries of `exeat probe` beside these, whose attempts are not counted as the agent's.
    pub batteries: u64,
    /// Those of the workers that began with an identity of their own (a SPIFFE ID).
    pub identified: u64,
    /// Those of them that only observed (`exeat run --observe`).
    pub observing: u64,
    /// Calls and tunnels that had their permit.
    pub calls: u64,
    /// Those that no rule covered, in workers that only observed.
    pub observed: u64,
    /// Connections that passed unread.
    pub tunnels: u64,
    /// Calls with a credential.
    pub with_credential: u64,
    /// Those of them whose end says that their upstream was reached over TLS.
    pub with_credential_over_tls: u64,
    /// Those of them whose upstream was reached without TLS.
    pub with_credential_in_plain: u64,
    /// Calls that waited for a person's permission.
    pub waited: u64,
    /// How often a credential was replaced in an answer.
    pub scrubbed: u64,
    /// Calls and connections that were refused.
    pub refused: u64,
    /// Those of them that someone should look at.
    pub alerts: u64,
    /// Refusals by kind, the most frequent first.
    pub refused_by_kind: Vec<Kind>,
    /// Calls by host, the most frequent first.
    pub by_host: Vec<Host>,
    /// Hosts beyond these.
    pub more_hosts: u64,
    /// How many workers each version of TLS was agreed on in, towards upstreams: calls by version.
    pub upstream_tls: BTreeMap<String, u64>,
    /// Workers whose end is in their log.
    pub ended: u64,
    /// Workers that a limit ended, by limit.
    pub limits: BTreeMap<String, u64>,
    /// Changes of policy that were taken.
    pub reloaded: u64,
    /// Changes of policy that were not, for a mistake in them.
    pub not_reloaded: u64,
}

/// A kind of refusal.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Kind {
    /// As in the log.
    pub kind: String,
    /// How many.
    pub refused: u64,
    /// The last of them.
    pub last: Place,
}

/// A record.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Place {
    /// The worker.
    pub worker: String,
    /// The record's number in its log.
    pub seq: u64,
}

/// A host.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Host {
    /// Host and port.
    pub to: String,
    /// Calls that had their permit.
    pub calls: u64,
    /// Refusals.
    pub refused: u64,
    /// Body bytes towards it.
    pub sent: u64,
    /// Body bytes from it.
    pub received: u64,
}

/// What was in force for a worker and its sandbox.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Walls {
    /// Where it says so.
    pub record: Place,
    /// When.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// The version of exeat.
    pub version: String,
    /// Digest of the policy that it began with.
    pub policy: String,
    /// The worker's SPIFFE ID.
    pub identity: String,
    /// Whether calls passed that no rule covers.
    pub observe: bool,
    /// The namespaces of the sandbox's own.
    pub namespaces: Vec<String>,
    /// How its connections are caught; `redirect` is all of them.
    pub capture: String,
    /// Whether only listed system calls exist inside.
    pub syscall_filter: bool,
    /// Landlock's version inside; null where the kernel has none.
    pub landlock: Option<i64>,
    /// Whether namespaces may be made inside, which takes walls down.
    pub nested: bool,
    /// Files and directories that were out of sight.
    pub hidden: u64,
    /// The limits that held: what, and by what.
    pub limits: BTreeMap<String, String>,
    /// Whether the worker itself could make listed system calls only.
    pub worker_filter: Option<bool>,
    /// Landlock's version around the worker.
    pub worker_landlock: Option<i64>,
    /// Whether the worker's memory could be read by other processes of its user.
    pub worker_dumpable: Option<bool>,
}

/// What came of a battery.
#[derive(Debug, Clone, Default, Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probed {
    /// When it was over.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// Under which policy (digest).
    pub policy: String,
    /// In which worker.
    pub worker: String,
    /// The version of exeat.
    pub version: String,
    /// By group of attempts.
    pub groups: BTreeMap<String, Group>,
    /// What broke: the attempt, and what was seen.
    pub broke: Vec<String>,
}

/// A group of attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Group {
    /// Attempts that were made and refused.
    pub held: u64,
    /// Attempts that got through.
    pub broke: u64,
    /// Attempts that there was nothing to try on.
    pub not_applicable: u64,
}

/// What people decided.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Decisions {
    /// Permissions.
    pub approved: u64,
    /// Refusals.
    pub denied: u64,
    /// By whom: user ids.
    pub by: Vec<u32>,
}

/// That an agent was offboarded.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Offboarded {
    /// When, by the mark that refuses it; null where that does not say.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub at: Option<Timestamp>,
    /// By whom: a user id.
    pub by: Option<u32>,
}

/// A worker that runs.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Worker {
    /// Which.
    pub worker: String,
    /// Since when.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub since: Timestamp,
}
