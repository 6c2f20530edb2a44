//! Who a worker is, in a form that others can check: a JWT that the broker signs.
//!
//! Enters: agent, worker, audience, the time. Leaves: a JWT (RFC 7519) whose `sub` is a SPIFFE ID,
//! `spiffe://TRUST-DOMAIN/agent/NAME/worker/UUID`, good for one audience and at most five minutes, and the public halves of
//! the keys as a JWK set (RFC 7517) with a discovery document beside it. The private halves leave the broker's memory for
//! its own file at most.
//!
//! In reading order: `key`, one key; `ring`, which of them signs when; `key_file`, where they are kept; `signer`, who signs.

mod key;
mod key_file;
mod ring;
mod signer;

use std::time::{Duration, SystemTime};

pub use config::TrustDomain;
use jsonwebtoken::jwk::{JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};

pub(crate) use self::key::SigningKey;
pub(crate) use self::signer::{Signer, keep};
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

/// Checks a worker's JWT as a relying party does: by the key its `kid` names, its times, its issuer and its audience.
pub fn verify(jwt: &str, keys: &JwkSet, issuer: &str, audience: &str) -> Result<Claims, SigningError> {
    let kid = jsonwebtoken::decode_header(jwt)?.kid.unwrap_or_default();
    let jwk = keys.find(&kid).ok_or(SigningError::UnknownKey)?;
    // The key says what it signs; a header could say anything.
    let mut validation = Validation::new(match jwk.common.key_algorithm {
        Some(KeyAlgorithm::ES256) => Algorithm::ES256,
        Some(KeyAlgorithm::RS256) => Algorithm::RS256,
        _ => return Err(SigningError::UnknownKey),
    });
    validation.set_audience(&[audience]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    Ok(jsonwebtoken::decode(jwt, &DecodingKey::from_jwk(jwk)?, &validation)?.claims)
}

/// A key that could not be made or read, an identity that could not be signed, or one that does not verify.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The crypto library gave no key.
    #[error("cannot make a key")]
    Key,
    /// No private key in PEM.
    #[error("it is not a private key in PEM, or it is encrypted")]
    NotAKey,
    /// A key of another kind.
    #[error("it is neither a P-256 key nor an RSA key of 2048 to 8192 bits")]
    Unfit,
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

    use config::{Audience, SigningAlgorithm, WorkerId};

    const ISSUER: &str = "https://broker.example";
    const AUDIENCE: &str = "https://api.example";

    fn signer() -> Signer {
        Signer::generate(ISSUER.to_owned(), TrustDomain::default()).unwrap()
    }

    fn identity(signer: &Signer, now: SystemTime) -> Identity {
        let audience = Audience { name: AUDIENCE.to_owned(), algorithm: None };
        signer.identity(&"bot".parse().unwrap(), &WorkerId::generate(), &audience, now).unwrap()
    }

    #[test]
    fn an_identity_verifies_for_its_audience_for_five_minutes_at_most() {
        let signer = signer();
        let identity = identity(&signer, SystemTime::now());
        let claims = verify(identity.jwt.expose(), &signer.keys(), ISSUER, AUDIENCE).unwrap();
        assert!(claims.exp - claims.iat <= 300);
        assert_eq!(claims.sub, identity.subject);
        assert!(claims.sub.starts_with("spiffe://exeat/agent/bot/worker/"));
        assert_eq!(claims.act.sub, "spiffe://exeat/broker");
        assert!(verify(identity.jwt.expose(), &signer.keys(), ISSUER, "https://other.example").is_err());
        assert!(verify(identity.jwt.expose(), &signer.keys(), "https://other", AUDIENCE).is_err());
    }

    #[test]
    fn neither_an_expired_one_nor_one_of_another_key_verifies() {
        let (ours, theirs) = (signer(), signer());
        let old = identity(&ours, SystemTime::now() - Duration::from_secs(600));
        assert!(verify(old.jwt.expose(), &ours.keys(), ISSUER, AUDIENCE).is_err());
        let forged = identity(&theirs, SystemTime::now());
        assert!(matches!(verify(forged.jwt.expose(), &ours.keys(), ISSUER, AUDIENCE), Err(SigningError::UnknownKey)));
    }

    #[test]
    fn the_published_keys_have_no_private_part() {
        for (algorithm, fields) in [
            (SigningAlgorithm::Es256, &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
            (SigningAlgorithm::Rs256, &["alg", "e", "kid", "kty", "n", "use"]),
        ] {
            let published = serde_json::to_value(SigningKey::generate(algorithm).unwrap().public()).unwrap();
            let mut names: Vec<_> = published.as_object().unwrap().keys().cloned().collect();
            names.sort();
            assert_eq!(names, fields);
        }
    }
}
