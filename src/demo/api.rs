//! What the demo's server answers: an OAuth 2.0 issuer, and an API that demands what the issuer gave out.
//!
//! Enters: one request with its body. Leaves: an answer, and the request in the witness's memory. Never: an answer of the API
//! without an access token that is issued, not revoked and not expired.

use std::fmt::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::seen::{Request, Seen};
use super::server::Client;

/// How many seconds an access token lives.
pub(super) const LIFETIME: u64 = 60;
const BEARER: &str = "Bearer ";

/// The two servers in one process.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// The token endpoint of RFC 6749 and the revocation endpoint of RFC 7009.
    Issuer,
    /// api.example.com and files.example.com.
    Api,
}

/// What both servers know.
#[derive(Debug)]
pub(super) struct State {
    client: Client,
    deadlines: Vec<(String, Instant)>,
    /// What is reported at the end.
    pub(super) seen: Seen,
}

impl State {
    pub(super) fn new(client: Client) -> Self {
        Self { client, deadlines: Vec::new(), seen: Seen::default() }
    }

    /// Answers one request.
    pub(super) fn answer(&mut self, role: Role, head: &Parts, body: &Bytes) -> Response<Full<Bytes>> {
        match role {
            Role::Issuer => self.issue(head, &String::from_utf8_lossy(body)),
            Role::Api => {
                let live = self.is_live(&head.headers);
                self.seen.requests.push(note(head, body, live));
                serve(head, live)
            }
        }
    }

    fn issue(&mut self, head: &Parts, form: &str) -> Response<Full<Bytes>> {
        let pair = format!("{}:{}", self.client.id, self.client.secret);
        if authorization(&head.headers) != format!("Basic {}", BASE64_STANDARD.encode(pair)) {
            return json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_client" }));
        }
        // What it gave out has no character that a form would escape.
        let field = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        match (&head.method, head.uri.path()) {
            (&Method::POST, "/oauth/token") if field("grant_type") == Some("client_credentials") => self.grant(),
            (&Method::POST, "/oauth/token") => {
                json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "unsupported_grant_type" }))
            }
            (&Method::POST, "/oauth/revoke") => {
                self.seen.revoked.extend(field("token").map(str::to_owned));
                json_answer(StatusCode::OK, &json!({}))
            }
            _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "invalid_request" })),
        }
    }

    fn grant(&mut self) -> Response<Full<Bytes>> {
        let Ok(access) = super::server::random("live_") else {
            return json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "server_error" }));
        };
        self.deadlines.push((access.clone(), Instant::now() + Duration::from_secs(LIFETIME)));
        self.seen.issued.push(access.clone());
        let granted = json!({ "access_token": access, "token_type": "Bearer", "expires_in": LIFETIME });
        json_answer(StatusCode::OK, &granted)
    }

    fn is_live(&self, headers: &HeaderMap) -> bool {
        let shown = authorization(headers).strip_prefix(BEARER).unwrap_or_default();
        self.deadlines.iter().any(|(access, end)| access == shown && Instant::now() < *end)
            && !self.seen.revoked.iter().any(|access| access == shown)
    }
}

fn serve(head: &Parts, live: bool) -> Response<Full<Bytes>> {
    let path = head.uri.path();
    match (host(&head.headers), &head.method) {
        ("files.example.com", &Method::GET) if path == "/notice.txt" => {
            answer(StatusCode::OK, "text/plain", "anyone may read this\n".into())
        }
        ("files.example.com", _) => answer(StatusCode::NOT_FOUND, "text/plain", Bytes::new()),
        ("api.example.com", _) if !live => {
            let mut refused = json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": "no live access token" }));
            refused.headers_mut().insert("www-authenticate", hyper::header::HeaderValue::from_static("Bearer"));
            refused
        }
        ("api.example.com", &Method::GET) if path == "/v1/builds" => {
            json_answer(StatusCode::OK, &json!({ "builds": [{ "id": 7, "state": "passed" }] }))
        }
        ("api.example.com", &Method::GET) if path == "/v1/echo" => echo(&head.headers),
        ("api.example.com", &Method::DELETE) if path.starts_with("/v1/builds/") => {
            answer(StatusCode::NO_CONTENT, "text/plain", Bytes::new())
        }
        ("api.example.com", &Method::GET) if path.starts_with("/v1/admin/") => {
            json_answer(StatusCode::OK, &json!({ "users": ["root"] }))
        }
        ("api.example.com", _) => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "not found" })),
        _ => json_answer(StatusCode::MISDIRECTED_REQUEST, &json!({ "error": "no such host here" })),
    }
}

/// Gives back what it was shown, as careless servers do: in a header and in the body.
fn echo(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut echo = json_answer(StatusCode::OK, &json!({ "you_sent": authorization(headers) }));
    if let Some(value) = headers.get("authorization") {
        echo.headers_mut().insert("x-you-sent", value.clone());
    }
    echo
}

fn note(head: &Parts, body: &Bytes, live: bool) -> Request {
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text.push_str(&String::from_utf8_lossy(body));
    let to = format!("{}{}", host(&head.headers), head.uri.path());
    Request { method: head.method.to_string(), to, text, live }
}

fn authorization(headers: &HeaderMap) -> &str {
    headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn host(headers: &HeaderMap) -> &str {
    let host = headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    host.split_once(':').map_or(host, |(name, _port)| name)
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    answer(status, "application/json", format!("{value}\n").into())
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}
