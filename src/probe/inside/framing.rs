//! Requests with more than one reading.
//!
//! Enters: a call that the policy allows, if there is one. Leaves: whether a request was refused that one server would read so and another
//! otherwise. Never: a request that exeat might rightly send; where it is allowed to mend, the call is one that no rule allows.

use super::super::brief::Brief;
use super::super::finding::{Outcome, Probe};
use super::answer::judged;
use super::request::{allowed, filled, http2, unlisted};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("framing/lengths", "two Content-Lengths, a list of them, and lengths that are no numbers", |brief| {
        never(
            brief,
            "framing/lengths",
            &[
                &with(&["Content-Length: 5", "Content-Length: 6"], "aaaaaa"),
                &with(&["Content-Length: 5, 6"], "aaaaaa"),
                &with(&["Content-Length: +5"], "aaaaa"),
                &with(&["Content-Length: 0x5"], "aaaaa"),
                &with(&["Content-Length: -1"], ""),
                &with(&["Content-Length: 99999999999999999999"], ""),
            ],
        )
    }),
    Probe::new(
        "framing/codings",
        "Transfer-Encodings that some take for chunked: chunkedx, gzip, twice, in a list",
        |brief| {
            let body = "0\r\n\r\n";
            never(
                brief,
                "framing/codings",
                &[
                    &with(&["Transfer-Encoding: chunkedx"], body),
                    &with(&["Transfer-Encoding: xchunked"], body),
                    &with(&["Transfer-Encoding: chunked, identity"], body),
                    &with(&["Transfer-Encoding: gzip, chunked"], body),
                    &with(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], body),
                    &with(&["Transfer-Encoding: \u{b}chunked"], body),
                ],
            )
        },
    ),
    Probe::new("framing/http-1.0", "Transfer-Encoding on HTTP/1.0", |brief| {
        never(
            brief,
            "framing/http-1.0",
            &["@METHOD@ @TARGET@ HTTP/1.0\r\nHost: @HOST@\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        )
    }),
    Probe::new(
        "framing/hidden-fields",
        "Transfer-Encoding with a space before its colon, folded, or behind a bare CR",
        |brief| {
            let body = "0\r\n\r\n";
            never(
                brief,
                "framing/hidden-fields",
                &[
                    &with(&["Transfer-Encoding : chunked"], body),
                    &with(&["X-Probe: a", " Transfer-Encoding: chunked"], body),
                    &with(&["X-Probe: a\rTransfer-Encoding: chunked"], body),
                    &with(&["X-Probe: a\0b"], ""),
                ],
            )
        },
    ),
    Probe::new("framing/hosts", "two Hosts, of which one is another's, and none", |brief| {
        never(
            brief,
            "framing/hosts",
            &[
                &with(&["Host: @OTHER@"], ""),
                &with(&["Host: @HOST@"], ""),
                "@METHOD@ @TARGET@ HTTP/1.1\r\nConnection: close\r\n\r\n",
            ],
        )
    }),
    Probe::new("framing/absolute-form", "a target that names another host than Host does", |brief| {
        never(
            brief,
            "framing/absolute-form",
            &[
                "@METHOD@ https://@OTHER@@TARGET@ HTTP/1.1\r\nHost: @HOST@\r\nConnection: close\r\n\r\n",
                "@METHOD@ http://@HOST@@TARGET@ HTTP/1.1\r\nHost: @HOST@\r\nConnection: close\r\n\r\n",
            ],
        )
    }),
    Probe::new("framing/connect", "CONNECT to another host on a connection that is let through", |brief| {
        never(
            brief,
            "framing/connect",
            &[
                "CONNECT @OTHER@:443 HTTP/1.1\r\nHost: @OTHER@:443\r\n\r\n",
                "CONNECT @HOST@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
            ],
        )
    }),
    Probe::new(
        "framing/length-and-chunks",
        "Content-Length beside Transfer-Encoding, and the same length twice",
        |brief| {
            let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: @HOST@\r\n\r\n";
            refused_anyway(
                brief,
                "framing/length-and-chunks",
                &[
                    &with(&["Content-Length: 60", "Transfer-Encoding: chunked"], smuggled),
                    &with(&["Transfer-Encoding: chunked", "Content-Length: 60"], smuggled),
                    &with(&["Content-Length: 5", "Content-Length: 5"], "aaaaa"),
                ],
            )
        },
    ),
    Probe::new("framing/bare-newlines", "lines that end in LF alone, and a field behind one", |brief| {
        refused_anyway(
            brief,
            "framing/bare-newlines",
            &[
                "@METHOD@ @TARGET@ HTTP/1.1\nHost: @HOST@\nConnection: close\n\n",
                &with(&["X-Probe: a\nTransfer-Encoding: chunked"], "0\r\n\r\n"),
            ],
        )
    }),
    Probe::new("framing/pipelined", "a second request behind the first, or hidden in its body", |brief| {
        let second = "GET /second HTTP/1.1\r\nHost: @HOST@\r\nConnection: close\r\n\r\n";
        let first = "@METHOD@ @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n";
        refused_anyway(brief, "framing/pipelined", &[&[first, second].concat(), &with(&["Content-Length: 3"], second)])
    }),
    Probe::new("framing/upgrade", "Upgrade to h2c, to TLS, and to something unknown", |brief| {
        let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
        refused_anyway(
            brief,
            "framing/upgrade",
            &[
                &with(&["Upgrade: h2c", settings, "Connection: Upgrade, HTTP2-Settings"], ""),
                &with(&["Upgrade: TLS/1.2", "Connection: Upgrade"], ""),
                &with(&["Upgrade: probe", "Connection: Upgrade"], ""),
            ],
        )
    }),
    Probe::new("framing/preface", "HTTP/2 in the clear, by its preface", |brief| {
        let call = unlisted(brief);
        let preface = http2("http", &call.in_the_clear(), &call.target("framing/preface"), &[]);
        judged("", call.say_plainly(&preface))
    }),
    Probe::new(
        "framing/http2-authority",
        "HTTP/2 with an :authority of another host, or a Host that differs from it",
        http2_authority,
    ),
];

/// A request of the template's with more fields, and a body.
fn with(fields: &[&str], body: &str) -> String {
    let closing =
        if fields.iter().any(|field| field.starts_with("Connection:")) { "" } else { "Connection: close\r\n" };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("@METHOD@ @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n{closing}{fields}\r\n{body}")
}

/// Requests that nobody may take, at a call that is allowed.
fn never(brief: &Brief, id: &str, templates: &[&str]) -> Outcome {
    allowed(brief, |call| {
        let said = |template: &&str| call.say(filled(template, call, id, &brief.unlisted).as_bytes());
        Outcome::of_all(templates.iter().map(|template| judged("", said(template))), "")
    })
}

/// Requests that may be mended, at a call that no rule allows: however they are read, each part is refused.
fn refused_anyway(brief: &Brief, id: &str, templates: &[&str]) -> Outcome {
    let (call, other) = (unlisted(brief), format!("other.{}", brief.unlisted));
    Outcome::of_all(
        templates.iter().map(|template| judged("", call.say(filled(template, &call, id, &other).as_bytes()))),
        "",
    )
}

fn http2_authority(brief: &Brief) -> Outcome {
    let other = format!("other.{}", brief.unlisted);
    allowed(brief, |call| {
        let (own, path) = (call.authority(), call.target("framing/http2-authority"));
        let requests = [
            http2("https", &other, &path, &[]),
            http2("https", &own, &path, &[("host", &other)]),
            http2("http", &own, &path, &[]),
        ];
        Outcome::of_all(requests.iter().map(|request| judged("", call.say_http2(request))), "")
    })
}
