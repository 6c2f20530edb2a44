//! A batch as the two requests of OTLP.
//!
//! Enters: a batch. Leaves: messages, a resource for each worker. Never: a record whose text is not the line of the log as it stands
//! there: what was chained and signed can be checked where it arrives.

use std::sync::LazyLock;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

use super::span;
use crate::call::Author;
use crate::ship::batch::{Batch, Entry, Level};

/// The semantic conventions that attributes follow.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The log records of a batch.
pub fn logs(batch: &Batch, now: Timestamp) -> ExportLogsServiceRequest {
    let parts = batch.parts.iter().filter(|part| !part.entries.is_empty());
    let resource_logs = parts.map(|part| {
        let log_records = part.entries.iter().map(|entry| log_record(&part.author, entry, now)).collect();
        let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: String::new() }];
        ResourceLogs { resource: Some(resource(&part.author)), scope_logs, schema_url: CONVENTIONS.to_owned() }
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

/// The spans of a batch.
pub fn traces(batch: &Batch) -> ExportTraceServiceRequest {
    let parts = batch.parts.iter().filter(|part| !part.calls.is_empty());
    let resource_spans = parts.map(|part| {
        let spans = part.calls.iter().map(span::span).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }];
        ResourceSpans { resource: Some(resource(&part.author)), scope_spans, schema_url: CONVENTIONS.to_owned() }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn log_record(author: &Author, entry: &Entry, now: Timestamp) -> LogRecord {
    let (severity, text) = match entry.level {
        Level::Info => (SeverityNumber::Info, "INFO"),
        Level::Warning => (SeverityNumber::Warn, "WARN"),
        Level::Error => (SeverityNumber::Error, "ERROR"),
        Level::Alert => (SeverityNumber::Fatal, "ALERT"),
    };
    let mut attributes = Vec::new();
    if let Some(seq) = entry.seq {
        attributes.push(string("log.record.uid", format!("{}/{seq}", author.worker)));
        attributes.push(int("exeat.seq", seq));
    }
    LogRecord {
        time_unix_nano: nanoseconds(entry.time),
        observed_time_unix_nano: nanoseconds(now),
        severity_number: severity.into(),
        severity_text: text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(entry.text.clone())) }),
        attributes,
        trace_id: entry.span.map(|span| span.trace.to_vec()).unwrap_or_default(),
        span_id: entry.span.map(|span| span.span.to_vec()).unwrap_or_default(),
        event_name: format!("exeat.{}", entry.kind),
        ..LogRecord::default()
    }
}

fn resource(author: &Author) -> Resource {
    static HOST: LazyLock<String> = LazyLock::new(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let attributes = [
        ("service.name", "exeat"),
        ("service.version", &author.version),
        ("service.instance.id", &author.worker),
        ("host.name", &HOST),
        ("exeat.agent", &author.agent),
        ("exeat.worker", &author.worker),
        ("exeat.identity", &author.identity),
    ];
    let said = attributes.into_iter().filter(|(_, value)| !value.is_empty());
    Resource { attributes: said.map(|(key, value)| string(key, value)).collect(), ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    InstrumentationScope { name: "exeat".to_owned(), version, ..InstrumentationScope::default() }
}

/// Of the epoch; a log is not older.
pub fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}

/// An attribute.
pub fn string(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// An attribute. OTLP knows signed numbers only.
pub fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// An attribute.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
