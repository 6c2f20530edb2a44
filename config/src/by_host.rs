//! Things that are kept by the pattern of destinations that they are for.
//!
//! Enters: patterns with something each; then a destination, or a pattern. Leaves: what is kept for the patterns that have it. Never: a look
//! at any other pattern: an exact name is looked up, of a name its ends, of an address its prefixes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::destination::{Destination, Host};
use crate::dns_name::DnsName;
use crate::pattern::{Hosts, Pattern};

/// Something for each pattern.
#[derive(Debug)]
pub(crate) struct ByHost<T> {
    names: HashMap<DnsName, Ports<T>>,
    /// By the name that they are below.
    below: HashMap<DnsName, Ports<T>>,
    /// How many labels those names have.
    labels: BTreeSet<usize>,
    networks: HashMap<IpNet, Ports<T>>,
    /// Which lengths their prefixes have.
    lengths: BTreeSet<u8>,
}

/// What is kept for one host or set of hosts, by port; `None` is every port, and comes first.
#[derive(Debug)]
pub(crate) struct Ports<T>(Vec<(Option<u16>, T)>);

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            below: HashMap::new(),
            labels: BTreeSet::new(),
            networks: HashMap::new(),
            lengths: BTreeSet::new(),
        }
    }
}

impl<T> ByHost<T> {
    /// What is kept for a pattern.
    pub(crate) fn at(&mut self, pattern: &Pattern) -> &mut T
    where
        T: Default,
    {
        let ports = match pattern.hosts() {
            Hosts::Name(name) => self.names.entry(name.clone()).or_default(),
            Hosts::Below(parent) => {
                self.labels.insert(parent.as_str().split('.').count());
                self.below.entry(parent.clone()).or_default()
            }
            Hosts::Network(network) => {
                self.lengths.insert(network.prefix_len());
                self.networks.entry(*network).or_default()
            }
        };
        ports.at(pattern.port())
    }

    /// The same with something else in each place.
    pub(crate) fn map<U>(self, to: impl Fn(T) -> U) -> ByHost<U> {
        fn each<K: std::hash::Hash + Eq, T, U>(of: HashMap<K, Ports<T>>, to: impl Fn(T) -> U) -> HashMap<K, Ports<U>> {
            let mapped = |ports: Ports<T>| {
                let mut mapped: Vec<_> = ports.0.into_iter().map(|(port, kept)| (port, to(kept))).collect();
                mapped.shrink_to_fit();
                Ports(mapped)
            };
            of.into_iter().map(|(key, ports)| (key, mapped(ports))).collect()
        }
        ByHost {
            names: each(self.names, &to),
            below: each(self.below, &to),
            labels: self.labels,
            networks: each(self.networks, &to),
            lengths: self.lengths,
        }
    }

    /// What is kept for the patterns that have this host, whatever their ports.
    pub(crate) fn of_host<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Ports<T>> {
        let (name, address) = match host {
            Host::Name(name) => (Some(name), None),
            Host::Address(address) => (None, Some(*address)),
        };
        let exact = name.and_then(|name| self.names.get(name));
        let below = name.into_iter().flat_map(|name| self.with_name_below(name.as_str()));
        exact
            .into_iter()
            .chain(below)
            .chain(address.into_iter().flat_map(|address| self.with_address(address, u8::MAX)))
    }

    /// What is kept for the patterns that have this destination.
    pub(crate) fn of<'a>(&'a self, destination: &'a Destination) -> impl Iterator<Item = &'a T> {
        self.of_host(destination.host()).flat_map(|ports| ports.with(Some(destination.port())))
    }

    /// What is kept for the patterns that cover this one.
    pub(crate) fn covering<'a>(&'a self, pattern: &'a Pattern) -> impl Iterator<Item = &'a T> {
        let (same, name, network) = match pattern.hosts() {
            Hosts::Name(name) => (self.names.get(name), Some(name), None),
            Hosts::Below(parent) => (self.below.get(parent), Some(parent), None),
            Hosts::Network(network) => (None, None, Some(network)),
        };
        let below = name.into_iter().flat_map(|name| self.with_name_below(name.as_str()));
        let networks = network.into_iter().flat_map(|net| self.with_address(net.addr(), net.prefix_len()));
        same.into_iter().chain(below).chain(networks).flat_map(|ports| ports.with(pattern.port()))
    }

