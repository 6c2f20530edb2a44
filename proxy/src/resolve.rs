//! From a permit to the addresses that may be dialled for it.
//!
//! Enters: a permit's route. Leaves: checked addresses, and exactly these are dialled; or leave for a proxy to dial. Never: an address that is private,
//! loopback, link-local, a metadata service, shared, embedded IPv4 or multicast, unless the rule lists it; a second lookup.

mod lookup;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::{Host, Route, RuleId, UpstreamProxy};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use socket2::{Domain, Socket, Type};

use crate::error::Refusal;
use crate::limit;

/// RFC 863. A port has to be named for a question that sends nothing.
const DISCARD: u16 = 9;

/// The addresses to dial for `route`, in the order to try them, at least one.
///
/// # Errors
/// [`Refusal::Unresolved`] without an address, [`Refusal::ForbiddenAddress`] when none of them may be dialled.
pub async fn addresses(route: Route<'_>) -> Result<Vec<SocketAddr>, Refusal> {
    if let Some(dial) = route.dial() {
        return Ok(vec![dial]);
    }
    let (mut allowed, refused) = judged(route).await?;
    allowed.truncate(limit::ADDRESSES);
    match refused {
        Some(refusal) if allowed.is_empty() => Err(refusal),
        _ => Ok(allowed),
    }
}

