//! An OAuth 2.0 authorization server, as the issuers see it that ask one: token endpoint, client authentication, revocation
//! (RFC 7009).
//!
//! Enters: who the broker is there; a form that says by what right; the server's answers, taken as hostile. Leaves: an access
//! token with its times. A client's secret or key is read for each exchange; the secret goes to the two endpoints and nowhere
//! else, the key nowhere. Of an error only a code that the standards name is repeated: the server's own words might hold
//! what it was sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::{ClientProof, OAuthClient, Wanted};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;

use super::{IssueError, Issued, MAX_LIFETIME, Revocation, ask, client_assertion};
use crate::form::{Form, basic};
use crate::outbound::{Answer, Endpoint, Message, Outbound};
use crate::secret::Secret;
use crate::source::{self, Environment};

/// The life of a token whose `expires_in` is absent. RFC 6749 §5.1 leaves it open; a short guess costs a fetch, a long
/// one fails calls.
pub(crate) const ASSUMED_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Large JWTs are 8 KiB; what does not fit into a request's head is no use.
pub(super) const MAX_ACCESS_TOKEN: usize = 16 * 1024;
/// The codes of RFC 6749 §5.2, RFC 7009 §2.2.1 and RFC 8707 §2, and two that are in wide use.
const CODES: [&str; 10] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "unsupported_token_type",
    "server_error",
    "temporarily_unavailable",
];

/// What may be issued in exchange (RFC 8693 §3). A refresh token, for one, would outlive its worker.
const ACCESS_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];

pub(crate) struct AuthorizationServer {
    pub(crate) token_endpoint: Endpoint,
    pub(crate) revocation_endpoint: Option<Endpoint>,
    pub(crate) client: Option<OAuthClient>,
    pub(crate) outbound: Outbound,
    pub(crate) environment: Arc<Environment>,
}

impl AuthorizationServer {
    /// Asks for an access token for what is wanted, by the right that the form shows.
    pub(crate) async fn grant(&self, form: Form, wanted: &Wanted) -> Result<Issued, IssueError> {
        let form = wanted.resource.iter().fold(form, |form, resource| form.with("resource", resource));
        let form =
            form.with_option("scope", wanted.scope.as_deref()).with_option("audience", wanted.audience.as_deref());
        let asked = SystemTime::now();
        let answer = self.post(&self.token_endpoint, form).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&self.token_endpoint, &answer));
        }
        issued(&answer.body, asked)
            .map_err(|reason| IssueError::Answer { endpoint: self.token_endpoint.to_string(), reason })
    }

    pub(crate) async fn revoke(&self, credential: &Secret) -> Result<Revocation, IssueError> {
        let Some(endpoint) = &self.revocation_endpoint else {
            return Ok(Revocation::Impossible("its issuer has no revocation endpoint"));
        };
        let form = Form::default().with("token", credential.expose()).with("token_type_hint", "access_token");
        let answer = self.post(endpoint, form).await?;
        match (answer.status, code(&answer.body)) {
            (StatusCode::OK | StatusCode::NO_CONTENT, _) => Ok(Revocation::Revoked),
            (_, "unsupported_token_type") => Ok(Revocation::Impossible("its issuer does not revoke access tokens")),
            _ => Err(self.refused(endpoint, &answer)),
        }
    }

    pub(crate) fn revocation(&self) -> Option<String> {
        let client = self.client.as_ref().map_or("none", |client| &client.id);
        self.revocation_endpoint.as_ref().map(|endpoint| format!("RFC 7009, {endpoint}, client {client}"))
    }

    async fn post(&self, endpoint: &Endpoint, form: Form) -> Result<Answer, IssueError> {
        let (authorization, body) = self.authenticate(form).await?;
        ask(&self.outbound, endpoint, Message::form(body).authorized(authorization)).await
    }

    /// Shows the server that it is the client who asks.
    async fn authenticate(&self, form: Form) -> Result<(Option<HeaderValue>, Bytes), IssueError> {
        let Some(OAuthClient { id, proof }) = &self.client else { return Ok((None, form.into_body())) };
        match proof {
            ClientProof::None => Ok((None, form.with("client_id", id).into_body())),
            ClientProof::Basic(secret) => {
                let secret = source::read(secret, &self.environment).await?;
                match basic(id, secret.expose()) {
                    Some(header) => Ok((Some(header), form.into_body())),
                    None => Err(IssueError::Unfit("the client's id and secret do not fit into a header")),
                }
            }
            ClientProof::Post(secret) => {
                let secret = source::read(secret, &self.environment).await?;
                let form = form.with("client_id", id).with("client_secret", secret.expose());
                Ok((None, form.into_body()))
            }
            ClientProof::PrivateKey { key, key_id, audience } => {
                let key = source::read(key, &self.environment).await?;
                let unsaid = self.token_endpoint.to_string();
                let audience = audience.as_deref().unwrap_or(&unsaid);
                let assertion = client_assertion::sign(key, key_id.as_deref(), id, audience, SystemTime::now())?;
                let form = form
                    .with("client_id", id)
                    .with("client_assertion_type", client_assertion::TYPE)
                    .with("client_assertion", assertion.expose());
                Ok((None, form.into_body()))
            }
        }
    }

    fn refused(&self, endpoint: &Endpoint, answer: &Answer) -> IssueError {
        let endpoint = endpoint.to_string();
        IssueError::Refused { endpoint, status: answer.status.as_u16(), code: code(&answer.body) }
    }
}

