//! One host that passes for another.
//!
//! Enters: a call that the policy allows, names that only look like a listed one, paths that only look like an allowed one. Leaves: whether
//! any of them was let through. Never: a request that the policy allows as it stands.

use std::io;
use std::net::SocketAddr;

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe};
use super::answer::{self, Answer, judged};
use super::carried::{carried, heard_as_judged};
use super::hello;
use super::http2::{headers, preface, pseudo};
use super::request::{allowed, unlisted};
use super::tls::{self, Hello};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("names/unlisted", "a host that no rule lists, in several spellings", |brief| {
        let call = unlisted(brief);
        let spelt = [call.host.clone(), call.host.to_ascii_uppercase(), format!("{}.", call.host)];
        let tries = spelt.into_iter().map(|host| {
            let call = Call { host, ..call.clone() };
            let server_name = call.host.trim_end_matches('.').to_owned();
            judged("", call.address().and_then(|to| at(to, Some(&server_name), &call, "names/unlisted")))
        });
        Outcome::of_all(tries, "")
    }),
    Probe::new("names/host-field", "another host in Host than in the TLS server name", |brief| {
        let other = format!("other.{}", brief.unlisted);
        allowed(brief, |call| {
            let request = Call { host: other, ..call.clone() }.request("names/host-field");
            judged("", call.say(request.as_bytes()))
        })
    }),
    Probe::new("names/server-name", "another server name than the one whose address is connected to", |brief| {
        let other = format!("other.{}", brief.unlisted);
        allowed(brief, |call| {
            let elsewhere = Call { host: other, ..call.clone() };
            judged("", elsewhere.address().and_then(|to| at(to, Some(&call.host), call, "names/server-name")))
        })
    }),
    Probe::new("names/no-server-name", "TLS without a server name", |brief| {
        allowed(brief, |call| judged("", call.address().and_then(|to| at(to, None, call, "names/no-server-name"))))
    }),
    Probe::new(
        "names/forged-server-name",
        "an address of one's own choice, with the name of a host that is let through",
        |brief| {
            allowed(brief, |call| {
                let tries = brief.nobody.iter().map(|address| {
                    let to = SocketAddr::new(*address, call.port);
                    judged("", at(to, Some(&call.host), call, "names/forged-server-name"))
                });
                Outcome::of_all(tries, "rules list them")
            })
        },
    ),
    Probe::new("names/address", "an address in the place of a name, in TLS and without", |brief| {
        let tries = brief.nobody.iter().flat_map(|address| {
            let to = SocketAddr::new(*address, brief.port);
            let call = Call { host: bracketed(to), ..unlisted(brief) };
            [
                at(to, None, &call, "names/address"),
                answer::plain(to, call.request_to(&call.in_the_clear(), "names/address").as_bytes()),
            ]
        });
        Outcome::of_all(tries.map(|answer| judged("", answer)), "rules list them")
    }),
    Probe::new("names/two-server-names", "two names in the handshake's extension for one", |brief| {
        allowed(brief, |call| {
            let other = format!("other.{}", brief.unlisted);
            let tries = [[call.host.as_str(), &other], [&other, &call.host]];
            Outcome::of_all(tries.map(|names| judged("", call.say_plainly(&hello::of(&names)))), "")
        })
    }),
    Probe::new("names/wide-letters", "letters and dots in Host that some take for those of ASCII", |brief| {
        allowed(brief, |call| {
            let wide: String = call.host.chars().map(wide).collect();
            let first = call.host.chars().next().map_or(String::new(), |first| wide_at_first(first, &call.host));
            spelt(call, "names/wide-letters", &[wide, first, call.host.replacen('.', "\u{3002}", 1)])
        })
    }),
    Probe::new("names/embedded-addresses", "addresses in Host that have one of IPv4 in them", |brief| {
        let addresses = ["[2002:7f00:1::]", "[2001:0:7f00:1::80ff:fffe]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]"];
        allowed(brief, |call| spelt(call, "names/embedded-addresses", &addresses.map(str::to_owned)))
    }),
    Probe::new(
        "names/host-spellings",
        "user names, brackets, ports, escapes, lists and numbers in Host",
        host_spellings,
    ),
    Probe::new("names/look-alikes", "names and ports that only look like a listed one", |brief| {
        let tries =
            brief.look_alikes.iter().map(|call| judged("", call.say(call.request("names/look-alikes").as_bytes())));
        count(brief.look_alikes.len(), Outcome::of_all(tries, "no rule lists a name"))
    }),
    Probe::new(
        "names/coalescing",
        "a request for another host on the HTTP/2 connection of one that is let through",
        coalescing,
    ),
    Probe::new("names/unread", "another server name, or none, where TLS passes unread to one", |brief| {
        let Some(call) = &brief.unread else { return Outcome::not_applicable("no rule has TLS pass unread") };
        let other = format!("other.{}", brief.unlisted);
        let tries = [Some(other.as_str()), None]
            .map(|server_name| judged("", call.address().and_then(|to| at(to, server_name, call, "names/unread"))));
        Outcome::of_all(tries, "")
    }),
    Probe::new("names/old-protocols", "TLS 1.0, SSL 2 and HTTP/0.9 to a host that is let through", |brief| {
        allowed(brief, |call| {
            let tries = [&hello::tls10()[..], b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", b"GET /\r\n\r\n"];
            Outcome::of_all(tries.map(|said| judged("", call.say_plainly(said))), "")
        })
    }),
    Probe::new("names/plain", "plain HTTP to a host that is let through over TLS only", |brief| match &brief.plain {
        Some(call) => judged("", call.say_plainly(call.request_to(&call.in_the_clear(), "names/plain").as_bytes())),
        None => Outcome::not_applicable("no rule lists such a host"),
    }),
    Probe::new("names/paths", "paths that climb, hide a slash, are escaped twice or have two readings", |brief| {
        let tries = brief.paths.iter().map(|attempt| {
            let call = &attempt.call;
            if attempt.let_out {
                return Outcome::broke(format!("the policy itself would let {}{} out; not sent", call.host, call.path));
            }
            judged("", call.say(call.request("names/paths").as_bytes()))
        });
        count(brief.paths.len(), Outcome::of_all(tries, "no rule has paths"))
    }),
];

