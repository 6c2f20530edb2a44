//! Who a worker is, in a form that others can check: a JWT signed with a key that lives as long as the broker.
//!
//! Enters: agent, worker, audience, the time. Leaves: an ES256 JWT (RFC 7519) whose `sub` is a SPIFFE ID,
//! `spiffe://TRUST-DOMAIN/agent/NAME/worker/UUID`, good for one audience and at most five minutes, and the public half of
//! the key as a JWK set (RFC 7517) with a discovery document beside it. The private key is made at start, is never
//! written anywhere and leaves in no form.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use config::{AgentId, WorkerId};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::secret::Secret;

/// The life of an identity: long enough for an exchange with some clock skew, too short to be worth keeping.
pub const IDENTITY_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// A worker's identity for one audience.
#[derive(Debug)]
pub struct Identity {
    /// The SPIFFE ID, the JWT's `sub`. Not secret.
    pub subject: String,
    /// The signed JWT: whoever holds it is the worker, to its audience, until it expires.
    pub jwt: Secret,
    /// When it ends.
    pub expires: SystemTime,
}

/// The trust domain of the SPIFFE IDs that a broker issues. Default: `exeat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The SPIFFE ID of a worker.
    pub fn worker(&self, agent: &AgentId, worker: &WorkerId) -> String {
        format!("spiffe://{self}/agent/{agent}/worker/{worker}")
    }

    /// The SPIFFE ID of the broker itself.
    pub fn broker(&self) -> String {
        format!("spiffe://{self}/broker")
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        TrustDomain("exeat".to_owned())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = NotATrustDomain;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        match (1..=255).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(TrustDomain(text.to_owned())),
            false => Err(NotATrustDomain(text.to_owned())),
        }
    }
}

/// A text that is no SPIFFE trust domain.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a trust domain: 1 to 255 of a-z, 0-9, `.`, `-`, `_`")]
pub struct NotATrustDomain(String);

/// The claims of a worker's JWT.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The broker's issuer URL.
    pub iss: String,
    /// The worker's SPIFFE ID.
    pub sub: String,
    /// The one party that it is for.
    pub aud: String,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// When it was made.
    pub iat: u64,
    /// From when it is good.
    pub nbf: u64,
    /// Its own random name.
    pub jti: String,
    /// Who acts for the subject (RFC 8693 §4.1).
    pub act: Actor,
}

/// The `act` claim.
#[derive(Debug, Serialize, Deserialize)]
pub struct Actor {
    /// The broker's SPIFFE ID.
    pub sub: String,
}

/// The discovery document, with the fields that verifiers ask for.
#[derive(Debug, Serialize)]
pub(crate) struct Discovery {
    issuer: String,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    claims_supported: [&'static str; 8],
}

/// The key and the names that go with it.
pub(crate) struct Signer {
    issuer: String,
    domain: TrustDomain,
    key: EncodingKey,
    header: Header,
    keys: JwkSet,
}

impl Signer {
    /// Makes a fresh P-256 key. Its `kid` is the key's RFC 7638 thumbprint.
    pub(crate) fn generate(issuer: String, domain: TrustDomain) -> Result<Signer, SigningError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError::Key)?;
        let der = pair.to_pkcs8v1().map_err(|_| SigningError::Key)?;
        let key = EncodingKey::from_ec_der(der.as_ref());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::ES256) };
        Ok(Signer { issuer, domain, key, header, keys: JwkSet { keys: vec![jwk] } })
    }

    /// Signs who `worker` is, for `audience`.
    pub(crate) fn identity(
        &self,
        agent: &AgentId,
        worker: &WorkerId,
        audience: &str,
        now: SystemTime,
    ) -> Result<Identity, SigningError> {
        let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: self.domain.worker(agent, worker),
            aud: audience.to_owned(),
            exp: iat + IDENTITY_LIFETIME.as_secs(),
            iat,
            nbf: iat,
            jti: Uuid::new_v4().to_string(),
            act: Actor { sub: self.domain.broker() },
        };
        let jwt = Secret::new(jsonwebtoken::encode(&self.header, &claims, &self.key)?);
        Ok(Identity { subject: claims.sub, jwt, expires: UNIX_EPOCH + Duration::from_secs(claims.exp) })
    }

    /// The public key.
    pub(crate) fn keys(&self) -> &JwkSet {
        &self.keys
    }

    /// Where verifiers look first.
    pub(crate) fn discovery(&self) -> Discovery {
        Discovery {
            issuer: self.issuer.clone(),
            jwks_uri: format!("{}/.well-known/jwks.json", self.issuer),
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["ES256"],
            claims_supported: ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "act"],
        }
    }
}

