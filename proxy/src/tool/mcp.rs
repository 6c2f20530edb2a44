//! The decision over the messages of the Model Context Protocol.
//!
//! Enters: a JSON value with one reading, and what the rule lists. Leaves: what is asked for, or why it is refused. Never: a method
//! that may do something and is not listed; a message whose kind or whose subject could be read in two ways; a batch of which
//! only a part may pass.

use config::{Mcp, NameGlob, RuleId};
use http::HeaderMap;
use serde_json::Value;

use super::json::{Json, Members};
use super::message::read;
use super::objection::{Waiting, Why, shown, told};
use super::posted::is_json;
use super::{Asked, Listing, as_it_is, mirror, query};
use crate::limit;
use crate::request::Call;
use crate::swap::Swap;

/// What a message can consist of (JSON-RPC 2.0 sections 4 and 5). Nothing else is let through: a key that only differs in case
/// is another key for some readers and the same for others.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// What the subject of a call is named by.
const SUBJECTS: [&str; 6] = ["name", "uri", "ref", "type", "arguments", "inputResponses"];
/// Methods that only keep a session going, or say what there is.
const HARMLESS: [&str; 8] = [
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "logging/setLevel",
];
/// Longer ids are no ids that an SDK makes.
const LONGEST_ID: usize = 256;
/// Beyond it, readers whose numbers are floating-point ones repeat another id.
const LARGEST_ID: u64 = (1 << 53) - 1;
/// Names have at most 128 characters; this is for addresses of resources.
const LONGEST_NAME: usize = 2048;

/// What a client tells without being answered. A notification of another name could be anything to the server.
const NOTIFICATIONS: [&str; 4] = [
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
];
/// Names that a server of JSON-RPC over GET would take a call from.
const CALLING: [&str; 4] = ["jsonrpc", "method", "params", "message"];

/// What a call is about, the list that it has to be on, and the list's key.
type Subject<'r> = (String, &'r [NameGlob], &'static str);

/// Judges a request: a message that is posted, the stream of a session, or the session's end.
pub(super) async fn judge(id: &RuleId, rule: &Mcp, swap: &Swap, call: &Call, body: &[u8]) -> Result<Asked, Why> {
    for (name, _) in query::read(call.query.as_deref().unwrap_or_default())? {
        if CALLING.iter().any(|calling| query::may_mean(&name, calling)) {
            return Err(Why::shape(&format!(
                "some servers take a call from `{}` in the query string: post it",
                shown(&name)
            )));
        }
    }
    match call.method.as_str() {
        "POST" => {
            is_json(&call.headers)?;
            messages((id, rule), swap, &call.headers, read(body).await?).await
        }
        "GET" if body.is_empty() => Ok(Asked { name: None, listing: Some(Listing::of_stream(id, rule)) }),
        "DELETE" if body.is_empty() => Ok(Asked::default()),
        method => {
            let what = format!("a {method} request, which can carry a call that is not judged");
            Err(Why::form(&what, "send each call as a POST request with a JSON body"))
        }
    }
}

/// Judges a message, or a batch of them as older versions of the protocol have it.
async fn messages((id, rule): (&RuleId, &Mcp), swap: &Swap, headers: &HeaderMap, body: Json<'_>) -> Result<Asked, Why> {
    let (all, batch) = body.batch().await;
    if all.is_empty() || all.len() > limit::BATCH {
        return Err(Why::shape(&format!("a batch has from 1 to {} messages", limit::BATCH)));
    }
    let mut messages = Vec::with_capacity(all.len());
    for message in all {
        messages.push(message.members(&ENVELOPE).await);
    }
    let requests = messages.iter().flatten().filter(|message| message.has("method"));
    let waiting = Waiting { ids: requests.filter_map(request_id).collect(), batch };
    // A stream that is resumed by POST, if a server has that, repeats answers that this message knows nothing of.
    let (mut names, mut lists) = (Vec::new(), headers.contains_key("last-event-id"));
    for message in &messages {
        let judged = judge_one(rule, message.as_ref()).await.and_then(|judged| {
            let said = (judged.method.as_deref(), judged.subject.as_deref());
            as_it_is(swap, said.1.unwrap_or_default())?;
            mirror::agrees(headers, if batch { (None, None) } else { said }).map(|()| judged)
        });
        let judged = judged.map_err(|why| why.to(waiting.clone()))?;
        names.extend(judged.name);
        lists |= judged.lists;
    }
    let name = (!names.is_empty()).then(|| names.join(", "));
    Ok(Asked { name, listing: lists.then(|| Listing::of(id, rule, waiting)) })
}

