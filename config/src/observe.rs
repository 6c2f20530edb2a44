//! A policy that observes: what no rule covers passes, and says that it did (`exeat run --observe`).
//!
//! Enters: a policy, and its denial of a call for want of a rule. Leaves: a permit that carries that denial, or the denial. Never:
//! what a deny rule has; a credential or a client certificate; an address range that no rule of that very destination lists; a
//! connection that passes unread; the house's proxy, or a way through it on which addresses are the proxy's to judge.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::decision::{CallFacts, CallPermit, ConnectPermit, Scheme};
use crate::denial::{Denial, DenialKind};
use crate::destination::{Destination, Host};
use crate::pattern::Pattern;
use crate::policy::Policy;
use crate::rule::{Effect, Rule, RuleId, TlsMode};
use crate::upstream::UpstreamProxy;

/// What a permit of an observing policy says of the rule that is missing.
#[derive(Debug)]
pub(crate) struct Observed {
    /// What would have refused the call.
    pub(crate) denial: Denial,
    /// The allow rule of this destination that came nearest, whose rate the call counts against.
    pub(crate) nearest: Option<Arc<Rule>>,
}

/// How a rule of a destination has it reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The address to dial instead of resolving the name.
    pub dial: Option<SocketAddr>,
    /// Ranges that may be dialled although they are private or the like.
    pub addresses: Vec<IpNet>,
}

impl Policy {
    /// The same policy, which from now on lets pass what no rule covers.
    #[must_use]
    pub fn observing(self) -> Self {
        Self { observes: true, ..self }
    }

    /// Whether it lets pass what no rule covers.
    pub fn observes(&self) -> bool {
        self.observes
    }

    /// How the rules of a destination have it reached, where they list it: as the first of them dials, at the ranges that any of them
    /// lists.
    pub fn way_to(&self, destination: &Destination) -> Option<Way> {
        let mut way: Option<Way> = None;
        for rule in self.allowing(destination).filter(|rule| rule.tls() == TlsMode::Intercept) {
            let way = way.get_or_insert_with(|| Way { dial: rule.dial(), addresses: Vec::new() });
            let fresh = rule.addresses().iter().filter(|range| !way.addresses.contains(range)).copied();
            let fresh: Vec<IpNet> = fresh.collect();
            way.addresses.extend(fresh);
        }
        way
    }

    /// Leave for a connection to a destination that no rule lists.
    pub(crate) fn observed_connection(
        &self,
        destination: &Destination,
        denial: Denial,
    ) -> Result<ConnectPermit, Denial> {
        if !self.observes {
            return Err(denial);
        }
        let Some(proxy) = self.way_out(destination, Scheme::Https) else {
            return Err(denial);
        };
        Ok(ConnectPermit {
            destination: destination.clone(),
            plain: true,
            rule: Arc::new(self.no_rule(destination)),
            proxy,
            policy: self.digest.clone(),
        })
    }

    /// Leave for a call that no rule covers.
    pub(crate) fn observed_call(
        &self,
        call: &CallFacts<'_>,
        denial: Denial,
        nearest: Option<&Arc<Rule>>,
    ) -> Result<CallPermit, Denial> {
        if !self.observes {
            return Err(denial);
        }
        let way_out = self.way_out(call.destination, call.scheme);
        let Some(proxy) = way_out.filter(|_| is_for_want_of_a_rule(denial.kind())) else {
            return Err(denial);
        };
        Ok(CallPermit {
            destination: call.destination.clone(),
            scheme: call.scheme,
            method: call.method.clone(),
            path: call.path.clone(),
            rule: Arc::new(self.no_rule(call.destination)),
            proxy,
            policy: self.digest.clone(),
            observed: Some(Box::new(Observed { denial, nearest: nearest.cloned() })),
        })
    }

    /// What stands in for the rule that is missing: nothing but the way to a destination that other rules list.
    fn no_rule(&self, destination: &Destination) -> Rule {
        let Way { dial, addresses } = self.way_to(destination).unwrap_or_default();
        let id = RuleId { effect: Effect::Observe, number: 0, line: 0 };
        Rule { dial, addresses, plain: true, ..Rule::everything(id, Pattern::from(destination)) }
    }

    /// The house's proxy, or none, for what goes straight; `None` where there is no way for what no rule lists.
    fn way_out(&self, destination: &Destination, scheme: Scheme) -> Option<Option<Arc<UpstreamProxy>>> {
        let Some(proxy) = &self.proxy else { return Some(None) };
        // Who can be asked to connect anywhere is no destination.
        if proxy.place() == destination {
            return None;
        }
        let way = self.way_to(destination);
        if !proxy.is_for(destination) || way.as_ref().is_some_and(|way| way.dial.is_some()) {
            return Some(None);
        }
        // The proxy looks the name up once more. That it finds another address than was judged comes to nothing where the upstream has to
        // prove its name; where it need not, or nobody here judges addresses at all, only a rule can vouch for the name.
        let vouched = way.is_some() || matches!(destination.host(), Host::Address(_));
        let proven = scheme == Scheme::Https && !proxy.resolves();
        (vouched || proven).then(|| Some(Arc::clone(proxy)))
    }
}

/// Whether a rule that is not there is all that a call lacks.
fn is_for_want_of_a_rule(kind: &DenialKind) -> bool {
    match kind {
        DenialKind::HostNotListed
        | DenialKind::AddressNotListed
        | DenialKind::PortNotListed { .. }
        | DenialKind::PlainNotAllowed
        | DenialKind::MethodNotAllowed { .. }
        | DenialKind::PathNotAllowed { .. }
        | DenialKind::EncodedSlash => true,
        DenialKind::PassesUnread | DenialKind::DeniedByRule => false,
    }
}
