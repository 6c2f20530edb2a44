//! OTLP over HTTP: a log record for each record, a span for each call (opentelemetry.io/docs/specs/otlp, 1.x).
//!
//! Enters: a batch. Leaves: two requests to the collector, and what it says to them. Never: a batch called delivered of which it has not
//! taken both; one sent once more that it took.

mod message;
mod span;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use broker::Secret;
use broker::outbound::{Answer, Endpoint, Message, Outbound};
use bytes::Bytes;
use config::Source;
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::batch::Batch;
use super::receiver::{Taken, Untaken};
use crate::report::chain;

const PROTOBUF: &str = "application/x-protobuf";
/// No collector that wants its logs asks for more patience.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// A collector.
pub struct Collector {
    outbound: Outbound,
    logs: Endpoint,
    traces: Endpoint,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Collector {
    /// The one at this URL.
    ///
    /// # Errors
    /// When a header's secret cannot be had, or is none.
    pub async fn new(
        outbound: Outbound,
        url: &str,
        sources: &BTreeMap<String, Source>,
        variables: fn() -> HashMap<String, Secret>,
    ) -> Result<Self, String> {
        let endpoint = |path: &str| format!("{url}{path}").parse().map_err(|why: &str| format!("{url}: {why}"));
        let (logs, traces) = (endpoint("/v1/logs")?, endpoint("/v1/traces")?);
        let mut headers = Vec::new();
        for (name, source) in sources {
            let secret = broker::read_secret(source, variables()).await;
            let secret = secret.map_err(|error| format!("the header `{name}`: {error}"))?;
            let value = HeaderValue::from_str(secret.expose()).ok();
            let mut value = value.ok_or_else(|| format!("the header `{name}`: its value does not fit into a line"))?;
            value.set_sensitive(true);
            headers.push((name.parse().map_err(|_| format!("`{name}` is not a header"))?, value));
        }
        Ok(Self { outbound, logs, traces, headers })
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// When not all of it was taken: what was not has to be sent once more.
    pub async fn send(&self, batch: &Batch) -> Result<Taken, Untaken> {
        let mut taken = Taken::default();
        let request = message::logs(batch, Timestamp::now());
        if !request.resource_logs.is_empty() {
            let answer = self.post(&self.logs, request.encode_to_vec()).await?;
            let partial = ExportLogsServiceResponse::decode(&answer.body[..]).ok();
            let partial = partial.and_then(|response| response.partial_success);
            if let Some(partial) = partial.filter(|partial| partial.rejected_log_records > 0) {
                let sent =
                    request.resource_logs.iter().flat_map(|logs| &logs.scope_logs).map(|logs| logs.log_records.len());
                taken.reject(partial.rejected_log_records, sent.sum(), &partial.error_message);
            }
        }
        let request = message::traces(batch);
        if !request.resource_spans.is_empty() {
            let answer = match self.post(&self.traces, request.encode_to_vec()).await {
                Ok(answer) => answer,
                Err(untaken) => return Err(Untaken { records: Some(taken), ..untaken }),
            };
            let partial = ExportTraceServiceResponse::decode(&answer.body[..]).ok();
            let partial = partial.and_then(|response| response.partial_success);
            if let Some(partial) = partial.filter(|partial| partial.rejected_spans > 0) {
                let sent =
                    request.resource_spans.iter().flat_map(|spans| &spans.scope_spans).map(|spans| spans.spans.len());
                taken.reject(partial.rejected_spans, sent.sum(), &partial.error_message);
            }
        }
        Ok(taken)
    }

    async fn post(&self, endpoint: &Endpoint, body: Vec<u8>) -> Result<Answer, Untaken> {
        let mut message = Message::new(Method::POST).with_body(PROTOBUF, Bytes::from(body));
        for (name, value) in &self.headers {
            message = message.with(name.clone(), value.clone());
        }
        let message = message.with(HeaderName::from_static("user-agent"), HeaderValue::from_static(AGENT));
        let answer = self.outbound.send(endpoint, message).await.map_err(|error| Untaken::because(chain(&error)))?;
        verdict(answer.status, &answer.headers, Timestamp::now()).map(|()| answer)
    }
}

const AGENT: &str = concat!("exeat/", env!("CARGO_PKG_VERSION"));

/// What a status means for the request. What is refused for good would be lost if it were dropped, so it is kept and tried again, as
/// what stands in its way is the collector's configuration or ours; what is too large is sent in parts.
fn verdict(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Result<(), Untaken> {
    let why = |more: &str| Untaken::because(format!("it answered {}{more}", status.as_u16()));
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::PAYLOAD_TOO_LARGE => Err(Untaken { too_large: true, ..why("") }),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(Untaken { wait: retry_after(headers, now), ..why("") }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(why(": look at `headers` in log.toml")),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(why(": look at `url` in log.toml")),
        _ => Err(why(", which is no word of a collector that is busy")),
    }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    static DATES: DateTimeParser = DateTimeParser::new();
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = text.parse().map(Duration::from_secs).ok().or_else(|| {
        let date = DATES.parse_timestamp(text).ok()?;
        Duration::try_from(date.duration_since(now)).ok()
    });
    wait.map(|wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, after: Option<&str>) -> Result<(), Untaken> {
        let headers = after.map(|after| (RETRY_AFTER, HeaderValue::from_str(after).unwrap()));
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        verdict(StatusCode::from_u16(status).unwrap(), &headers.into_iter().collect(), now)
    }

    #[test]
    fn what_is_busy_says_when_to_come_back() {
        for status in [429, 502, 503, 504] {
            assert_eq!(answered(status, None).unwrap_err().wait, None);
            assert_eq!(answered(status, Some("7")).unwrap_err().wait, Some(Duration::from_secs(7)));
            let date = Some("Sat, 31 Jan 2026 12:00:30 GMT");
            assert_eq!(answered(status, date).unwrap_err().wait, Some(Duration::from_secs(30)));
            assert_eq!(answered(status, Some("Sat, 31 Jan 2026 11:00:00 GMT")).unwrap_err().wait, None);
            assert_eq!(answered(status, Some("99999999")).unwrap_err().wait, Some(LONGEST_WAIT));
            assert_eq!(answered(status, Some("soon")).unwrap_err().wait, None);
        }
    }

    #[test]
    fn nothing_but_a_success_is_one_and_what_is_too_large_is_sent_in_parts() {
        assert!(answered(200, None).is_ok() && answered(202, None).is_ok());
        for status in [301, 400, 401, 403, 404, 413, 500] {
            assert_eq!(answered(status, None).unwrap_err().too_large, status == 413, "{status}");
        }
    }
}