/// What one message asks for.
#[derive(Default)]
struct Judged {
    method: Option<String>,
    subject: Option<String>,
    /// For the log.
    name: Option<String>,
    /// Whether the answer is a list.
    lists: bool,
}

async fn judge_one(rule: &Mcp, message: Option<&Members<'_, '_>>) -> Result<Judged, Why> {
    let message = message.ok_or_else(|| Why::shape("a message is an object"))?;
    if let Some(key) = message.other() {
        return Err(Why::shape(&format!("`{}` is no key of a message", shown(key))));
    }
    if message.get("jsonrpc").and_then(Json::string).as_deref() != Some("2.0") {
        return Err(Why::shape("`jsonrpc` is not \"2.0\""));
    }
    if message.has("id") && request_id(message).is_none() {
        return Err(Why::shape("`id` is neither a whole number that everybody counts to nor a short string"));
    }
    let method = message.get("method").map(Json::string);
    match (method, message.has("result"), message.has("error")) {
        (Some(Some(method)), false, false) => asked(rule, method, message).await,
        (None, true, false) | (None, false, true) if !message.has("params") && message.has("id") => {
            answered(rule, message).await
        }
        _ => Err(Why::shape("it is neither a request nor a notification nor an answer")),
    }
}

async fn asked(rule: &Mcp, method: String, message: &Members<'_, '_>) -> Result<Judged, Why> {
    let params = match message.get("params") {
        Some(params) => {
            let members = params.members(&SUBJECTS).await;
            Some(members.ok_or_else(|| Why::shape("`params` is not an object"))?)
        }
        None => None,
    };
    let params = params.as_ref();
    params.map_or(Ok(()), one_spelling)?;
    let notifies = method.starts_with("notifications/");
    if notifies == message.has("id") {
        let what = if notifies { "with an `id`, which a notification has not" } else { "without an `id`" };
        return Err(Why::shape(&format!("`{}` {what}", shown(&method))));
    }
    if NOTIFICATIONS.contains(&&*method) {
        return Ok(Judged { method: Some(method), ..Judged::default() });
    }
    let given = params.and_then(|params| params.get("inputResponses")).filter(|_| !rule.answers());
    if let Some(given) = given
        && !is_empty(given).await
    {
        return Err(no_answers());
    }
    let (subject, list, key) = match &*method {
        harmless if HARMLESS.contains(&harmless) => {
            let lists = method.ends_with("/list");
            return Ok(Judged { method: Some(method), lists, ..Judged::default() });
        }
        "tools/call" => (text(params, "name")?, rule.tools(), "tools"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            (address(params)?, rule.resources(), "resources")
        }
        "prompts/get" => (text(params, "name")?, rule.prompts(), "prompts"),
        "completion/complete" => completed(rule, params).await?,
        _ => {
            let what = format!("the MCP method `{}` is not allowed: no rule can list it", shown(&method));
            return Err(Why::unlisted(what, told(&method), "do without it, or use a tool that is listed"));
        }
    };
    let name = if method == "tools/call" { told(&subject) } else { format!("{method} {}", told(&subject)) };
    if list.iter().any(|glob| glob.matches(&subject)) {
        return Ok(Judged { method: Some(method), subject: Some(subject), name: Some(name), lists: false });
    }
    let listed = list.iter().map(NameGlob::as_str).collect::<Vec<_>>().join(", ");
    let listed = if listed.is_empty() { "none".to_owned() } else { listed };
    let about = shown(&subject);
    let what = format!("`{method}` of `{about}` is not allowed: listed under `{key}` is {listed}");
    Err(Why::unlisted(what, name, &format!("ask your operator to add \"{about}\" to `{key}` of `mcp`")))
}

/// What the client says to a request of the server's. An empty answer and an error say nothing: they are what `ping` takes.
async fn answered(rule: &Mcp, message: &Members<'_, '_>) -> Result<Judged, Why> {
    match message.get("result") {
        Some(result) if !rule.answers() && !is_empty(result).await => Err(no_answers()),
        _ => Ok(Judged::default()),
    }
}