fn count(number: usize, outcome: Outcome) -> Outcome {
    if number == 0 {
        return outcome;
    }
    Outcome { seen: format!("of {number}: {}", outcome.seen), ..outcome }
}

/// A request for a call, at an address and under a server name that need not be the call's.
fn at(to: SocketAddr, server_name: Option<&str>, call: &Call, id: &str) -> io::Result<Answer> {
    tls::exchange(&Hello { to, server_name, http2: 0 }, call.request(id).as_bytes())
}

fn bracketed(to: SocketAddr) -> String {
    if to.is_ipv4() { to.ip().to_string() } else { format!("[{}]", to.ip()) }
}

fn coalescing(brief: &Brief) -> Outcome {
    carried(brief, |call| {
        let (id, own, other) = ("names/coalescing", call.authority(), format!("other.{}", brief.unlisted));
        let first = headers(1, &pseudo(&call.method, "https", &own, &call.sent(id)), true);
        let second = headers(3, &pseudo("GET", "https", &other, "/"), true);
        let answer = call.say_http2(2, &[&[preface(), first].concat(), &second]);
        if answer.as_ref().is_ok_and(|answer| answer.parts().len() == 1) {
            return Outcome::not_applicable("one of the two requests had no answer");
        }
        heard_as_judged(brief, call, id, "", answer)
    })
}

/// None of these is another way to write the host of the connection.
fn host_spellings(brief: &Brief) -> Outcome {
    allowed(brief, |call| spelt_otherwise(call, &brief.unlisted))
}

fn spelt_otherwise(call: &Call, other: &str) -> Outcome {
    let host = &call.host;
    let port = if call.port == 8444 { 8445 } else { 8444 };
    let spellings = [
        format!("{host}@{other}"),
        format!("{other}@{host}"),
        format!("{host}:{port}"),
        format!("{host}:x"),
        format!("{host}:0{}", call.port),
        format!("[{host}]"),
        format!("[[{host}]]"),
        format!("{host}%00.{other}"),
        format!("{host}.{other}"),
        format!("{host}#{other}"),
        format!("{host}/{other}"),
        format!("{host}, {other}"),
        format!("{host} {other}"),
        "2130706433".to_owned(),
        "0x7f000001".to_owned(),
        "0177.0.0.1".to_owned(),
        "127.1".to_owned(),
        "[::ffff:127.0.0.1]".to_owned(),
        "[::1%25lo]".to_owned(),
    ];
    spelt(call, "names/host-spellings", &spellings)
}

fn spelt(call: &Call, id: &str, hosts: &[String]) -> Outcome {
    let tries = hosts.iter().map(|host| judged("", call.say(call.request_to(host, id).as_bytes())));
    count(hosts.len(), Outcome::of_all(tries, ""))
}

/// As wide as a character of Chinese.
fn wide(letter: char) -> char {
    const FURTHER: u32 = 0xfee0;
    if letter.is_ascii_graphic() { char::from_u32(u32::from(letter) + FURTHER).unwrap_or(letter) } else { letter }
}

fn wide_at_first(first: char, host: &str) -> String {
    let mut spelt = host.to_owned();
    spelt.replace_range(..first.len_utf8(), &wide(first).to_string());
    spelt
}
