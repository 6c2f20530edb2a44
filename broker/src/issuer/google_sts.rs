//! Google, which takes the worker's identity by workload identity federation.
//!
//! Enters: the worker. Leaves: an access token for the pool's identity, which is the worker at Google; or, where it may stand for a
//! service account, one for that, for as long as is asked for. What the worker itself gets at Google goes no further then.

use std::time::{Duration, SystemTime};

use config::ServiceAccount;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::token_exchange::TokenExchange;
use super::{IssueError, Issued, ask, dated};
use crate::form::bearer;
use crate::holder::Holder;
use crate::outbound::{Endpoint, Message};
use crate::secret::Secret;

/// For both steps: below the 20 s that a call waits for its lease.
const ISSUE: Duration = Duration::from_secs(18);
/// Why the ledger keeps it until it runs out.
pub(crate) const FEDERATED: &str = "Google revokes no access that was got by federation; it runs out by itself";

pub(crate) struct GoogleSts {
    pub(crate) exchange: TokenExchange,
    pub(crate) account: Option<Account>,
}

/// A service account, and where its access tokens are made.
pub(crate) struct Account {
    pub(crate) settings: ServiceAccount,
    pub(crate) endpoint: Endpoint,
}

/// What of the account is wanted.
#[derive(Serialize)]
struct Wanted<'a> {
    scope: &'a [String],
    lifetime: String,
}

impl GoogleSts {
    pub(crate) async fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        let both = async {
            let federated = self.exchange.issue(holder).await?;
            match &self.account {
                None => Ok(federated),
                Some(account) => self.stand_for(account, &federated.secret).await,
            }
        };
        let endpoint = || self.exchange.server.token_endpoint.to_string();
        let too_slow = || IssueError::TooSlow { endpoint: endpoint(), seconds: ISSUE.as_secs() };
        timeout(ISSUE, both).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Asks for the account's access by that of the pool's identity.
    async fn stand_for(&self, account: &Account, federated: &Secret) -> Result<Issued, IssueError> {
        let Account { settings: ServiceAccount { scope, lifetime, .. }, endpoint } = account;
        let bearer = bearer(federated).ok_or(IssueError::Unfit("the access does not fit into a header"))?;
        let wanted = Wanted { scope, lifetime: format!("{}s", lifetime.as_secs()) };
        // Texts are always JSON.
        let wanted = serde_json::to_vec(&wanted).unwrap_or_default();
        let message = Message::new(Method::POST).with_body("application/json", wanted.into()).authorized(Some(bearer));
        let asked = SystemTime::now();
        let answer = ask(&self.exchange.server.outbound, endpoint, message).await?;
        if answer.status != StatusCode::OK {
            let (endpoint, status) = (endpoint.to_string(), answer.status.as_u16());
            return Err(IssueError::Refused { endpoint, status, code: why_not(answer.status) });
        }
        read(&answer.body, asked, *lifetime)
            .map_err(|reason| IssueError::Answer { endpoint: endpoint.to_string(), reason })
    }
}

/// What a status means there, in our words.
fn why_not(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "(the scope, or a lifetime that the organisation's policy does not allow)",
        403 => "(the pool's identity may not stand for the service account, or the API is not enabled)",
        404 => "(there is no such service account)",
        _ => "",
    }
}

/// The fields of `generateAccessToken`'s answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: Option<String>,
    expire_time: Option<String>,
}

/// Reads what was `asked` for at that time, for `lifetime`.
fn read(body: &[u8], asked: SystemTime, lifetime: Duration) -> Result<Issued, &'static str> {
    let generated: Generated = serde_json::from_slice(body).map_err(|_| "it is not the JSON of an access token")?;
    let access = Secret::new(generated.access_token.ok_or("it has no `accessToken`")?);
    dated::issued(access, &generated.expire_time.ok_or("it has no `expireTime`")?, asked, lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUARTER: Duration = Duration::from_secs(900);

    #[test]
    fn it_lives_no_longer_than_was_asked_for_and_is_whole_or_refused() {
        let asked = SystemTime::UNIX_EPOCH;
        let read = |text: &str| read(text.as_bytes(), asked, QUARTER);
        let issued = read(r#"{"accessToken": "ya29.x", "expireTime": "1970-01-01T01:00:00Z"}"#).unwrap();
        assert_eq!((issued.secret.expose(), issued.expires), ("ya29.x", Some(asked + QUARTER)));
        for bad in [
            r#"{"accessToken": "ya29.x"}"#,
            r#"{"expireTime": "1970-01-01T01:00:00Z"}"#,
            r#"{"access_token": "ya29.x", "expireTime": "1970-01-01T01:00:00Z"}"#,
            r#"{"accessToken": "a", "accessToken": "b", "expireTime": "1970-01-01T01:00:00Z"}"#,
            "[]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&body, SystemTime::now(), QUARTER).is_err());
        }
    }
}
