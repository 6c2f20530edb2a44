//! Placeholders, and calls that they do not belong to.
//!
//! Enters: the public part of credentials.toml, if this user can read it, and the policy. Leaves: for each placeholder, one call that a rule
//! allows and one that none does. Never: where a credential comes from, or a placeholder's value.

use config::{Credentials, Destination, Grant, Policy};

use super::super::brief::{Call, Misdirection};
use super::{allowing, is_bare};
use crate::places::Places;

/// Every placeholder of the agent's, where it may not go. Where the file cannot be read, as another user's broker has it, none is known.
pub(super) fn all(places: &Places, policy: &Policy, nonce: &str) -> Vec<Misdirection> {
    let Ok(credentials) = Credentials::load(places.credentials_file()) else { return Vec::new() };
    let granted = credentials.iter().filter(|credential| credential.agents.contains(policy.agent()));
    granted.flat_map(|credential| of(&credential.grant, policy, nonce)).collect()
}

fn of(grant: &Grant, policy: &Policy, nonce: &str) -> Vec<Misdirection> {
    let Some(variable) = grant.env() else { return Vec::new() };
    let foreign = |call: &Call| {
        let destination = format!("{}:{}", call.host, call.port).parse();
        destination.is_ok_and(|destination: Destination| !grant.allows(&destination))
    };
    let unlisted =
        Call { host: format!("probe-{nonce}.invalid"), port: 443, method: "GET".to_owned(), path: "/".to_owned() };
    // One for which nothing is leased, where there is one.
    let bare = allowing(policy, nonce).find(|call| foreign(call) && is_bare(policy, call));
    let streams = bare.is_some();
    let calls = bare.or_else(|| allowing(policy, nonce).find(|call| foreign(call))).map(|call| (call, streams));
    let calls = calls.into_iter().chain([(unlisted, false)]);
    calls.map(|(call, streams)| Misdirection { variable: variable.to_owned(), call, streams }).collect()
}
