//! A GitHub App: an installation access token for a worker, for no more repositories and permissions than are listed.
//!
//! Enters: which app, which installation, what is asked for; the API's answers, taken as hostile. Leaves: an access token with its end,
//! and its revocation by itself. The app's key is read for each request and goes nowhere. Of an error only its status is repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use config::{Access, GitHubApp, SigningAlgorithm};
use http::header::{ACCEPT, HeaderName, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::{IssueError, Issued, Revocation, ask, dated};
use crate::form::bearer;
use crate::identity::SigningKey;
use crate::outbound::{Answer, Endpoint, Message, Outbound};
use crate::secret::Secret;
use crate::source::{self, Environment};

/// GitHub refuses what was signed in its future; this is by how much it asks clients to be early.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// It is used at once. GitHub takes 10 min from its own clock, so ours may be five ahead or behind.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long an installation access token lives.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// What every app has, asked for or not.
const ALWAYS: (&str, Access) = ("metadata", Access::Read);

const VERSION: HeaderName = HeaderName::from_static("x-github-api-version");

/// One installation, and the way to it.
pub(crate) struct Installation {
    pub(crate) app: GitHubApp,
    /// Where access tokens are made.
    pub(crate) making: Endpoint,
    /// Where one ends itself.
    pub(crate) own: Endpoint,
    pub(crate) outbound: Outbound,
    pub(crate) environment: Arc<Environment>,
}

/// Who asks: the app.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: u64,
    exp: u64,
}

/// For what.
#[derive(Serialize)]
struct Wanted<'a> {
    repositories: &'a [String],
    permissions: BTreeMap<&'a str, &'static str>,
}

impl Installation {
    /// The URLs of an installation, below an API's base: where its access tokens are made, and where one ends itself.
    pub(crate) fn urls(app: &GitHubApp) -> [String; 2] {
        let GitHubApp { api, installation, .. } = app;
        [format!("{api}/app/installations/{installation}/access_tokens"), format!("{api}/installation/token")]
    }

    pub(crate) async fn issue(&self) -> Result<Issued, IssueError> {
        let key = source::read(&self.app.key, &self.environment).await?;
        let asked = SystemTime::now();
        let assertion = assert(key, &self.app.app, asked)?;
        let message = message(Method::POST, &assertion)?.with_body("application/json", self.wanted());
        let answer = ask(&self.outbound, &self.making, message).await?;
        if answer.status != StatusCode::CREATED {
            return Err(refused(&self.making, &answer, why_not_made(answer.status)));
        }
        read(&answer.body, &self.app, asked)
            .map_err(|reason| IssueError::Answer { endpoint: self.making.to_string(), reason })
    }

    pub(crate) async fn revoke(&self, credential: &Secret) -> Result<Revocation, IssueError> {
        let answer = ask(&self.outbound, &self.own, message(Method::DELETE, credential)?).await?;
        match answer.status {
            // 401 is the answer to one that is over, as after an attempt whose answer was lost.
            StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED => Ok(Revocation::Revoked),
            _ => Err(refused(&self.own, &answer, "")),
        }
    }

    pub(crate) fn revocation(&self) -> String {
        format!("DELETE {}", self.own)
    }

    fn wanted(&self) -> Bytes {
        let permissions = self.app.permissions.iter().map(|(name, access)| (&**name, access.as_str())).collect();
        let wanted = Wanted { repositories: &self.app.repositories, permissions };
        // Maps with texts for keys are always JSON.
        serde_json::to_vec(&wanted).unwrap_or_default().into()
    }
}

/// Signs that it is the app who asks.
fn assert(key: Secret, app: &str, now: SystemTime) -> Result<Secret, IssueError> {
    let key = SigningKey::from_pem(key).map_err(IssueError::ClientKey)?;
    if key.algorithm() != SigningAlgorithm::Rs256 {
        return Err(IssueError::Unfit("the app's key is not an RSA key, and GitHub takes RS256 only"));
    }
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = Claims { iss: app, iat: seconds(now - CLOCKS_DIFFER), exp: seconds(now + ASSERTION_LIFETIME) };
    key.sign(&claims, None).map_err(IssueError::ClientKey)
}

/// A request as the REST API wants it, by the bearer of `access`.
fn message(method: Method, access: &Secret) -> Result<Message, IssueError> {
    let bearer = bearer(access).ok_or(IssueError::Unfit("the access does not fit into a header"))?;
    Ok(Message::new(method)
        .with(ACCEPT, HeaderValue::from_static("application/vnd.github+json"))
        .with(USER_AGENT, HeaderValue::from_static(concat!("exeat/", env!("CARGO_PKG_VERSION"))))
        .with(VERSION, HeaderValue::from_static("2022-11-28"))
        .authorized(Some(bearer)))
}

