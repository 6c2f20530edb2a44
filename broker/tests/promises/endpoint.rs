//! An OAuth 2.0 token and revocation endpoint: HTTPS on port 0 with a certificate made at run time. It checks the client,
//! draws random access tokens that end in time, and counts what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

pub const CLIENT_ID: &str = "exeat & co";
/// Every byte that an encoding may get wrong.
pub const CLIENT_SECRET: &str = "p@ss:w0rd+/ %41é=&";

/// What it does, and what it has seen.
pub struct State {
    pub expires_in: f64,
    pub delay: Duration,
    /// Answers every fetch with this instead.
    pub broken: Option<(StatusCode, &'static str)>,
    /// How many revocations to answer with 503.
    pub revocations_to_fail: usize,
    pub fetches: usize,
    pub revocations: usize,
    pub issued: Vec<String>,
    pub revoked: Vec<String>,
    pub forms: Vec<HashMap<String, String>>,
}

pub struct Endpoint {
    pub url: String,
    pub roots: PathBuf,
    pub state: Arc<Mutex<State>>,
    _directory: TempDir,
}

impl Endpoint {
    pub async fn start() -> Endpoint {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, certified.cert.pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            expires_in: 3600.0,
            delay: Duration::ZERO,
            broken: None,
            revocations_to_fail: 0,
            fetches: 0,
            revocations: 0,
            issued: Vec::new(),
            revoked: Vec::new(),
            forms: Vec::new(),
        }));
        tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        Endpoint { url, roots, state, _directory: directory }
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub fn get<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap())
    }

    pub fn fetches(&self) -> usize {
        self.get(|state| state.fetches)
    }

    pub fn is_revoked(&self, access: &str) -> bool {
        self.get(|state| state.revoked.iter().any(|one| one == access))
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that does not trust the certificate goes away.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(|request| answer(request, Arc::clone(&state)));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let basic = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut form = parse(std::str::from_utf8(&body).unwrap());
    let client = match basic {
        Some(basic) => decode_basic(&basic),
        None => Some((form.remove("client_id").unwrap(), form.remove("client_secret").unwrap())),
    };
    if client != Some((CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())) {
        return Ok(reply(
            StatusCode::UNAUTHORIZED,
            &json!({"error": "invalid_client", "error_description": CLIENT_SECRET}),
        ));
    }
    Ok(match path.as_str() {
        "/fetch" => fetch(form, &state).await,
        "/revoke" => {
            let delay = state.lock().unwrap().delay;
            tokio::time::sleep(delay).await;
            revoke(&form, &mut state.lock().unwrap())
        }
        "/elsewhere" => Response::builder().status(307).header(LOCATION, "/fetch").body(Full::default()).unwrap(),
        _ => reply(StatusCode::NOT_FOUND, &json!({})),
    })
}

async fn fetch(form: HashMap<String, String>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let delay = {
        let mut state = state.lock().unwrap();
        state.fetches += 1;
        state.forms.push(form);
        state.delay
    };
    tokio::time::sleep(delay).await;
    let mut state = state.lock().unwrap();
    if let Some((status, body)) = state.broken {
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        return response;
    }
    let access = Uuid::new_v4().to_string();
    state.issued.push(access.clone());
    reply(StatusCode::OK, &json!({"access_token": access, "token_type": "Bearer", "expires_in": state.expires_in}))
}

fn revoke(form: &HashMap<String, String>, state: &mut State) -> Response<Full<Bytes>> {
    state.revocations += 1;
    if state.revocations_to_fail > 0 {
        state.revocations_to_fail -= 1;
        return reply(StatusCode::SERVICE_UNAVAILABLE, &json!({}));
    }
    assert_eq!(form["token_type_hint"], "access_token");
    state.revoked.push(form["token"].clone());
    reply(StatusCode::OK, &json!({}))
}

fn reply(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
}

fn parse(form: &str) -> HashMap<String, String> {
    let fields = form.split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn decode_basic(header: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decode(id), decode(secret)))
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
}
