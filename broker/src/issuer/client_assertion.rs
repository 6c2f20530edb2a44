//! How a client shows that it has a key: an assertion that it signs (`private_key_jwt`, RFC 7523 §2.2).
//!
//! Enters: the key's PEM, the client, the server. Leaves: a JWT for that server alone, good for a minute and, by its `jti`, once.
//! The key goes nowhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use uuid::Uuid;

use super::IssueError;
use crate::identity::SigningKey;
use crate::secret::Secret;

/// The `client_assertion_type` of a JWT.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// It is used at once; clocks differ.
const LIFETIME: Duration = Duration::from_secs(60);

/// RFC 7523 §3: the client is both who says so and of whom it is said.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
    iat: u64,
    jti: String,
}

/// Signs that it is `client` who asks the server that goes by `audience`. A key that the server knows by no id must not have one:
/// servers look for the id that they are told.
pub(super) fn sign(
    key: Secret,
    key_id: Option<&str>,
    client: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Secret, IssueError> {
    let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let exp = iat + LIFETIME.as_secs();
    let claims = Claims { iss: client, sub: client, aud: audience, exp, iat, jti: Uuid::new_v4().to_string() };
    let key = SigningKey::from_pem(key).map_err(IssueError::ClientKey)?;
    key.sign(&claims, key_id).map_err(IssueError::ClientKey)
}