fn refused(endpoint: &Endpoint, answer: &Answer, code: &'static str) -> IssueError {
    IssueError::Refused { endpoint: endpoint.to_string(), status: answer.status.as_u16(), code }
}

/// What a status means there, in our words.
fn why_not_made(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "(the app's id and key do not go together, or this machine's clock is wrong)",
        403 => "(the installation is suspended, or asks too often)",
        404 => "(the app has no such installation)",
        422 => "(the installation does not have all of these repositories and permissions)",
        _ => "",
    }
}

/// The fields that matter here.
#[derive(Deserialize)]
struct Made {
    token: Option<String>,
    expires_at: Option<String>,
    repository_selection: Option<String>,
    permissions: Option<BTreeMap<String, String>>,
}

/// Reads what was made for what was `asked` at that time. One that is good for more than that is not taken.
fn read(body: &[u8], app: &GitHubApp, asked: SystemTime) -> Result<Issued, &'static str> {
    let made: Made = serde_json::from_slice(body).map_err(|_| "it is not the JSON of an installation access token")?;
    let access = Secret::new(made.token.ok_or("it has no `token`")?);
    if made.repository_selection.is_some_and(|selection| selection != "selected") {
        return Err("it is for more repositories than were asked for");
    }
    let asked_for = |(name, access): (String, String)| {
        let most = app.permissions.get(&name).copied().or((name == ALWAYS.0).then_some(ALWAYS.1));
        most.is_some_and(|most| access.parse::<Access>().is_ok_and(|access| access <= most))
    };
    if !made.permissions.unwrap_or_default().into_iter().all(asked_for) {
        return Err("it is for more permissions than were asked for");
    }
    dated::issued(access, &made.expires_at.ok_or("it has no `expires_at`")?, asked, LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Source;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn app() -> GitHubApp {
        GitHubApp {
            api: "https://api.github.com".to_owned(),
            app: "12345".to_owned(),
            installation: 678,
            key: Source::Env("KEY".to_owned()),
            repositories: vec!["website".to_owned()],
            permissions: BTreeMap::from([("contents".to_owned(), Access::Write)]),
            roots: Vec::new(),
        }
    }

    /// 2026-01-01T00:00:00Z
    fn asked() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn with(field: &str, value: Value) -> Result<Issued, &'static str> {
        let mut made = json!({
            "token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a", "expires_at": "2026-01-01T01:00:00Z",
            "permissions": {"contents": "write", "metadata": "read"}, "repository_selection": "selected",
            "repositories": [{"id": 1, "name": "website"}],
        });
        made[field] = value;
        read(made.to_string().as_bytes(), &app(), asked())
    }

    #[test]
    fn a_token_of_any_look_is_taken_for_an_hour() {
        for token in ["ghs_16C7e42F292c6912E7710c838347Ae178B4a", "x", "ghs_12345_eyJhbGciOi.J9.c2ln"] {
            let issued = with("token", json!(token)).unwrap();
            assert_eq!((issued.secret.expose(), issued.expires), (token, Some(asked() + LIFETIME)));
        }
        assert!(with("permissions", json!(null)).is_ok() && with("repository_selection", json!(null)).is_ok());
        assert!(with("permissions", json!({"contents": "read"})).is_ok());
    }

    #[test]
    fn what_is_missing_or_more_than_was_asked_for_is_refused() {
        for (field, bad) in [
            ("token", json!(null)),
            ("token", json!("")),
            ("token", json!(["x"])),
            ("expires_at", json!(null)),
            ("expires_at", json!(1_767_229_200)),
            ("repository_selection", json!("all")),
            ("permissions", json!({"contents": "admin"})),
            ("permissions", json!({"contents": "everything"})),
            ("permissions", json!({"contents": "write", "administration": "read"})),
            ("permissions", json!({"metadata": "write"})),
        ] {
            assert!(with(field, bad.clone()).is_err(), "{field} {bad}");
        }
        let twice = br#"{"token":"a","token":"b","expires_at":"2026-01-01T01:00:00Z"}"#;
        assert!(read(twice, &app(), asked()).is_err());
    }

    #[test]
    fn the_urls_are_below_the_base() {
        let urls = Installation::urls(&GitHubApp { api: "https://ghe.example/api/v3".to_owned(), ..app() });
        assert_eq!(
            urls,
            [
                "https://ghe.example/api/v3/app/installations/678/access_tokens",
                "https://ghe.example/api/v3/installation/token"
            ]
        );
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let refused = assert(Secret::new(key.pem().expose()), "1", asked());
        assert!(matches!(refused, Err(IssueError::Unfit(reason)) if reason.contains("RSA")));
        assert!(matches!(assert(Secret::new("no key"), "1", asked()), Err(IssueError::ClientKey(_))));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&body, &app(), asked()).is_err());
        }
    }
}
