//! The head and trailers of an answer, and what has to happen to its body.
//!
//! Enters: the upstream's head. Leaves: the same without credentials and without what will not be true of the body that
//! is sent on. Never: a length, digest or coding of another body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body;

use super::{BodyScrub, Scrub, ScrubbedBody};
use crate::coding::{self, Coding, UnreadableCoding};
use crate::grpc::{self, Messages};
use crate::sabotage::{Wall, lacks};

/// Digests over the content as it was coded (RFC 9530, RFC 3230, RFC 1864).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// What happens to the body of one answer.
#[derive(Debug)]
pub struct Plan(Content);

#[derive(Debug)]
enum Content {
    /// There is nothing to replace.
    Unseen,
    /// There is none, by the status or the request: over HTTP/2 an upstream may send one all the same, and trailers.
    None,
    Scrubbed(Coding, BodyScrub, Option<Messages>),
}

impl Plan {
    /// The body as it may be sent on.
    pub fn wrap<B: Body<Data = Bytes> + Unpin>(self, body: B) -> ScrubbedBody<B> {
        match self.0 {
            Content::Unseen => ScrubbedBody::unseen(body),
            Content::None => ScrubbedBody::none(body),
            Content::Scrubbed(coding, scrub, messages) => ScrubbedBody::scrubbed(body, coding, scrub, messages),
        }
    }

    /// Whether the body passes as it is: there is nothing to replace.
    pub fn passes(&self) -> bool {
        matches!(self.0, Content::Unseen)
    }
}

impl Scrub {
    /// Scrubs the head of an answer and makes it true of the body that [`Plan::wrap`] gives. `to_head` says that the request
    /// was a HEAD. Every replacement, those in the body as they happen, is added to `count`.
    ///
    /// A body that is examined loses its `Content-Length`, and its coding, for it is sent on decoded; an entity tag becomes
    /// a weak one then. An answer without a body (to HEAD, 1xx, 204, 304) keeps all three, and has no body whatever comes. A part of
    /// an identity body (206) is scrubbed as it comes.
    ///
    /// # Errors
    /// When the body is in a coding, or messages in base64, that cannot be read: the answer must not be passed on.
    pub fn prepare(
        &self,
        parts: &mut http::response::Parts,
        to_head: bool,
        count: &Arc<AtomicU64>,
    ) -> Result<Plan, UnreadableCoding> {
        if self.is_empty() || lacks(Wall::Scrub) {
            return Ok(Plan(Content::Unseen));
        }
        count.fetch_add(self.headers(&mut parts.headers), Ordering::Relaxed);
        // The words after an HTTP/1 status are the upstream's to choose, and nobody's to read.
        parts.extensions.remove::<hyper::ext::ReasonPhrase>();
        let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if to_head || bodiless || parts.status.is_informational() {
            return Ok(Plan(Content::None));
        }
        let coding = coding::of(&parts.headers)?;
        if coding != Coding::Identity && parts.status == StatusCode::PARTIAL_CONTENT {
            return Err(UnreadableCoding::part());
        }
        let messages = grpc::messages(&parts.headers).map_err(UnreadableCoding::messages)?;
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(CONTENT_ENCODING);
        if coding != Coding::Identity {
            decoded(&mut parts.headers);
        }
        Ok(Plan(Content::Scrubbed(coding, self.body(Arc::clone(count)), messages)))
    }

    /// Scrubs every value of a head or of trailers, and drops a field whose name has a credential in it, in lower case as
    /// names are; how often something was replaced or dropped.
    pub fn headers(&self, headers: &mut HeaderMap) -> u64 {
        let telling: Vec<HeaderName> = headers.keys().filter(|name| self.names(name.as_str())).cloned().collect();
        let mut replaced = telling.iter().filter(|name| headers.remove(*name).is_some()).count() as u64;
        for value in headers.values_mut() {
            let Some((text, times)) = self.text(value.as_bytes()) else { continue };
            // A placeholder that is no header text leaves nothing rather than the credential.
            *value = HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""));
            replaced += times;
        }
        replaced
    }

    fn names(&self, name: &str) -> bool {
        let within = |text: &[u8]| name.as_bytes().windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
        self.0.names.iter().any(|text| within(text))
    }
}

/// What is true of a coded body and not of the decoded one.
fn decoded(headers: &mut HeaderMap) {
    for digest in DIGESTS {
        headers.remove(HeaderName::from_static(digest));
    }
    if let Some(tag) = headers.get_mut(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
        let weak = HeaderValue::from_maybe_shared(Bytes::from([b"W/", tag.as_bytes()].concat()));
        *tag = weak.unwrap_or(HeaderValue::from_static("W/\"\""));
    }
}
