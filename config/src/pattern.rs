//! What a rule or a grant says about destinations.
//!
//! Enters: `api.example.com`, `*.example.com:8443`, `10.0.0.0/8`, `[2001:db8::]:443`. Leaves: a pattern that matches
//! whole labels and whole addresses. Never: a catch-all.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::destination::{Destination, Host, split_port};
use crate::dns_name::DnsName;
use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// The port a pattern means where it names none, except in a deny rule.
const DEFAULT_PORT: u16 = 443;

/// A set of destinations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    hosts: Hosts,
    /// `None` is every port: a deny rule without a port.
    port: Option<u16>,
}

/// A set of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hosts {
    Name(DnsName),
    Below(DnsName),
    Network(IpNet),
}

impl Pattern {
    /// Reads a deny rule's pattern: without a port it means every port.
    pub fn parse_denied(text: &str) -> Result<Self, Malformed> {
        let (hosts, port) = split_port(text)?;
        Ok(Self { hosts: hosts.parse()?, port })
    }

    /// Whether the destination is in the set.
    pub fn matches(&self, destination: &Destination) -> bool {
        self.matches_host(destination.host()) && self.port.is_none_or(|port| port == destination.port())
    }

    /// Whether the set has this host, on whatever port.
    pub(crate) fn matches_host(&self, host: &Host) -> bool {
        match (&self.hosts, host) {
            (Hosts::Name(own), Host::Name(name)) => own == name,
            (Hosts::Below(parent), Host::Name(name)) => name.is_below(parent),
            (Hosts::Network(network), Host::Address(address)) => network.contains(address),
            _ => false,
        }
    }

    /// Whether every destination of `other` is in this set.
    pub fn covers(&self, other: &Pattern) -> bool {
        self.hosts.cover(&other.hosts) && self.port.is_none_or(|port| other.port == Some(port))
    }

    /// Whether some destination is in both sets. Of two sets of hosts that meet, one has the other.
    pub(crate) fn meets(&self, other: &Pattern) -> bool {
        let ports = self.port.is_none() || other.port.is_none() || self.port == other.port;
        ports && (self.hosts.cover(&other.hosts) || other.hosts.cover(&self.hosts))
    }

    /// The hosts, whatever the port.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The port it is bound to; `None` is every port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The one host that it is for, as a URL's authority has it: without the port that HTTPS has anyway. `None` where it is for many.
    pub(crate) fn authority(&self) -> Option<String> {
        let one = match &self.hosts {
            Hosts::Name(name) => name.to_string(),
            Hosts::Below(_) => return None,
            Hosts::Network(network) if network.prefix_len() < network.max_prefix_len() => return None,
            Hosts::Network(IpNet::V6(address)) => format!("[{}]", address.addr()),
            Hosts::Network(address) => address.addr().to_string(),
        };
        match self.port? {
            DEFAULT_PORT => Some(one),
            port => Some(format!("{one}:{port}")),
        }
    }

    /// Whether it is for one host only.
    pub fn is_one_host(&self) -> bool {
        match self.hosts {
            Hosts::Name(_) => true,
            Hosts::Below(_) => false,
            Hosts::Network(network) => network.prefix_len() == network.max_prefix_len(),
        }
    }

    /// The network, where it is an address or a range.
    pub fn network(&self) -> Option<IpNet> {
        match self.hosts {
            Hosts::Network(network) => Some(network),
            _ => None,
        }
    }
}

impl Hosts {
    fn cover(&self, other: &Hosts) -> bool {
        match (self, other) {
            (Self::Name(own), Self::Name(name)) => own == name,
            (Self::Below(parent), Self::Name(name)) => name.is_below(parent),
            (Self::Below(parent), Self::Below(other)) => other == parent || other.is_below(parent),
            (Self::Network(network), Self::Network(other)) => network.contains(other),
            _ => false,
        }
    }
}

impl FromStr for Pattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (hosts, port) = split_port(text)?;
        Ok(Self { hosts: hosts.parse()?, port: port.or(Some(DEFAULT_PORT)) })
    }
}

impl From<&Destination> for Pattern {
    /// The pattern for just this destination.
    fn from(destination: &Destination) -> Self {
        let hosts = match destination.host() {
            Host::Name(name) => Hosts::Name(name.clone()),
            Host::Address(address) => Hosts::Network((*address).into()),
        };
        Self { hosts, port: Some(destination.port()) }
    }
}

impl FromStr for Hosts {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "*" {
            let hint = "there is no rule for every host; list the hosts that are needed";
            return Err(Malformed::new("`*` would match every host", hint));
        }
        if let Some(parent) = text.strip_prefix("*.") {
            return parent.parse().map(Self::Below);
        }
        let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if unbracketed.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
            return parse_range(unbracketed).map(Self::Network);
        }
        match text.parse()? {
            Host::Name(name) => Ok(Self::Name(name)),
            Host::Address(address) => Ok(Self::Network(address.into())),
        }
    }
}

