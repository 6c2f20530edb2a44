//! A refusal becomes an answer that its reader can act on: one table.
//!
//! Enters: a [`Refusal`]. Leaves: a response with `application/problem+json` (RFC 9457) and `Proxy-Status` (RFC 9209): what was
//! refused, by which rule or for want of one, and what to ask for; the same once more where clients look that show their users no more than
//! a part of an answer: gRPC's status, git's lines of text, the reason phrase, `message`. Never: a credential, a placeholder, a
//! byte that was not checked.

mod trailers;

use bytes::Bytes;
use config::CredentialName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Response, StatusCode, Version};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;

use crate::error::{Fault, Refusal};
use crate::grpc;
use crate::sign::Unsigned;
use crate::swap::{CallsAsItself, Misdirected};
use crate::tool;

/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What is said first, so that whoever reads the message alone knows who speaks.
const TITLE: &str = "exeat did not let this call out";
/// The same where the policy had nothing against it, and the other side failed.
const FAILED: &str = "exeat could not complete this call";

/// Seconds in which a person may have decided; a call that comes back sooner only waits for its answer.
const PERSON: u64 = 10;

/// The row of the table: the status, the last part of the problem type, and the proxy error of RFC 9209 section 2.3.
pub fn row(refusal: &Refusal) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    match refusal {
        Refusal::Denied(denial) => (S::FORBIDDEN, denial.kind().as_str(), "http_request_denied"),
        Refusal::UnknownAddress(_) => (S::MISDIRECTED_REQUEST, "unknown-address", "destination_not_found"),
        Refusal::NoServerName(_) => (S::MISDIRECTED_REQUEST, "no-server-name", "http_request_denied"),
        Refusal::EncryptedHello(_) => (S::MISDIRECTED_REQUEST, "encrypted-hello", "http_request_denied"),
        Refusal::Witness { .. } => (S::MISDIRECTED_REQUEST, "witnesses-disagree", "http_request_denied"),
        Refusal::Malformed(_) => (S::BAD_REQUEST, "malformed", "http_request_error"),
        Refusal::UnexaminedBody(_) => (S::UNSUPPORTED_MEDIA_TYPE, "unexamined-body", "http_request_denied"),
        Refusal::UnswappableBody(_) => (S::UNSUPPORTED_MEDIA_TYPE, "unswappable-body", "http_request_denied"),
        Refusal::SlowHead(_) => (S::REQUEST_TIMEOUT, "slow-head", "http_request_error"),
        Refusal::Flood(_) => (S::TOO_MANY_REQUESTS, "flood", "http_request_error"),
        Refusal::NotHttp(_) | Refusal::NothingSaid(..) => (S::BAD_REQUEST, "not-http", "http_request_error"),
        Refusal::ClientTls(..) => (S::BAD_REQUEST, "client-tls", "tls_protocol_error"),
        Refusal::CaNotTrusted { .. } => (S::BAD_REQUEST, "ca-not-trusted", "tls_protocol_error"),
        Refusal::MethodNotOffered(_) => (S::NOT_IMPLEMENTED, "method-not-offered", "http_request_denied"),
        Refusal::Misdirected(_) => (S::FORBIDDEN, "placeholder-misdirected", "http_request_denied"),
        Refusal::CallsAsItself(_) => (S::FORBIDDEN, "calls-as-itself", "http_request_denied"),
        Refusal::Signature { why: Unsigned::Busy, .. } => {
            (S::SERVICE_UNAVAILABLE, "signature", "connection_limit_reached")
        }
        Refusal::Signature { .. } => (S::FORBIDDEN, "signature", "http_request_denied"),
        Refusal::Tool(objection) if objection.fault() == Fault::Upstream => {
            (objection.status(), objection.kind(), "http_protocol_error")
        }
        Refusal::Tool(objection) => (objection.status(), objection.kind(), "http_request_denied"),
        Refusal::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate-limited", "http_request_denied"),
        Refusal::CredentialUnavailable { .. } => {
            (S::SERVICE_UNAVAILABLE, "credential-unavailable", "proxy_configuration_error")
        }
        Refusal::AwaitsApproval { .. } => (S::SERVICE_UNAVAILABLE, "awaits-approval", "http_request_denied"),
        Refusal::NotApproved { .. } => (S::FORBIDDEN, "not-approved", "http_request_denied"),
        Refusal::Crowded(_) | Refusal::Unread(_) | Refusal::Busiest(_) => {
            (S::SERVICE_UNAVAILABLE, "crowded", "connection_limit_reached")
        }
        Refusal::Revoked(_) => (S::FORBIDDEN, "credential-revoked", "http_request_denied"),
        Refusal::OtherWay(_) => (S::FORBIDDEN, "other-way", "connection_terminated"),
        Refusal::NoLongerUnread(_) => (S::FORBIDDEN, "no-longer-unread", "connection_terminated"),
        Refusal::Stopped | Refusal::NotTakenUp(_) => (S::SERVICE_UNAVAILABLE, "stopped", "connection_terminated"),
        Refusal::NoLeaf(..) => (S::SERVICE_UNAVAILABLE, "leaf-unavailable", "proxy_internal_error"),
        Refusal::LogUnavailable(_) => (S::SERVICE_UNAVAILABLE, "log-unavailable", "proxy_internal_error"),
        Refusal::ForbiddenAddress { .. } => (S::FORBIDDEN, "forbidden-address", "destination_ip_prohibited"),
        Refusal::Unresolved(..) => (S::BAD_GATEWAY, "unresolved", "dns_error"),
        Refusal::Unreachable { timed_out: true, .. } => (S::GATEWAY_TIMEOUT, "unreachable", "connection_timeout"),
        Refusal::Unreachable { .. } => (S::BAD_GATEWAY, "unreachable", "connection_refused"),
        Refusal::UpstreamProxy { .. } => (S::BAD_GATEWAY, "upstream-proxy", "destination_unavailable"),
        Refusal::UpstreamTls { .. } => (S::BAD_GATEWAY, "upstream-tls", "tls_certificate_error"),
        Refusal::UpstreamAnswer { .. } => (S::BAD_GATEWAY, "upstream-answer", "http_protocol_error"),
        Refusal::UpstreamSilent { .. } => (S::GATEWAY_TIMEOUT, "upstream-silent", "http_response_timeout"),
        Refusal::Unscrubbable { .. } => (S::BAD_GATEWAY, "unscrubbable-answer", "http_protocol_error"),
        Refusal::OwnListener(_) => (S::MISDIRECTED_REQUEST, "own-listener", "http_request_denied"),
    }
}

