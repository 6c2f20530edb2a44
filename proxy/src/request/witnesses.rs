//! Whom a request says that it is for.
//!
//! Enters: a request, and the connection it came on. Leaves: nothing, where all that it says is the connection's destination. Never: a request
//! with two hosts, also where the second stands in a field that only a server behind another one goes by.

use config::{Destination, Host};
use http::header::{FORWARDED, HOST, HeaderMap, HeaderName};
use http::{Request, Version};
use hyper::body::Incoming;

use super::same;
use crate::connection::Connection;
use crate::error::{Refusal, printable};
use crate::sabotage::{Wall, lacks};

/// Fields that frameworks and front ends take for the host, where they stand.
const HOSTS: [&str; 4] = ["x-forwarded-host", "x-host", "x-original-host", "x-http-host-override"];

/// Every place where a request can say whom it is for agrees with the connection.
pub(super) fn agree(request: &Request<Incoming>, connection: &Connection) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("more than one Host".to_owned()));
    }
    let authority = request.uri().authority();
    if host.is_none() && (authority.is_none() || request.version() < Version::HTTP_2) {
        return Err(Refusal::Malformed("no Host".to_owned()));
    }
    if let Some(scheme) = request.uri().scheme_str()
        && !scheme.eq_ignore_ascii_case(connection.scheme.as_str())
    {
        return Err(disagrees(connection, "request target", scheme.as_bytes()));
    }
    let target = if request.version() == Version::HTTP_2 { ":authority" } else { "request target" };
    if let Some(authority) = authority {
        one(connection, target, authority.as_str().as_bytes())?;
    }
    host.map_or(Ok(()), |host| one(connection, "Host", host.as_bytes()))?;
    match another(request.headers(), connection.destination.host()) {
        Some((name, claimed)) => Err(disagrees(connection, name, claimed)),
        None => Ok(()),
    }
}

fn one(connection: &Connection, witness: &'static str, claimed: &[u8]) -> Result<(), Refusal> {
    if lacks(Wall::Authority) {
        return Ok(());
    }
    let own = &connection.destination;
    // As nearly all have it: the name as it is written, and the scheme's own port.
    if let Host::Name(name) = own.host()
        && own.port() == connection.scheme.default_port()
        && name.as_str().as_bytes() == claimed
    {
        return Ok(());
    }
    let destination = std::str::from_utf8(claimed)
        .ok()
        .and_then(|text| Destination::parse_authority(text, connection.scheme.default_port()).ok());
    if destination.as_ref() == Some(&connection.destination) {
        return Ok(());
    }
    Err(disagrees(connection, witness, claimed))
}

fn disagrees(connection: &Connection, witness: &'static str, claimed: &[u8]) -> Refusal {
    Refusal::Witness { connection: connection.destination.clone(), witness, claimed: printable(claimed) }
}

/// The first field that names another host than `own`, and what it says. The port is no matter: it says how somebody was called, not where to go.
fn another<'a>(headers: &'a HeaderMap, own: &Host) -> Option<(&'static str, &'a [u8])> {
    headers.iter().find_map(|(name, value)| {
        let value = value.as_bytes();
        let (field, said) = match naming(name)? {
            "forwarded" => ("forwarded", hosts_of(value)),
            field => (field, value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect()),
        };
        let agrees = |said: &&[u8]| {
            let said = std::str::from_utf8(said).ok().and_then(|said| Destination::parse_authority(said, 443).ok());
            said.is_some_and(|said| said.host() == own)
        };
        said.iter().find(|said| !agrees(said)).map(|said| (field, *said))
    })
}

/// The field's name, if it may name a host.
pub(super) fn naming(name: &HeaderName) -> Option<&'static str> {
    if name == FORWARDED {
        return Some("forwarded");
    }
    HOSTS.into_iter().find(|host| name.as_str().starts_with('x') && same(name, host))
}

