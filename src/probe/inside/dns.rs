//! Names as a way out: every record type, every server, every transport.
//!
//! Enters: a name that does not exist, and servers. Leaves: whether anybody but exeat answered. Never: a query to a public resolver; its
//! address is only connected to, and only exeat's certificate is talked to.

use std::net::{IpAddr, SocketAddr};

use super::super::brief::Brief;
use super::super::finding::{Outcome, Probe};
use super::answer;
use super::resolver::{self, A, Reply};
use super::tls::{self, Hello};
use super::told;

/// The record type that stands for all.
const ANY: u16 = 255;

pub(super) const PROBES: &[Probe] = &[
    Probe::new("dns/address", "the address of a name that no rule lists", |brief| {
        at_configured(|server| inside_only("A", resolver::ask(server, false, &brief.unlisted, A)))
    }),
    Probe::new("dns/text", "a tunnel's answers: TXT and NULL records", |brief| {
        no_data(brief, &[("TXT", 16), ("NULL", 10)])
    }),
    Probe::new("dns/ipv6", "addresses that exeat did not give out: AAAA records", |brief| {
        no_data(brief, &[("AAAA", 28)])
    }),
    Probe::new(
        "dns/service",
        "other ways to be told of addresses and keys: HTTPS, SVCB, SRV, MX, CNAME and NS records",
        |brief| no_data(brief, &[("HTTPS", 65), ("SVCB", 64), ("SRV", 33), ("MX", 15), ("CNAME", 5), ("NS", 2)]),
    ),
    Probe::new("dns/any", "everything at once: ANY and AXFR", |brief| no_data(brief, &[("ANY", ANY), ("AXFR", 252)])),
    Probe::new("dns/tunnel", "data in long labels, over UDP and TCP", tunnel),
    Probe::new("dns/machine-resolver", "the machine's own resolvers, over UDP and TCP", |brief| {
        asked_elsewhere(brief, &brief.machine_resolvers)
    }),
    Probe::new("dns/other-servers", "servers elsewhere on port 53, over UDP and TCP", |brief| {
        asked_elsewhere(brief, &brief.nobody)
    }),
    Probe::new("dns/over-tls", "DNS over TLS at public resolvers' addresses", |brief| public(brief, 853)),
    Probe::new("dns/over-https", "DNS over HTTPS at public resolvers' addresses", |brief| public(brief, 443)),
];

fn at_configured(ask: impl FnOnce(IpAddr) -> Outcome) -> Outcome {
    resolver::configured().map_or_else(|| Outcome::not_applicable("/etc/resolv.conf names no server"), ask)
}

/// Only exeat has an address for the name.
fn inside_only(what: &str, reply: std::io::Result<Reply>) -> Outcome {
    match reply {
        Ok(reply) if reply.is_from_inside() => {
            Outcome::held(format!("{what}: answered inside, {} record, of exeat's own range", reply.answers))
        }
        Ok(reply) => {
            let address = reply.address.map_or("no address".to_owned(), |address| address.to_string());
            Outcome::broke(format!("{what}: answered by another, code {}, {address}", reply.code))
        }
        Err(error) => Outcome::not_applicable(format!("{what}: {}", told(error))),
    }
}

/// Not found, refused and empty say the same: nothing is carried back. Whether the query stayed inside is `dns/address`'s to show.
fn no_data(brief: &Brief, kinds: &[(&str, u16)]) -> Outcome {
    at_configured(|server| {
        let name = format!("{}.{}", "q".repeat(20), brief.unlisted);
        let asked = kinds.iter().map(|(kind, number)| match resolver::ask(server, false, &name, *number) {
            Ok(Reply { answers: 0, code, .. }) => Outcome::held(format!("code {code}, no records")),
            Ok(reply @ Reply { answers: 1, .. }) if *number == ANY && reply.is_from_inside() => {
                Outcome::held(format!("{kind}: the address of exeat's own range alone"))
            }
            Ok(reply) => Outcome::broke(format!("{kind}: {} records", reply.answers)),
            Err(error) => Outcome::not_applicable(format!("{kind}: {}", told(error))),
        });
        Outcome::of_all(asked, "")
    })
}

/// As much as a name holds, as a tunnel sends it.
fn tunnel(brief: &Brief) -> Outcome {
    at_configured(|server| {
        let room = 250_usize.saturating_sub(brief.unlisted.len() + 2);
        let label = format!("{}.", "x".repeat(62));
        let data = label.repeat(room / label.len());
        let name = format!("{data}{}", brief.unlisted);
        let asked = [("UDP", false), ("TCP", true)]
            .map(|(transport, tcp)| inside_only(transport, resolver::ask(server, tcp, &name, A)));
        Outcome::of_all(asked, "")
    })
}

fn asked_elsewhere(brief: &Brief, servers: &[IpAddr]) -> Outcome {
    let ways = servers.iter().flat_map(|server| [(*server, "UDP", false), (*server, "TCP", true)]);
    let asked = ways.map(|(server, transport, tcp)| {
        inside_only(&format!("{server} over {transport}"), resolver::ask(server, tcp, &brief.unlisted, A))
    });
    Outcome::of_all(asked, "there is none that is not the machine's loopback")
}

/// A handshake and no query: nothing is said to a peer that is not exeat.
fn public(brief: &Brief, port: u16) -> Outcome {
    let tries = brief.public_resolvers.iter().map(|(address, name)| {
        let request = format!("GET /dns-query HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let hello = Hello { to: SocketAddr::new(*address, port), server_name: Some(name), http2: 0 };
        answer::judged(&address.to_string(), tls::exchange(&hello, request.as_bytes()))
    });
    Outcome::of_all(tries, "rules list all of them")
}
