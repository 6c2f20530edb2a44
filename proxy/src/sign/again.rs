//! The signature of the agent checked, and made anew over what goes upstream.
//!
//! Enters: a claim with what it is over, and the placeholder's secret; then the request as it goes, and a key pair. Leaves: the same
//! request with another id, another signature, and the session beside it. Never: a field signed that is not sent; a change behind the
//! signature; anything of the pair but its id and its session.

use broker::KeyPair;
use config::Method;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::canonical::{Canonical, escape};
use super::claim::{CREDENTIAL, METHOD, SESSION, SESSION_PARAMETER, SIGNATURE};
use super::{Claim, Key, Payload, Unsigned, key};

/// A claim that is true.
#[derive(Debug)]
pub struct Verified {
    claim: Claim,
    key: Key,
}

/// What a request was signed with, for the chunks behind it.
#[derive(Debug)]
pub struct Resigned {
    pub(super) key: Key,
    pub(super) signature: String,
}

impl Claim {
    /// Says what digest its body has, where nothing else does.
    #[must_use]
    pub fn over(mut self, body: &[u8]) -> Self {
        if self.payload == Payload::Unsaid {
            self.payload = Payload::Said(key::sha256(body));
        }
        self
    }

    /// Whether `secret` signed this.
    ///
    /// # Errors
    /// [`Unsigned::Wrong`], and [`Unsigned::Form`] for what cannot be signed.
    pub fn verify(
        self,
        secret: &str,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Verified, Unsigned> {
        let host = headers.get(HOST).ok_or(Unsigned::Form("there is no `Host`"))?;
        let payload = self.payload.text().ok_or(Unsigned::LongBody)?;
        let (method, fields) = (method.as_str(), &self.fields);
        let text = Canonical { method, path, query, headers, host, fields, payload }.text(&self)?;
        let key = Key::derive(secret, &self.scope);
        match key.verifies(text.as_bytes(), &self.signature) {
            true => Ok(Verified { claim: self, key }),
            false => Err(Unsigned::Wrong),
        }
    }
}

impl Verified {
    /// Signs the request that goes to `host`. `length` is that of its body, where it is known; nothing may change behind this.
    ///
    /// # Errors
    /// [`Unsigned::Form`] where the request has no room for it.
    pub fn sign(
        &self,
        parts: &mut http::request::Parts,
        host: &HeaderValue,
        length: Option<u64>,
        pair: &KeyPair,
    ) -> Result<Resigned, Unsigned> {
        let claim = &self.claim;
        let mut fields = claim.fields.clone();
        if fields.contains(&CONTENT_LENGTH) {
            match length {
                Some(length) => parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
                None => parts.headers.remove(CONTENT_LENGTH),
            };
        }
        parts.headers.remove(SESSION);
        if let (Some(session), false) = (&pair.session, claim.is_link) {
            parts.headers.insert(SESSION, sensitive(session.expose().as_bytes())?);
            fields.push(SESSION);
        }
        // What concerned one hop only is gone.
        fields.retain(|name| name == HOST || parts.headers.contains_key(name));
        fields.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        fields.dedup();
        let credential = format!("{}/{}", pair.id, claim.scope);
        if claim.is_link {
            add_to_query(parts, SESSION_PARAMETER, pair.session.as_ref().map(broker::Secret::expose))?;
            add_to_query(parts, CREDENTIAL, Some(&credential))?;
            replace_in_query(parts, "X-Amz-SignedHeaders", &names(&fields))?;
        }
        let key = Key::derive(pair.secret.expose(), &claim.scope);
        let canonical = Canonical {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            host,
            fields: &fields,
            payload: claim.payload.text().ok_or(Unsigned::LongBody)?,
        };
        let signature = key.sign(canonical.text(claim)?.as_bytes());
        if claim.is_link {
            add_to_query(parts, SIGNATURE, Some(&signature))?;
        } else {
            let names = names(&fields);
            let value = format!("{METHOD} Credential={credential}, SignedHeaders={names}, Signature={signature}");
            parts.headers.insert(AUTHORIZATION, sensitive(value.as_bytes())?);
        }
        Ok(Resigned { key, signature })
    }

    /// What it is of.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(super) fn into_key(self) -> (Claim, Key) {
        (self.claim, self.key)
    }
}

fn names(fields: &[http::HeaderName]) -> String {
    fields.iter().map(http::HeaderName::as_str).collect::<Vec<_>>().join(";")
}

fn sensitive(text: &[u8]) -> Result<HeaderValue, Unsigned> {
    let mut value =
        HeaderValue::from_bytes(text).map_err(|_| Unsigned::Form("its key pair does not fit into a head"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn add_to_query(parts: &mut http::request::Parts, name: &str, value: Option<&str>) -> Result<(), Unsigned> {
    let Some(value) = value else { return Ok(()) };
    let mut query = Zeroizing::new(Vec::with_capacity(parts.uri.to_string().len() + name.len() + 3 * value.len() + 2));
    query.extend_from_slice(parts.uri.query().unwrap_or_default().as_bytes());
    if !query.is_empty() {
        query.push(b'&');
    }
    query.extend_from_slice(name.as_bytes());
    query.push(b'=');
    escape(value.as_bytes(), false, &mut query);
    set_query(parts, &query)
}

fn replace_in_query(parts: &mut http::request::Parts, name: &str, value: &str) -> Result<(), Unsigned> {
    let mut escaped = Vec::new();
    escape(value.as_bytes(), false, &mut escaped);
    let replaced = [name.as_bytes(), b"=", &escaped].concat();
    let query = Zeroizing::new(parts.uri.query().unwrap_or_default().as_bytes().to_vec());
    let is_it = |pair: &[u8]| pair.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    let pairs = query.split(|&byte| byte == b'&').map(|pair| if is_it(pair) { &replaced[..] } else { pair });
    let query = Zeroizing::new(pairs.collect::<Vec<_>>().join(&b"&"[..]));
    set_query(parts, &query)
}

fn set_query(parts: &mut http::request::Parts, query: &[u8]) -> Result<(), Unsigned> {
    const REFUSED: Unsigned = Unsigned::Form("with its key pair the link is too long");
    let target = Zeroizing::new([parts.uri.path().as_bytes(), b"?", query].concat());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(PathAndQuery::try_from(&target[..]).map_err(|_| REFUSED)?);
    parts.uri = http::Uri::from_parts(uri).map_err(|_| REFUSED)?;
    Ok(())
}
