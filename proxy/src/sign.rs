//! Requests that are signed with a key pair (AWS Signature Version 4), signed anew.
//!
//! Enters: a call that an agent signed with the placeholders of its pair. Leaves: the same call, signed with the pair that was leased for
//! it, and a body of signed chunks likewise. Never: a signature of ours under what the placeholder's secret did not sign; one that was
//! made for another time; a call by a pair that is not the worker's, where exeat is to say who calls.
//!
//! In reading order:
//!
//! - [`claim`], with `scope`: whose signature a call says it has, over what, from when
//! - `canonical`: what is signed, byte for byte
//! - `key`: the key of a day, and what it signs
//! - `again`: the signature checked, and made anew over what goes upstream
//! - `chunks`: bodies whose chunks are signed one by one

mod again;
mod canonical;
mod chunks;
pub mod claim;
mod key;
mod scope;

pub use again::{Resigned, Verified};
pub use canonical::Canonical;
pub use chunks::Chunks;
pub use claim::{Claim, Payload};
pub use key::Key;
pub use scope::Scope;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// Why a signed call goes no further. Nothing of what was sent is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// Not in the form of SigV4.
    #[error("its signature is not in the form of AWS Signature Version 4: {0}")]
    Form(&'static str),
    /// By a method that exeat does not sign by.
    #[error("it is signed by a method of AWS other than `AWS4-HMAC-SHA256`, and only that is signed anew")]
    Method,
    /// Somebody else's.
    #[error("it is signed with another key pair than the one that exeat gave")]
    OtherPair,
    /// Not now.
    #[error(
        "it is signed for another time: AWS takes signatures that are up to 15 minutes old, and links until they expire"
    )]
    Time,
    /// Not by the placeholder's secret.
    #[error("its signature is not by the secret that exeat gave over what was sent")]
    Wrong,
    /// The digest of the body has to be known before its head can be signed.
    #[error(
        "its body is longer than {} MiB, and has no `x-amz-content-sha256` that says what is signed of it",
        crate::limit::SIGNED_BODY >> 20
    )]
    LongBody,
    /// A body in chunks, one of which is longer than what is held of it.
    #[error("a signed chunk of its body is longer than {} KiB", crate::limit::SIGNED_CHUNK >> 10)]
    LongChunk,
    /// As many as may be are under way.
    #[error("so many signed bodies are under way that there is no room to hold what has to be held of this one")]
    Busy,
    /// Of a service that answers with keys.
    #[error("S3 Express answers with a key pair of its own, which would be real, and inside")]
    Express,
}

/// The head as it came, where a signature by one of AWS's methods may be over it; with the `Host` that the client means.
pub(crate) fn signed_head(headers: &HeaderMap, uri: &Uri) -> Option<Box<HeaderMap>> {
    let by_header = headers.get_all(AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().split(|&byte| byte == b' ').next().unwrap_or_default();
        scheme.get(..3).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"AWS"))
    });
    let of_aws = |pair: &str| {
        let name = percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy();
        ["x-amz-algorithm", "x-amz-credential", "x-amz-signature", "awsaccesskeyid"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    if !by_header && !uri.query().unwrap_or_default().split('&').any(of_aws) {
        return None;
    }
    let mut head = Box::new(headers.clone());
    if let Some(authority) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        head.insert(HOST, authority);
    }
    Some(head)
}
