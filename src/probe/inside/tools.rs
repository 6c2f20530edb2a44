//! Calls inside a body: tools that no rule lists, and messages that two readers could read in two ways.
//!
//! Enters: a call that reaches an MCP server or a GraphQL endpoint, where the policy has one. Leaves: whether a message was let through that
//! must not be. Never: a message that the rule lets through.

use super::super::brief::Call;
use super::super::finding::{Outcome, Probe};
use super::answer::judged;
use super::gzip;
use super::request::post;

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

fn none() -> Outcome {
    Outcome::not_applicable("no rule looks into such bodies, or it lists everything")
}

fn calling(nonce: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"probe_{nonce}","arguments":{{}}}}}}"#)
}

fn messages(call: Option<&Call>, id: &str, bodies: &[(&str, Vec<u8>)]) -> Outcome {
    let Some(call) = call else { return none() };
    Outcome::of_all(bodies.iter().map(|(fields, body)| judged("", call.say(&post(call, id, &[fields], body)))), "")
}
