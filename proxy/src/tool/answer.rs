//! A refused body becomes an answer that its client understands: a JSON-RPC error, or GraphQL's list of errors.
//!
//! Enters: an [`Objection`]. Leaves: a response. Never: an id that the client did not send.

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use serde_json::{Value, json};

use super::Objection;
use super::objection::Waiting;

/// What is said first, so that whoever reads the message alone knows who speaks.
const TITLE: &str = "exeat did not let this call out";

/// The answer for a body that was refused.
pub(crate) fn answer(objection: &Objection) -> Response<Full<Bytes>> {
    let (content_type, body) = if objection.mcp {
        ("application/json", json_rpc(objection))
    } else {
        ("application/graphql-response+json", graphql(objection))
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = objection.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The fields of RFC 9457, where either protocol has room for more than a message.
fn problem(objection: &Objection) -> Value {
    json!({
        "type": format!("urn:exeat:refusal:{}", objection.kind()),
        "title": TITLE,
        "status": objection.why.status.as_u16(),
        "detail": objection.to_string(),
        "rule": objection.rule().to_string(),
        "ask_for": objection.remedy(),
    })
}

fn sentence(objection: &Objection) -> String {
    format!("{TITLE}: {objection}; {}", objection.remedy())
}

/// The errors for all that wait.
pub(super) fn json_rpc(objection: &Objection) -> Value {
    let error = json!({ "code": objection.why.code, "message": sentence(objection), "data": problem(objection) });
    let to = |id: &Value| json!({ "jsonrpc": "2.0", "id": id, "error": error });
    match &objection.why.waiting {
        Waiting { ids, .. } if ids.is_empty() => to(&Value::Null),
        Waiting { ids, batch: true } => ids.iter().map(to).collect(),
        Waiting { ids, batch: false } => to(&ids[0]),
    }
}

fn graphql(objection: &Objection) -> Value {
    let mut extensions = problem(objection);
    extensions["code"] = "EXEAT_REFUSED".into();
    json!({ "errors": [{ "message": sentence(objection), "extensions": extensions }] })
}
