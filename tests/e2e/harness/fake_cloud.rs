//! Fakes of Google's Security Token Service with the IAM credentials API, and of Microsoft Entra's token endpoint, written from what
//! both publish. There are no real ones to be had for tests.
//!
//! Enters: the broker, with identities that it signed. Leaves: access tokens, and what each was asked with. Never: one for an identity that
//! does not verify by what the broker publishes, or is of another agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};

use super::authority::Authority;
use super::bodies::{self, Body};
use super::evidence::real_credential;
use super::relying::verified;
use super::server::{Answering, Server};

const PROVIDER: &str = "projects/123456/locations/global/workloadIdentityPools/agents/providers/exeat";
const ACCOUNT: &str = "bot@project.iam.gserviceaccount.com";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const APPLICATION: &str = "66666666-7777-8888-9999-000000000000";
/// What Google's pool and Entra's application trust.
const AGENT: &str = "spiffe://house.example/agent/bot";

/// One exchange that was granted.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The form; of the IAM credentials API, `scope` and `lifetime` as JSON.
    pub form: HashMap<String, String>,
    /// Header and claims of the identity that was shown.
    pub shown: (Value, Value),
    /// What was given.
    pub access: String,
}

#[derive(Default)]
struct State {
    granted: Vec<Exchange>,
    /// An answer for everything at a path.
    broken: Option<(&'static str, u16, String)>,
    refusals: Vec<&'static str>,
}

/// Both fakes, on one address.
pub struct FakeCloud {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl FakeCloud {
    /// Trusts the broker that publishes its keys at this URL.
    pub fn start(issuer: &str) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let (shared, issuer) = (Arc::clone(&state), issuer.to_owned());
        let tls = Authority::trusted().identity(&["localhost"]).configuration(&["http/1.1"]);
        let answer =
            Arc::new(move |request| Box::pin(answer(request, issuer.clone(), Arc::clone(&shared))) as Answering);
        Self { server: Server::start(Some(tls), answer), state }
    }

    /// The lines of credentials.toml that make the fake of Google the issuer.
    pub fn google(&self) -> String {
        let base = format!("https://localhost:{}", self.server.address.port());
        format!(
            "issuer = \"google-sts\"\nprovider = \"{PROVIDER}\"\ntoken_endpoint = \"{base}/v1/token\"\nroots = [\"ca.pem\"]\n\
             scope = [\"https://www.googleapis.com/auth/devstorage.read_only\", \"https://www.googleapis.com/auth/pubsub\"]\n"
        )
    }

    /// The same, as a service account.
    pub fn google_account(&self) -> String {
        let base = format!("https://localhost:{}", self.server.address.port());
        format!("{}service_account = \"{ACCOUNT}\"\ncredentials_endpoint = \"{base}\"\n", self.google())
    }

    /// The lines of credentials.toml that make the fake of Entra the issuer.
    pub fn azure(&self) -> String {
        format!(
            "issuer = \"azure-federated\"\nauthority = \"https://localhost:{}\"\ntenant = \"{TENANT}\"\nroots = [\"ca.pem\"]\n\
             client_id = \"{APPLICATION}\"\nscope = \"https://storage.azure.com/.default\"\n",
            self.server.address.port()
        )
    }

    /// From now on whatever ends so is answered so.
    pub fn set_broken(&self, path: &'static str, status: u16, body: &str) {
        self.state.lock().unwrap().broken = Some((path, status, body.to_owned()));
    }

    /// What was granted, in order.
    pub fn granted(&self) -> Vec<Exchange> {
        self.state.lock().unwrap().granted.clone()
    }

