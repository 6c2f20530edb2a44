//! How upstreams are reached: whom to trust beside the system, and the house's own proxy.
//!
//! Enters: what the file reader has checked. Leaves: a proxy's place, what is not for it, and how to log in there. Never: a login
//! that could be printed.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::destination::Destination;
use crate::pattern::Pattern;

/// The `[upstream]` of an agent's file.
#[derive(Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) proxy: Option<UpstreamProxy>,
}

/// An HTTP proxy of the house, which connects to upstreams when asked to (CONNECT, RFC 9110 section 9.3.6).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct UpstreamProxy {
    pub(crate) place: Destination,
    pub(crate) without: Vec<Pattern>,
    pub(crate) login: Option<ProxyLogin>,
    pub(crate) resolves: bool,
}

impl UpstreamProxy {
    /// Where it listens.
    pub fn place(&self) -> &Destination {
        &self.place
    }

    /// How to log in.
    pub fn login(&self) -> Option<&ProxyLogin> {
        self.login.as_ref()
    }

    /// Whether it alone looks names up, because this machine cannot.
    pub fn resolves(&self) -> bool {
        self.resolves
    }

    /// Whether a destination is reached by way of it.
    pub(crate) fn is_for(&self, destination: &Destination) -> bool {
        !self.without.iter().any(|pattern| pattern.matches(destination))
    }
}

/// A user's name and password for a proxy.
#[derive(PartialEq, Eq)]
pub struct ProxyLogin {
    pub(crate) file: PathBuf,
    pub(crate) text: Zeroizing<String>,
}

impl ProxyLogin {
    /// The file that it stands in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `user:password`, for the proxy and nobody else.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl Hash for ProxyLogin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.file, self.text.as_bytes()).hash(state);
    }
}

impl fmt::Debug for ProxyLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyLogin({})", self.file.display())
    }
}