/// What stands behind each `host=` (RFC 7239 section 4), and behind whatever a reader could take for one: in quotes, behind a blank, or as the end of
/// another name.
fn hosts_of(forwarded: &[u8]) -> Vec<&[u8]> {
    let pairs = forwarded.split(|byte| b",;".contains(byte));
    let hosts = pairs.flat_map(|pair| {
        let equals = pair.iter().enumerate().filter(|(_, byte)| **byte == b'=');
        equals.filter_map(|(at, _)| {
            let (name, value) = (pair[..at].trim_ascii_end(), pair[at + 1..].trim_ascii());
            let plain = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            name.last_chunk().is_some_and(|name: &[u8; 4]| name.eq_ignore_ascii_case(b"host")).then_some(plain)
        })
    });
    hosts.collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn said(name: &'static str, value: &'static str) -> Option<(&'static str, String)> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        let own = Destination::parse_authority("api.example.com", 443).unwrap();
        another(&headers, own.host()).map(|(name, said)| (name, String::from_utf8_lossy(said).into_owned()))
    }

    #[test]
    fn a_field_that_names_another_host_is_found_and_one_that_names_the_same_is_not() {
        for (name, value) in [
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-host", "API.example.com, api.example.com:8443"),
            ("x-host", "api.example.com"),
            ("forwarded", "for=192.0.2.7;proto=https"),
            ("forwarded", "for=\"[2001:db8::1]\";host=api.example.com, Host=\"api.example.com:443\""),
            ("x-hosts", "other.example.com"),
            ("x-forwarded-for", "other.example.com"),
        ] {
            assert_eq!(said(name, value), None, "{name}: {value}");
        }
        for (name, value, field) in [
            ("x-forwarded-host", "other.example.com", "x-forwarded-host"),
            ("x-forwarded-host", "api.example.com, other.example.com", "x-forwarded-host"),
            ("x-forwarded-host", "", "x-forwarded-host"),
            ("x_host", "other.example.com", "x-host"),
            ("x-original-host", "api.example.com@other.example.com", "x-original-host"),
            ("x-http-host-override", "https://api.example.com", "x-http-host-override"),
            ("forwarded", "for=192.0.2.7;HOST=other.example.com", "forwarded"),
            ("forwarded", "host=api.example.com,for=x; host = \"other.example.com\"", "forwarded"),
            ("forwarded", "host=\"\\other.example.com\"", "forwarded"),
            ("forwarded", "for=192.0.2.7 host=other.example.com", "forwarded"),
            ("forwarded", "for=\"x;host=other.example.com\"", "forwarded"),
        ] {
            assert_eq!(said(name, value).map(|(name, _)| name), Some(field), "{name}: {value}");
        }
    }

    /// The hosts in it, as RFC 7239 says: names and values, of which those in quotes may have anything.
    fn as_the_rfc_has_it(value: &str) -> Vec<String> {
        let (mut pairs, mut quoted, mut escaped) = (vec![String::new()], false, false);
        for character in value.chars() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => {
                    escaped = true;
                    continue;
                }
                '"' if pairs.last().unwrap().contains('=') => {
                    quoted = !quoted;
                    continue;
                }
                ',' | ';' if !quoted => {
                    pairs.push(String::new());
                    continue;
                }
                _ => {}
            }
            pairs.last_mut().unwrap().push(character);
        }
        let named = |pair: &String| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
        };
        pairs.iter().filter_map(named).collect()
    }

    /// The hosts in it to a reader that looks for `host=` wherever that is, as by an expression.
    fn as_an_expression_has_it(value: &str) -> Vec<String> {
        let lower = value.to_ascii_lowercase();
        let behind = lower.match_indices("host").filter_map(|(at, _)| lower[at + 4..].trim_start().strip_prefix('='));
        behind
            .map(|value| value.trim_start_matches([' ', '"']).split([',', ';', '"', ' ']).next().unwrap().to_owned())
            .collect()
    }

    fn is_own(host: &str) -> bool {
        ["api.example.com", "api.example.com:443", "api.example.com:8443"].contains(&&*host.to_ascii_lowercase())
    }

    fn forwarded(value: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(FORWARDED, HeaderValue::from_str(value).unwrap())]);
        let own = Destination::parse_authority("api.example.com", 443).unwrap();
        another(&headers, own.host()).map(|(_, said)| String::from_utf8_lossy(said).into_owned())
    }

    /// What such a field is made of, and what could be taken for it.
    const PARTS: [&str; 16] = [
        "host",
        "Host",
        "for",
        "proto",
        "=",
        "=",
        "=",
        ";",
        ",",
        "\"",
        "\\",
        " ",
        "api.example.com",
        "API.example.com:443",
        "other.example.com",
        "192.0.2.7",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_passes_names_no_other_host_to_any_reader(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..14)) {
            let value = parts.concat();
            if forwarded(&value).is_none() {
                for hosts in [as_the_rfc_has_it(&value), as_an_expression_has_it(&value)] {
                    prop_assert!(hosts.iter().all(|host| is_own(host)), "{value}: {hosts:?}");
                }
            }
        }

        #[test]
        fn what_is_well_formed_passes_if_its_hosts_are_the_own(
            elements in prop::collection::vec((any::<[bool; 4]>(), prop::sample::select(&["api.example.com", "other.example.com"][..])), 1..4),
        ) {
            let element = |([quoted, spaced, upper, port], host): &([bool; 4], &str)| {
                let host = if *port { format!("{host}:8443") } else { (*host).to_owned() };
                let host = if *upper { host.to_uppercase() } else { host };
                let host = if *quoted || *port { format!("\"{host}\"") } else { host };
                format!("for=\"[2001:db8::1]\";{}={host};proto=https{}", if *upper { "Host" } else { "host" }, if *spaced { " " } else { "" })
            };
            let value = elements.iter().map(element).collect::<Vec<_>>().join(",");
            prop_assert_eq!(forwarded(&value).is_none(), elements.iter().all(|(_, host)| *host == "api.example.com"), "{}", value);
        }
    }
}
