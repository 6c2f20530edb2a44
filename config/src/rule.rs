//! One rule of a policy.
//!
//! Enters: what the file reader has checked. Leaves: answers to "does this rule speak of that call". Never: a
//! decision; that takes all rules, and is the policy's.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::agent::CredentialName;
use crate::client_certificate::ClientCertificate;
use crate::decision::{CallFacts, Scheme};
use crate::error::{Malformed, quoted};
use crate::glob::PathGlob;
use crate::limits::Rate;
use crate::method::Method;
use crate::path::NormalPath;
use crate::paths::Paths;
use crate::pattern::Pattern;
use crate::protocol::Protocol;
use crate::reading::Readings;

/// Whether a rule lets out or keeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// `[[allow]]`
    Allow,
    /// `[[deny]]`
    Deny,
    /// In no file: what stands in for the rule that is missing where a policy observes.
    Observe,
}

/// What becomes of connections to a rule's destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// TLS ends at the proxy, and each request is judged.
    #[default]
    Intercept,
    /// TLS passes unread to the server that its handshake names: for clients that pin their server.
    Passthrough,
    /// Bytes pass unread: for protocols that are neither TLS nor HTTP.
    Tcp,
}

impl TlsMode {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intercept => "intercept",
            Self::Passthrough => "passthrough",
            Self::Tcp => "tcp",
        }
    }
}

impl FromStr for TlsMode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        [Self::Intercept, Self::Passthrough, Self::Tcp].into_iter().find(|mode| mode.as_str() == text).ok_or_else(
            || {
                let hint = "write \"intercept\", \"passthrough\" or \"tcp\"";
                Malformed::new(format!("{} is no way to treat a connection", quoted(text)), hint)
            },
        )
    }
}

/// Which rule of the file: `allow #2 (line 14)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    pub(crate) effect: Effect,
    pub(crate) number: usize,
    pub(crate) line: usize,
}

impl RuleId {
    /// The line of the file that it begins in.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
            Effect::Observe => return f.write_str("no rule (observed)"),
        };
        write!(f, "{effect} #{} (line {})", self.number, self.line)
    }
}

/// An allow or a deny rule. A deny rule has `to`, `methods` and `paths` only.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) id: RuleId,
    pub(crate) to: Pattern,
    pub(crate) methods: Option<Vec<Method>>,
    pub(crate) paths: Option<Paths>,
    pub(crate) credential: Option<CredentialName>,
    pub(crate) rate: Option<Rate>,
    pub(crate) dial: Option<SocketAddr>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) plain: bool,
    pub(crate) encoded_slash: bool,
    pub(crate) tls: TlsMode,
    pub(crate) client_certificate: Option<Arc<ClientCertificate>>,
    pub(crate) protocol: Option<Protocol>,
    /// Line and column of the `credential` key, for mistakes that only show beside the credentials.
    pub(crate) credential_at: (usize, usize),
}

impl Rule {
    /// A rule for every call to its destinations, and no more.
    pub(crate) fn everything(id: RuleId, to: Pattern) -> Self {
        Self {
            id,
            to,
            methods: None,
            paths: None,
            credential: None,
            rate: None,
            dial: None,
            addresses: Vec::new(),
            plain: false,
            encoded_slash: false,
            tls: TlsMode::Intercept,
            client_certificate: None,
            protocol: None,
            credential_at: (0, 0),
        }
    }

    /// Which rule it is.
    pub fn id(&self) -> &RuleId {
        &self.id
    }

    /// Allow or deny.
    pub fn effect(&self) -> Effect {
        self.id.effect
    }

    /// The destinations it is for.
    pub fn to(&self) -> &Pattern {
        &self.to
    }

    /// The methods it is for; `None` is all.
    pub fn methods(&self) -> Option<&[Method]> {
        self.methods.as_deref()
    }

    /// The paths it is for; `None` is all.
    pub fn paths(&self) -> Option<&[PathGlob]> {
        self.paths.as_ref().map(Paths::globs)
    }

    /// The same as they are asked: of a deny rule, without case.
    pub(crate) fn asked_paths(&self) -> Option<&[PathGlob]> {
        self.paths.as_ref().map(Paths::asked)
    }

    /// The credential it puts in.
    pub fn credential(&self) -> Option<&CredentialName> {
        self.credential.as_ref()
    }