/// What to do about it, in plain words.
pub fn remedy(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Denied(denial) => denial.remedy(),
        Refusal::Tool(objection) => objection.remedy(),
        Refusal::Misdirected(Misdirected { credential, .. }) => format!(
            "send the placeholder only to the hosts that credential `{credential}` is granted for, in the place it is granted \
             for; if this host is one, ask your operator to list it under `to` of `{credential}` and to name the credential in \
             the rule"
        ),
        Refusal::CallsAsItself(CallsAsItself { credential, header }) => format!(
            "leave `{header}` out of the call: exeat adds it; a client that wants a key can be given the placeholder of `{credential}`"
        ),
        Refusal::Signature { credential, why } => signature(credential, *why),
        Refusal::RateLimited { retry_after, .. } => {
            format!("wait {retry_after} s, or ask your operator for a higher `rate`")
        }
        Refusal::CredentialUnavailable { credential, .. } => {
            format!("try again later, or tell your operator that `{credential}` fails")
        }
        Refusal::AwaitsApproval { approval, .. } => format!(
            "ask your operator to run `exeat approve {approval}`, and send the call again: it goes through once they have"
        ),
        Refusal::NotApproved { credential, .. } => format!(
            "do without `{credential}`, or ask your operator to decide anew; sending the call again does not change the answer"
        ),
        Refusal::Revoked(credential) => {
            format!("ask your operator whether `{credential}` is still yours to use, then send the call again")
        }
        Refusal::ForbiddenAddress { address, .. } => format!(
            "if this is an internal service that you need, ask your operator to add `addresses = [\"{address}\"]` to its rule"
        ),
        Refusal::UpstreamProxy { remedy, .. } | Refusal::UpstreamTls { remedy, .. } => (*remedy).to_owned(),
        Refusal::NotHttp(_) => {
            "speak TLS or HTTP (git: over HTTPS); or ask your operator for a rule with this name and port under `to` and \
             `tls = \"tcp\"`, which passes unread and with no credential"
                .to_owned()
        }
        Refusal::NothingSaid(to, _) => format!(
            "ask your operator for this rule, which lets it through unread and with no credential:\n[[allow]]\nto = \"{to}\"\ntls = \"tcp\""
        ),
        Refusal::EncryptedHello(_) => {
            "turn encrypted ClientHello off in the client, also where it only pretends to use it (GREASE)".to_owned()
        }
        Refusal::UnexaminedBody(_) => {
            "send the body without `Content-Encoding`, or in one of gzip, deflate, br and zstd alone; messages of gRPC and Connect uncompressed, a form in UTF-8"
                .to_owned()
        }
        Refusal::UnswappableBody(_) => {
            "send the placeholder in a string of a JSON body or in a form, without `Content-Encoding` \
             and without a digest of the body (`Content-MD5`, `Content-Digest` and the like)"
                .to_owned()
        }
        Refusal::Stopped => "save what you have: everything in this sandbox ends within seconds".to_owned(),
        refusal => match refusal.fault() {
            Fault::Client => "mend the request; sending it again unchanged gives the same answer".to_owned(),
            Fault::Upstream => {
                "the policy allows the call; the other side failed, so a later try may succeed".to_owned()
            }
            Fault::Policy | Fault::Broker | Fault::Ours => "try again later, or tell your operator".to_owned(),
        },
    }
}

