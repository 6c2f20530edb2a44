//! Workload identity federation at Google.
//!
//! Enters: what the file reader has checked. Leaves: plain values that say where, for whom and for what. Never: a secret; there is none.

use std::time::Duration;

use crate::identity::Audience;
use crate::oauth::{OAuthServer, Wanted};

/// A provider of a workload identity pool, and what a worker gets by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleFederation {
    /// The Security Token Service. There is no client.
    pub server: OAuthServer,
    /// What is asked of it: the provider, and a scope.
    pub wanted: Wanted,
    /// For whom the worker's identity is signed.
    pub audience: Audience,
    /// As whom a worker calls. `None`: as itself, the pool's identity.
    pub account: Option<ServiceAccount>,
}

/// A service account that the pool's identity may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its email address.
    pub email: String,
    /// Where its access tokens are made. `https`, or `http` on a loopback address.
    pub endpoint: String,
    /// The scopes. Never empty.
    pub scope: Vec<String>,
    /// For how long.
    pub lifetime: Duration,
}