    /// Why what was refused was refused.
    pub fn refusals(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().refusals.clone()
    }
}

async fn answer(request: Request<Incoming>, issuer: String, state: Arc<Mutex<State>>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path().to_owned();
    if let Some((end, status, body)) = state.lock().unwrap().broken.clone()
        && path.ends_with(end)
    {
        return bodies::answer(status, "application/json", Body::whole(body));
    }
    let answered = match (head.method.as_str(), &*path) {
        ("POST", "/v1/token") => google(&form(&body), &issuer),
        ("POST", path) if *path == format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken") => {
            let granted = state.lock().unwrap().granted.clone();
            stands_for(&head.headers, &body, &granted)
        }
        ("POST", path) if *path == format!("/{TENANT}/oauth2/v2.0/token") => entra(&form(&body), &issuer),
        _ => Err("no such path"),
    };
    let mut state = state.lock().unwrap();
    match answered {
        Ok((exchange, answer)) => {
            state.granted.push(exchange);
            bodies::json(200, &answer)
        }
        Err(reason) => {
            state.refusals.push(reason);
            bodies::json(400, &json!({"error": "invalid_grant", "error_description": format!("sesame: {reason}")}))
        }
    }
}

type Answered = Result<(Exchange, Value), &'static str>;

/// The Security Token Service: RFC 8693 as Google spells it.
fn google(form: &HashMap<String, String>, issuer: &str) -> Answered {
    let is = |name: &str, value: &str| form.get(name).is_some_and(|own| own == value);
    if !is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        || !is("audience", &format!("//iam.googleapis.com/{PROVIDER}"))
        || !is("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        || !is("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        || form.len() != 6
    {
        return Err("not the form of an exchange");
    }
    let shown = verified(issuer, &form["subject_token"], &format!("https://iam.googleapis.com/{PROVIDER}"))?;
    if !shown.1["sub"].as_str().is_some_and(|subject| subject.starts_with(&format!("{AGENT}/worker/"))) {
        return Err("not a subject of the pool");
    }
    let access = drawn("ya29.d.");
    let answer = json!({
        "access_token": access, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer", "expires_in": 3599,
    });
    Ok((Exchange { form: form.clone(), shown, access }, answer))
}

/// `generateAccessToken` of the IAM credentials API.
fn stands_for(headers: &HeaderMap, body: &[u8], granted: &[Exchange]) -> Answered {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let federated =
        granted.iter().find(|one| format!("Bearer {}", one.access) == bearer).ok_or("no federated access")?;
    let scopes = federated.form["scope"].split(' ').collect::<Vec<_>>();
    if scopes != ["https://www.googleapis.com/auth/iam"] {
        return Err("not the scope for IAM, or more");
    }
    let asked: Value = serde_json::from_slice(body).map_err(|_| "no JSON")?;
    let seconds =
        asked["lifetime"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok()).ok_or("no lifetime")?;
    let form = ["scope", "lifetime"].map(|name| (name.to_owned(), asked[name].to_string()));
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let access = drawn("ya29.c.");
    let answer = json!({"accessToken": access, "expireTime": until.to_string()});
    Ok((Exchange { form: form.into(), shown: federated.shown.clone(), access }, answer))
}

/// Client credentials with a federated credential, which has one subject.
fn entra(form: &HashMap<String, String>, issuer: &str) -> Answered {
    let is = |name: &str, value: &str| form.get(name).is_some_and(|own| own == value);
    if !is("grant_type", "client_credentials")
        || !is("client_id", APPLICATION)
        || !is("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        || form.len() != 5
    {
        return Err("not the form of a client");
    }
    let shown = verified(issuer, &form["client_assertion"], "api://AzureADTokenExchange")?;
    if shown.0["alg"] != "RS256" || shown.1["sub"] != AGENT {
        return Err("no matching federated identity record");
    }
    let access = drawn("eyJ0eXAi.");
    let answer = json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": access});
    Ok((Exchange { form: form.clone(), shown, access }, answer))
}

fn drawn(prefix: &str) -> String {
    let mut random = [0; 60];
    rand::fill(&mut random).unwrap();
    let drawn = format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    real_credential(&drawn);
    drawn
}

fn form(body: &[u8]) -> HashMap<String, String> {
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let fields = std::str::from_utf8(body).unwrap().split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (decoded(name), decoded(value))).collect()
}
