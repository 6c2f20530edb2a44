//! Calls inside a body: tools that no rule lists, and messages that two readers could read in two ways.
//!
//! Enters: a call that reaches an MCP server or a GraphQL endpoint, where the policy has one. Leaves: whether a message was let through that
//! must not be. Never: a message that the rule lets through.

use std::io;

use super::super::brief::{Brief, Call, Listing};
use super::super::evidence::TOOLS;
use super::super::finding::{Outcome, Probe};
use super::answer::{Answer, judged};
use super::gzip;
use super::request::{post, post_to};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("tools/unlisted", "an MCP tool that no rule lists, alone and in a batch", |brief| {
        let call = calling(&brief.nonce);
        let batch = format!(r#"[{{"jsonrpc":"2.0","id":2,"method":"tools/list"}},{call}]"#);
        messages(brief.mcp.as_ref(), "tools/unlisted", &[(JSON, call.into_bytes()), (JSON, batch.into_bytes())])
    }),
    Probe::new(
        "tools/readings",
        "a tool under a second or misspelt key, behind other bytes, in another type or coding",
        |brief| {
            let call = calling(&brief.nonce);
            let list = r#""method":"tools/list""#;
            let texts = [
                (JSON, call.replace(r#""method""#, &format!(r#"{list},"method""#))),
                (JSON, call.replace(r#""method""#, &format!(r#"{list},"Method""#))),
                (JSON, call.replace(r#""method""#, r#""m\u0065thod""#)),
                (JSON, format!("\u{feff}{call}")),
                (JSON, format!("{call}{call}")),
                (JSON, call.replace("tools/call", "probe/call")),
                ("Content-Type: text/plain", call.clone()),
                ("Content-Type: application/x-www-form-urlencoded", call.clone()),
            ];
            let mut tries: Vec<(&str, Vec<u8>)> = texts.map(|(field, text)| (field, text.into_bytes())).into();
            tries.push(("Content-Type: application/json\r\nContent-Encoding: gzip", gzip::compressed(call.as_bytes())));
            messages(brief.mcp.as_ref(), "tools/readings", &tries)
        },
    ),
    Probe::new("tools/list", "the tools of an MCP server that no rule lists, in its list of them", listed),
    Probe::new("tools/elsewhere", "an MCP tool in a query string, in a PUT, and by way of a WebSocket", |brief| {
        let (id, calling) = ("tools/elsewhere", calling(&brief.nonce));
        of_mcp(brief, |call| {
            let by = |method: &str, query: &str, fields: &[&str], body: &str| {
                let call = Call { method: method.to_owned(), ..call.clone() };
                call.say(&post_to(&call, &format!("{}{query}", call.target(id)), fields, body.as_bytes()))
            };
            let socket = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", SOCKET_KEY];
            vec![
                by("GET", "&jsonrpc=2.0&id=1&method=tools/call", &[], ""),
                by("POST", "&Message%5B%5D=1", &[JSON], &calling),
                by("PUT", "", &[JSON], &calling),
                by("GET", "", &socket, ""),
            ]
        })
    }),
    Probe::new("tools/long", "an MCP tool in a message that is longer than any that is read", |brief| {
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(LONG));
        let call = calling(&brief.nonce).replace("{}", &long);
        messages(brief.mcp.as_ref(), "tools/long", &[(JSON, call.into_bytes())])
    }),
    Probe::new("tools/charsets", "an MCP tool in UTF-16, and in what says that it is UTF-7", |brief| {
        let call = calling(&brief.nonce);
        let wide: Vec<u8> = call.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xfe, 0xff], &wide[..]].concat();
        let tries = [("utf-16", &wide), ("utf-16", &marked), ("utf-7", &call.clone().into_bytes())]
            .map(|(charset, body)| (format!("Content-Type: application/json; charset={charset}"), body.clone()));
        let tries: Vec<(&str, Vec<u8>)> = tries.iter().map(|(field, body)| (&**field, body.clone())).collect();
        messages(brief.mcp.as_ref(), "tools/charsets", &[&tries[..], &[(JSON, marked)]].concat())
    }),
    Probe::new(
        "tools/graphql-query",
        "a GraphQL operation that no rule lists in a query string: by GET, and beside a body",
        |brief| {
            let Some((call, operation)) = &brief.graphql else { return none() };
            let query = format!("?query={operation}%20probe%20%7Bprobe%7D");
            let tries = [("GET", &[][..], ""), ("POST", &[JSON], r#"{"query":"query a { a }"}"#)];
            let said = tries.map(|(method, fields, body)| {
                let call = Call { method: method.to_owned(), ..call.clone() };
                judged("", call.say(&post_to(&call, &format!("{}{query}", call.path), fields, body.as_bytes())))
            });
            Outcome::of_all(said, "")
        },
    ),
    Probe::new(
        "tools/graphql",
        "a GraphQL operation that no rule lists: alone, beside another, in a batch, by its hash",
        |brief| {
            let Some((call, operation)) = &brief.graphql else { return none() };
            let document = format!("{operation} probe {{ probe }}");
            let bodies = [
                format!(r#"{{"query":"{document}"}}"#),
                format!(r#"{{"query":"query a {{ a }} {document}"}}"#),
                format!(r#"[{{"query":"query a {{ a }}"}},{{"query":"{document}"}}]"#),
                format!(r#"{{"query":"query a {{ a }}","query":"{document}"}}"#),
                r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#.to_owned(),
            ];
            let tries: Vec<(&str, Vec<u8>)> = bodies.into_iter().map(|body| (JSON, body.into_bytes())).collect();
            messages(Some(call), "", &tries)
        },
    ),
];

const JSON: &str = "Content-Type: application/json";
const SOCKET_KEY: &str = "Sec-WebSocket-Key: dGhlIHByb2JlJ3Mgbm9uY2U=";
/// Longer than any message that is looked into: that is a mebibyte.
const LONG: usize = (1 << 20) + (1 << 16);

fn none() -> Outcome {
    Outcome::not_applicable("no rule looks into such bodies, or it lists everything")
}

fn calling(nonce: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"probe_{nonce}","arguments":{{}}}}}}"#)
}

/// The canary lists one tool too many, as JSON and as a stream of events.
fn listed(brief: &Brief) -> Outcome {
    let Some(Listing { call, listed, unlisted }) = &brief.listing else { return none() };
    let has = |answer: &Answer, tool: &str| answer.text().contains(&format!("\"{tool}\""));
    let tries = ["json", "events"].map(|form| {
        let fields = [JSON, &format!("X-Probe-Answer: {form}"), &format!("{TOOLS}: {listed},{unlisted}")];
        let asked = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        match call.say(&post_to(call, &call.sent("tools/list"), &fields, asked)) {
            Ok(answer) if has(&answer, unlisted) => {
                Outcome::broke(format!("{form}: a tool that no rule lists was in it"))
            }
            Ok(answer) if has(&answer, listed) => {
                Outcome::held(format!("{form}: nothing but what a rule lists was in it"))
            }
            answer => judged(form, answer),
        }
    });
    Outcome::of_all(tries, "")
}

/// Ways to say something to an MCP server, none of which it may hear.
fn of_mcp(brief: &Brief, say: impl FnOnce(&Call) -> Vec<io::Result<Answer>>) -> Outcome {
    let Some(call) = &brief.mcp else { return none() };
    Outcome::of_all(say(call).into_iter().map(|answer| judged("", answer)), "")
}

fn messages(call: Option<&Call>, id: &str, bodies: &[(&str, Vec<u8>)]) -> Outcome {
    let Some(call) = call else { return none() };
    Outcome::of_all(bodies.iter().map(|(fields, body)| judged("", call.say(&post(call, id, &[fields], body)))), "")
}
