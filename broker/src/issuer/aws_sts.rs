//! A session of a role at AWS, by who the worker is (`AssumeRoleWithWebIdentity`).
//!
//! Enters: the worker; the answer of STS, taken as hostile. Leaves: a key pair with its session, in the line of
//! [`KeyPair`](crate::KeyPair), and its times. No secret of ours has to be known there. Of an error only a code that AWS documents is
//! repeated.

use std::time::{Duration, SystemTime};

use config::AwsRole;
use http::header::ACCEPT;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;

use super::{IssueError, Issued, ask};
use crate::form::Form;
use crate::holder::Holder;
use crate::key_pair::KeyPair;
use crate::outbound::{Endpoint, Message, Outbound};
use crate::secret::Secret;
use crate::xml::Document;

/// Why the ledger keeps a session until it runs out.
pub(super) const SESSION: &str =
    "AWS takes no single session back, only all of a role at once (`aws:TokenIssueTime`); it runs out by itself";
/// What STS takes for a session's name.
const LONGEST_NAME: usize = 64;
/// Where the parts of a session are in the answer.
const CREDENTIALS: &str = "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/";
const CODE: &str = "ErrorResponse/Error/Code";
/// The codes of this action and those that all actions share, as the API reference has them.
const CODES: [&str; 15] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "InternalFailure",
    "InvalidAction",
    "InvalidIdentityToken",
    "InvalidParameterValue",
    "MalformedPolicyDocument",
    "PackedPolicyTooLarge",
    "RegionDisabledException",
    "ServiceUnavailable",
    "ThrottlingException",
    "ValidationError",
];

pub(crate) struct AwsSts {
    pub(crate) endpoint: Endpoint,
    pub(crate) outbound: Outbound,
    pub(crate) role: AwsRole,
}

impl AwsSts {
    pub(crate) async fn issue(&self, holder: &Holder) -> Result<Issued, IssueError> {
        let AwsRole { role, duration, session_policy, audience, .. } = &self.role;
        let asked = SystemTime::now();
        let identity = holder.identity_for(audience, asked).map_err(IssueError::Identity)?;
        let form = Form::default()
            .with("Action", "AssumeRoleWithWebIdentity")
            .with("Version", "2011-06-15")
            .with("RoleArn", role)
            .with("RoleSessionName", &session_name(holder.agent.as_str(), &holder.worker.to_string()))
            .with("DurationSeconds", &duration.as_secs().to_string())
            .with_option("Policy", session_policy.as_deref())
            .with("WebIdentityToken", identity.jwt.expose());
        let message = Message::form(form.into_body()).with(ACCEPT, HeaderValue::from_static("text/xml"));
        let endpoint = || self.endpoint.to_string();
        let answer = ask(&self.outbound, &self.endpoint, message).await?;
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            return Err(IssueError::Refused { endpoint: endpoint(), status, code: code(&answer.body) });
        }
        session(&answer.body, asked, *duration).map_err(|reason| IssueError::Answer { endpoint: endpoint(), reason })
    }
}

/// What AWS shows of who it was: the agent, as far as there is room for it, and the worker.
fn session_name(agent: &str, worker: &str) -> String {
    let room = LONGEST_NAME.saturating_sub(worker.len() + 1).min(agent.len());
    format!("{}@{worker}", agent.get(..room).unwrap_or_default())
}

/// Reads the answer to what was `asked` at that time. Total: whatever the bytes are.
fn session(body: &[u8], asked: SystemTime, duration: Duration) -> Result<Issued, &'static str> {
    let document = Document::read(body).map_err(|_| "it is not the XML that STS answers with")?;
    let part = |name: &str| document.only(&format!("{CREDENTIALS}{name}"));
    let (Some(id), Some(secret), Some(session)) = (part("AccessKeyId"), part("SecretAccessKey"), part("SessionToken"))
    else {
        return Err("it does not have one key pair with its session");
    };
    let secret: Secret = KeyPair::line(id, secret, session).ok_or("its key pair is none that could sign")?;
    let said = part("Expiration").and_then(|text| text.parse::<Timestamp>().ok());
    let expires = said.and_then(|said| SystemTime::try_from(said).ok());
    // By a clock that is ahead of ours it may seem to last longer than was asked for.
    let expires = expires.ok_or("it does not say when the session ends")?.min(asked + duration);
    let left =
        expires.duration_since(asked).map_err(|_| "its session has ended before it began; compare the clocks")?;
    Ok(Issued { secret, receipt: None, expires: Some(expires), refresh: asked + left * 4 / 5 })
}