    /// Asked of no more of a name's ends than there may be names with so many labels.
    fn with_name_below<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Ports<T>> {
        let mut ends = name.rmatch_indices('.').map(|(at, _)| &name[at + 1..]);
        let mut seen = 0;
        self.labels.iter().filter_map(move |labels| {
            let end = ends.nth(labels - seen - 1);
            seen = *labels;
            self.below.get(end?)
        })
    }

    /// Those whose prefix is at most so long.
    fn with_address(&self, address: IpAddr, longest: u8) -> impl Iterator<Item = &Ports<T>> {
        let prefix = move |length: &u8| Some(IpNet::new(address, *length).ok()?.trunc());
        self.lengths.range(..=longest).filter_map(prefix).filter_map(|network| self.networks.get(&network))
    }
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Ports<T> {
    fn at(&mut self, port: Option<u16>) -> &mut T
    where
        T: Default,
    {
        let place = self.0.binary_search_by_key(&port, |(own, _)| *own).unwrap_or_else(|place| {
            self.0.insert(place, (port, T::default()));
            place
        });
        &mut self.0[place].1
    }

    /// What is kept for every port, and for this one.
    fn with(&self, port: Option<u16>) -> impl Iterator<Item = &T> {
        let every = self.0.first().filter(|(own, _)| own.is_none());
        let this = port.and_then(|_| self.0.binary_search_by_key(&port, |(own, _)| *own).ok());
        every.into_iter().chain(this.map(|place| &self.0[place])).map(|(_, kept)| kept)
    }

    /// The ports that are named.
    pub(crate) fn named(&self) -> impl Iterator<Item = u16> {
        self.0.iter().filter_map(|(port, _)| *port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const PATTERNS: [&str; 20] = [
        "a.example",
        "b.a.example",
        "*.a.example",
        "*.b.a.example",
        "*.example",
        "*.c.b.a.example",
        "c.b.a.example",
        "a.example:80",
        "*.a.example:80",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.0.0/17:80",
        "10.1.2.3",
        "10.1.2.0/24",
        "10.1.2.3:80",
        "2001:db8::/32",
        "2001:db8::1",
        "[2001:db8::/64]:80",
        "::/1",
        "8000::/1",
    ];

    proptest! {
        #[test]
        fn those_are_found_that_have_it_or_cover_it_and_no_others(
            patterns in prop::collection::vec((select(&PATTERNS[..]), any::<bool>()), 0..24),
            host in select(&["a.example", "b.a.example", "d.c.b.a.example", "x.example", "example", "10.1.2.3", "10.1.200.3", "10.2.0.0", "[2001:db8::1]", "[fe80::1]"][..]),
            port in select(&[80_u16, 443][..]),
        ) {
            let read = |(text, denied): &(&str, bool)| if *denied { Pattern::parse_denied(text) } else { text.parse() };
            let patterns: Vec<Pattern> = patterns.iter().map(|pattern| read(pattern).unwrap()).collect();
            let mut kept: ByHost<Vec<usize>> = ByHost::default();
            for (i, pattern) in patterns.iter().enumerate() {
                kept.at(pattern).push(i);
            }
            let kept = kept.map(|numbers| numbers);
            let sorted = |found: Vec<&Vec<usize>>| {
                let mut found: Vec<usize> = found.into_iter().flatten().copied().collect();
                found.sort_unstable();
                found
            };
            let plainly = |has: &dyn Fn(&Pattern) -> bool| (0..patterns.len()).filter(|i| has(&patterns[*i])).collect::<Vec<usize>>();
            let destination = Destination::parse_authority(host, port).unwrap();
            prop_assert_eq!(sorted(kept.of(&destination).collect()), plainly(&|pattern| pattern.matches(&destination)));
            let mut ports: Vec<u16> = kept.of_host(destination.host()).flat_map(Ports::named).collect();
            let mut all: Vec<u16> = patterns.iter().filter(|one| one.matches_host(destination.host())).filter_map(Pattern::port).collect();
            for ports in [&mut ports, &mut all] {
                ports.sort_unstable();
                ports.dedup();
            }
            prop_assert_eq!(ports, all);
            for asked in &patterns {
                prop_assert_eq!(sorted(kept.covering(asked).collect()), plainly(&|pattern| pattern.covers(asked)), "{}", asked);
            }
        }
    }
}
