//! Why something was refused, in words that an agent can pass on to its operator.
//!
//! Enters: what was asked, and the rule that spoke or came nearest. Leaves: a kind for the log, a reason, and the hint that everybody is shown.
//! Never: raw text of the client: all that is repeated are parsed names, methods and paths, which have no control
//! characters.

mod hint;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use self::hint::command_in;
use crate::agent::{AgentId, CredentialName};
use crate::decision::{CallFacts, Scheme};
use crate::destination::{Destination, Host};
use crate::error::{listed, listed_of};
use crate::glob::PathGlob;
use crate::method::Method;
use crate::path::NormalPath;
use crate::rule::{Rule, RuleId};

/// A message repeats this much of a path.
const SHOWN_PATH: usize = 512;

/// What stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenialKind {
    /// No allow rule has this name.
    HostNotListed,
    /// No allow rule has this literal address.
    AddressNotListed,
    /// Allow rules have the host, on these ports.
    PortNotListed {
        /// The ports.
        ports: BTreeSet<u16>,
    },
    /// The destination's rule has connections pass unread, so that no request can be judged.
    PassesUnread,
    /// Allow rules have the destination, over TLS.
    PlainNotAllowed,
    /// Allow rules have the destination and path, with these methods.
    MethodNotAllowed {
        /// The methods.
        methods: Vec<Method>,
    },
    /// Allow rules have the destination, with these paths.
    PathNotAllowed {
        /// The first of the paths, each once.
        paths: Vec<PathGlob>,
        /// How many more are listed.
        more: usize,
    },
    /// Allow rules have the path, but do not say that a slash in it may be escaped.
    EncodedSlash,
    /// A deny rule has it.
    DeniedByRule,
}

impl DenialKind {
    /// Every short name.
    pub const NAMES: [&'static str; 9] = [
        "host-not-listed",
        "address-not-listed",
        "port-not-listed",
        "passes-unread",
        "plain-http-not-allowed",
        "method-not-allowed",
        "path-not-allowed",
        "encoded-slash",
        "denied-by-rule",
    ];

    /// A short name for logs and problem types.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::HostNotListed => "host-not-listed",
            Self::AddressNotListed => "address-not-listed",
            Self::PortNotListed { .. } => "port-not-listed",
            Self::PassesUnread => "passes-unread",
            Self::PlainNotAllowed => "plain-http-not-allowed",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::PathNotAllowed { .. } => "path-not-allowed",
            Self::EncodedSlash => "encoded-slash",
            Self::DeniedByRule => "denied-by-rule",
        }
    }

    pub(crate) fn unlisted(host: &Host) -> Self {
        match host {
            Host::Name(_) => Self::HostNotListed,
            Host::Address(_) => Self::AddressNotListed,
        }
    }
}

/// A refusal by the policy.
#[derive(Clone, PartialEq, Eq)]
pub struct Denial(Box<Refused>);

#[derive(Clone, PartialEq, Eq)]
struct Refused {
    kind: DenialKind,
    rule: Option<RuleId>,
    /// The credential of the rule that came nearest.
    credential: Option<CredentialName>,
    agent: AgentId,
    policy: Arc<str>,
    destination: Destination,
    call: Option<(Scheme, Method, NormalPath)>,
}

impl Denial {
    pub(crate) fn new(
        kind: DenialKind,
        rule: Option<&Rule>,
        (agent, policy): (&AgentId, &Arc<str>),
        destination: &Destination,
        call: Option<&CallFacts<'_>>,
    ) -> Self {
        Self(Box::new(Refused {
            kind,
            rule: rule.map(|rule| rule.id().clone()),
            credential: rule.and_then(Rule::credential).cloned(),
            agent: agent.clone(),
            policy: policy.clone(),
            destination: destination.clone(),
            call: call.map(|call| (call.scheme, call.method.clone(), call.path.clone())),
        }))
    }

    /// What stood in the way.
    pub fn kind(&self) -> &DenialKind {
        &self.0.kind
    }

