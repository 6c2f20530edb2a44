//! Where a connection goes: a name or a literal address, and a port.
//!
//! Enters: what a client asked for. Leaves: one comparable value. Never: userinfo, zone ids, short or octal addresses,
//! or an IPv4 address dressed as IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::dns_name::DnsName;
use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// Either a name or a literal address; they are never compared with each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A host name.
    Name(DnsName),
    /// A literal address. IPv4-mapped IPv6 is folded to IPv4 by [`Host::from`] and [`Host::from_str`].
    Address(IpAddr),
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl From<DnsName> for Host {
    fn from(name: DnsName) -> Self {
        Self::Name(name)
    }
}

impl FromStr for Host {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let address = bracketed.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
            let refused =
                || Malformed::new(format!("{} is not an IPv6 address", quoted(text)), "write it as `[2001:db8::1]`");
            return address.map(|address| Self::from(IpAddr::V6(address))).ok_or_else(refused);
        }
        // The standard library's parser takes dotted quads without leading zeros, and IPv6 without zone ids, only.
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self::from(address)),
            Err(_) => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

travels_as_text!(Host);

/// A host and a port. Serialised as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    host: Host,
    port: u16,
}

impl Destination {
    /// A destination from its parts.
    pub fn new(host: Host, port: u16) -> Self {
        let host = match host {
            Host::Address(address) => Host::from(address),
            name => name,
        };
        Self { host, port }
    }

    /// Reads `host[:port]` as in a `Host` field or `:authority`, strictly: no userinfo, IPv6 in brackets, and the port,
    /// where there is a colon, a number from 1 to 65535 without leading zeros.
    pub fn parse_authority(text: &str, default_port: u16) -> Result<Self, Malformed> {
        let (host, port) = split_port(text)?;
        if !host.starts_with('[') && host.contains(':') {
            return Err(Malformed::new(
                format!("{} is not a destination", quoted(text)),
                "an IPv6 address stands in brackets: `[2001:db8::1]:443`",
            ));
        }
        Ok(Self::new(host.parse()?, port.unwrap_or(default_port)))
    }

    /// The name or address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// `host[:port]` into its halves. A colon belongs to the host where it stands in brackets or is not the only one.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<u16>), Malformed> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(Malformed::new(
            format!("{} is a URL, not a host", quoted(text)),
            format!("write the host alone, {}; paths go under `paths`", quoted(host)),
        ));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, port),
        _ => return Ok((text, None)),
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    match port.parse() {
        Ok(number) if digits => Ok((host, Some(number))),
        _ => Err(Malformed::new(
            format!("{} is not a port", quoted(port)),
            "a port is a number from 1 to 65535, as in `api.example.com:8443`",
        )),
    }
}

impl FromStr for Destination {
    type Err = Malformed;

    /// As `Display` writes it: the port must be there.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        match split_port(text)? {
            (_, Some(port)) => Self::parse_authority(text, port),
            (_, None) => Err(Malformed::new(format!("{} has no port", quoted(text)), "write `api.example.com:443`")),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

travels_as_text!(Destination);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_destination_has_one_form() {
        let same = |a: &str, b: &str| {
            let read = |text| Destination::parse_authority(text, 443).unwrap();
            assert_eq!(read(a), read(b));
            assert_eq!(read(a).to_string(), read(b).to_string());
        };
        same("API.github.com.", "api.github.com:443");
        same("[2001:DB8:0::1]", "[2001:db8::1]:443");
        same("[::ffff:10.0.0.1]:443", "10.0.0.1");
        assert_eq!(Destination::parse_authority("[::1]", 443).unwrap().to_string(), "[::1]:443");
        assert_eq!(Destination::parse_authority("a.example:80", 443).unwrap().port(), 80);
    }

    #[test]
    fn a_url_is_told_as_one() {
        for (url, host) in
            [("https://a.example/x", "`a.example`"), ("http://a.example:81", "`a.example:81`"), ("https://", "``")]
        {
            let refused = Destination::parse_authority(url, 443).unwrap_err();
            assert!(refused.to_string().contains("is a URL, not a host") && refused.hint().contains(host), "{refused}");
        }
    }

    #[test]
    fn other_readings_are_refused() {
        for text in [
            "",
            ":443",
            "a.example:",
            "a.example:0",
            "a.example:0443",
            "a.example:+443",
            "a.example:65536",
            "a.example:x",
            "u@a.example",
            "u:p@a.example:443",
            "::1",
            "::1:443",
            "[::1",
            "::1]",
            "[[::1]]",
            "[a.example]",
            "[::1%lo]:1",
            "[127.0.0.1]",
            "[::1]x:1",
            "[::1]:1:2",
            "0177.0.0.1",
            "127.1:80",
            "0x7f.0.0.1",
            "a.example/",
            "a.example,b",
            "a.example:443:443",
            " a.example",
            "[]:1",
        ] {
            assert!(Destination::parse_authority(text, 443).is_err(), "{text:?} was taken");
        }
        assert!("a.example".parse::<Destination>().is_err());
        assert!("fe80::1%eth0".parse::<Host>().is_err());
    }
}
