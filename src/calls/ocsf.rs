//! A call as the Open Cybersecurity Schema Framework has it: class API Activity (6003).
//!
//! Enters: a call from start to end, or a refusal. Leaves: one event of schema version 1.8.0, with the profiles `ai_operation`,
//! `security_control` and `trace`; what the schema has no place for is under `unmapped`. Never: anything that is not in the log.

use jiff::Timestamp;
use record::{CallEnd, CallStart, CredentialUse, Refused, TlsLeg, TunnelStart};
use serde_json::{Map, Value, json};

use crate::call::{Author, Call, Span, Start, hex};

/// The version of the schema.
pub const SCHEMA: &str = "1.8.0";

const CLASS: u32 = 6003;

/// What came of a call, in the schema's numbers and captions.
struct Outcome {
    status: (u8, &'static str),
    action: (u8, &'static str),
    disposition: (u8, &'static str),
    severity: (u8, &'static str),
    alert: bool,
}

const SUCCESS: (u8, &str) = (1, "Success");
const FAILURE: (u8, &str) = (2, "Failure");
const ALLOWED: (u8, &str) = (1, "Allowed");
const DENIED: (u8, &str) = (2, "Denied");

/// One event.
pub fn event(call: &Call) -> Value {
    let outcome = outcome(call);
    let mut event = common(call, &outcome);
    match &call.start {
        Start::Call(start) => add(&mut event, called(&call.author, start, call.end.as_ref().map(|(_, end)| end))),
        Start::Tunnel(start) => add(&mut event, tunnelled(start)),
        Start::Refused(refused) => add(&mut event, denied(&call.author, refused)),
    }
    event.insert("trace".to_owned(), traced(call));
    if let Some(unmapped) = event.get_mut("unmapped").filter(|_| !call.cut.is_empty()) {
        unmapped["cut"] = json!(call.cut);
    }
    if let Some((time, end)) = &call.end {
        add(&mut event, ended(call.began, *time, end));
    }
    Value::Object(event)
}

/// What every event has.
fn common(call: &Call, outcome: &Outcome) -> Map<String, Value> {
    let Author { worker, agent, identity, version } = &*call.author;
    let method = method(call);
    let (activity, activity_name) = activity(method);
    let operation = method.map_or_else(
        || "connect".to_owned(),
        |method| match tool(call) {
            Some(tool) => tool.to_owned(),
            None => format!("{method} {}", path(call).unwrap_or_default()),
        },
    );
    object(json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + u32::from(activity),
        "type_name": format!("API Activity: {activity_name}"),
        "time": call.began.as_millisecond(),
        "severity_id": outcome.severity.0,
        "severity": outcome.severity.1,
        "status_id": outcome.status.0,
        "status": outcome.status.1,
        "action_id": outcome.action.0,
        "action": outcome.action.1,
        "disposition_id": outcome.disposition.0,
        "disposition": outcome.disposition.1,
        "is_alert": outcome.alert,
        "metadata": {
            "version": SCHEMA,
            "profiles": ["ai_operation", "security_control", "trace"],
            "product": { "name": "exeat", "vendor_name": "exeat", "version": version },
            "uid": call.uid(),
            "sequence": call.seq,
            "event_code": code(call),
            "log_name": "calls",
            "correlation_uid": worker,
        },
        "actor": {
            "app_name": agent,
            "app_uid": worker,
            "user": { "name": agent, "uid": identity, "type_id": 4, "type": "Service" },
        },
        "src_endpoint": { "name": agent, "instance_uid": worker, "type_id": 6, "type": "Virtual" },
        "dst_endpoint": endpoint(call.to(), call.end.as_ref().map(|(_, end)| end)),
        "api": {
            "operation": operation,
            "request": { "uid": call.uid() },
            "service": { "name": call.to() },
        },
        "message_context": {
            "uid": worker,
            "ai_role_id": if tool(call).is_some() { 3 } else { 4 },
            "ai_role": if tool(call).is_some() { "Tool" } else { "Agent" },
            "application": { "name": agent, "uid": identity },
            "service": { "name": call.to() },
        },
    }))
}

fn traced(call: &Call) -> Value {
    let Span { trace, span, parent } = call.span();
    let end = call.end.as_ref().map_or(call.began, |(time, _)| *time);
    let span = object(json!({
        "uid": hex(&span),
        "parent_uid": parent.map(|parent| hex(&parent)),
        "start_time": call.began.as_millisecond(),
        "end_time": end.as_millisecond(),
    }));
    json!({ "uid": hex(&trace), "span": whole(span) })
}

fn called(author: &Author, start: &CallStart, end: Option<&CallEnd>) -> Map<String, Value> {
    let mut url = url(&start.scheme, &start.to, &start.path);
    let mut full = format!("{}://{}{}", start.scheme, start.to, start.path);
    if let Some(query) = &start.query {
        full = format!("{full}?{query}");
        url.insert("query_string".to_owned(), json!(query));
    }
    url.insert("url_string".to_owned(), json!(full));
    let mut request = object(json!({ "http_method": start.method, "version": start.http, "url": url }));
    if let Some(end) = end {
        request.insert("body_length".to_owned(), json!(end.sent));
    }
    let mut unmapped = object(json!({
        "call": start.call,
        "connection": start.connection,
        "tool": start.tool,
        "policy_digest": start.policy,
        "client_certificate": start.client_certificate,
        "client_tls": start.client_tls.as_deref().map(leg),
        "credential": start.credential.as_ref().map(used),
        "observed": start.observed.as_ref().map(|spared| json!({ "kind": spared.kind, "reason": spared.reason })),
    }));
    if let Some(end) = end {
        add(&mut unmapped, unmapped_end(end));
    }
    let mut event = object(json!({ "http_request": request, "unmapped": whole(unmapped) }));
    add(&mut event, by_rule(author, Some(&start.rule), Some(&start.policy)));
    event
}

fn tunnelled(start: &TunnelStart) -> Map<String, Value> {
    let mut plain = serde_json::to_value(start).map_or_else(|_| Map::new(), object);
    plain.remove("to");
    object(json!({ "unmapped": { "tunnel": whole(plain) } }))
}

fn denied(author: &Author, refused: &Refused) -> Map<String, Value> {
    let mut event = object(json!({
        "message": refused.reason,
        "status_detail": refused.reason,
        "status_code": refused.kind,
        "unmapped": whole(object(json!({
            "connection": refused.connection,
            "tool": refused.tool,
            "hint": refused.hint,
        }))),
    }));
    if let (Some(method), Some(path)) = (&refused.method, &refused.path) {
        let scheme = refused.scheme.as_deref().unwrap_or("https");
        event
            .insert("http_request".to_owned(), json!({ "http_method": method, "url": url(scheme, &refused.to, path) }));
    }
    if let Some(status) = refused.status {
        event.insert("http_response".to_owned(), json!({ "code": status }));
    }
    add(&mut event, by_rule(author, refused.rule.as_ref(), None));
    event
}

fn by_rule(author: &Author, rule: Option<&String>, policy: Option<&str>) -> Map<String, Value> {
    let mut judged = object(json!({ "policy": { "name": author.agent } }));
    if let (Some(policy), Some(judged)) = (policy, judged.get_mut("policy")) {
        judged["uid"] = json!(policy);
    }
    if let Some(rule) = rule {
        judged.insert("firewall_rule".to_owned(), json!({ "name": rule }));
    }
    judged
}

fn ended(began: Timestamp, time: Timestamp, end: &CallEnd) -> Map<String, Value> {
    let mut event = object(json!({
        "start_time": began.as_millisecond(),
        "end_time": time.as_millisecond(),
        "duration": time.as_millisecond() - began.as_millisecond(),
        "status_code": end.outcome,
    }));
    if let Some(status) = end.status {
        let mut response = object(json!({ "code": status, "body_length": end.received }));
        if let Some(ms) = end.head_ms {
            #[expect(clippy::cast_possible_truncation, reason = "a call of 200 years")]
            response.insert("latency".to_owned(), json!(ms.round() as i64));
        }
        event.insert("http_response".to_owned(), Value::Object(response));
    }
    if let Some(reason) = &end.reason {
        event.insert("status_detail".to_owned(), json!(reason));
        event.insert("message".to_owned(), json!(reason));
    }
    event
}

fn unmapped_end(end: &CallEnd) -> Map<String, Value> {
    object(json!({
        "total_ms": end.total_ms,
        "swapped": end.swapped,
        "scrubbed": end.scrubbed,
        "proxy": end.proxy,
        "upstream_tls": end.upstream_tls.as_deref().map(leg),
        "retried": end.retried.as_ref().map(|retried| json!({ "refused": retried.refused, "lease": retried.lease })),
    }))
}

fn outcome(call: &Call) -> Outcome {
    const INFORMATIONAL: (u8, &str) = (1, "Informational");
    const LOW: (u8, &str) = (2, "Low");
    const MEDIUM: (u8, &str) = (3, "Medium");
    const HIGH: (u8, &str) = (4, "High");
    let allowed =
        |status, severity| Outcome { status, action: ALLOWED, disposition: (1, "Allowed"), severity, alert: false };
    let denied =
        |severity, alert| Outcome { status: FAILURE, action: DENIED, disposition: (2, "Blocked"), severity, alert };
    let ended = match (&call.start, &call.end) {
        (Start::Refused(refused), _) => return denied(if refused.alert { HIGH } else { MEDIUM }, refused.alert),
        (_, Some((_, end))) => end,
        (_, None) => return allowed((0, "Unknown"), INFORMATIONAL),
    };
    if matches!(&call.start, Start::Call(start) if start.observed.is_some()) {
        // It is out, though no rule lets it out.
        let (action, disposition) = ((3, "Observed"), (17, "Logged"));
        return Outcome { action, disposition, ..allowed((0, "Unknown"), LOW) };
    }
    match &*ended.outcome {
        "done" | "answered-here" if ended.status.is_some_and(|status| status >= 400) => allowed(FAILURE, INFORMATIONAL),
        "done" | "answered-here" => allowed(SUCCESS, INFORMATIONAL),
        "cut" => Outcome { disposition: (24, "Access Revoked"), ..denied(MEDIUM, false) },
        "refused" => denied(LOW, false),
        _ => allowed(FAILURE, LOW),
    }
}

/// By the method, as its semantics are (RFC 9110 section 9).
fn activity(method: Option<&str>) -> (u8, &'static str) {
    match method {
        Some("POST") => (1, "Create"),
        Some("GET" | "HEAD" | "OPTIONS" | "TRACE") => (2, "Read"),
        Some("PUT" | "PATCH") => (3, "Update"),
        Some("DELETE") => (4, "Delete"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    }
}

fn method(call: &Call) -> Option<&str> {
    match &call.start {
        Start::Call(start) => Some(&start.method),
        Start::Tunnel(_) => None,
        Start::Refused(refused) => refused.method.as_deref(),
    }
}

fn path(call: &Call) -> Option<&str> {
    match &call.start {
        Start::Call(start) => Some(&start.path),
        Start::Tunnel(_) => None,
        Start::Refused(refused) => refused.path.as_deref(),
    }
}

fn tool(call: &Call) -> Option<&str> {
    match &call.start {
        Start::Call(start) => start.tool.as_deref(),
        Start::Tunnel(_) => None,
        Start::Refused(refused) => refused.tool.as_deref(),
    }
}

fn code(call: &Call) -> &'static str {
    match &call.start {
        Start::Call(_) => "call",
        Start::Tunnel(_) => "tunnel",
        Start::Refused(_) => "refused",
    }
}

/// Host and port apart, and the address that was dialled.
fn endpoint(to: &str, end: Option<&CallEnd>) -> Map<String, Value> {
    let (host, port) = site(to);
    let mut endpoint = Map::new();
    let literal = host.parse::<std::net::IpAddr>().ok();
    if literal.is_none() {
        endpoint.insert("hostname".to_owned(), json!(host));
    }
    let behind_proxy = end.is_some_and(|end| end.proxy.is_some());
    let dialled = end.and_then(|end| end.address.as_deref()).filter(|_| !behind_proxy);
    let address = dialled.and_then(|address| address.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
    if let Some(ip) = literal.or(address) {
        endpoint.insert("ip".to_owned(), json!(ip.to_string()));
    }
    if let Some(port) = port {
        endpoint.insert("port".to_owned(), json!(port));
    }
    endpoint
}

fn url(scheme: &str, to: &str, path: &str) -> Map<String, Value> {
    let (host, port) = site(to);
    let mut url = object(json!({ "scheme": scheme, "hostname": host, "path": path }));
    if let Some(port) = port {
        url.insert("port".to_owned(), json!(port));
    }
    url
}

fn site(to: &str) -> (&str, Option<u16>) {
    let (host, port) = to.rsplit_once(':').map_or((to, None), |(host, port)| (host, port.parse().ok()));
    (host.trim_matches(['[', ']']), port)
}

fn leg(leg: &TlsLeg) -> Value {
    json!({ "version": leg.version, "cipher": leg.cipher, "group": leg.group, "alpn": leg.alpn })
}

fn used(used: &CredentialUse) -> Value {
    json!({ "name": used.name, "lease": used.lease, "places": used.places, "injected": used.injected, "waited_ms": used.waited_ms })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Without what is not there.
fn whole(mut map: Map<String, Value>) -> Map<String, Value> {
    map.retain(|_, value| !value.is_null());
    map
}

fn add(to: &mut Map<String, Value>, more: Map<String, Value>) {
    to.extend(more);
}
