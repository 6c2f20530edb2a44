//! What has a server take a call for another than it is, or act on another resource as well.
//!
//! Enters: calls that a rule allows, and at whose host another method or path might be judged otherwise. Leaves: whether one was refused that
//! says so much in a field, a query or a body. Never: a request to anybody but exeat.

use super::super::brief::{Brief, Call};
use super::super::finding::{Outcome, Probe};
use super::answer::judged;
use super::gzip;
use super::request::{never, never_at, post, with};

pub(super) const PROBES: &[Probe] = &[
    Probe::new(
        "framing/other-hosts",
        "another host in Forwarded, X-Forwarded-Host, X-Original-Host and the like",
        |brief| {
            let tries = [
                "X-Forwarded-Host: @OTHER@",
                "X-Forwarded-Host: @HOST@, @OTHER@",
                "X-Host: @OTHER@",
                "X_Host: @OTHER@",
                "X-Original-Host: @OTHER@",
                "X-HTTP-Host-Override: @OTHER@",
                "Forwarded: for=192.0.2.7;host=@OTHER@",
                "Forwarded: host=@HOST@, for=192.0.2.7; Host=\"@OTHER@\"",
            ];
            let tries = tries.map(|field| with(&[field], ""));
            never(brief, "framing/other-hosts", &tries.each_ref().map(String::as_str))
        },
    ),
    Probe::new(
        "framing/overriding",
        "another method or path in X-HTTP-Method-Override, X-Original-URL and the like",
        |brief| {
            let tries = [
                "X-HTTP-Method-Override: DELETE",
                "X-HTTP-Method: DELETE",
                "X-Method-Override: DELETE",
                "X-Original-Method: DELETE",
                "X-Original-URI: /probe",
                "X-Original-URL: /probe",
                "X_Rewrite_URL: /probe",
            ];
            let tries = tries.map(|field| with(&[field], ""));
            told_apart(&brief.told_apart, |call| {
                never_at(call, brief, "framing/overriding", &tries.each_ref().map(String::as_str))
            })
        },
    ),
    Probe::new(
        "framing/overriding-query",
        "another method in the query, by `_method` and the like, in several spellings",
        |brief| {
            let names = ["_method", "%5Fmethod", "_method[]", "_HttpMethod", "X-HTTP-Method-Override"];
            let line = "@METHOD@ @TARGET@&@NAME@=DELETE HTTP/1.1\r\nHost: @HOST@\r\nConnection: close\r\n\r\n";
            let tries = names.map(|name| line.replace("@NAME@", name));
            told_apart(&brief.told_apart, |call| {
                never_at(call, brief, "framing/overriding-query", &tries.each_ref().map(String::as_str))
            })
        },
    ),
    Probe::new(
        "framing/overriding-form",
        "the same in a form, also a compressed one, in a part of one, and in JSON",
        forms,
    ),
    Probe::new(
        "framing/copy-sources",
        "a copy or a renaming of what may not be read (X-Amz-Copy-Source and the like)",
        |brief| {
            let fields =
                ["X-Amz-Copy-Source", "X-Goog-Copy-Source", "X-MS-Copy-Source", "X-Copy-From", "X-MS-Rename-Source"];
            told_apart(&brief.told_apart, |call| {
                let tries: Vec<String> = fields.iter().flat_map(|field| named_elsewhere(brief, field)).collect();
                never_at(call, brief, "framing/copy-sources", &tries.iter().map(String::as_str).collect::<Vec<_>>())
            })
        },
    ),
    Probe::new("framing/destination", "COPY and MOVE to where nothing may be written, by Destination", |brief| {
        let tries = named_elsewhere(brief, "Destination");
        let tries: Vec<&str> = tries.iter().map(String::as_str).collect();
        let moves = brief.moving.iter().map(|call| never_at(call, brief, "framing/destination", &tries));
        Outcome::of_all(moves, "no rule that tells calls apart lets out a COPY or a MOVE")
    }),
];

/// An attempt at a call of which the policy says more than whom it is for.
fn told_apart(call: &Option<Call>, attempt: impl FnOnce(&Call) -> Outcome) -> Outcome {
    let none = || Outcome::not_applicable("whatever an allowed call's method and path are, it is allowed");
    call.as_ref().map_or_else(none, attempt)
}

/// Requests whose field names what is another server's, what is next to an allowed path, and what is a path with two readings.
fn named_elsewhere(brief: &Brief, field: &str) -> Vec<String> {
    let beside = brief.beside.iter().cloned();
    let others = ["https://@OTHER@/probe".to_owned(), "/probe/../probe".to_owned()].into_iter().chain(beside);
    others.map(|other| with(&[&format!("{field}: {other}")], "")).collect()
}

fn forms(brief: &Brief) -> Outcome {
    const PART: &str = "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--\r\n";
    const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
    const JSON: &str = "Content-Type: application/json";
    let compressed = gzip::compressed(b"a=1&_method=DELETE");
    told_apart(&brief.posted, |call| {
        let tries: [(&[&str], &[u8]); 8] = [
            (&[FORM], b"a=1&_method=DELETE"),
            (&[FORM], b"a=1;%5FMETHOD=DELETE"),
            (&[FORM], b"_HttpMethod=DELETE"),
            (&[FORM, "Content-Encoding: gzip"], &compressed),
            (&[], b"_method=DELETE"),
            (&["Content-Type: multipart/form-data; boundary=x"], PART.as_bytes()),
            (&[JSON], b"{\"a\":1,\"_method\":\"DELETE\"}"),
            (&[JSON], b"{\"\\u005fmethod\":\"DELETE\"}"),
        ];
        let said = tries.map(|(fields, body)| call.say(&post(call, "framing/overriding-form", fields, body)));
        Outcome::of_all(said.map(|answer| judged("", answer)), "")
    })
}
