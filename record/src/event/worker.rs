//! What a log says of its worker: who it was, how it ended, and in which files the log goes on.
//!
//! Enters: nothing. Leaves: plain structures, as in `event`. Never: a secret of the worker's.

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// Who runs what under which policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkerStart {
    /// The version of the records.
    #[serde(default)]
    pub format: u32,
    /// The worker.
    pub worker: String,
    /// The agent whose policy it enforces.
    pub agent: String,
    /// The identity that the broker gave it (a SPIFFE ID).
    pub identity: String,
    /// Digest (SHA-256) of the policy file.
    pub policy: String,
    /// Whether calls pass that no rule covers (`exeat run --observe`); absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observe: bool,
    /// Whether `exeat probe` started it, which says so itself: a command cannot; absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// What the sandbox reports to be in force: capture, namespaces, limits.
    pub sandbox: serde_json::Value,
    /// What holds the worker itself, as reported by those who put it in force; not in logs of before there was that.
    #[serde(default)]
    pub lock: serde_json::Value,
    /// Names of the credentials whose placeholders are inside.
    pub credentials: Vec<String>,
    /// The version of exeat that writes.
    pub version: String,
}

/// Whose log goes on here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SegmentStart {
    /// Number of the file in the log, from 1.
    pub segment: u64,
    /// The worker.
    pub worker: String,
    /// The agent whose policy it enforces.
    pub agent: String,
    /// Whether calls pass that no rule covers; absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observe: bool,
    /// Digest of the policy in force.
    #[serde(default)]
    pub policy: String,
    /// How many lines there are before this one.
    #[serde(default)]
    pub size: u64,
    /// What the Merkle tree over those consists of, the roots of its whole subtrees, the largest first: what follows can be verified without
    /// them.
    #[serde(default)]
    pub peaks: Vec<Hash>,
}

/// Why a log does not go on in its next file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SegmentKept {
    /// Number of the file in use.
    pub segment: u64,
    /// In plain words.
    pub reason: String,
}

/// How the worker ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkerEnd {
    /// What ended it: the command's exit or exeat's own reason.
    pub outcome: String,
    /// The limit that ended it, by its key in `[sandbox]`; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What came of all limits, in numbers; absent where the command was not started.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub limits: serde_json::Value,
    /// Calls and tunnels that had their permit.
    pub calls: u64,
    /// Calls and connections that went no further.
    pub refused: u64,
    /// Leases revoked at the end.
    pub revoked: u64,
    /// Leases that could not be revoked and are kept in the broker's ledger.
    pub kept: u64,
}
