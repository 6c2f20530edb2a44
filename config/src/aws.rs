//! A role at AWS, or at whatever speaks its STS, that the broker takes on for a worker.
//!
//! Enters: what the file reader has checked. Leaves: plain values that say where, which role, for how long, and how much of it. Never: a
//! key; none has to be known for it.

use std::path::PathBuf;
use std::time::Duration;

use crate::identity::Audience;

/// What is asked of STS, by the word of the broker for who the worker is (`AssumeRoleWithWebIdentity`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRole {
    /// STS: `https`, or `http` on a loopback address.
    pub endpoint: String,
    /// The role's ARN.
    pub role: String,
    /// How long a session lasts: 900 s to 12 h.
    pub duration: Duration,
    /// A policy in JSON that leaves the session less than the role has.
    pub session_policy: Option<String>,
    /// Whom the worker's identity is shown.
    pub audience: Audience,
    /// Files with root certificates to trust there beside the system's.
    pub roots: Vec<PathBuf>,
}