/// Whether `route` may be taken through a proxy, which looks the name up once more and chooses an address itself: so each has
/// to be one that may be dialled. Where only the proxy can look names up, a literal address is all that can be judged.
///
/// # Errors
/// As [`addresses`], also when only some of them may not be dialled.
pub async fn for_proxy(route: Route<'_>, proxy: &UpstreamProxy) -> Result<(), Refusal> {
    if proxy.resolves() && matches!(route.destination().host(), Host::Name(_)) {
        return Ok(());
    }
    match judged(route).await {
        Ok((_, Some(refusal))) => Err(refusal),
        Ok((_, None)) => Ok(()),
        Err(Refusal::Unresolved(name, reason)) => {
            let hint =
                "where this machine cannot look names up, `[upstream] proxy_resolves = true` leaves that to the proxy";
            Err(Refusal::Unresolved(name, format!("{reason} ({hint})")))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Where the house's proxy is, as a call by `rule` goes by way of it. Whoever names it in a policy means it, whatever its address.
///
/// # Errors
/// [`Refusal::Unresolved`].
pub(crate) async fn of_proxy(proxy: &UpstreamProxy, rule: &RuleId) -> Result<Vec<SocketAddr>, Refusal> {
    let place = proxy.place();
    let found = found(place.host(), rule).await?;
    Ok(found.into_iter().take(limit::ADDRESSES).map(|address| SocketAddr::new(address, place.port())).collect())
}

/// Those that may be dialled, and the refusal of one that may not.
async fn judged(route: Route<'_>) -> Result<(Vec<SocketAddr>, Option<Refusal>), Refusal> {
    let destination = route.destination();
    let (mut allowed, mut refused) = (Vec::new(), None);
    for address in found(destination.host(), route.rule()).await? {
        match judge(address, route.ranges()).and_then(|()| strange(address, route)) {
            Ok(()) => allowed.push(SocketAddr::new(address, destination.port())),
            Err(class) => refused = Some(Refusal::ForbiddenAddress { name: destination.clone(), address, class }),
        }
    }
    Ok((allowed, refused))
}

/// What a host stands for; at least one address.
async fn found(host: &Host, rule: &RuleId) -> Result<Vec<IpAddr>, Refusal> {
    let name = match host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let unresolved = |reason: String| Refusal::Unresolved(name.clone(), reason);
    let lookup = lookup::addresses(name, rule);
    let found = match tokio::time::timeout(limit::RESOLVE_WAIT, lookup).await {
        Ok(found) => found.map_err(|error| unresolved(error.to_string()))?,
        Err(_) => return Err(unresolved("the lookup took too long".to_owned())),
    };
    if found.is_empty() { Err(unresolved("it has no address".to_owned())) } else { Ok(found) }
}

/// Whether an address may be dialled, given the ranges that the rule lists; otherwise what it is.
fn judge(address: IpAddr, listed: &[IpNet]) -> Result<(), &'static str> {
    let address = address.to_canonical();
    if listed.iter().any(|range| range.contains(&address)) {
        return Ok(());
    }
    class(address).map_or(Ok(()), Err)
}

/// Whether nothing speaks against an address for want of a rule: what listens on this machine, whatever its addresses, is for those whom a rule
/// sends there. Otherwise what it is.
fn strange(address: IpAddr, route: Route<'_>) -> Result<(), &'static str> {
    let listed = route.ranges().iter().any(|range| range.contains(&address.to_canonical()));
    match route.is_observed() && !listed && is_own(address.to_canonical()) {
        true => Err("an address of this machine"),
        false => Ok(()),
    }
}

/// The kernel says from which address it would go there; to one of its own, from that one. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let to = SocketAddr::new(address, DISCARD);
    let Ok(socket) = Socket::new(Domain::for_address(to), Type::DGRAM, None) else { return true };
    if socket.connect(&to.into()).is_err() {
        // Not even a way there.
        return false;
    }
    let from = socket.local_addr().ok().and_then(|from| from.as_socket());
    from.is_none_or(|from| from.ip().to_canonical() == address)
}

/// What makes an address one that is not dialled (IANA special-purpose registries, RFC 6890), or `None`.
pub fn class(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

fn class_v4(address: Ipv4Addr) -> Option<&'static str> {
    const CLASSES: [(Ipv4Net, &str); 19] = [
        (v4(0, 0, 0, 0, 8), "this network, RFC 791"),
        (v4(10, 0, 0, 0, 8), "private, RFC 1918"),
        (v4(100, 64, 0, 0, 10), "shared with the carrier, RFC 6598"),
        (v4(127, 0, 0, 0, 8), "loopback"),
        (v4(169, 254, 0, 0, 16), "link-local or a cloud's metadata service, RFC 3927"),
        (v4(172, 16, 0, 0, 12), "private, RFC 1918"),
        (v4(192, 0, 0, 0, 24), "IETF protocol assignments, RFC 6890"),
        (v4(192, 0, 2, 0, 24), "documentation, RFC 5737"),
        (v4(192, 31, 196, 0, 24), "AS112, RFC 7535"),
        (v4(192, 52, 193, 0, 24), "AMT, RFC 7450"),
        (v4(192, 88, 99, 0, 24), "6to4 relay, RFC 7526"),
        (v4(192, 168, 0, 0, 16), "private, RFC 1918"),
        (v4(192, 175, 48, 0, 24), "AS112, RFC 7534"),
        (v4(198, 18, 0, 0, 15), "benchmarking, RFC 2544"),
        (v4(198, 51, 100, 0, 24), "documentation, RFC 5737"),
        (v4(203, 0, 113, 0, 24), "documentation, RFC 5737"),
        (v4(224, 0, 0, 0, 4), "multicast"),
        (v4(240, 0, 0, 0, 4), "reserved, RFC 1112"),
        (v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    ];
    CLASSES.iter().find(|(range, _)| range.contains(&address)).map(|(_, class)| *class)
}

fn class_v6(address: Ipv6Addr) -> Option<&'static str> {
    const CLASSES: [(Ipv6Net, &str); 15] = [
        (v6(0x64, 0xff9b, 0, 96), "NAT64, RFC 6052"),
        (v6(0x64, 0xff9b, 1, 48), "NAT64 within a network, RFC 8215"),
        (v6(0x100, 0, 0, 64), "discard only, RFC 6666"),
        (v6(0x100, 0, 0, 32), "dummy prefix, RFC 9780"),
        (v6(0x5f00, 0, 0, 16), "segment routing, RFC 9602"),
        (v6(0xfc00, 0, 0, 7), "private, RFC 4193"),
        (v6(0xfe80, 0, 0, 10), "link-local, RFC 4291"),
        (v6(0xfec0, 0, 0, 10), "site-local, RFC 3879"),
        (v6(0xff00, 0, 0, 8), "multicast, RFC 4291"),
        (v6(0x2001, 0, 0, 32), "Teredo, RFC 4380"),
        (v6(0x2001, 0, 0, 23), "IETF protocol assignments, RFC 2928"),
        (v6(0x2001, 0xdb8, 0, 32), "documentation, RFC 3849"),
        (v6(0x2002, 0, 0, 16), "6to4, RFC 3056"),
        (v6(0x3fff, 0, 0, 20), "documentation, RFC 9637"),
        (v6(0x2620, 0x4f, 0x8000, 48), "AS112, RFC 7534"),
    ];
    // The table says what an address is; whatever lies outside is refused as well (loopback, IPv4-compatible, not assigned).
    const GLOBAL: Ipv6Net = v6(0x2000, 0, 0, 3);
    let known = CLASSES.iter().find(|(range, _)| range.contains(&address)).map(|(_, class)| *class);
    known.or_else(|| {
        (!GLOBAL.contains(&address)).then_some("not global unicast (loopback, IPv4-embedded or not assigned)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_kind_is_refused_and_public_addresses_are_not() {
        let forbidden = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "198.18.0.5",
            "224.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "fec0::1",
            "100::1",
        ];
        for address in forbidden.map(|text| text.parse::<IpAddr>().unwrap()) {
            // A mapped address is judged as the IPv4 address that the kernel would dial.
            let public = matches!(address.to_canonical(), IpAddr::V4(v4) if v4.octets()[0] == 8);
            assert_eq!(class(address).is_none(), public, "{address}");
        }
        for address in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "198.20.0.1", "2606:4700::1111", "2001:4860:4860::8888"] {
            assert_eq!(class(address.parse().unwrap()), None, "{address}");
        }
    }

    /// The IANA special-purpose registries, whole. Some of these are globally reachable; none is where an API lives.
    #[test]
    fn every_range_of_the_registries_is_refused_from_its_first_address_to_its_last() {
        let registries = "0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 \
            192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 \
            192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 \
            240.0.0.0/4 255.255.255.255/32 224.0.0.0/4 \
            ::1/128 ::/128 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 \
            2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 \
            2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 ::/96 4000::/3 8000::/1";
        for range in registries.split_whitespace() {
            let net: IpNet = range.parse().unwrap();
            for address in [net.network(), net.broadcast()] {
                assert!(class(address).is_some(), "{address} of {range} would be dialled");
            }
        }
        // What lies next to them is not.
        for address in [
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::",
            "2001:db7:ffff::1",
            "2001:db9::",
            "2003::",
            "3ffe:ffff::1",
            "2620:4f:8001::",
        ] {
            assert_eq!(class(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn the_kernel_knows_the_addresses_of_this_machine() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn a_listed_range_is_dialled_in_its_mapped_spelling_too() {
        let listed = ["10.0.0.0/8".parse().unwrap()];
        assert!(judge("10.0.0.1".parse().unwrap(), &listed).is_ok());
        assert!(judge("::ffff:10.0.0.1".parse().unwrap(), &listed).is_ok());
        assert!(judge("192.168.0.1".parse().unwrap(), &listed).is_err());
    }
}
