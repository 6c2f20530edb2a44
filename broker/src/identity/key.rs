//! A private key that signs JWTs, with the public half that verifiers find.
//!
//! Enters: a PEM file's text, or nothing for a fresh key. Leaves: signed JWTs and the JWK, whose `kid` is the RFC 7638
//! thumbprint, so that the same key has the same name wherever it is read. The private half leaves as PEM only, to be kept
//! in the broker's own file.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::SigningAlgorithm;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use zeroize::Zeroizing;

use super::SigningError;
use crate::secret::Secret;

/// RFC 7468 §2: lines of 64 characters.
const PEM_LINE: usize = 64;

/// A key that signs.
pub(crate) struct SigningKey {
    algorithm: SigningAlgorithm,
    pem: Secret,
    private: EncodingKey,
    public: Jwk,
}

impl SigningKey {
    /// Makes a fresh key. RSA takes a good part of a second.
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> Result<SigningKey, SigningError> {
        let der = match algorithm {
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError::Key)?;
                Zeroizing::new(pair.to_pkcs8v1().map_err(|_| SigningError::Key)?.as_ref().to_vec())
            }
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError::Key)?;
                Zeroizing::new(pair.as_der().map_err(|_| SigningError::Key)?.as_ref().to_vec())
            }
        };
        SigningKey::from_pem(pem(&der))
    }

    /// Reads a key: P-256 signs ES256, RSA of 2,048 to 8,192 bits signs RS256; PKCS #8, or the older form of either.
    pub(crate) fn from_pem(pem: Secret) -> Result<SigningKey, SigningError> {
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| SigningError::NotAKey)?;
        let der = Zeroizing::new(der);
        let (algorithm, private) = match &*der {
            PrivateKeyDer::Pkcs1(key) => (SigningAlgorithm::Rs256, EncodingKey::from_rsa_der(key.secret_pkcs1_der())),
            PrivateKeyDer::Sec1(key) => {
                let pair = EcdsaKeyPair::from_private_key_der(p256, key.secret_sec1_der());
                let whole = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok()).ok_or(SigningError::Unfit)?;
                (SigningAlgorithm::Es256, EncodingKey::from_ec_der(whole.as_ref()))
            }
            PrivateKeyDer::Pkcs8(key) if EcdsaKeyPair::from_pkcs8(p256, key.secret_pkcs8_der()).is_ok() => {
                (SigningAlgorithm::Es256, EncodingKey::from_ec_der(key.secret_pkcs8_der()))
            }
            _ => {
                let key = EncodingKey::from_rsa_pem(pem.expose().as_bytes()).map_err(|_| SigningError::Unfit)?;
                (SigningAlgorithm::Rs256, key)
            }
        };
        let mut public = Jwk::from_encoding_key(&private, name(algorithm)).map_err(|_| SigningError::Unfit)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(SigningKey { algorithm, pem, private, public })
    }

    /// What it signs.
    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The private half, for the broker's own file.
    pub(crate) fn pem(&self) -> &Secret {
        &self.pem
    }

    /// Its public half.
    pub(crate) fn public(&self) -> &Jwk {
        &self.public
    }

    /// What the key goes by where its public half is found.
    pub(crate) fn id(&self) -> Option<&str> {
        self.public.common.key_id.as_deref()
    }

    /// A JWT with these claims, signed. Its header names the key by `kid`, if at all.
    pub(crate) fn sign(&self, claims: &impl Serialize, kid: Option<&str>) -> Result<Secret, SigningError> {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(name(self.algorithm)) };
        Ok(Secret::new(jsonwebtoken::encode(&header, claims, &self.private)?))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, self.id().unwrap_or_default())
    }
}

/// The algorithm as jsonwebtoken names it.
fn name(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
    }
}

/// The key as PEM (RFC 7468 §10).
fn pem(pkcs8: &[u8]) -> Secret {
    let base64 = Zeroizing::new(STANDARD.encode(pkcs8));
    let mut pem = String::with_capacity(base64.len() + base64.len() / PEM_LINE + 64);
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(PEM_LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Secret::new(pem)
}
