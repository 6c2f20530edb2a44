//! Placeholders become credentials, only where the policy and the grant both say so.
//!
//! Enters: the head of a request with what was permitted, then its body. Leaves: a [`Plan`] for the one credential that the
//! rule names, the body with its placeholders taken out, or [`Misdirected`]. Never: a placeholder upstream. One that cannot be
//! swapped where it stands (another credential's, another destination, a place or a spelling that is not granted) stops the call.
//!
//! Placeholders are found as they are, percent-encoded, escaped in JSON, and in base64 of either alphabet at any alignment;
//! escapes may be nested three deep in a head, and are looked through once in a body. Bodies are looked into
//! behind one content coding. Swapped they are in JSON strings and in forms, however these escape them, of a body that is not
//! coded and whose digest is not sent along.

mod assertion;
mod body;
mod digest;
mod finder;
mod gaps;
mod inject;
mod message;
#[cfg(test)]
mod oracle;
mod outlook;
mod pair;
mod plan;
mod search;
mod sieve;
mod syntax;
mod unescape;
mod views;

use std::fmt;
use std::sync::Arc;

use config::{CredentialName, Destination, Grant, Host, Placeholder, Places};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, HOST};
use http::{HeaderMap, HeaderName};

pub use assertion::Asserted;
pub use body::{BodySwap, BodyWatch, Spelling};
pub use gaps::Gapped;
pub use inject::CallsAsItself;
pub use message::Messages;
pub use pair::Pair;
pub use plan::{Plan, SwapError};

use search::{Search, Seen, Spelt};
use syntax::Syntax;

/// The placeholders of one worker. Cheap to clone.
#[derive(Clone)]
pub struct Swap(Arc<Search>);

/// What is judged of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Where it goes, by the permit.
    pub destination: &'a Destination,
    /// The credential that the permit's rule names. `None` also where there is no permit, to tell what would be carried off.
    pub permitted: Option<&'a CredentialName>,
    /// The path.
    pub path: &'a str,
    /// The query, without the question mark.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// Where in a message a placeholder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The method, or the protocol that an extended CONNECT names (RFC 8441).
    Method,
    /// The path.
    Path,
    /// The query.
    Query,
    /// The name of a header field.
    HeaderName,
    /// The host, as the connection's name or the `Host` field has it.
    Host,
    /// The value of another field.
    Header(HeaderName),
    /// `Authorization: Basic`, within the base64.
    Basic,
    /// The body.
    Body,
    /// The trailers.
    Trailer,
    /// A message of a WebSocket.
    Message,
}

/// Why a placeholder may not be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its grant does not list the destination.
    Destination,
    /// The rule that permits the call names no credential or another one.
    Rule,
    /// Its grant does not list the place.
    Place,
    /// It is escaped or encoded, and swapped only as it was given.
    Spelling,
    /// Its grant lists the body, and this is a body that nothing can be swapped in.
    Body(Unswappable),
}

/// Why nothing can be swapped in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unswappable {
    /// It is neither JSON nor a form.
    MediaType,
    /// It has a content coding.
    Coded,
    /// A digest of it is sent along, which would no longer be true.
    Digest,
    /// It is JSON, and the placeholder is not in a string.
    Bare,
    /// It is a message of a WebSocket, and not of text.
    NoText,
}

/// A placeholder on its way to where its credential does not go. An alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the placeholder of credential `{credential}` is in the {place}, and does not go there: {why}")]
pub struct Misdirected {
    /// Whose placeholder.
    pub credential: CredentialName,
    /// Where it was found.
    pub place: Place,
    /// Why it may not be there.
    pub why: Why,
}

impl Swap {
    /// The placeholders that the broker gave at registration.
    pub fn new(grants: Vec<(Grant, Placeholder)>) -> Self {
        Self(Arc::new(Search::new(grants)))
    }

    /// Judges every placeholder in the head of a request; `None` where there is none, and so nothing to lease.
    ///
    /// # Errors
    /// For the first that cannot be swapped where it stands.
    pub fn plan(&self, head: &Head<'_>) -> Result<Option<Plan>, Misdirected> {
        let mut planned: Option<Plan> = None;
        for (Seen { entry, spelt }, place) in self.sightings(head) {
            let granted = self.0.grants[entry].0.places();
            let granted = match place {
                Place::Header(_) => granted.header,
                Place::Basic => granted.basic,
                Place::Query => granted.query,
                _ => false,
            };
            let why = match self.judge(entry, head, granted) {
                Some(why) => why,
                None if spelt == Spelt::Plain || (spelt, &place) == (Spelt::Percent, &Place::Query) => {
                    planned.get_or_insert_with(|| Plan::new(&self.0.grants[entry])).stands_in(place.key());
                    continue;
                }
                None => Why::Spelling,
            };
            return Err(self.misdirected(entry, place, why));
        }
        Ok(planned)
    }