/// What an operator types to be told more, where the policy refused.
pub(crate) fn explain(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Denied(denial) => denial.command(),
        _ => None,
    }
}

fn signature(credential: &CredentialName, why: Unsigned) -> String {
    match why {
        Unsigned::OtherPair => format!(
            "sign with the key pair of `{credential}` that exeat put into the environment or `~/.aws/credentials`, and with no other"
        ),
        Unsigned::Time => "sign the call when it is sent, and mind the clock".to_owned(),
        Unsigned::Wrong => {
            "sign what is sent, as it is sent, with the secret that exeat gave; the path in its normal form".to_owned()
        }
        Unsigned::LongBody => "send the body's SHA-256 as `x-amz-content-sha256`, or a shorter body".to_owned(),
        Unsigned::LongChunk => "sign shorter chunks, or none (`STREAMING-UNSIGNED-PAYLOAD-TRAILER`)".to_owned(),
        Unsigned::Busy => "try again later".to_owned(),
        Unsigned::Express => "use a bucket of another class".to_owned(),
        Unsigned::Form(_) | Unsigned::Method => {
            "sign with AWS Signature Version 4 (`AWS4-HMAC-SHA256`), as the SDKs of AWS do unless told otherwise"
                .to_owned()
        }
    }
}

/// Who reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// An HTTP client.
    Http,
    /// Git, which shows its user what an answer of plain text says, and of any other the status alone.
    Git,
    /// npm, which shows the member `error` as a text.
    Npm,
    /// A client of gRPC or gRPC-Web, which looks at `grpc-status` and at nothing else; the media type that it reads.
    Grpc(&'static str),
}

impl Reader {
    /// Who sent a request with these fields. gRPC is spoken over HTTP/2 alone, gRPC-Web over any version.
    pub fn of(version: Version, headers: &HeaderMap) -> Self {
        let agent = || headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        let native = || (version == Version::HTTP_2 && grpc::is_spoken(headers)).then_some("application/grpc");
        match grpc::web(headers).or_else(native) {
            Some(media) => Self::Grpc(media),
            None if agent().starts_with(b"git/") => Self::Git,
            None if agent().starts_with(b"npm/") => Self::Npm,
            None => Self::Http,
        }
    }
}

/// The answer for a refusal.
pub fn refuse(refusal: &Refusal, reader: Reader) -> Response<Full<Bytes>> {
    let mut response = match (reader, refusal) {
        (Reader::Grpc(media), _) => return trailers::only(refusal, media),
        (_, Refusal::Tool(objection)) => tool::answer(objection),
        (Reader::Git, _) => answer(refusal, "text/plain; charset=utf-8", plain(refusal)),
        // The charset says nothing new (RFC 8259 section 11), but octokit takes what names one for text, and shows it.
        (Reader::Http | Reader::Npm, _) => {
            answer(refusal, "application/problem+json; charset=utf-8", problem(refusal, reader))
        }
    };
    let (_, kind, proxy_error) = row(refusal);
    stamp(response.headers_mut(), proxy_error, kind);
    if let Some(phrase) = reason_phrase(response.status(), kind) {
        response.extensions_mut().insert(phrase);
    }
    response
}

fn title(refusal: &Refusal) -> &'static str {
    if refusal.fault() == Fault::Upstream { FAILED } else { TITLE }
}

/// What was refused, why, and what to ask for, in one breath.
fn sentence(refusal: &Refusal) -> String {
    format!("{}: {refusal}; {}", title(refusal), remedy(refusal))
}

