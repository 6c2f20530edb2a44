//! Requests with more than one reading, over HTTP/1.
//!
//! Enters: calls that the policy allows, if there are any. Leaves: whether a request was refused that one server would read so and another
//! otherwise, or went out in the one way in which it was judged. Never: a request to anybody but exeat and the canary at the end of all calls.

use super::super::finding::Probe;
use super::carried::as_judged;
use super::request::{never, with};

pub(super) const PROBES: &[Probe] = &[
    Probe::new(
        "framing/one-request",
        "whether an ordinary request is heard as it was judged, for comparison",
        |brief| {
            as_judged(
                brief,
                "framing/one-request",
                &[(&with(&[], ""), ""), (&with(&["Content-Length: 5"], "probe"), "probe")],
            )
        },
    ),
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
                    &with(&["X-Probe: a", "\tfolded"], ""),
                    &with(&["X-Probe: a\rTransfer-Encoding: chunked"], body),
                    &with(&["X-Probe: a\0b"], ""),
                ],
            )
        },
    ),
    Probe::new(
        "framing/alike-names",
        "lengths and codings by names that CGI reads as theirs: `Content_Length`",
        |brief| {
            never(
                brief,
                "framing/alike-names",
                &[
                    &with(&["Transfer_Encoding: chunked"], ""),
                    &with(&["Content_Length: 5"], ""),
                    &with(&["Content.Length: 5"], ""),
                    &with(&["X-Probe: a", "X_Probe: b"], ""),
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
            as_judged(
                brief,
                "framing/length-and-chunks",
                &[
                    (&with(&["Content-Length: 60", "Transfer-Encoding: chunked"], smuggled), ""),
                    (&with(&["Transfer-Encoding: chunked", "Content-Length: 60"], smuggled), ""),
                    (&with(&["Content-Length: 5", "Content-Length: 5"], "aaaaa"), "aaaaa"),
                ],
            )
        },
    ),
    Probe::new("framing/chunks", "chunks whose size is signed, spelt otherwise, too long, or not theirs", |brief| {
        let chunked = |body: &str| with(&["Transfer-Encoding: chunked"], body);
        as_judged(
            brief,
            "framing/chunks",
            &[
                (&chunked("+3\r\nabc\r\n0\r\n\r\n"), "abc"),
                (&chunked("0x3\r\nabc\r\n0\r\n\r\n"), "abc"),
                (&chunked("3\nabc\r\n0\r\n\r\n"), "abc"),
                (&chunked("3;\nx=\r\nabc\r\n0\r\n\r\n"), "abc"),
                (&chunked("3\r\nabcd\r\n0\r\n\r\n"), "abc"),
                (&chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), "abc"),
            ],
        )
    }),
    Probe::new("framing/bare-newlines", "lines that end in LF alone, and a field behind one", |brief| {
        as_judged(
            brief,
            "framing/bare-newlines",
            &[
                ("@METHOD@ @TARGET@ HTTP/1.1\nHost: @HOST@\nConnection: close\n\n", ""),
                (&with(&["X-Probe: a\nTransfer-Encoding: chunked"], "0\r\n\r\n"), ""),
            ],
        )
    }),
    Probe::new("framing/pipelined", "a request for another host behind the first, or hidden in its body", |brief| {
        let second = "GET /second HTTP/1.1\r\nHost: @OTHER@\r\nConnection: close\r\n\r\n";
        let first = "@METHOD@ @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n";
        let short = "@METHOD@ @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 3\r\n\r\n";
        as_judged(
            brief,
            "framing/pipelined",
            &[
                (&[first, second].concat(), ""),
                (&[short, second].concat(), "GET"),
                (&with(&["Content-Length: 3"], second), "GET"),
            ],
        )
    }),
];
