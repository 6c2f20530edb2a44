//! Placeholders, and calls that they do not belong to.
//!
//! Enters: the public part of credentials.toml, if this user can read it, and the policy. Leaves: for each placeholder, one call that a rule
//! allows and one that none does. Never: where a credential comes from, or a placeholder's value.

use config::{Credentials, Destination, Grant, Policy, Scheme};

use super::super::brief::{Call, Misdirection};
use super::{allowing, is_bare, lets_out};
use crate::places::Places;

/// Every placeholder of the agent's, where it may not go. Where the file cannot be read, as another user's broker has it, none is known.
pub(super) fn all(places: &Places, policy: &Policy, nonce: &str) -> Vec<Misdirection> {
    granted(places, policy).iter().flat_map(|grant| of(grant, policy, nonce)).collect()
}

/// Every placeholder of the agent's at a host of its own, in the clear.
pub(super) fn bared(places: &Places, policy: &Policy, nonce: &str) -> Vec<Misdirection> {
    let found = granted(places, policy).into_iter().filter_map(|grant| {
        let variable = grant.env()?.to_owned();
        let own = |call: &Call| is_for(&grant, call) && lets_out(policy, call, Scheme::Http).is_some();
        Some(Misdirection { variable, call: allowing(policy, nonce).find(own)?, streams: false })
    });
    found.collect()
}

fn granted(places: &Places, policy: &Policy) -> Vec<Grant> {
    let Ok(credentials) = Credentials::load(places.credentials_file()) else { return Vec::new() };
    let granted = credentials.iter().filter(|credential| credential.agents.contains(policy.agent()));
    granted.map(|credential| credential.grant.clone()).collect()
}

fn is_for(grant: &Grant, call: &Call) -> bool {
    let destination = format!("{}:{}", call.host, call.port).parse();
    destination.is_ok_and(|destination: Destination| grant.allows(&destination))
}

fn of(grant: &Grant, policy: &Policy, nonce: &str) -> Vec<Misdirection> {
    let Some(variable) = grant.env() else { return Vec::new() };
    let foreign = |call: &Call| !is_for(grant, call);
    let unlisted =
        Call { host: format!("probe-{nonce}.invalid"), port: 443, method: "GET".to_owned(), path: "/".to_owned() };
    // One for which nothing is leased, and one where another credential is looked for: what is not that one's has to be seen all the same.
    let bare = allowing(policy, nonce).find(|call| foreign(call) && is_bare(policy, call));
    let of_another = allowing(policy, nonce).find(|call| foreign(call) && !is_bare(policy, call));
    let calls = bare.map(|call| (call, true)).into_iter();
    let calls = calls.chain([of_another, Some(unlisted)].into_iter().flatten().map(|call| (call, false)));
    calls.map(|(call, streams)| Misdirection { variable: variable.to_owned(), call, streams }).collect()
}
