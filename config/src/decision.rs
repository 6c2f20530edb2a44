//! What is asked of a policy, and what it answers.
//!
//! Enters: facts about a connection or a call. Leaves: a permit, which is the only way to what may be dialled and
//! sent, or a denial with its reason. Never: a bool, and never a permit that was not judged.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::agent::CredentialName;
use crate::client_certificate::ClientCertificate;
use crate::denial::Denial;
use crate::destination::Destination;
use crate::limits::Rate;
use crate::method::Method;
use crate::observe::Observed;
use crate::path::NormalPath;
use crate::protocol::Protocol;
use crate::rule::{Effect, Rule, RuleId, TlsMode};
use crate::upstream::{ProxyLogin, UpstreamProxy};

/// How a call travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// Plain.
    Http,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// The port of an authority that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

/// A call, as far as a policy looks at it.
#[derive(Clone, Copy, Debug)]
pub struct CallFacts<'a> {
    /// Where it goes.
    pub destination: &'a Destination,
    /// How it travels.
    pub scheme: Scheme,
    /// Its method.
    pub method: &'a Method,
    /// Its path.
    pub path: &'a NormalPath,
}

/// Leave to finish a connection's handshake and read its requests; each of them is judged again.
#[derive(Debug)]
#[must_use = "a connection that was judged is served or closed"]
pub struct ConnectPermit {
    pub(crate) destination: Destination,
    pub(crate) plain: bool,
    /// The first allow rule of the destination.
    pub(crate) rule: Arc<Rule>,
    pub(crate) proxy: Option<Arc<UpstreamProxy>>,
    pub(crate) policy: Arc<str>,
}

impl ConnectPermit {
    /// Where the connection may go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Whether some call over it could be allowed with this scheme.
    pub fn allows(&self, scheme: Scheme) -> bool {
        scheme == Scheme::Https || self.plain
    }

    /// What becomes of it.
    pub fn mode(&self) -> TlsMode {
        self.rule.tls()
    }

    /// The first rule that allows something of the destination.
    pub fn rule(&self) -> &RuleId {
        self.rule.id()
    }

    /// The digest of the policy that judged.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Leave to carry the connection unread, where the destination's rule says so.
    pub fn tunnel(self) -> Option<TunnelPermit> {
        let Self { destination, rule, proxy, policy, .. } = self;
        (rule.tls() != TlsMode::Intercept).then_some(TunnelPermit { destination, rule, proxy, policy })
    }
}

/// Leave to carry one connection unread.
#[derive(Debug)]
#[must_use = "a connection that was judged is carried or closed"]
pub struct TunnelPermit {
    destination: Destination,
    rule: Arc<Rule>,
    proxy: Option<Arc<UpstreamProxy>>,
    policy: Arc<str>,
}

impl TunnelPermit {
    /// Whether it passes as TLS or as whatever it is.
    pub fn mode(&self) -> TlsMode {
        self.rule.tls()
    }

    /// The rule that allows it.
    pub fn rule(&self) -> &RuleId {
        self.rule.id()
    }

    /// The rule's rate, counted by connection.
    pub fn rate(&self) -> Option<Rate> {
        self.rule.rate()
    }

    /// The way to the destination that the rule wants taken.
    pub fn route(&self) -> Route<'_> {
        Route { destination: &self.destination, rule: &self.rule, proxy: self.proxy.as_ref() }
    }

    /// The digest of the policy that judged.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Whether what stands by `other` may go on by this one.
    pub fn goes_as(&self, other: &TunnelPermit) -> bool {
        self.mode() == other.mode() && self.route().covers(other.route())
    }
}

/// Leave to send one call: what was judged, and how the rule wants it sent.
#[derive(Debug)]
#[must_use = "a call that was judged is sent or answered"]
pub struct CallPermit {
    pub(crate) destination: Destination,
    pub(crate) scheme: Scheme,
    pub(crate) method: Method,
    pub(crate) path: NormalPath,
    pub(crate) rule: Arc<Rule>,
    pub(crate) proxy: Option<Arc<UpstreamProxy>>,
    pub(crate) policy: Arc<str>,
    pub(crate) observed: Option<Box<Observed>>,
}