/// The code in an answer, when it is one that AWS documents.
fn code(body: &[u8]) -> &'static str {
    let document = Document::read(body).unwrap_or_default();
    let said = document.only(CODE).unwrap_or_default();
    CODES.into_iter().find(|code| *code == said).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// As the API reference has it.
    fn answer(id: &str, secret: &str, session: &str, expiration: &str) -> String {
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
             <AssumeRoleWithWebIdentityResult>\n<SubjectFromWebIdentityToken>amzn1</SubjectFromWebIdentityToken>\n\
             <Audience>client@example.com</Audience>\n<AssumedRoleUser>\n<Arn>arn:aws:sts::123456789012:assumed-role/R/app1</Arn>\n\
             <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:app1</AssumedRoleId>\n</AssumedRoleUser>\n<Credentials>\n\
             <SessionToken>{session}</SessionToken>\n<SecretAccessKey>{secret}</SecretAccessKey>\n<Expiration>{expiration}</Expiration>\n\
             <AccessKeyId>{id}</AccessKeyId>\n</Credentials>\n<SourceIdentity>x</SourceIdentity>\n<Provider>www.example.com</Provider>\n\
             </AssumeRoleWithWebIdentityResult>\n<ResponseMetadata>\n<RequestId>ad4156e9</RequestId>\n</ResponseMetadata>\n\
             </AssumeRoleWithWebIdentityResponse>"
        )
    }

    fn read(answer: &str) -> Result<Issued, &'static str> {
        session(answer.as_bytes(), SystemTime::UNIX_EPOCH, HOUR)
    }

    fn seconds(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_is_a_pair_with_its_times() {
        let issued = read(&answer("ASIAEXAMPLE", "s/+=", "AQo/+==", "1970-01-01T00:15:00Z")).unwrap();
        assert_eq!(issued.secret.expose(), "ASIAEXAMPLE:s/+=:AQo/+==");
        assert_eq!((issued.expires, issued.refresh), (Some(seconds(900)), seconds(720)));
        assert!(issued.receipt.is_none());
        let late = read(&answer("ASIAEXAMPLE", "s", "t", "1970-01-01T02:00:00.5Z")).unwrap();
        assert_eq!(late.expires, Some(seconds(3600)), "no longer than was asked for");
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_refused() {
        let good = answer("ASIAEXAMPLE", "s", "t", "1970-01-01T00:15:00Z");
        assert!(read(&good).is_ok());
        for bad in [
            answer("", "s", "t", "1970-01-01T00:15:00Z"),
            answer("ASIA EXAMPLE", "s", "t", "1970-01-01T00:15:00Z"),
            answer("ASIAEXAMPLE", "s:x", "t", "1970-01-01T00:15:00Z"),
            answer("ASIAEXAMPLE", "s", "t\r\nx-more: 1", "1970-01-01T00:15:00Z"),
            answer("ASIAEXAMPLE", "s", "", "1970-01-01T00:15:00Z"),
            answer("ASIAEXAMPLE", "s", "t", "1969-12-31T23:59:59Z"),
            answer("ASIAEXAMPLE", "s", "t", "soon"),
            good.replace("</Credentials>", "</Credentials><Credentials><AccessKeyId>B</AccessKeyId></Credentials>"),
            good.replace("AssumeRoleWithWebIdentityResult", "GetCallerIdentityResult"),
            good.replace("<Credentials>", "<Credentials><!-- -->"),
            "{\"AccessKeyId\":\"a\"}".to_owned(),
            String::new(),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_documented_code_is_repeated() {
        let error = |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
        assert_eq!(code(error("InvalidIdentityToken").as_bytes()), "InvalidIdentityToken");
        for body in [error("hunter2"), "<html></html>".to_owned(), String::new()] {
            assert_eq!(code(body.as_bytes()), "");
        }
    }

    #[test]
    fn a_session_is_named_for_its_agent_and_worker() {
        let worker = "0192f0c1-2b3c-7d4e-8f50-617283940a1b";
        assert_eq!(session_name("bot", worker), format!("bot@{worker}"));
        let long = session_name(&"a".repeat(63), worker);
        assert_eq!((long.len(), long.ends_with(worker)), (LONGEST_NAME, true));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = session(&body, SystemTime::now(), HOUR);
            prop_assert!(code(&body).is_empty() || CODES.contains(&code(&body)));
        }
    }
}