async fn is_empty(value: Json<'_>) -> bool {
    value.is_null() || value.members(&[]).await.is_some_and(|members| members.other().is_none())
}

fn no_answers() -> Why {
    let what = "answering the server's own requests (sampling, elicitation, roots) is not allowed".to_owned();
    Why::unlisted(what, "answer".to_owned(), "ask your operator for `answers = true` in `mcp`")
}

async fn completed<'r>(rule: &'r Mcp, params: Option<&Members<'_, '_>>) -> Result<Subject<'r>, Why> {
    let no_object = || Why::shape("`ref` is not an object");
    let reference = params.and_then(|params| params.get("ref")).ok_or_else(no_object)?;
    let reference = reference.members(&SUBJECTS).await.ok_or_else(no_object)?;
    one_spelling(&reference)?;
    match &*text(Some(&reference), "type")? {
        "ref/prompt" => Ok((text(Some(&reference), "name")?, rule.prompts(), "prompts")),
        "ref/resource" => Ok((address(Some(&reference))?, rule.resources(), "resources")),
        _ => Err(Why::shape("`ref` is neither a prompt nor a resource")),
    }
}

fn one_spelling(object: &Members<'_, '_>) -> Result<(), Why> {
    match object.misspelt() {
        Some(key) => Err(Why::shape(&format!("`{}` is no key that is read in one way", shown(key)))),
        None => Ok(()),
    }
}

fn text(object: Option<&Members<'_, '_>>, key: &str) -> Result<String, Why> {
    let text = object.and_then(|object| object.get(key)).and_then(Json::string);
    let plain = |text: &String| !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(invisible);
    text.filter(plain).ok_or_else(|| {
        Why::shape(&format!("`{key}` is not a text of at most {LONGEST_NAME} bytes without control characters"))
    })
}

/// What some readers drop from a name, or end it at.
fn invisible(letter: char) -> bool {
    let formats = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    letter.is_control() || formats
}

/// A resource's URI. One with steps or with escapes of what separates would be another one to whoever resolves it.
fn address(params: Option<&Members<'_, '_>>) -> Result<String, Why> {
    let uri = text(params, "uri")?;
    let lower = uri.to_ascii_lowercase();
    if ["..", "/./", "\\", "%2e", "%2f", "%5c", "%25"].iter().any(|step| lower.contains(step)) {
        return Err(Why::shape("`uri` has steps or escaped separators, which servers read in different ways"));
    }
    Ok(uri)
}

/// The id of a message, where it is one that everybody repeats alike.
fn request_id(message: &Members<'_, '_>) -> Option<Value> {
    message.get("id").and_then(Json::scalar).filter(|id| match id {
        Value::String(text) => text.len() <= LONGEST_ID,
        id => id.as_i64().is_some_and(|id| id.unsigned_abs() <= LARGEST_ID),
    })
}

#[cfg(test)]
mod tests {
    use config::{Policy, Protocol};
    use serde_json::json;

    use super::*;
    use crate::turn::at_once;

    fn judged(mcp: &str, body: &Value) -> Result<Asked, Why> {
        let text = format!("[[allow]]\nto = \"mcp.example.com\"\nmcp = {mcp}\n");
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", &text).unwrap();
        let Some(Protocol::Mcp(rule)) = policy.rules()[0].protocol() else { panic!("no mcp") };
        let text = body.to_string();
        let body = at_once(read(text.as_bytes()))?;
        at_once(messages((policy.rules()[0].id(), rule), &Swap::new(Vec::new()), &HeaderMap::new(), body))
    }

    fn request(method: &str, params: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
    }

    const RULE: &str = "{ tools = [\"search\", \"read_*\"], resources = [\"file:///docs/*\"], prompts = [\"greet\"] }";

