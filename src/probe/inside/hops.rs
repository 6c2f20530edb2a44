//! What concerns one hop, or has a server take a request for another than it is.
//!
//! Enters: calls that the policy allows, if there are any. Leaves: whether such fields, behind the head or in it, were refused or taken out. Never:
//! a request to anybody but exeat and the canary at the end of all calls.

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe};
use super::answer::judged;
use super::carried::{as_judged, carried, heard_as_judged};
use super::http2;
use super::request::{filled, never_at, with};

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
    Probe::new(
        "framing/overriding",
        "another method or path in X-HTTP-Method-Override, X-Original-URL and the like",
        |brief| {
            let Some(call) = &brief.told_apart else {
                return Outcome::not_applicable("whatever an allowed call's method and path are, it is allowed");
            };
            never_at(
                call,
                brief,
                "framing/overriding",
                &[
                    &with(&["X-HTTP-Method-Override: DELETE"], ""),
                    &with(&["X-HTTP-Method: DELETE"], ""),
                    &with(&["X-Original-URL: /probe"], ""),
                    &with(&["X_Rewrite_URL: /probe"], ""),
                ],
            )
        },
    ),
    Probe::new("framing/trailers", "Host, lengths, Authorization and an overriding field behind the body", trailers),
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
