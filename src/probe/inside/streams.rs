//! Requests with more than one reading, over HTTP/2; above all such as become another over HTTP/1.
//!
//! Enters: calls that the policy allows, if there are any. Leaves: whether each was refused, for itself. Never: a request to anybody but exeat and
//! the canary at the end of all calls.

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe};
use super::answer::judged;
use super::http2::{data, headers, in_two, preface, pseudo, request};
use super::request::allowed;

pub(super) const PROBES: &[Probe] = &[
    Probe::new(
        "framing/http2-authority",
        "HTTP/2 with an :authority of another host, or a Host or a :scheme that differs",
        |brief| {
            heads(brief, "framing/http2-authority", |own, other| {
                vec![
                    own.iter()
                        .map(|(name, value)| (*name, if *name == ":authority" { other } else { *value }))
                        .collect(),
                    [own, &[("host", other)]].concat(),
                    own.iter().map(|(name, value)| (*name, if *name == ":scheme" { "http" } else { *value })).collect(),
                ]
            })
        },
    ),
    Probe::new("framing/http2-pseudo", "pseudo-headers twice, unknown, missing, empty, or behind a field", |brief| {
        heads(brief, "framing/http2-pseudo", |own, other| {
            let without = |name: &str| own.iter().filter(|(own, _)| *own != name).copied().collect::<Vec<_>>();
            vec![
                [own, &[(":path", "/second")]].concat(),
                [own, &[(":method", "DELETE")]].concat(),
                [own, &[(":authority", other)]].concat(),
                [own, &[(":scheme", "http")]].concat(),
                [own, &[(":probe", "1")]].concat(),
                [&[("x-probe", "1")], own].concat(),
                without(":path"),
                [&without(":path")[..], &[(":path", "")]].concat(),
                [&without(":path")[..], &[(":path", "probe")]].concat(),
                without(":method"),
            ]
        })
    }),
    Probe::new(
        "framing/http2-fields",
        "names in capitals, fields for one hop, two lengths, and control characters",
        |brief| {
            heads(brief, "framing/http2-fields", |own, _| {
                let fields = [
                    ("X-Probe", "1"),
                    ("connection", "close"),
                    ("transfer-encoding", "chunked"),
                    ("x-probe", "a\r\nx-smuggled: 1"),
                    ("x-probe", "a\0b"),
                    ("x-probe\r\nx-smuggled", "1"),
                    ("x probe", "1"),
                    ("x-probe:", "1"),
                    ("", "1"),
                ];
                let two = [("content-length", "0"), ("content-length", "1")];
                fields.iter().map(|field| [own, &[*field]].concat()).chain([[own, &two].concat()]).collect()
            })
        },
    ),
    Probe::new("framing/http2-smuggling", "a second request in :path, :method or :authority", |brief| {
        let smuggled = "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled";
        heads(brief, "framing/http2-smuggling", |own, _| {
            let instead = |name: &str, text: &'static str| {
                own.iter()
                    .map(|(other, value)| (*other, if *other == name { text } else { *value }))
                    .collect::<Vec<_>>()
            };
            vec![
                instead(":path", smuggled),
                instead(":path", "/ HTTP/1.1"),
                instead(":method", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"),
                instead(":method", "GET /"),
                instead(":authority", "x\r\nHost: y"),
            ]
        })
    }),
    Probe::new(
        "framing/http2-lengths",
        "a body over HTTP/2 that is shorter or longer than its Content-Length",
        lengths,
    ),
    Probe::new("framing/http2-frames", "frames of HTTP/2 out of their place, and a head in pieces", frames),
    Probe::new("framing/http2-connect", "CONNECT over HTTP/2, and for a protocol that is no WebSocket", |brief| {
        heads(brief, "framing/http2-connect", |own, _| {
            let connect: Vec<(&str, &str)> =
                own.iter().map(|(name, value)| (*name, if *name == ":method" { "CONNECT" } else { *value })).collect();
            let bare: Vec<(&str, &str)> =
                connect.iter().filter(|(name, _)| [":method", ":authority"].contains(name)).copied().collect();
            vec![bare, [&connect[..], &[(":protocol", "probe")]].concat()]
        })
    }),
];

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Heads that nobody may take, each on a connection of its own, made of the head of a call that is allowed.
fn heads(
    brief: &Brief,
    id: &str,
    of: impl for<'b> Fn(&'b [(&'b str, &'b str)], &'b str) -> Vec<Fields<'b>>,
) -> Outcome {
    let other = format!("other.{}", brief.unlisted);
    allowed(brief, |call| {
        let (own, target) = (call.authority(), call.target(id));
        let own = pseudo(&call.method, "https", &own, &target);
        let tries = of(&own, &other).into_iter().map(|head| judged("", call.say_http2(1, &[&request(&head)])));
        Outcome::of_all(tries, "")
    })
}

/// Each with a whole request in it for whoever does not mind.
fn frames(brief: &Brief) -> Outcome {
    allowed(brief, |call: &Call| {
        let (own, target) = (call.authority(), call.target("framing/http2-frames"));
        let fields = pseudo(&call.method, "https", &own, &target);
        let whole = |stream: u32| headers(stream, &fields, true);
        let [begun, ended] = in_two(1, &fields);
        let tries = [
            // Between the pieces of one head: another, a body, and nothing of that stream's.
            [&begun[..], &whole(3), &ended].concat(),
            [&begun[..], &data(1, b"abc", false), &ended].concat(),
            [&ended[..], &whole(3)].concat(),
            // On streams that are nobody's, or the server's; a body before its head.
            whole(0),
            whole(2),
            [data(1, b"abc", false), whole(1)].concat(),
        ];
        Outcome::of_all(tries.map(|said| judged("", call.say_http2(1, &[&[preface(), said].concat()]))), "")
    })
}

fn lengths(brief: &Brief) -> Outcome {
    allowed(brief, |call: &Call| {
        let (own, target) = (call.authority(), call.target("framing/http2-lengths"));
        let tries = [("5", "abc"), ("3", "abcde"), ("0", "a")].map(|(length, body)| {
            let head = [&pseudo(&call.method, "https", &own, &target)[..], &[("content-length", length)]].concat();
            let said = [preface(), headers(1, &head, false), data(1, body.as_bytes(), true)].concat();
            judged("", call.say_http2(1, &[&said]))
        });
        Outcome::of_all(tries, "")
    })
}