    /// Examines the body behind `head`, which no placeholder may be in.
    pub fn body(&self, head: &Head<'_>) -> BodyWatch {
        let why = Why::Body(self.unswappable(head).unwrap_or(Unswappable::MediaType));
        BodyWatch::new(self.clone(), Place::Body, self.whys(head, |places| places.body, why))
    }

    /// Examines bytes of which nothing is known, and which no placeholder may be in.
    pub fn stream(&self) -> BodyWatch {
        BodyWatch::new(self.clone(), Place::Body, vec![Why::Place; self.0.grants.len()])
    }

    /// Takes the placeholders out of the body behind `head` that may be swapped there. `None` where none may be, and the body is
    /// only to be examined.
    pub fn in_body(&self, head: &Head<'_>) -> Option<BodySwap> {
        let syntax = Syntax::of(head.headers).filter(|_| self.unswappable(head).is_none())?;
        let plan = self.granted(head, |places| places.body, &Place::Body)?;
        let watch = BodyWatch::new(self.clone(), Place::Body, self.whys(head, |places| places.body, Why::Spelling));
        Some(BodySwap::new(plan, syntax, watch))
    }

    /// Examines the messages of the WebSocket that `head` asks for, and swaps in those of text where that is granted.
    pub fn messages(&self, head: &Head<'_>) -> Messages {
        let watch = |why| BodyWatch::new(self.clone(), Place::Message, self.whys(head, |places| places.websocket, why));
        let plan = self.granted(head, |places| places.websocket, &Place::Message);
        Messages::new(plan, watch(Why::Spelling), watch(Why::Body(Unswappable::NoText)))
    }

    /// The one credential that may be put into `place`.
    fn granted(&self, head: &Head<'_>, has: fn(&Places) -> bool, place: &Place) -> Option<Plan> {
        let may_be = |(entry, (grant, placeholder)): &(usize, &(Grant, Placeholder))| {
            self.judge(*entry, head, has(grant.places())).is_none() && !placeholder.value().is_empty()
        };
        let (_, granted) = self.0.grants.iter().enumerate().find(may_be)?;
        let mut plan = Plan::new(granted);
        plan.stands_in(place.key());
        Some(plan)
    }

    fn unswappable(&self, head: &Head<'_>) -> Option<Unswappable> {
        let identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        match () {
            () if !head.headers.get_all(CONTENT_ENCODING).iter().all(identity) => Some(Unswappable::Coded),
            () if digest::is_among(head.headers) => Some(Unswappable::Digest),
            () => None,
        }
    }

    /// Why each placeholder may not be behind `head`; `granted` where its grant `has` the place.
    fn whys(&self, head: &Head<'_>, has: fn(&Places) -> bool, granted: Why) -> Vec<Why> {
        let grants = self.0.grants.iter().enumerate();
        grants.map(|(entry, (grant, _))| self.judge(entry, head, has(grant.places())).unwrap_or(granted)).collect()
    }

    /// Why a placeholder may not be where it is, as far as policy and grant say; `granted` is whether the place is.
    fn judge(&self, entry: usize, head: &Head<'_>, granted: bool) -> Option<Why> {
        let grant = &self.0.grants[entry].0;
        match () {
            () if !grant.allows(head.destination) => Some(Why::Destination),
            () if head.permitted != Some(grant.credential()) => Some(Why::Rule),
            () if !granted => Some(Why::Place),
            () => None,
        }
    }

    /// Examines the name of a host that nothing but bytes will be sent to.
    ///
    /// # Errors
    /// When a placeholder is in it: looking it up would carry that off.
    pub fn host(&self, destination: &Destination) -> Result<(), Misdirected> {
        let Host::Name(name) = destination.host() else { return Ok(()) };
        match self.0.all(name.as_str().as_bytes()).first() {
            Some(&seen) => Err(self.misdirected(seen.entry, Place::Host, Why::Place)),
            None => Ok(()),
        }
    }