impl CallPermit {
    /// Where the call may go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// How it may travel.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The method that was judged.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path that was judged, which is the one to send.
    pub fn path(&self) -> &NormalPath {
        &self.path
    }

    /// The rule that allows it; where it is observed, one that stands in no file.
    pub fn rule(&self) -> &RuleId {
        self.rule.id()
    }

    /// The denial that this would have been, had the policy not been told to observe.
    pub fn observed(&self) -> Option<&Denial> {
        self.observed.as_ref().map(|observed| &observed.denial)
    }

    /// The credential that the rule puts in.
    pub fn credential(&self) -> Option<&CredentialName> {
        self.rule.credential()
    }

    /// The rate that the call counts against.
    pub fn rate(&self) -> Option<Rate> {
        self.counted().rate()
    }

    /// The rule whose rate that is: the one that allows the call; of what is observed, the one that came nearest.
    pub fn counts_against(&self) -> &RuleId {
        self.counted().id()
    }

    fn counted(&self) -> &Rule {
        self.observed.as_ref().and_then(|observed| observed.nearest.as_deref()).unwrap_or(&self.rule)
    }

    /// What of the request's body the rule lets through, where it looks into bodies.
    pub fn protocol(&self) -> Option<&Protocol> {
        self.rule.protocol()
    }

    /// The way to the destination that the rule wants taken.
    pub fn route(&self) -> Route<'_> {
        Route { destination: &self.destination, rule: &self.rule, proxy: self.proxy.as_ref() }
    }

    /// The digest of the policy that judged.
    pub fn policy(&self) -> &Arc<str> {
        &self.policy
    }
}

/// Where to dial and what may be dialled. There is none without a permit.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    destination: &'a Destination,
    rule: &'a Rule,
    proxy: Option<&'a Arc<UpstreamProxy>>,
}

impl<'a> Route<'a> {
    /// Where it leads.
    pub fn destination(self) -> &'a Destination {
        self.destination
    }

    /// The rule that it is by.
    pub fn rule(self) -> &'a RuleId {
        self.rule.id()
    }

    /// Whether it stands on no rule, but on a policy that observes.
    pub fn is_observed(self) -> bool {
        self.rule.effect() == Effect::Observe
    }

    /// The address to dial instead of resolving the name.
    pub fn dial(self) -> Option<SocketAddr> {
        self.rule.dial()
    }

    /// The house's proxy that it leads through.
    pub fn proxy(self) -> Option<&'a Arc<UpstreamProxy>> {
        self.proxy
    }

    /// What the upstream is shown if it asks who calls.
    pub fn client_certificate(self) -> Option<&'a Arc<ClientCertificate>> {
        self.rule.client_certificate()
    }

    /// Whether what was dialled by `other` would be by this one: the same place in the same way, and no range less. A certificate or a login that was
    /// renewed in its file is the same.
    pub fn covers(self, other: Route<'_>) -> bool {
        let proxies = [self, other].map(|route| {
            route.proxy.map(|proxy| (proxy.place(), proxy.resolves(), proxy.login().map(ProxyLogin::file)))
        });
        let shown = [self, other]
            .map(|route| route.client_certificate().map(|shown| (shown.certificate_file(), shown.key_file())));
        let listed = |range: &IpNet| self.ranges().iter().any(|wider| wider.contains(range));
        let same = (self.destination, self.dial()) == (other.destination, other.dial());
        same && proxies[0] == proxies[1] && shown[0] == shown[1] && other.ranges().iter().all(listed)
    }

    /// Address ranges that may be dialled although they are private or the like.
    pub fn ranges(self) -> &'a [IpNet] {
        self.rule.addresses()
    }
}