    #[test]
    fn what_is_listed_passes_and_is_named() {
        for (method, params, name) in [
            ("tools/call", json!({ "name": "read_file", "arguments": { "Name": 1 } }), Some("read_file")),
            ("resources/read", json!({ "uri": "file:///docs/a" }), Some("resources/read file:///docs/a")),
            ("prompts/get", json!({ "name": "greet" }), Some("prompts/get greet")),
            (
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "greet" } }),
                Some("completion/complete greet"),
            ),
            ("initialize", json!({ "protocolVersion": "x" }), None),
        ] {
            assert_eq!(judged(RULE, &request(method, &params)).unwrap().name.as_deref(), name);
        }
        assert!(judged(RULE, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).is_ok());
        assert!(judged(RULE, &json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).is_ok());
        assert!(judged("{ answers = true }", &json!({ "jsonrpc": "2.0", "id": 1, "result": { "roots": [] } })).is_ok());
    }

    #[test]
    fn what_is_not_listed_is_refused_with_the_id_of_the_request() {
        for (method, params) in [
            ("tools/call", json!({ "name": "delete" })),
            ("tools/call", json!({ "name": "Search" })),
            ("resources/read", json!({ "uri": "file:///etc/passwd" })),
            ("resources/subscribe", json!({ "uri": "file:///etc/passwd" })),
            ("prompts/get", json!({ "name": "other" })),
            ("completion/complete", json!({ "ref": { "type": "ref/prompt", "name": "other" } })),
            ("tasks/get", json!({ "taskId": "1" })),
            ("Tools/call", json!({ "name": "search" })),
            ("tools/call ", json!({ "name": "search" })),
            ("tools\u{2215}call", json!({ "name": "search" })),
            ("tools/call", json!({ "name": "\u{455}earch" })),
            ("sampling/createMessage", json!({})),
        ] {
            let why = judged(RULE, &request(method, &params)).unwrap_err();
            assert_eq!(
                (why.kind, &why.waiting.ids[..], why.waiting.batch),
                ("tool-not-allowed", &[json!(7)][..], false),
                "{method}"
            );
        }
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/tools/call", "params": { "name": "search" } });
        assert_eq!(judged(RULE, &told).unwrap_err().kind, "tool-not-allowed");
        assert!(judged("{}", &request("tools/call", &json!({ "name": "search" }))).is_err());
        assert!(judged(RULE, &json!({ "jsonrpc": "2.0", "id": 1, "result": { "roots": [] } })).is_err());
    }

    #[test]
    fn names_that_differ_at_their_end_alone_differ_in_their_records() {
        let read = |start: &str, end: &str| {
            request("resources/read", &json!({ "uri": format!("file:///{start}/{}{end}", "x".repeat(1000)) }))
        };
        let name = |start: &str, end: &str| format!("resources/read file:///{start}/{}{end}", "x".repeat(1000));
        for end in ["a", "b"] {
            assert_eq!(judged(RULE, &read("docs", end)).unwrap().name, Some(name("docs", end)));
            let why = judged(RULE, &read("etc", end)).unwrap_err();
            assert_eq!(why.name, Some(name("etc", end)));
            assert!(why.what.contains("xxx…` is not allowed"), "{}", why.what);
        }
    }

    #[test]
    fn a_batch_passes_as_a_whole_or_not_at_all() {
        let call = |id: u64, name: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } });
        assert_eq!(
            judged(RULE, &json!([call(1, "search"), call(2, "read_x")])).unwrap().name.unwrap(),
            "search, read_x"
        );
        let why = judged(RULE, &json!([call(1, "search"), call(2, "delete")])).unwrap_err();
        assert_eq!((why.waiting.ids, why.waiting.batch), (vec![json!(1), json!(2)], true));
        assert!(judged(RULE, &json!([])).is_err());
        assert!(judged(RULE, &(0..65).map(|id| call(id, "search")).collect()).is_err());
        assert!(judged(RULE, &json!([[call(1, "search")]])).is_err());
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        let params = json!({ "name": "search" });
        for body in [
            json!("tools/call"),
            json!({ "id": 1, "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "1.0", "id": 1, "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": null, "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": 1.5, "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": 9_007_199_254_740_993u64, "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": u64::MAX, "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": "x".repeat(300), "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": [1], "method": "tools/call", "params": params }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "Method": "ping", "params": params }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "PARAMS": params }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params, "result": {} }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [params] }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "search", "Name": "delete" } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "search", "\u{212a}ind": 1 } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "search", "URI": 1 } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": ["search"] } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read_\0" } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read_\u{200b}x" } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read_".to_owned() + &"x".repeat(3000) } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": "file:///docs/../etc" } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": "file:///docs/%2E%2e/etc" } }),
            json!({ "jsonrpc": "2.0", "result": {} }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "error": {} }),
        ] {
            assert_eq!(judged(RULE, &body).unwrap_err().kind, "body-unreadable", "{body}");
        }
    }
}