    /// Examines what a request asks for, which no placeholder may be in: the method, and the `protocol` of an extended CONNECT.
    ///
    /// # Errors
    /// For the first that is.
    pub fn method(&self, to: &Destination, method: &str, protocol: &[u8]) -> Result<(), Misdirected> {
        // As nearly every request has it.
        if matches!(method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") {
            return Ok(());
        }
        let Some(seen) = [method.as_bytes(), protocol].into_iter().flat_map(|text| self.0.all(text)).next() else {
            return Ok(());
        };
        let granted = self.0.grants[seen.entry].0.allows(to);
        Err(self.misdirected(seen.entry, Place::Method, if granted { Why::Place } else { Why::Destination }))
    }

    /// Examines the trailers of a request, which no placeholder may be in.
    ///
    /// # Errors
    /// For the first that is.
    pub fn trailers(&self, trailers: &HeaderMap) -> Result<(), Misdirected> {
        let texts = trailers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        match texts.flat_map(|text| self.0.all(text)).next() {
            Some(seen) => Err(self.misdirected(seen.entry, Place::Trailer, Why::Place)),
            None => Ok(()),
        }
    }

    /// Whether a credential may be sent to `destination`, in some place.
    pub fn goes_to(&self, destination: &Destination) -> bool {
        self.0.grants.iter().any(|(grant, _)| *grant.places() != Places::NONE && grant.allows(destination))
    }

    /// Whether there is no placeholder that could be anywhere.
    pub fn is_empty(&self) -> bool {
        self.0.grants.is_empty()
    }

    /// Whether a placeholder is in `text`, as [`Self::plan`] looks for one.
    pub fn is_in(&self, text: &[u8]) -> bool {
        !self.0.all(text).is_empty()
    }

    /// `text` fit for a log: placeholders are named, not shown.
    pub fn redact(&self, text: &str) -> String {
        self.0.redact(text)
    }

    fn sightings(&self, head: &Head<'_>) -> Vec<(Seen, Place)> {
        let mut sightings = Vec::new();
        let mut add = |seen: Vec<Seen>, place: &Place| {
            sightings.extend(seen.into_iter().map(|seen| (seen, place.clone())));
        };
        if let Host::Name(name) = head.destination.host() {
            add(self.0.all(name.as_str().as_bytes()), &Place::Host);
        }
        add(self.0.all(head.path.as_bytes()), &Place::Path);
        add(self.0.all(head.query.unwrap_or_default().as_bytes()), &Place::Query);
        for (name, value) in head.headers {
            add(self.0.all(name.as_str().as_bytes()), &Place::HeaderName);
            match plan::basic(name, value) {
                Some(decoded) => {
                    add(self.0.all(&decoded), &Place::Basic);
                    // Some placeholders could be base64 as well, and this one would go out as it was given.
                    add(self.0.as_given(value.as_bytes()), &Place::Basic);
                }
                None if name == HOST => add(self.0.all(value.as_bytes()), &Place::Host),
                None => add(self.0.all(value.as_bytes()), &Place::Header(name.clone())),
            }
        }
        sightings
    }

    fn misdirected(&self, entry: usize, place: Place, why: Why) -> Misdirected {
        Misdirected { credential: self.0.grants[entry].0.credential().clone(), place, why }
    }
}

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.grants.iter().map(|(grant, _)| grant.credential())).finish()
    }
}

impl Place {
    /// The place as a grant's `in` has it; empty where no grant can name it.
    fn key(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Basic => "basic",
            Self::Query => "query",
            Self::Body => "body",
            Self::Message => "websocket",
            _ => "",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("method"),
            Self::Path => f.write_str("path"),
            Self::Query => f.write_str("query"),
            Self::HeaderName => f.write_str("name of a header"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "`{name}` header"),
            Self::Basic => write!(f, "`{AUTHORIZATION}` header (Basic)"),
            Self::Body => f.write_str("body"),
            Self::Trailer => f.write_str("trailers"),
            Self::Message => f.write_str("WebSocket"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Destination => "its grant does not list this destination",
            Self::Rule => "the rule for this call does not name it",
            Self::Place => "its grant does not list this place",
            Self::Spelling => "it is escaped or encoded there; send it as it is in the environment",
            Self::Body(Unswappable::MediaType) => "it is swapped only in bodies of JSON and forms, and this is neither",
            Self::Body(Unswappable::Coded) => "it is not swapped in a body with a `Content-Encoding`",
            Self::Body(Unswappable::Digest) => {
                "it is not swapped in a body whose digest is sent along, which would no longer be true"
            }
            Self::Body(Unswappable::NoText) => "it is swapped only in messages of text",
            Self::Body(Unswappable::Bare) => "in JSON it is swapped only within strings",
        })
    }
}
