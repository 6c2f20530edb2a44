//! A small OAuth 2.0 server: client credentials (RFC 6749 section 4.4) and revocation (RFC 7009), over HTTPS.
//!
//! Enters: the broker. Leaves: access tokens that are short-lived, and what became of each. Never: a token for a client that
//! did not show the right secret.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::json;
use tokio::sync::watch;

use super::authority::Authority;
use super::bodies::{self, Body};
use super::evidence::real_credential;
use super::server::{Answering, Server};

/// What the client is called there.
const CLIENT: &str = "exeat-broker";

#[derive(Default)]
struct State {
    issued: Vec<String>,
    revoked: Vec<String>,
    asked: usize,
    lifetime: u64,
    down: bool,
    revokes: bool,
    /// The paths of what is held, in order.
    held: Vec<String>,
}

/// When an exchange is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing was done yet.
    Before(&'static str),
    /// It is done, and the client does not know.
    After(&'static str),
}

/// The server.
pub struct TokenEndpoint {
    server: Server,
    state: Arc<Mutex<State>>,
    gate: watch::Sender<Option<Hold>>,
}

impl TokenEndpoint {
    /// The long-lived secret, which only the broker may know.
    pub const SECRET: &str = "long-lived-client-secret-5b1c0d9e7a";

    /// One whose access tokens live for so many seconds.
    pub fn start(lifetime: u64) -> Self {
        let state = Arc::new(Mutex::new(State { lifetime, revokes: true, ..State::default() }));
        let (shared, gate) = (Arc::clone(&state), watch::Sender::new(None));
        let tls = Authority::trusted().identity(&["localhost", "127.0.0.1"]).configuration(&["http/1.1"]);
        let gates = gate.clone();
        let answer =
            Arc::new(move |request| Box::pin(gated(request, Arc::clone(&shared), gates.subscribe())) as Answering);
        Self { server: Server::start(Some(tls), answer), state, gate }
    }

    /// From now on the exchanges at a path stand still there, until they are let go.
    pub fn hold(&self, hold: Hold) {
        self.gate.send_replace(Some(hold));
    }

    /// Lets go what stands still.
    pub fn let_go(&self) {
        self.gate.send_replace(None);
    }

    /// How many exchanges stood still, so far.
    pub fn held(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    /// The lines of credentials.toml that make it the issuer; the secret is expected in `secrets/client`.
    pub fn lines(&self) -> String {
        let base = format!("https://localhost:{}", self.server.address.port());
        format!(
            "issuer = \"oauth2-client\"\ntoken_endpoint = \"{base}/token\"\nrevocation_endpoint = \"{base}/revoke\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = {{ file = \"secrets/client\" }}\nroots = [\"ca.pem\"]\n"
        )
    }

    /// From now on every request to it fails, or no longer.
    pub fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// From now on it revokes, or answers that it cannot right now.
    pub fn set_revokes(&self, revokes: bool) {
        self.state.lock().unwrap().revokes = revokes;
    }

    /// How often an access token was asked for, in vain or not.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// Every access token that it gave out.
    pub fn issued(&self) -> Vec<String> {
        self.state.lock().unwrap().issued.clone()
    }

    /// Every access token that was revoked.
    pub fn revoked(&self) -> Vec<String> {
        self.state.lock().unwrap().revoked.clone()
    }

    /// Whether something was given out, and all of it was revoked.
    pub fn all_revoked(&self) -> bool {
        let state = self.state.lock().unwrap();
        !state.issued.is_empty() && state.issued.iter().all(|issued| state.revoked.contains(issued))
    }
}

async fn gated(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    mut gate: watch::Receiver<Option<Hold>>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut stand = async |here: Hold| {
        if *gate.borrow() == Some(here) {
            state.lock().unwrap().held.push(path.clone());
            // Nobody is left to let it go.
            let _ = gate.wait_for(|hold| *hold != Some(here)).await;
        }
    };
    let places = match &*path {
        "/token" => [Hold::Before("/token"), Hold::After("/token")],
        _ => [Hold::Before("/revoke"), Hold::After("/revoke")],
    };
    stand(places[0]).await;
    let response = answer(request, Arc::clone(&state)).await;
    stand(places[1]).await;
    response
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT}:{}", TokenEndpoint::SECRET)));
    let known = request.headers().get("authorization").is_some_and(|value| value.as_bytes() == expected.as_bytes());
    let form = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let form = String::from_utf8_lossy(&form).into_owned();
    let field =
        |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    let mut state = state.lock().unwrap();
    let error = |status, code: &str| bodies::json(status, &json!({ "error": code }));
    match path.as_str() {
        "/token" => {
            state.asked += 1;
            if state.down {
                return error(503, "temporarily_unavailable");
            }
            if !known {
                return error(401, "invalid_client");
            }
            if field("grant_type") != "client_credentials" {
                return error(400, "unsupported_grant_type");
            }
            let mut random = [0; 18];
            aws_lc_rs::rand::fill(&mut random).unwrap();
            // `+` and `/` in it: characters that every encoding treats in its own way.
            let access = format!("at+{}/x", BASE64_STANDARD.encode(random));
            real_credential(&access);
            state.issued.push(access.clone());
            bodies::json(200, &json!({ "access_token": access, "token_type": "Bearer", "expires_in": state.lifetime }))
        }
        "/revoke" if state.down || !state.revokes => error(503, "temporarily_unavailable"),
        "/revoke" if !known => error(401, "invalid_client"),
        "/revoke" => {
            let access = percent_encoding::percent_decode_str(field("token")).decode_utf8().unwrap().into_owned();
            assert!(state.issued.contains(&access), "revoked what was never issued");
            state.revoked.push(access);
            bodies::answer(200, "text/plain", Body::empty())
        }
        _ => error(404, "invalid_request"),
    }
}
