//! Placeholders become credentials, only where the policy and the grant both say so.
//!
//! Enters: the head of a request with what was permitted, then its body. Leaves: a [`Plan`] for the one credential that the
//! rule names, or [`Misdirected`]. Never: a placeholder upstream. One that cannot be swapped where it stands (another
//! credential's, another destination, a place or a spelling that is not granted) stops the call.
//!
//! Placeholders are found as they are, percent-encoded, escaped in JSON, and in base64 of either alphabet at any alignment;
//! escapes may be nested three deep in a head, and are looked through once in a body. Bodies are looked into
//! behind one content coding.

mod body;
mod plan;
mod search;

use std::fmt;
use std::sync::Arc;

use config::{CredentialName, Destination, Grant, Host, Placeholder};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName};

pub use body::BodyWatch;
pub use plan::{Plan, SwapError};

use search::{Search, Seen, Spelt};

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
        let mut planned = None;
        for (Seen { entry, spelt }, place) in self.sightings(head) {
            let (grant, _) = &self.0.grants[entry];
            let places = grant.places();
            let granted = match place {
                Place::Header(_) => places.header,
                Place::Basic => places.basic,
                Place::Query => places.query,
                _ => false,
            };
            let why = match () {
                () if !grant.allows(head.destination) => Why::Destination,
                () if head.permitted != Some(grant.credential()) => Why::Rule,
                () if !granted => Why::Place,
                () if spelt == Spelt::Plain || (spelt, &place) == (Spelt::Percent, &Place::Query) => {
                    planned = Some(entry);
                    continue;
                }
                () => Why::Spelling,
            };
            return Err(Misdirected { credential: grant.credential().clone(), place, why });
        }
        Ok(planned.map(|entry| Plan::new(&self.0.grants[entry])))
    }

    /// Examines the body of a request, which no placeholder may be in.
    pub fn body(&self) -> BodyWatch {
        BodyWatch::new(self.clone())
    }

    /// Examines the name of a host that nothing but bytes will be sent to.
    ///
    /// # Errors
    /// When a placeholder is in it: looking it up would carry that off.
    pub fn host(&self, destination: &Destination) -> Result<(), Misdirected> {
        let Host::Name(name) = destination.host() else { return Ok(()) };
        match self.0.all(name.as_str().as_bytes()).first() {
            Some(&seen) => Err(self.out_of_place(seen, Place::Host)),
            None => Ok(()),
        }
    }

    /// Examines the trailers of a request, which no placeholder may be in.
    ///
    /// # Errors
    /// For the first that is.
    pub fn trailers(&self, trailers: &HeaderMap) -> Result<(), Misdirected> {
        let texts = trailers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        match texts.flat_map(|text| self.0.all(text)).next() {
            Some(seen) => Err(self.out_of_place(seen, Place::Trailer)),
            None => Ok(()),
        }
    }

    /// Whether there is no placeholder that could be anywhere.
    pub fn is_empty(&self) -> bool {
        self.0.grants.is_empty()
    }

    /// `text` fit for a log: placeholders are named, not shown.
    pub fn redact(&self, text: &str) -> String {
        self.0.redact(text)
    }

    fn sightings(&self, head: &Head<'_>) -> Vec<(Seen, Place)> {
        let mut sightings = Vec::new();
        let mut look = |text: &[u8], place: &Place| {
            sightings.extend(self.0.all(text).into_iter().map(|seen| (seen, place.clone())));
        };
        if let Host::Name(name) = head.destination.host() {
            look(name.as_str().as_bytes(), &Place::Host);
        }
        look(head.path.as_bytes(), &Place::Path);
        look(head.query.unwrap_or_default().as_bytes(), &Place::Query);
        for (name, value) in head.headers {
            look(name.as_str().as_bytes(), &Place::HeaderName);
            match plan::basic(name, value) {
                Some(decoded) => look(&decoded, &Place::Basic),
                None if name == HOST => look(value.as_bytes(), &Place::Host),
                None => look(value.as_bytes(), &Place::Header(name.clone())),
            }
        }
        sightings
    }

    fn out_of_place(&self, seen: Seen, place: Place) -> Misdirected {
        Misdirected { credential: self.0.grants[seen.entry].0.credential().clone(), place, why: Why::Place }
    }
}

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.grants.iter().map(|(grant, _)| grant.credential())).finish()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("path"),
            Self::Query => f.write_str("query"),
            Self::HeaderName => f.write_str("name of a header"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "`{name}` header"),
            Self::Basic => write!(f, "`{AUTHORIZATION}` header (Basic)"),
            Self::Body => f.write_str("body"),
            Self::Trailer => f.write_str("trailers"),
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
        })
    }
}
