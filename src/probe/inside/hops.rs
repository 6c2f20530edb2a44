//! What concerns one hop, or stands where it is no part of the head.
//!
//! Enters: calls that the policy allows, if there are any. Leaves: whether such fields, behind the head or in it, were refused or taken out. Never:
//! a request to anybody but exeat and the canary at the end of all calls.

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe};
use super::answer::judged;
use super::carried::{as_judged, carried, heard_as_judged};
use super::http2;
use super::request::{allowed, filled, never_at, with};

const SOCKET_KEY: &str = "Sec-WebSocket-Key: dGhlIHByb2JlJ3Mgbm9uY2U=";

pub(super) const PROBES: &[Probe] = &[
    Probe::new(
        "framing/hop-by-hop",
        "fields for one hop, and Connection that names others: Host, Authorization",
        |brief| {
            as_judged(
                brief,
                "framing/hop-by-hop",
                &[
                    (
                        &with(
                            &[
                                "Connection: close, X-Probe-Hop",
                                "X-Probe-Hop: 1",
                                "Keep-Alive: timeout=5",
                                "TE: gzip",
                                "Proxy-Authorization: Basic cHJvYmU6cHJvYmU=",
                                "Proxy-Connection: keep-alive",
                            ],
                            "",
                        ),
                        "",
                    ),
                    (&with(&["Connection: close, Host"], ""), ""),
                    (&with(&["Connection: close", "Connection: Authorization", "Authorization: Bearer probe"], ""), ""),
                    (&with(&["Connection: close, Content-Length", "Content-Length: 5"], "probe"), "probe"),
                ],
            )
        },
    ),
    Probe::new("framing/upgrade", "Upgrade to h2c, to TLS, and to something unknown", |brief| {
        let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
        as_judged(
            brief,
            "framing/upgrade",
            &[
                (&with(&["Upgrade: h2c", settings, "Connection: close, Upgrade, HTTP2-Settings"], ""), ""),
                (&with(&["Upgrade: TLS/1.2", "Connection: close, Upgrade"], ""), ""),
                (&with(&["Upgrade: probe", "Connection: close, Upgrade"], ""), ""),
            ],
        )
    }),
    Probe::new("framing/unasked-switch", "a server that switches protocols without being asked", |brief| {
        carried(brief, |call| {
            let template = with(&["X-Probe-Answer: switch"], "");
            judged("", call.say(filled(&template, call, &call.sent("framing/unasked-switch"), "").as_bytes()))
        })
    }),
    Probe::new("framing/trailers", "Host, lengths, Authorization and an overriding field behind the body", trailers),
    Probe::new("framing/http2-trailers", "the same over HTTP/2, and a pseudo-header there", trailers_of_two),
    Probe::new("framing/websocket-body", "a WebSocket that is asked for with a body", |brief| {
        let socket = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", SOCKET_KEY];
        let sized = [&socket[..], &["Content-Length: 5"]].concat();
        let chunked = [&socket[..], &["Transfer-Encoding: chunked"]].concat();
        let tries = [with(&sized, "probe"), with(&chunked, "5\r\nprobe\r\n0\r\n\r\n")];
        allowed(brief, |call| {
            let get = Call { method: "GET".to_owned(), ..call.clone() };
            never_at(&get, brief, "framing/websocket-body", &tries.each_ref().map(String::as_str))
        })
    }),
    Probe::new("framing/preface", "HTTP/2 in the clear, by its preface, with a request for another host", preface),
];

/// Over HTTP/1 they come behind chunks.
fn trailers(brief: &Brief) -> Outcome {
    carried(brief, |call| {
        let fields = [
            "Host: @OTHER@",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Authorization: Bearer probe",
            "X-HTTP-Method-Override: DELETE",
        ];
        let tries = fields.map(|field| {
            let template = with(&["Transfer-Encoding: chunked"], &format!("3\r\nabc\r\n0\r\n{field}\r\n\r\n"));
            let request = filled(&template, call, &call.sent("framing/trailers"), &brief.unlisted);
            judged("", call.say(request.as_bytes()))
        });
        Outcome::of_all(tries, "")
    })
}

fn trailers_of_two(brief: &Brief) -> Outcome {
    let other = format!("other.{}", brief.unlisted);
    carried(brief, |call| {
        let (id, own) = ("framing/http2-trailers", call.authority());
        let target = call.sent(id);
        let fields = [
            ("host", other.as_str()),
            ("content-length", "5"),
            ("authorization", "Bearer probe"),
            ("x-http-method-override", "DELETE"),
            (":path", "/second"),
        ];
        let tries = fields.map(|field| {
            let head = http2::headers(1, &http2::pseudo(&call.method, "https", &own, &target), false);
            let behind = http2::headers(1, &[field], true);
            let said = [http2::preface(), head, http2::data(1, b"abc", false), behind].concat();
            heard_as_judged(brief, call, id, "abc", call.say_http2(1, &[&said]))
        });
        Outcome::of_all(tries, "")
    })
}

/// Where plain HTTP may go, the second request may not; where it may not, neither.
fn preface(brief: &Brief) -> Outcome {
    let id = "framing/preface";
    let other = format!("other.{}", brief.unlisted);
    let said = |call: &Call, target: &str| {
        let own = call.in_the_clear();
        let first = http2::headers(1, &http2::pseudo(&call.method, "http", &own, target), true);
        let second = http2::headers(3, &http2::pseudo("GET", "http", &other, "/"), true);
        call.say_plainly_http2(2, &[http2::preface(), first, second].concat())
    };
    let open = brief.in_the_clear.iter().map(|call| heard_as_judged(brief, call, id, "", said(call, &call.sent(id))));
    let tls_only = brief.plain.iter().map(|call| judged("", said(call, &call.target(id))));
    Outcome::of_all(open.chain(tls_only), "no rule allows an ordinary call, so anything is refused for want of one")
}