    /// The deny rule that refused, or the allow rule that came nearest.
    pub fn rule(&self) -> Option<&RuleId> {
        self.0.rule.as_ref()
    }

    /// The digest of the policy that refused.
    pub fn policy(&self) -> &str {
        &self.0.policy
    }

    /// How the call would have travelled, where it was one.
    pub fn scheme(&self) -> Option<Scheme> {
        self.0.call.as_ref().map(|(scheme, ..)| *scheme)
    }

    /// What was refused and why, for the agent.
    pub fn reason(&self) -> String {
        let asked = self.asked();
        let nearest = self.0.rule.as_ref().map(|rule| format!(" (nearest: {rule})")).unwrap_or_default();
        match &self.0.kind {
            DenialKind::HostNotListed => format!("{asked} is not allowed: no rule lists this host"),
            DenialKind::AddressNotListed => format!("{asked} is not allowed: no rule lists this address"),
            DenialKind::PortNotListed { ports } => {
                format!("{asked} is not allowed: this host is listed with other ports only: {}", listed(ports))
            }
            DenialKind::PassesUnread => format!(
                "{asked} is not allowed: connections to this destination pass unread{nearest}, and this is not such a \
                 connection: it has to be TLS that names the server"
            ),
            DenialKind::PlainNotAllowed => {
                format!(
                    "{asked} is not allowed: this destination is listed for HTTPS, and this call is plain HTTP{nearest}"
                )
            }
            DenialKind::MethodNotAllowed { methods } => {
                format!("{asked} is not allowed: the methods listed for it are {}{nearest}", listed(methods))
            }
            DenialKind::PathNotAllowed { paths, more } => {
                format!("{asked} is not allowed: the paths listed for it are {}{nearest}", listed_of(paths, *more))
            }
            DenialKind::EncodedSlash => format!(
                "{asked} is not allowed: its path has an escaped slash (`%2F`), which some servers read as `/` and others as \
                 a character; only a rule with `encoded_slash = true` lets it through{nearest}"
            ),
            DenialKind::DeniedByRule => match &self.0.rule {
                Some(rule) => format!("{asked} is denied by rule {rule}"),
                None => format!("{asked} is denied by a rule"),
            },
        }
    }

    /// The same denial, of a connection, for the call that came on it: what it asks for is no more than that call.
    #[must_use]
    pub fn of(mut self, call: &CallFacts<'_>) -> Self {
        self.0.call.get_or_insert_with(|| (call.scheme, call.method.clone(), call.path.clone()));
        self
    }

    /// The lines that would allow it, where lines that are added would.
    pub fn lines_to_add(&self) -> Option<String> {
        let addable = !matches!(self.0.kind, DenialKind::DeniedByRule | DenialKind::PassesUnread);
        addable.then(|| self.lines())
    }

    /// `POST https://api.github.com/repos`, or for a connection `api.github.com:443`.
    fn asked(&self) -> String {
        let Some((_, method, path)) = &self.0.call else {
            return format!("a connection to {}", self.0.destination);
        };
        let (shown, cut) = match path.as_str().get(..SHOWN_PATH) {
            Some(start) => (start, "…"),
            None => (path.as_str(), ""),
        };
        format!("{method} {}{shown}{cut}", self.origin())
    }

    /// `https://api.github.com`: without the port that goes without saying.
    fn origin(&self) -> String {
        let scheme = match &self.0.call {
            Some((scheme, ..)) => *scheme,
            None if self.0.destination.port() == Scheme::Http.default_port() => Scheme::Http,
            None => Scheme::Https,
        };
        let destination = self.0.destination.to_string();
        let authority = destination.strip_suffix(&format!(":{}", scheme.default_port())).unwrap_or(&destination);
        format!("{}://{authority}", scheme.as_str())
    }

    fn is_plain(&self) -> bool {
        self.0.call.as_ref().is_some_and(|(scheme, ..)| *scheme == Scheme::Http)
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())
    }
}

impl fmt::Debug for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Denial({}: {})", self.0.kind.as_str(), self.reason())
    }
}
