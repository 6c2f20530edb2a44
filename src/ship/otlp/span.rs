//! A call as a span, by OpenTelemetry's semantic conventions for HTTP clients.
//!
//! Enters: a call. Leaves: a span whose attributes are what the log has; what the conventions have no name for begins with `exeat.`. Never: a
//! query that the log does not have either.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use record::{CallEnd, CallStart, Refused, TunnelStart};

use super::message::{attribute, int, nanoseconds, string};
use crate::call::{Call, Start};

/// The span of a call.
pub fn span(call: &Call) -> Span {
    let place = call.span();
    let mut attributes = vec![string("log.record.uid", call.uid())];
    attributes.extend(record::cut::told(&call.cut).map(|cut| string("exeat.cut", cut)));
    let (name, failed) = match &call.start {
        Start::Call(start) => (called(start, &mut attributes), None),
        Start::Tunnel(start) => (tunnelled(start, &mut attributes), None),
        Start::Refused(refused) => denied(refused, &mut attributes),
    };
    let failed = match (&call.start, &call.end) {
        (Start::Refused(_), _) => failed,
        (_, Some((_, end))) => ended(end, &mut attributes),
        (_, None) => unfinished(&mut attributes),
    };
    let status = failed.map(|message| Status { message, code: StatusCode::Error.into() });
    let end = call.end.as_ref().map_or(call.began, |(time, _)| *time);
    Span {
        trace_id: place.trace.to_vec(),
        span_id: place.span.to_vec(),
        parent_span_id: place.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        name,
        kind: SpanKind::Client.into(),
        start_time_unix_nano: nanoseconds(call.began),
        end_time_unix_nano: nanoseconds(end),
        attributes,
        status,
        ..Span::default()
    }
}

fn called(start: &CallStart, attributes: &mut Vec<KeyValue>) -> String {
    let query = start.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    attributes.push(string("http.request.method", &*start.method));
    attributes.push(string(
        "url.full",
        format!("{}://{}{}{query}", start.scheme, site(&start.scheme, &start.to), start.path),
    ));
    attributes.push(string("url.scheme", &*start.scheme));
    server(&start.to, attributes);
    attributes.push(string("exeat.rule", &start.rule));
    attributes.push(string("exeat.policy", &*start.policy));
    attributes.push(int("exeat.call", start.call));
    attributes.extend(start.tool.as_ref().map(|tool| string("exeat.tool", tool)));
    attributes.extend(start.observed.as_ref().map(|spared| string("exeat.observed", &spared.kind)));
    if let Some(used) = &start.credential {
        attributes.push(string("exeat.credential", &used.name));
        attributes.push(string("exeat.lease", &used.lease));
    }
    start.method.to_string()
}

fn tunnelled(start: &TunnelStart, attributes: &mut Vec<KeyValue>) -> String {
    server(&start.to, attributes);
    attributes.push(string("exeat.rule", &start.rule));
    attributes.push(string("exeat.policy", &start.policy));
    attributes.push(int("exeat.call", start.call));
    attributes.push(string("exeat.unread", &start.tls));
    format!("tunnel {}", start.to)
}

fn denied(refused: &Refused, attributes: &mut Vec<KeyValue>) -> (String, Option<String>) {
    server(&refused.to, attributes);
    if let (Some(method), Some(path)) = (&refused.method, &refused.path) {
        let scheme = refused.scheme.as_deref().unwrap_or("https");
        attributes.push(string("http.request.method", method));
        attributes.push(string("url.full", format!("{scheme}://{}{path}", site(scheme, &refused.to))));
    }
    attributes.extend(refused.status.map(|status| int("http.response.status_code", status.into())));
    attributes.push(string("error.type", &refused.kind));
    attributes.push(string("exeat.outcome", "refused"));
    attributes.push(attribute("exeat.alert", Value::BoolValue(refused.alert)));
    attributes.extend(refused.rule.as_ref().map(|rule| string("exeat.rule", rule)));
    attributes.extend(refused.tool.as_ref().map(|tool| string("exeat.tool", tool)));
    (refused.method.clone().unwrap_or_else(|| format!("connect {}", refused.to)), Some(refused.reason.clone()))
}

/// Says why it failed, if it did.
fn ended(end: &CallEnd, attributes: &mut Vec<KeyValue>) -> Option<String> {
    attributes.extend(end.status.map(|status| int("http.response.status_code", status.into())));
    attributes.push(int("http.request.body.size", end.sent));
    attributes.push(int("http.response.body.size", end.received));
    attributes.push(string("exeat.outcome", &*end.outcome));
    let dialled = end.address.as_ref().and_then(|address| address.parse::<std::net::SocketAddr>().ok());
    if let Some(peer) = dialled {
        attributes.push(string("network.peer.address", peer.ip().to_string()));
        attributes.push(int("network.peer.port", peer.port().into()));
    }
    attributes.extend(end.retried.as_ref().map(|_| int("http.request.resend_count", 1)));
    if !matches!(&*end.outcome, "done" | "answered-here") {
        attributes.push(string("error.type", &*end.outcome));
        return Some(end.reason.clone().unwrap_or_else(|| end.outcome.to_string()));
    }
    // What a client of HTTP is to call an error.
    let status = end.status.filter(|status| *status >= 400)?;
    attributes.push(string("error.type", status.to_string()));
    Some(end.reason.clone().unwrap_or_default())
}

fn unfinished(attributes: &mut Vec<KeyValue>) -> Option<String> {
    attributes.push(string("exeat.outcome", "unknown"));
    attributes.push(string("error.type", "unknown"));
    Some("its worker ended before it did".to_owned())
}

fn server(to: &str, attributes: &mut Vec<KeyValue>) {
    let (host, port) = to.rsplit_once(':').map_or((to, None), |(host, port)| (host, port.parse::<u16>().ok()));
    attributes.push(string("server.address", host.trim_matches(['[', ']'])));
    attributes.extend(port.map(|port| int("server.port", port.into())));
}

/// Without the port that goes without saying.
fn site<'t>(scheme: &str, to: &'t str) -> &'t str {
    let usual = if scheme == "https" { ":443" } else { ":80" };
    to.strip_suffix(usual).unwrap_or(to)
}