/// The same for a terminal: git puts `remote: ` before each line.
fn plain(refusal: &Refusal) -> Vec<u8> {
    format!("{}: {refusal}\n{}\n", title(refusal), remedy(refusal).trim_end()).into_bytes()
}

/// HTTP/1.1 says more than a number, and much that makes HTTP calls (requests, urllib, boto3, npm, wget) shows its user that and no
/// more. Both parts are from the table, so none of it is the client's.
fn reason_phrase(status: StatusCode, kind: &str) -> Option<ReasonPhrase> {
    let usual = status.canonical_reason().filter(|_| !status.is_success())?;
    ReasonPhrase::try_from(format!("{usual} (exeat: {kind})")).ok()
}

/// The fields of RFC 9457, and the two in which SDKs look for what they tell their caller: `message` (GitHub's and others'), and `error`
/// with a message of its own (OpenAI's, Google's, Azure's).
fn problem(refusal: &Refusal, reader: Reader) -> Vec<u8> {
    let (status, kind, _) = row(refusal);
    let message = sentence(refusal);
    let error = match reader {
        Reader::Npm => message.as_str().into(),
        _ => serde_json::json!({ "code": kind, "message": &message }),
    };
    let problem = serde_json::json!({
        "type": format!("urn:exeat:refusal:{kind}"),
        "title": title(refusal),
        "status": status.as_u16(),
        "detail": refusal.to_string(),
        "rule": refusal.rule().map(ToString::to_string),
        "ask_for": remedy(refusal),
        "explain": explain(refusal),
        "error": error,
        "message": &message,
    });
    let text = serde_json::to_string_pretty(&problem).unwrap_or_default();
    (text + "\n").into_bytes()
}

fn answer(refusal: &Refusal, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = row(refusal).0;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = retry_after(refusal) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// In how many seconds the call may be worth sending again.
fn retry_after(refusal: &Refusal) -> Option<u64> {
    match refusal {
        Refusal::RateLimited { retry_after, .. } => Some(*retry_after),
        Refusal::AwaitsApproval { .. } => Some(PERSON),
        _ => None,
    }
}

fn stamp(headers: &mut HeaderMap, error: &str, kind: &str) {
    if let Ok(value) = HeaderValue::from_str(&proxy_status(error, kind)) {
        headers.insert(PROXY_STATUS, value);
    }
}

/// A structured field (RFC 9651): both parts are from the table above, so nothing needs escaping.
fn proxy_status(error: &str, kind: &str) -> String {
    format!("exeat; error={error}; details=\"{kind}\"")
}

#[cfg(test)]
mod tests {
    use config::Policy;
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn a_refusal_says_what_why_and_what_to_ask_for() {
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", "[[allow]]\nto = \"example.com\"\n").unwrap();
        let rule = policy.rules()[0].id().clone();
        let refusal = Refusal::RateLimited { rule, rate: "1/s".to_owned(), retry_after: 7 };
        let response = refuse(&refusal, Reader::Http);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert_eq!(response.headers()[PROXY_STATUS], "exeat; error=http_request_denied; details=\"rate-limited\"");
        let body =
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(response.into_body().collect());
        let problem: serde_json::Value = serde_json::from_slice(&body.unwrap().to_bytes()).unwrap();
        assert_eq!(problem["status"], 429);
        assert!(problem["detail"].as_str().unwrap().contains("allow #1"));
        assert!(problem["ask_for"].as_str().unwrap().contains("wait 7 s"));
        for message in [&problem["message"], &problem["error"]["message"]] {
            let message = message.as_str().unwrap();
            assert!(
                message.starts_with(TITLE) && message.contains("allow #1") && message.contains("wait 7 s"),
                "{message}"
            );
        }
        let response = refuse(&refusal, Reader::Http);
        let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(phrase.as_bytes(), b"Too Many Requests (exeat: rate-limited)");
    }

    #[test]
    fn git_is_told_in_plain_text() {
        let agent = |name| HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(name))]);
        let readers = ["git/2.47.3", "git/2.0 (libgit2 1.9.0)", "github-cli/2", "digit/1"]
            .map(|name| Reader::of(Version::HTTP_11, &agent(name)));
        assert_eq!(readers, [Reader::Git, Reader::Git, Reader::Http, Reader::Http]);
        let response = refuse(&Refusal::MethodNotOffered("CONNECT".to_owned()), Reader::Git);
        assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(response.headers().contains_key(PROXY_STATUS));
    }
}