/// The fields of RFC 6749 §5.1 that matter here. A field that comes twice is an error; unknown ones are ignored, as §5.1 says.
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
    /// RFC 8693 §2.2.1.
    issued_token_type: Option<String>,
}

/// Some servers send the number as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

/// Reads a token endpoint's answer to what was `asked` at that time. Total: whatever the bytes are.
fn issued(body: &[u8], asked: SystemTime) -> Result<Issued, &'static str> {
    let granted: Granted = serde_json::from_slice(body).map_err(|_| "it is not the JSON of RFC 6749 §5.1")?;
    let secret = Secret::new(granted.access_token.ok_or("it has no `access_token`")?);
    if !granted.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("its `token_type` is not Bearer");
    }
    if granted.issued_token_type.is_some_and(|kind| !ACCESS_TYPES.contains(&kind.as_str())) {
        return Err("its `issued_token_type` is neither an access token nor a JWT");
    }
    if !(1..=MAX_ACCESS_TOKEN).contains(&secret.expose().len()) {
        return Err("its `access_token` is empty or longer than 16 KiB");
    }
    if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its `access_token` has characters that no header takes");
    }
    let lifetime = match granted.expires_in {
        None => ASSUMED_LIFETIME,
        Some(Seconds::Number(seconds)) => lifetime(seconds)?,
        Some(Seconds::Text(text)) => lifetime(text.parse().map_err(|_| NOT_A_LIFETIME)?)?,
    };
    Ok(Issued { secret, receipt: None, expires: Some(asked + lifetime), refresh: asked + lifetime * 4 / 5 })
}

const NOT_A_LIFETIME: &str = "its `expires_in` is not a positive number of seconds";

fn lifetime(seconds: f64) -> Result<Duration, &'static str> {
    match seconds.is_finite() && seconds > 0.0 {
        true => Ok(Duration::from_secs_f64(seconds.min(MAX_LIFETIME.as_secs_f64()))),
        false => Err(NOT_A_LIFETIME),
    }
}

/// The error code in an answer, when it is one that the standards name.
fn code(body: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    struct Failed {
        error: String,
    }
    let failed = serde_json::from_slice::<Failed>(body).map(|failed| failed.error).unwrap_or_default();
    CODES.into_iter().find(|code| **code == failed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(answer: &serde_json::Value) -> Result<Issued, &'static str> {
        issued(answer.to_string().as_bytes(), SystemTime::UNIX_EPOCH)
    }

    fn seconds(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_token_is_due_at_four_fifths_of_its_life() {
        for expires_in in [json!(100), json!("100"), json!(100.0)] {
            let issued =
                read(&json!({"access_token": "a.b~c", "token_type": "bEARER", "expires_in": expires_in})).unwrap();
            assert_eq!((issued.expires, issued.refresh), (Some(seconds(100.0)), seconds(80.0)));
        }
        let issued = read(&json!({"access_token": "a", "token_type": "Bearer", "x": [1]})).unwrap();
        assert_eq!((issued.expires, issued.refresh), (Some(seconds(300.0)), seconds(240.0)));
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_refused() {
        let with = |field: &str, value: serde_json::Value| {
            let mut answer = json!({"access_token": "a", "token_type": "Bearer", "expires_in": 100});
            answer[field] = value;
            read(&answer)
        };
        for bad in
            [json!(null), json!(""), json!("a b"), json!("a\r\nx: y"), json!("ä"), json!("a".repeat(16 * 1024 + 1))]
        {
            assert!(with("access_token", bad.clone()).is_err(), "{bad}");
        }
        for bad in [json!(0), json!(-1), json!("soon"), json!("NaN"), json!("inf"), json!([])] {
            assert!(with("expires_in", bad.clone()).is_err(), "{bad}");
        }
        for bad in [json!(null), json!("mac"), json!("DPoP"), json!("N_A")] {
            assert!(with("token_type", bad.clone()).is_err(), "{bad}");
        }
        for bad in [json!("urn:ietf:params:oauth:token-type:refresh_token"), json!("access_token"), json!("")] {
            assert!(with("issued_token_type", bad.clone()).is_err(), "{bad}");
        }
        assert!(with("issued_token_type", json!(ACCESS_TYPES[1])).is_ok());
        assert!(with("expires_in", json!(1e300)).unwrap().expires.unwrap() <= seconds(MAX_LIFETIME.as_secs_f64()));
        let twice = br#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#;
        assert!(issued(twice, SystemTime::UNIX_EPOCH).is_err());
    }

    #[test]
    fn only_a_known_code_is_repeated() {
        assert_eq!(
            code(br#"{"error":"invalid_client","error_description":"your secret is hunter2"}"#),
            "invalid_client"
        );
        for body in [&br#"{"error":"hunter2"}"#[..], b"<html>", b"", b"{}", br#"{"error":1}"#] {
            assert_eq!(code(body), "");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = issued(&body, SystemTime::now());
            prop_assert!(code(&body).is_empty() || CODES.contains(&code(&body)));
        }

        #[test]
        fn what_is_accepted_fits_a_header_and_is_due_before_it_ends(
            access in ".{0,40}", kind in "[Bb]earer|mac|", expires in proptest::num::f64::ANY,
        ) {
            let answer = json!({"access_token": access, "token_type": kind, "expires_in": expires});
            if let Ok(issued) = read(&answer) {
                prop_assert!(HeaderValue::from_str(issued.secret.expose()).is_ok());
                prop_assert!(issued.expires.is_some_and(|expires| issued.refresh <= expires));
            }
        }
    }
}
