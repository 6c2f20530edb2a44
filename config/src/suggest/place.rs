//! Where calls went, as a rule would say it.
//!
//! Enters: destinations. Leaves: for each the destination itself, or the domain that it is one of many hosts of. Never: a wildcard below
//! a domain under which strangers have names of their own (`github.io`, `co.uk`).

use std::collections::{BTreeMap, BTreeSet};

use super::Sighting;
use crate::destination::{Destination, Host};
use crate::dns_name::DnsName;
use crate::pattern::Pattern;
use crate::policy::Policy;

/// More hosts of one domain than a person would list.
const HOSTS: usize = 8;

/// What a rule is for. Single hosts come first: a wildcard before them would cover their rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// One destination.
    One(Destination),
    /// Every name below a domain, at a port.
    Below(DnsName, u16),
}

impl Place {
    /// As a rule's `to`.
    pub(super) fn pattern(&self) -> Option<Pattern> {
        match self {
            Self::One(destination) => Some(Pattern::from(destination)),
            Self::Below(parent, port) => format!("*.{parent}:{port}").parse().ok(),
        }
    }
}

/// The place of each destination.
pub(super) fn of_all(
    policy: &Policy,
    seen: &[&Sighting],
    barred: &BTreeSet<Destination>,
) -> BTreeMap<Destination, Place> {
    let mut families: BTreeMap<(DnsName, u16), BTreeSet<&Destination>> = BTreeMap::new();
    // What a rule has a way to of its own, or would need one, is not one of many.
    let free = |sighting: &&&Sighting| {
        !barred.contains(&sighting.destination) && policy.way_to(&sighting.destination).is_none()
    };
    for sighting in seen.iter().filter(free) {
        let destination = &sighting.destination;
        if let Some(parent) = parent(destination) {
            families.entry((parent, destination.port())).or_default().insert(destination);
        }
    }
    families.retain(|_, hosts| hosts.len() > HOSTS);
    let place = |sighting: &&Sighting| {
        let destination = &sighting.destination;
        let family = parent(destination).map(|parent| (parent, destination.port()));
        let family = family.filter(|key| families.get(key).is_some_and(|hosts| hosts.contains(destination)));
        let place = family.map_or_else(|| Place::One(destination.clone()), |(parent, port)| Place::Below(parent, port));
        (destination.clone(), place)
    };
    seen.iter().map(place).collect()
}

/// The domain that a host is directly below, if that is one house's.
fn parent(destination: &Destination) -> Option<DnsName> {
    let Host::Name(name) = destination.host() else { return None };
    let (_, parent) = name.as_str().split_once('.')?;
    psl::domain_str(parent)?;
    parent.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_of_many_houses_is_nobodys_parent() {
        let parent = |host: &str| parent(&host.parse().unwrap()).map(|name| name.to_string());
        assert_eq!(parent("a.cdn.example.com:443").as_deref(), Some("cdn.example.com"));
        assert_eq!(parent("a.example.com:443").as_deref(), Some("example.com"));
        for stranger in ["example.com:443", "me.github.io:443", "a.co.uk:443", "localhost:443", "10.0.0.1:443"] {
            assert_eq!(parent(stranger), None, "{stranger}");
        }
    }
}
