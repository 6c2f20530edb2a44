//! One credential, and the head of a request it goes into.
//!
//! Enters: a head whose placeholders were all judged, and the secret leased for them. Leaves: the same head with the secret
//! in their places. Never: a secret in a head that would not parse as it was meant; one in a log, for header values with it
//! are marked sensitive.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use config::{CredentialName, Grant, Placeholder};
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use memchr::memmem;
use zeroize::Zeroizing;

use super::Place;
use crate::spelling::percent_encoded;

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The swap of one credential in one call.
#[derive(Debug, Clone)]
pub struct Plan {
    credential: CredentialName,
    placeholder: Placeholder,
    places: Vec<&'static str>,
}

/// A secret that does not fit where its placeholder stands. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// It has a line break or another control character.
    #[error(
        "credential `{credential}` cannot stand in the `{header}` header: it has a line break or control character; \
             look for a stray newline at its source"
    )]
    Header {
        /// Which credential.
        credential: CredentialName,
        /// Which header.
        header: HeaderName,
    },
    /// A colon ends the user name.
    #[error(
        "credential `{0}` has a colon, and cannot be the user name of Basic authentication; \
             put its placeholder in the password"
    )]
    Colon(CredentialName),
    /// The target becomes longer than 65,534 bytes.
    #[error("with credential `{0}` in its query the request target is too long")]
    Query(CredentialName),
}

impl Plan {
    pub(super) fn new((grant, placeholder): &(Grant, Placeholder)) -> Self {
        Self { credential: grant.credential().clone(), placeholder: placeholder.clone(), places: Vec::new() }
    }

    pub(super) fn stands_in(&mut self, place: &'static str) {
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    /// Where the placeholder stands, as a grant's `in` has it.
    pub fn places(&self) -> &[&'static str] {
        &self.places
    }

    /// Which credential to lease.
    pub fn credential(&self) -> &CredentialName {
        &self.credential
    }

    /// What stands for it in the sandbox.
    pub fn placeholder(&self) -> &Placeholder {
        &self.placeholder
    }

    /// Puts `secret` in the place of every placeholder. `parts` must be what was judged, save for fields of exeat's own.
    ///
    /// # Errors
    /// When the secret does not fit; `parts` is then to be thrown away.
    pub fn apply(&self, parts: &mut http::request::Parts, secret: &str) -> Result<(), SwapError> {
        for (name, value) in parts.headers.iter_mut().filter(|(name, _)| *name != HOST) {
            let text = match basic(name, value) {
                Some(decoded) => self.in_basic(&decoded, secret)?,
                None => self.in_text(value.as_bytes(), secret.as_bytes()),
            };
            if let Some(text) = text {
                let refused = |_| SwapError::Header { credential: self.credential.clone(), header: name.clone() };
                *value = HeaderValue::from_bytes(&text).map_err(refused)?;
                value.set_sensitive(true);
            }
        }
        let query = parts.uri.query().filter(|_| self.places.contains(&Place::Query.key()));
        if let Some(query) = query.and_then(|query| self.in_query(query, secret)) {
            let target = Zeroizing::new([parts.uri.path().as_bytes(), b"?", &query].concat());
            let refused = || SwapError::Query(self.credential.clone());
            let mut uri = std::mem::take(&mut parts.uri).into_parts();
            uri.path_and_query = Some(PathAndQuery::try_from(&target[..]).map_err(|_| refused())?);
            parts.uri = http::Uri::from_parts(uri).map_err(|_| refused())?;
        }
        Ok(())
    }

    fn in_basic(&self, decoded: &[u8], secret: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SwapError> {
        let user = decoded.split(|&byte| byte == b':').next().unwrap_or_default();
        if secret.contains(':') && self.in_text(user, b"").is_some() {
            return Err(SwapError::Colon(self.credential.clone()));
        }
        let Some(text) = self.in_text(decoded, secret.as_bytes()) else { return Ok(None) };
        let encoded = Zeroizing::new(STANDARD.encode(&text));
        Ok(Some(Zeroizing::new([b"Basic ", encoded.as_bytes()].concat())))
    }

    fn in_query(&self, query: &str, secret: &str) -> Option<Zeroizing<Vec<u8>>> {
        let secret = percent_encoded(secret.as_bytes());
        let plain = self.in_text(query.as_bytes(), &secret);
        let encoded = percent_encoded(self.placeholder.value().as_bytes());
        let swapped = replaced(plain.as_deref().map_or(query.as_bytes(), Vec::as_slice), &encoded, &secret);
        swapped.or(plain)
    }

    fn in_text(&self, text: &[u8], secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        replaced(text, self.placeholder.value().as_bytes(), secret)
    }
}

/// `None` where `from` is not in `text`.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let next = |text: &[u8]| memmem::find(text, from);
    let mut at = next(text)?;
    // Room for all: a buffer that grew would leave a copy of the secret behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + text.len() / from.len() * to.len()));
    let mut rest = text;
    loop {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
        match next(rest) {
            Some(further) => at = further,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// User and password of `Authorization: Basic`; `None` for any other field, and where it is not the base64 it should be.
pub(super) fn basic(name: &HeaderName, value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, encoded) = value.as_bytes().split_at_checked(6).filter(|_| name == AUTHORIZATION)?;
    let encoded = encoded.trim_ascii();
    scheme.eq_ignore_ascii_case(b"basic ").then(|| LENIENT.decode(encoded).ok().map(Zeroizing::new)).flatten()
}
