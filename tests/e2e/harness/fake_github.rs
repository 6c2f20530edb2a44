//! A fake of GitHub, written from its published REST API: installation access tokens of an app, one repository, and git over HTTPS
//! for it. There is no real one to be had for tests.
//!
//! Enters: the broker, with the app's assertions; clients, with what they were lent. Leaves: tokens in GitHub's newer look, and what
//! it was asked for. Never: a token for an assertion that does not verify, or an answer to one that was revoked.

use std::fs;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::authority::Authority;
use super::bodies::{self, Body};
use super::evidence::real_credential;
use super::server::{Answering, Server};
use super::tools::output;

/// The app, and its only installation.
const APP: &str = "4711";
const INSTALLATION: &str = "815";

/// How the next token is answered for.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

#[derive(Default)]
struct State {
    /// The bodies of the requests for tokens.
    asked: Vec<Value>,
    made: Vec<String>,
    revoked: Vec<String>,
    /// How often a clone or an API call came with a token that is good.
    used: usize,
    broken: Option<Broken>,
}

/// The fake.
pub struct FakeGithub {
    server: Server,
    state: Arc<Mutex<State>>,
    directory: TempDir,
}

/// What the answers are made from.
struct Site {
    public: Vec<u8>,
    bare: std::path::PathBuf,
    state: Arc<Mutex<State>>,
}

impl FakeGithub {
    /// Starts with the repository acme/website, which has one commit with the file `README`.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        // GitHub hands out PKCS #1.
        output(&["openssl", "genrsa", "-traditional", "-out", &path("app.pem"), "2048"]);
        output(&[
            "openssl",
            "rsa",
            "-in",
            &path("app.pem"),
            "-RSAPublicKey_out",
            "-outform",
            "DER",
            "-out",
            &path("public"),
        ]);
        let (bare, seed) = (path("website.git"), path("seed"));
        output(&["git", "init", "-q", "-b", "main", &seed]);
        fs::write(directory.path().join("seed/README"), "hello\n").unwrap();
        let by = ["-c", "user.name=seed", "-c", "user.email=seed@example.com"];
        output(&["git", "-C", &seed, "add", "README"]);
        output(&[&["git", "-C", &seed][..], &by, &["commit", "-q", "-m", "first"]].concat());
        output(&["git", "clone", "-q", "--bare", &seed, &bare]);
        output(&["git", "-C", &bare, "update-server-info"]);

        let state = Arc::<Mutex<State>>::default();
        let public = fs::read(directory.path().join("public")).unwrap();
        let site = Arc::new(Site { public, bare: bare.into(), state: Arc::clone(&state) });
        let names = ["localhost", "api.github.com", "github.com"];
        let tls = Authority::trusted().identity(&names).configuration(&["http/1.1"]);
        let answer = Arc::new(move |request| Box::pin(answer(request, Arc::clone(&site))) as Answering);
        Self { server: Server::start(Some(tls), answer), state, directory }
    }

    /// The app's key, which only the broker may know.
    pub fn key(&self) -> String {
        fs::read_to_string(self.directory.path().join("app.pem")).unwrap()
    }

    /// The lines of credentials.toml that make it the issuer; the key is expected in `secrets/app`.
    pub fn lines(&self) -> String {
        let port = self.server.address.port();
        format!(
            "issuer = \"github-app\"\napi = \"https://localhost:{port}/api/v3\"\nroots = [\"ca.pem\"]\napp_id = {APP}\n\
             installation_id = {INSTALLATION}\nkey = {{ file = \"secrets/app\" }}\nrepositories = [\"website\"]\n\
             permissions = {{ contents = \"read\", pull_requests = \"write\" }}\n"
        )
    }

    /// For a rule's `dial`.
    pub fn dial(&self) -> String {
        self.server.address.to_string()
    }

    /// From now on each request for a token is answered so.
    pub fn set_broken(&self, broken: Option<Broken>) {
        self.state.lock().unwrap().broken = broken;
    }

    /// What was asked for, each time.
    pub fn asked(&self) -> Vec<Value> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The tokens, and those of them that were revoked.
    pub fn tokens(&self) -> (Vec<String>, Vec<String>) {
        let state = self.state.lock().unwrap();
        (state.made.clone(), state.revoked.clone())
    }

    /// How often a good token was used.
    pub fn used(&self) -> usize {
        self.state.lock().unwrap().used
    }
}

