//! The smallest rules that cover calls that were seen.
//!
//! Enters: the policy in force, and calls. Leaves: rules for those that it has no rule for, with ids in their paths generalised, and what
//! is denied. Never: a rule for what a deny rule has; a credential; two results for the same calls, in whatever order they come.

mod covering;
mod place;
mod rule;
mod segment;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::decision::{CallFacts, CallPermit, Scheme};
use crate::denial::{Denial, DenialKind};
use crate::destination::Destination;
use crate::method::Method;
use crate::path::NormalPath;
use crate::policy::Policy;
use crate::rule::RuleId;

pub use self::rule::{Suggested, Times};

/// A call that was seen.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Where it went.
    pub destination: Destination,
    /// How it travelled.
    pub scheme: Scheme,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: NormalPath,
    /// The address that stood in its way: one that is dialled only where a rule lists it.
    pub forbidden: Option<IpAddr>,
    /// How often and when.
    pub times: Times,
}

/// What came of all calls that were seen.
#[derive(Debug, Default)]
pub struct Suggestion {
    /// Rules to add, in an order in which each is reached.
    pub rules: Vec<Suggested>,
    /// Calls that no rule is suggested for, as one that is there keeps them in: an example for each rule and destination.
    pub denied: Vec<(Denial, Times)>,
    /// Calls that a rule allows and that went nowhere, as their address is one that a rule has to list, and it does not.
    pub barred: Vec<Barred>,
    /// How many calls the policy allows already.
    pub allowed: u64,
}

/// A rule that lacks an address.
#[derive(Clone, Debug)]
pub struct Barred {
    /// The rule.
    pub rule: RuleId,
    /// Where it would let out to.
    pub destination: Destination,
    /// What it would have to list.
    pub addresses: BTreeSet<IpAddr>,
    /// How often, and when.
    pub times: Times,
}

/// Suggests rules for `seen` beside `policy`.
pub fn suggest(policy: &Policy, seen: &[Sighting]) -> Suggestion {
    let mut suggestion = Suggestion::default();
    let mut denied: BTreeMap<(String, String), (Denial, Times)> = BTreeMap::new();
    let (mut missing, mut barred) = (Vec::new(), BTreeMap::<(String, String), Barred>::new());
    for sighting in seen {
        match judge(policy, sighting) {
            Ok(permit) => match sighting.forbidden.filter(|address| !reaches(&permit, *address)) {
                None => suggestion.allowed += sighting.times.calls,
                Some(address) => {
                    let rule = permit.rule().clone();
                    let Sighting { destination, times, .. } = sighting;
                    let key = (destination.to_string(), rule.to_string());
                    let addresses = BTreeSet::from([address]);
                    barred
                        .entry(key)
                        .and_modify(|barred| {
                            barred.addresses.insert(address);
                            barred.times = barred.times.and(*times);
                        })
                        .or_insert(Barred { rule, destination: destination.clone(), addresses, times: *times });
                }
            },
            Err(denial) if matches!(denial.kind(), DenialKind::DeniedByRule | DenialKind::PassesUnread) => {
                let rule = denial.rule().map(ToString::to_string).unwrap_or_default();
                let key = (sighting.destination.to_string(), rule);
                denied
                    .entry(key)
                    .and_modify(|(example, times)| {
                        *times = times.and(sighting.times);
                        // Whichever comes first.
                        if denial.reason() < example.reason() {
                            *example = denial.clone();
                        }
                    })
                    .or_insert((denial, sighting.times));
            }
            Err(_) => missing.push(sighting),
        }
    }
    suggestion.denied = denied.into_values().collect();
    suggestion.barred = barred.into_values().collect();
    suggestion.rules = rule::for_all(policy, &missing);
    suggestion
}

/// As a policy that does not observe would. What it says of the call is asked alone: of a host without a rule, a connection would be
/// denied for want of one before a deny rule for some of its paths could speak.
fn judge(policy: &Policy, sighting: &Sighting) -> Result<CallPermit, Denial> {
    let Sighting { destination, scheme, method, path, .. } = sighting;
    let call = policy.call(&CallFacts { destination, scheme: *scheme, method, path })?;
    match call.observed() {
        Some(denial) => Err(denial.clone()),
        None => Ok(call),
    }
}

/// Whether the rule has an address dialled that is private or the like.
fn reaches(permit: &CallPermit, address: IpAddr) -> bool {
    permit.route().dial().is_some() || permit.route().ranges().iter().any(|range| range.contains(&address))
}
