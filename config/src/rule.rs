//! One rule of a policy.
//!
//! Enters: what the file reader has checked. Leaves: answers to "does this rule speak of that call". Never: a
//! decision; that takes all rules, and is the policy's.

use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::agent::CredentialName;
use crate::decision::{CallFacts, Scheme};
use crate::glob::PathGlob;
use crate::limits::Rate;
use crate::method::Method;
use crate::path::NormalPath;
use crate::pattern::Pattern;

/// Whether a rule lets out or keeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// `[[allow]]`
    Allow,
    /// `[[deny]]`
    Deny,
}

/// Which rule of the file: `allow #2 (line 14)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    pub(crate) effect: Effect,
    pub(crate) number: usize,
    pub(crate) line: usize,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
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
    pub(crate) paths: Option<Vec<PathGlob>>,
    pub(crate) credential: Option<CredentialName>,
    pub(crate) rate: Option<Rate>,
    pub(crate) dial: Option<SocketAddr>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) plain: bool,
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
        self.paths.as_deref()
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

    /// Whether the rule speaks of this call.
    pub(crate) fn matches(&self, call: &CallFacts<'_>) -> bool {
        self.to.matches(call.destination)
            && self.has_scheme(call.scheme)
            && self.has_method(call.method)
            && self.has_path(call.path)
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

    /// Some servers take `;parameters` off a path's segments, some do not. So a path that has them is denied if either
    /// reading is, and allowed if both are, or if the pattern itself names parameters.
    pub(crate) fn has_path(&self, path: &NormalPath) -> bool {
        let Some(globs) = &self.paths else { return true };
        let among = |decoded: &str| globs.iter().any(|glob| glob.matches(decoded));
        let as_sent = among(path.decoded());
        match (path.without_parameters(), self.effect()) {
            (None, _) => as_sent,
            (Some(bare), Effect::Deny) => as_sent || among(&bare),
            (Some(bare), Effect::Allow) => {
                let named = |glob: &PathGlob| glob.has_parameters() && glob.matches(path.decoded());
                as_sent && (among(&bare) || globs.iter().any(named))
            }
        }
    }

    /// Whether every call that `other` speaks of is one that this rule speaks of.
    pub(crate) fn covers(&self, other: &Rule) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(own), Some(others)) => others.iter().all(|method| own.contains(method)),
            (Some(_), None) => false,
        };
        let paths = match (&self.paths, &other.paths) {
            (None, _) => true,
            (Some(own), _) if own.iter().any(PathGlob::is_every_path) => true,
            (Some(own), Some(others)) => others.iter().all(|path| own.contains(path)),
            (Some(_), None) => false,
        };
        let schemes = self.effect() == Effect::Deny || self.plain || !other.plain;
        self.to.covers(&other.to) && methods && paths && schemes
    }
}