/// An address or a CIDR range as a rule lists them.
pub(crate) fn parse_range(text: &str) -> Result<IpNet, Malformed> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        Malformed::new(format!("{} is not an address or range", quoted(text)), "write `10.0.0.5` or `10.0.0.0/8`")
    })?;
    if network.prefix_len() == 0 {
        let hint = "list the ranges that are needed, like `10.20.0.0/16`";
        return Err(Malformed::new(format!("{} would match every address", quoted(text)), hint));
    }
    if network.addr() != network.network() {
        let hint = format!("write `{}`", network.trunc());
        return Err(Malformed::new(format!("{} has bits set behind its prefix", quoted(text)), hint));
    }
    if let IpNet::V6(v6) = network
        && v6.network().to_ipv4_mapped().is_some()
    {
        return Err(Malformed::new(format!("{} is IPv4 in IPv6 form", quoted(text)), "write the IPv4 range"));
    }
    Ok(network)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.filter(|&port| port != DEFAULT_PORT);
        match &self.hosts {
            Hosts::Name(name) => name.fmt(f)?,
            Hosts::Below(parent) => write!(f, "*.{parent}")?,
            Hosts::Network(network) => {
                let single = network.prefix_len() == network.max_prefix_len();
                let text = if single { network.addr().to_string() } else { network.to_string() };
                match (network, port) {
                    (IpNet::V6(_), Some(_)) => write!(f, "[{text}]")?,
                    _ => f.write_str(&text)?,
                }
            }
        }
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

travels_as_text!(Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, destination: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(&Destination::parse_authority(destination, 443).unwrap())
    }

    #[test]
    fn patterns_match_whole_labels_addresses_and_ports() {
        assert!(matches("api.github.com", "API.github.com."));
        assert!(!matches("api.github.com", "api.github.com:80"));
        assert!(!matches("api.github.com", "xapi.github.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", "badexample.com"));
        assert!(matches("10.0.0.0/8:8443", "10.9.9.9:8443"));
        assert!(!matches("10.0.0.0/8:8443", "10.9.9.9"));
        assert!(matches("10.0.0.5", "[::ffff:10.0.0.5]:443"));
        assert!(matches("[2001:db8::1]:8443", "[2001:db8::1]:8443"));
        assert!(matches("2001:db8::/32", "[2001:db8::9]"));
        assert!(matches("[2001:db8::/32]:80", "[2001:db8::9]:80"));
        assert!(!matches("2001:db8::1", "[2001:db8::2]"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_hint() {
        for text in [
            "",
            "*",
            "*.",
            "*:443",
            "a.*.example",
            "*a.example",
            "*.*.example",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.5/8",
            "10.0.0.0/33",
            "10.0.0/8",
            "api.github.com/",
            "https://api.github.com",
            "a.example:0",
            "*.10.0.0.1",
            "::ffff:10.0.0.0/104",
            "[10.0.0.5]",
            "010.0.0.5",
            "2130706433",
            "a.example/8",
        ] {
            let error = text.parse::<Pattern>().expect_err(text);
            assert!(!error.hint().is_empty(), "{text:?} has no hint");
        }
    }

    #[test]
    fn display_parses_to_the_same_pattern() {
        for text in [
            "a.example",
            "*.a.example:80",
            "10.0.0.5",
            "10.0.0.0/8:8443",
            "2001:db8::1",
            "[2001:db8::1]:80",
            "2001:db8::/32",
            "[2001:db8::/32]:80",
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        assert_eq!("a.example:443".parse::<Pattern>().unwrap().to_string(), "a.example");
        assert_eq!("[2001:db8::1]:443".parse::<Pattern>().unwrap().to_string(), "2001:db8::1");
    }

    #[test]
    fn covering_is_about_every_destination() {
        let covers = |a: &str, b: &str| a.parse::<Pattern>().unwrap().covers(&b.parse::<Pattern>().unwrap());
        assert!(covers("*.a.example", "*.b.a.example"));
        assert!(covers("*.a.example", "b.a.example"));
        assert!(!covers("*.a.example", "a.example"));
        assert!(!covers("b.a.example", "*.a.example"));
        assert!(!covers("a.example", "a.example:80"));
        assert!(covers("10.0.0.0/8", "10.1.0.0/16"));
        assert!(Pattern::parse_denied("a.example").unwrap().covers(&"a.example:80".parse().unwrap()));
    }

    #[test]
    fn patterns_meet_where_they_share_a_destination() {
        let meets = |a: &str, b: &str| {
            let (a, b): (Pattern, Pattern) = (Pattern::parse_denied(a).unwrap(), b.parse().unwrap());
            assert_eq!(a.meets(&b), b.meets(&a), "{a} {b}");
            a.meets(&b)
        };
        assert!(meets("a.b.example", "*.b.example"));
        assert!(meets("*.a.b.example", "*.b.example:443"));
        assert!(meets("10.1.0.0/16", "10.0.0.0/8:5432"));
        assert!(!meets("10.1.0.0/16:443", "10.0.0.0/8:5432"));
        assert!(!meets("b.example", "*.b.example"));
    }
}