/// Checks a worker's JWT as a relying party does: by the key its `kid` names, its times, its issuer and its audience.
pub fn verify(jwt: &str, keys: &JwkSet, issuer: &str, audience: &str) -> Result<Claims, SigningError> {
    let kid = jsonwebtoken::decode_header(jwt)?.kid.unwrap_or_default();
    let jwk = keys.find(&kid).ok_or(SigningError::UnknownKey)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    Ok(jsonwebtoken::decode(jwt, &DecodingKey::from_jwk(jwk)?, &validation)?.claims)
}

/// A key that could not be made, an identity that could not be signed, or one that does not verify.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The crypto library gave no key.
    #[error("cannot make a P-256 key")]
    Key,
    /// The `kid` is in no key of the set.
    #[error("the JWT is signed by a key that the set does not have")]
    UnknownKey,
    /// Not well-formed, not signed by that key, expired, or for someone else.
    #[error("cannot sign or verify the JWT")]
    Jwt(#[from] jsonwebtoken::errors::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://broker.example";

    fn signer() -> Signer {
        Signer::generate(ISSUER.to_owned(), TrustDomain::default()).unwrap()
    }

    fn identity(signer: &Signer, now: SystemTime) -> Identity {
        signer.identity(&"bot".parse().unwrap(), &WorkerId::generate(), "https://api.example", now).unwrap()
    }

    #[test]
    fn an_identity_verifies_for_its_audience_for_five_minutes_at_most() {
        let signer = signer();
        let identity = identity(&signer, SystemTime::now());
        let claims = verify(identity.jwt.expose(), signer.keys(), ISSUER, "https://api.example").unwrap();
        assert!(claims.exp - claims.iat <= 300);
        assert_eq!(claims.sub, identity.subject);
        assert!(claims.sub.starts_with("spiffe://exeat/agent/bot/worker/"));
        assert_eq!(claims.act.sub, "spiffe://exeat/broker");
        assert!(verify(identity.jwt.expose(), signer.keys(), ISSUER, "https://other.example").is_err());
        assert!(verify(identity.jwt.expose(), signer.keys(), "https://other", "https://api.example").is_err());
    }

    #[test]
    fn neither_an_expired_one_nor_one_of_another_key_verifies() {
        let (ours, theirs) = (signer(), signer());
        let old = identity(&ours, SystemTime::now() - Duration::from_secs(600));
        assert!(verify(old.jwt.expose(), ours.keys(), ISSUER, "https://api.example").is_err());
        let forged = identity(&theirs, SystemTime::now());
        assert!(matches!(
            verify(forged.jwt.expose(), ours.keys(), ISSUER, "https://api.example"),
            Err(SigningError::UnknownKey)
        ));
    }

    #[test]
    fn the_published_key_has_no_private_part() {
        let published = serde_json::to_value(signer().keys()).unwrap();
        let mut names: Vec<_> = published["keys"][0].as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }

    #[test]
    fn trust_domains() {
        assert!("prod.acme-1".parse::<TrustDomain>().is_ok());
        for bad in ["", "Acme", "a/b", "a b", "ä"] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }
}