async fn answer(request: Request<Incoming>, site: Arc<Site>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let tokens = format!("/api/v3/app/installations/{INSTALLATION}/access_tokens");
    let path = head.uri.path();
    match (head.method.as_str(), path) {
        ("POST", path) if path == tokens => site.make(&head.headers, &body),
        ("DELETE", "/api/v3/installation/token") => site.revoke(&head.headers),
        ("GET", "/repos/acme/website") if site.admits(&head.headers) => {
            bodies::json(200, &json!({"full_name": "acme/website"}))
        }
        ("GET" | "HEAD", path) => match path.strip_prefix("/acme/website.git/") {
            Some(file) if site.admits(&head.headers) => site.file(file),
            _ => refused(401),
        },
        _ => refused(404),
    }
}

fn refused(status: u16) -> Response<Body> {
    let mut response = bodies::json(status, &json!({"message": "Bad credentials"}));
    if status == 401 {
        response.headers_mut().insert("www-authenticate", "Basic realm=\"GitHub\"".parse().unwrap());
    }
    response
}

impl Site {
    /// `POST /app/installations/{id}/access_tokens`
    fn make(&self, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let mut state = self.state.lock().unwrap();
        if !is_rest(headers) || !self.verifies(&bearer(headers).unwrap_or_default()) {
            return refused(401);
        }
        let asked: Value = serde_json::from_slice(body).unwrap();
        state.asked.push(asked.clone());
        if let Some(Broken { status, body }) = state.broken.clone() {
            return bodies::answer(status, "application/json", Body::whole(body));
        }
        let mut random = [0; 300];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let token = format!("ghs_{APP}_eyJ.{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        real_credential(&token);
        state.made.push(token.clone());
        let mut permissions = asked["permissions"].clone();
        permissions["metadata"] = json!("read");
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        bodies::json(
            201,
            &json!({
                "token": token, "expires_at": until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "permissions": permissions,
                "repository_selection": "selected", "repositories": [{"id": 1, "name": "website"}],
            }),
        )
    }

    /// `DELETE /installation/token`
    fn revoke(&self, headers: &HeaderMap) -> Response<Body> {
        let token = bearer(headers).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        if !is_rest(headers) || !state.made.contains(&token) || state.revoked.contains(&token) {
            return refused(401);
        }
        state.revoked.push(token);
        bodies::answer(204, "application/json", Body::empty())
    }

    /// Whether a call comes with a token that is good, as a bearer or as git sends it.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let token = bearer(headers).or_else(|| basic(headers)?.strip_prefix("x-access-token:").map(str::to_owned));
        let mut state = self.state.lock().unwrap();
        let good = token.is_some_and(|token| state.made.contains(&token) && !state.revoked.contains(&token));
        state.used += usize::from(good);
        good
    }

    /// A file of the repository: what git calls the dumb protocol.
    fn file(&self, path: &str) -> Response<Body> {
        assert!(Path::new(path).components().all(|part| matches!(part, Component::Normal(_))), "{path}");
        match fs::read(self.bare.join(path)) {
            Ok(bytes) => bodies::answer(200, "application/octet-stream", Body::whole(bytes)),
            Err(_) => refused(404),
        }
    }

    /// RS256 by the app's key; issued in the past, and for ten minutes from now at most.
    fn verifies(&self, assertion: &str) -> bool {
        let Some((signed, signature)) = assertion.rsplit_once('.') else { return false };
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap_or_default();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
        let (head, claims) = signed.split_once('.').unwrap_or_default();
        let (head, claims) = (read(head), read(claims));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (iat, exp) = (claims["iat"].as_u64().unwrap_or(u64::MAX), claims["exp"].as_u64().unwrap_or_default());
        key.verify(signed.as_bytes(), &decoded(signature)).is_ok()
            && head["alg"] == "RS256"
            && claims["iss"] == APP
            && (now - 65..=now - 60).contains(&iat)
            && (now + 1..=now + 600).contains(&exp)
    }
}

/// GitHub refuses what does not say which client it is.
fn is_rest(headers: &HeaderMap) -> bool {
    let is =
        |name: &str, begins: &str| headers.get(name).is_some_and(|value| value.to_str().unwrap().starts_with(begins));
    is("user-agent", "exeat/") && is("accept", "application/vnd.github+json") && is("x-github-api-version", "20")
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned)
}

fn basic(headers: &HeaderMap) -> Option<String> {
    let pair = headers.get("authorization")?.to_str().ok()?.strip_prefix("Basic ")?;
    String::from_utf8(BASE64_STANDARD.decode(pair).ok()?).ok()
}