    /// How many requests it lets through in how long.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// The address to dial instead of resolving the name.
    pub fn dial(&self) -> Option<SocketAddr> {
        self.dial
    }

    /// The address ranges that may be dialled although they are private or the like: those listed under `addresses`,
    /// the address in `dial`, and the pattern's own where it is an address or a range.
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    /// Whether it lets plain HTTP through: on port 80, and where it says `plain = true`.
    pub fn plain(&self) -> bool {
        self.plain
    }

    /// Whether it lets paths through that have an escaped slash within a segment.
    pub fn encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// What becomes of connections to its destinations.
    pub fn tls(&self) -> TlsMode {
        self.tls
    }

    /// What of the bodies of its requests is let through; `None` looks into none. It narrows what passes, not which rule speaks:
    /// the first allow rule that has a request's head is the one whose protocol judges the body.
    pub fn protocol(&self) -> Option<&Protocol> {
        self.protocol.as_ref()
    }

    /// What an upstream is shown that asks who calls.
    pub fn client_certificate(&self) -> Option<&Arc<ClientCertificate>> {
        self.client_certificate.as_ref()
    }

    /// Whether the rule speaks of this call, whose path can be read in these ways.
    pub(crate) fn matches(&self, call: &CallFacts<'_>, readings: &Readings<'_>) -> bool {
        self.tls == TlsMode::Intercept
            && self.to.matches(call.destination)
            && self.has_scheme(call.scheme)
            && self.has_method(call.method)
            && self.has_path(call.path, readings)
    }

    /// Whether the rule speaks of everything at its destinations.
    pub(crate) fn is_whole(&self) -> bool {
        self.methods.is_none() && self.paths.is_none()
    }

    pub(crate) fn has_scheme(&self, scheme: Scheme) -> bool {
        self.effect() == Effect::Deny || scheme == Scheme::Https || self.plain
    }

    pub(crate) fn has_method(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }

    /// Servers differ in what they do with a path: some take `;parameters` off its segments, some decode an escape that is
    /// left after decoding. It is denied if any reading is, and allowed if all are, or if the pattern itself names parameters.
    ///
    /// Some tell no capitals from small letters, nor `/x/` from `/x`: a deny rule does not either, and an allow rule does.
    ///
    /// Some take `%2F` for a separator, some for a character. It is let through only where the rule says that its server
    /// takes it for a character, and denied if either reading is.
    pub(crate) fn has_path(&self, path: &NormalPath, readings: &Readings<'_>) -> bool {
        let Some(paths) = &self.paths else {
            return self.effect() == Effect::Deny || self.encoded_slash || !path.has_encoded_slash();
        };
        match self.effect() {
            Effect::Allow | Effect::Observe => {
                (self.encoded_slash || !path.has_encoded_slash()) && self.would_have(readings)
            }
            Effect::Deny => readings.each_denied().any(|read| paths.have(read)),
        }
    }

    /// Whether an allow rule has the path, or would if it said `encoded_slash = true`.
    pub(crate) fn would_have(&self, readings: &Readings<'_>) -> bool {
        let Some(paths) = &self.paths else { return true };
        readings.all(|read, bare| {
            let named = || paths.globs().iter().any(|glob| glob.has_parameters() && glob.matches(read));
            paths.have(read) && bare.is_none_or(|bare| paths.have(bare) || named())
        })
    }

    /// Whether every call that `other` speaks of is one that this rule speaks of, or would be were it not for what this rule
    /// makes of the connection: the first allow rule of a destination decides that for all. What either says
    /// about bodies is asked only once it was chosen.
    pub(crate) fn covers(&self, other: &Rule) -> bool {
        if self.effect() == other.effect() && self.tls != other.tls {
            return self.to.covers(&other.to);
        }
        let methods = match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(own), Some(others)) => others.iter().all(|method| own.contains(method)),
            (Some(_), None) => false,
        };
        let paths = match (&self.paths, &other.paths) {
            (None, _) => true,
            (Some(own), _) if own.have_every_path() => true,
            (Some(own), Some(others)) => own.have_all(others),
            (Some(_), None) => false,
        };
        let schemes = self.effect() == Effect::Deny || self.plain || !other.plain;
        let slashes = self.effect() == Effect::Deny || self.encoded_slash || !other.encoded_slash;
        self.to.covers(&other.to) && methods && paths && schemes && slashes
    }
}
