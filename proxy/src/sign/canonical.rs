//! What is signed of a request, byte for byte: its canonical form.
//!
//! Enters: method, path, query and fields, and what of the body is signed. Leaves: the text that a key signs. Never: a query that servers
//! read in different ways, or a signed field that is not there.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::claim::{Claim, METHOD, SIGNATURE};
use super::{Unsigned, key};

/// Names and values of a query, decoded.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A request to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Canonical<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it is sent.
    pub path: &'a str,
    /// The query as it is sent; its own signature is left out.
    pub query: &'a str,
    /// The fields as they are sent.
    pub headers: &'a HeaderMap,
    /// The host as it is sent.
    pub host: &'a HeaderValue,
    /// Of the fields, those that are signed, in order.
    pub fields: &'a [HeaderName],
    /// What of the body is signed.
    pub payload: &'a str,
}

impl Canonical<'_> {
    /// The text to sign, for the time and the scope of `claim`.
    ///
    /// # Errors
    /// [`Unsigned::Form`]
    pub fn text(&self, claim: &Claim) -> Result<String, Unsigned> {
        let digest = key::sha256(&self.request(claim.escapes_once())?);
        Ok(format!("{METHOD}\n{}\n{}\n{digest}", claim.time, claim.scope))
    }

    /// The canonical request. A session may be in it.
    fn request(&self, escapes_once: bool) -> Result<Zeroizing<Vec<u8>>, Unsigned> {
        // Room for all: a buffer that grew would leave a copy of the session behind.
        let values: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8).sum();
        let room =
            values + 3 * (self.path.len() + 3 * self.query.len()) + self.host.len() + 1024 + 64 * self.fields.len();
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        text.extend_from_slice(self.method.as_bytes());
        text.push(b'\n');
        if escapes_once {
            escape(&percent_decode(self.path.as_bytes()).collect::<Vec<u8>>(), true, &mut text);
        } else {
            escape(self.path.as_bytes(), true, &mut text);
        }
        text.push(b'\n');
        query(self.query, &mut text)?;
        text.push(b'\n');
        for name in self.fields {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            if name == http::header::HOST {
                text.extend_from_slice(self.host.as_bytes());
            } else {
                values_of(self.headers, name, &mut text)?;
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        for (index, name) in self.fields.iter().enumerate() {
            if index > 0 {
                text.push(b';');
            }
            text.extend_from_slice(name.as_str().as_bytes());
        }
        text.push(b'\n');
        text.extend_from_slice(self.payload.as_bytes());
        Ok(text)
    }
}

/// The values of a field, each with single blanks, after commas.
fn values_of(headers: &HeaderMap, name: &HeaderName, text: &mut Vec<u8>) -> Result<(), Unsigned> {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Err(Unsigned::Form("a signed field is not there"));
    }
    for (index, value) in values.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
    Ok(())
}

/// Each name and value in its one spelling, in order, without the signature itself.
fn query(query: &str, text: &mut Vec<u8>) -> Result<(), Unsigned> {
    let escaped = |bytes: &[u8]| {
        let mut escaped = Zeroizing::new(Vec::with_capacity(3 * bytes.len()));
        escape(bytes, false, &mut escaped);
        escaped
    };
    let mut pairs: Vec<_> = pairs(query)?
        .into_iter()
        .filter(|(name, _)| name != SIGNATURE.as_bytes())
        .map(|(name, value)| (escaped(&name), escaped(&Zeroizing::new(value))))
        .collect();
    pairs.sort_by(|one, other| (&**one.0, &**one.1).cmp(&(&**other.0, &**other.1)));
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name);
        text.push(b'=');
        text.extend_from_slice(value);
    }
    Ok(())
}

/// The names and values of a query as every server reads them.
pub(super) fn pairs(query: &str) -> Result<Pairs, Unsigned> {
    if query.is_empty() {
        return Ok(Pairs::new());
    }
    let decoded = |text: &str| {
        let escapes = text.match_indices('%').all(|(at, _)| {
            text.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        let plain = escapes && !text.contains(['+', ';']);
        let refused = "its query has a `+`, a `;` or a lone `%`, which servers read in different ways; escape it";
        plain.then(|| percent_decode(text.as_bytes()).collect()).ok_or(Unsigned::Form(refused))
    };
    let pair = |pair: &str| match pair {
        "" => Err(Unsigned::Form("its query has an empty part")),
        pair => {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        }
    };
    query.split('&').map(pair).collect()
}

/// All but unreserved characters escaped; in a path, slashes are left.
pub(super) fn escape(bytes: &[u8], path: bool, text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (path && byte == b'/') {
            text.push(byte);
        } else {
            text.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}
