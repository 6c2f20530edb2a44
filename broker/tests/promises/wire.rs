//! The API as any HTTP client sees it: bounded, strict, and with reasons.

use std::os::unix::net::UnixStream;

use bytes::Bytes;
use config::SigningAlgorithm;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::rig::{serve, settings};

/// A client that sends what it is told to.
pub struct Raw {
    sender: SendRequest<Full<Bytes>>,
    /// What it shows.
    pub shown: Option<String>,
}

impl Raw {
    pub async fn over(stream: UnixStream) -> Raw {
        stream.set_nonblocking(true).unwrap();
        let stream = TokioIo::new(tokio::net::UnixStream::from_std(stream).unwrap());
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Raw { sender, shown: None }
    }

    pub async fn registered(stream: UnixStream, agent: &str) -> Raw {
        let mut raw = Raw::over(stream).await;
        raw.register(agent).await;
        raw
    }

    pub async fn register(&mut self, agent: &str) -> Value {
        let (status, registration) = self.send(Method::POST, "/v1/workers", &json!({"agent": agent}).to_string()).await;
        assert_eq!(status, StatusCode::CREATED);
        self.shown = registration["session"].as_str().map(str::to_owned);
        registration
    }

    pub async fn send(&mut self, method: Method, target: &str, body: &str) -> (StatusCode, Value) {
        let response = self.exchange(method, target, body).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Whether the other end hangs up within a second.
    pub async fn is_closed(&mut self) -> bool {
        tokio::time::timeout(std::time::Duration::from_secs(1), self.sender.ready())
            .await
            .is_ok_and(|ready| ready.is_err())
    }

    async fn exchange(&mut self, method: Method, target: &str, body: &str) -> Response<hyper::body::Incoming> {
        self.sender.ready().await.unwrap();
        let mut request = Request::builder().method(method).uri(target);
        if let Some(shown) = &self.shown {
            request = request.header("authorization", format!("Bearer {shown}"));
        }
        self.sender.send_request(request.body(Full::from(body.to_owned())).unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_of_the_api_gets_a_problem_that_says_why() {
    let endpoint = Endpoint::start().await;
    let (stream, _serving) = serve(settings(&endpoint));
    let mut raw = Raw::over(stream).await;
    let ask = json!({"credential": "api", "destination": "api.example:443"}).to_string();
    let long = json!({"agent": "b".repeat(9000)}).to_string();
    for (method, target, body, status) in [
        (Method::GET, "/", "", 404),
        (Method::PUT, "/v1/leases", "", 405),
        (Method::GET, "/v1/leases", "", 409),
        (Method::DELETE, "/v1/leases/x", "", 400),
        (Method::DELETE, "/v1/leases/019ac000-0000-7000-8000-000000000000", "", 403),
        (Method::POST, "/v1/health", "", 405),
        (Method::POST, "/v1/leases", ask.as_str(), 409),
        (Method::GET, "/v1/identity?audience=x", "", 409),
        (Method::DELETE, "/v1/workers/self", "", 409),
        (Method::POST, "/v1/workers", "", 400),
        (Method::POST, "/v1/workers", r#"{"agent":"bot","more":1}"#, 400),
        (Method::POST, "/v1/workers", r#"{"agent":"../bot"}"#, 400),
        (Method::POST, "/v1/workers", r#"{"agent":"bot"} x"#, 400),
    ] {
        let (answered, problem) = raw.send(method, target, body).await;
        assert_eq!((answered.as_u16(), &problem["status"]), (status, &json!(status)), "{target} {body}: {problem}");
        assert!(problem["type"].as_str().unwrap().starts_with("urn:exeat:broker:"));
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let response = raw.exchange(Method::POST, "/v1/workers", &long).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_one_worker_and_no_other() {
    let endpoint = Endpoint::start().await;
    let (stream, _serving) = serve(settings(&endpoint));
    let mut raw = Raw::registered(stream, "bot").await;
    let (status, _) = raw.send(Method::POST, "/v1/workers", r#"{"agent":"other"}"#).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, health) = raw.send(Method::GET, "/v1/health", "").await;
    assert_eq!(health, json!({"workers": 1, "leases": 0, "kept": 0}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_verifies_against_what_the_broker_publishes() {
    let endpoint = Endpoint::start().await;
    let mut settings = settings(&endpoint);
    settings.identity.issuer = "https://broker.example".to_owned();
    settings.identity.trust_domain = "acme.example".parse().unwrap();
    settings.identity.audiences.insert("https://sts.example/".to_owned(), SigningAlgorithm::Rs256);
    let (stream, _serving) = serve(settings);
    let mut raw = Raw::over(stream).await;
    let registration = raw.register("bot").await;
    let (_, discovery) = raw.send(Method::GET, "/.well-known/openid-configuration", "").await;
    assert_eq!(discovery["jwks_uri"], "https://broker.example/.well-known/jwks.json");
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
    let (_, keys) = raw.send(Method::GET, "/.well-known/jwks.json", "").await;
    let keys = serde_json::from_value(keys).unwrap();
    let (_, asked) = raw.send(Method::GET, "/v1/identity?audience=https%3A%2F%2Fsts.example%2F", "").await;
    let issuer = "https://broker.example";
    let mut names = Vec::new();
    for (identity, audience) in [(&registration["identity"], issuer), (&asked, "https://sts.example/")] {
        let claims = broker::identity::verify(identity["jwt"].as_str().unwrap(), &keys, issuer, audience).unwrap();
        let worker = registration["worker"].as_str().unwrap();
        assert_eq!(claims.sub, format!("spiffe://acme.example/agent/bot/worker/{worker}"));
        assert!(claims.exp - claims.iat <= 300 && claims.nbf == claims.iat);
        names.push(claims.jti);
    }
    assert_ne!(names[0], names[1]);
    let (status, problem) = raw.send(Method::GET, "/v1/identity?audience=https%3A%2F%2Fother.example", "").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    for query in ["", "?audience=", "?audience=a%20b", "?audience=%0a", "?other=x"] {
        let (status, _) = raw.send(Method::GET, &format!("/v1/identity{query}"), "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
}
