//! The decision as it is meant: every rule is asked, in turn. In no build but those of tests and fuzz targets, which compare the other with it.
//!
//! Enters: a policy, and facts. Leaves: in what its decision differs from the one that asks every rule. Never: an index.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::{MOST_KEPT, Policy};
use crate::decision::{CallFacts, CallPermit, ConnectPermit};
use crate::denial::{Denial, DenialKind};
use crate::destination::Destination;
use crate::glob::PathGlob;
use crate::observe::Way;
use crate::path::NormalPath;
use crate::reading::{decoded_again, folded, without_parameters};
use crate::rule::{Effect, Rule, RuleId, TlsMode};

/// What is decided, as far as it can be seen.
type Decided = Result<(Option<RuleId>, String), Denial>;

impl Policy {
    /// In what the decision about a call, and about its connection, differs from what is meant; `None` where it does not.
    pub fn differs(&self, call: &CallFacts<'_>) -> Option<String> {
        let told = |is: Decided, meant: Decided| (is != meant).then(|| format!("{is:?} is meant to be {meant:?}"));
        let connection = told(
            self.connect(call.destination).map(|permit| self.seen_of(&permit)),
            self.connect_plainly(call.destination),
        );
        connection.or_else(|| told(self.call(call).map(|permit| self.call_seen(&permit)), self.call_plainly(call)))
    }

    fn seen_of(&self, permit: &ConnectPermit) -> (Option<RuleId>, String) {
        let rule = &permit.rule;
        let way = (rule.effect() == Effect::Observe).then(|| (rule.dial(), rule.addresses().to_vec()));
        (id(rule), text(&(permit.plain, way)))
    }

    fn call_seen(&self, permit: &CallPermit) -> (Option<RuleId>, String) {
        let rule = &permit.rule;
        let way = (rule.effect() == Effect::Observe).then(|| (rule.dial(), rule.addresses().to_vec()));
        let observed = permit.observed.as_ref();
        let nearest = observed.and_then(|observed| observed.nearest.as_deref()).map(|rule| rule.id().clone());
        (id(rule), text(&(observed.map(|observed| &observed.denial), nearest, way)))
    }

    fn plain_way(&self, destination: &Destination) -> Option<(Option<std::net::SocketAddr>, Vec<ipnet::IpNet>)> {
        let mut way: Option<Way> = None;
        for rule in self.allows().filter(|rule| rule.tls == TlsMode::Intercept && rule.to.matches(destination)) {
            let way = way.get_or_insert_with(|| Way { dial: rule.dial(), addresses: Vec::new() });
            let known = way.addresses.clone();
            way.addresses.extend(rule.addresses().iter().filter(|range| !known.contains(range)));
        }
        let way = way.unwrap_or_default();
        Some((way.dial, way.addresses))
    }

    fn allows(&self) -> impl Iterator<Item = &Rule> {
        self.with_effect(Effect::Allow).map(AsRef::as_ref)
    }

    fn denies(&self) -> impl Iterator<Item = &Rule> {
        self.with_effect(Effect::Deny).map(AsRef::as_ref)
    }

    fn connect_plainly(&self, destination: &Destination) -> Decided {
        if let Some(rule) = self.denies().find(|rule| rule.is_whole() && rule.to.matches(destination)) {
            return Err(self.denial(DenialKind::DeniedByRule, Some(rule), destination, None));
        }
        match self.allows().find(|rule| rule.to.matches(destination)) {
            Some(rule) => {
                let plain = self.observes || self.allows().any(|rule| rule.plain && rule.to.matches(destination));
                Ok((id(rule), text(&(plain, None::<()>))))
            }
            None if self.observes => Ok((None, text(&(true, self.plain_way(destination))))),
            None => Err(self.denial(self.unlisted_plainly(destination), None, destination, None)),
        }
    }

    fn call_plainly(&self, call: &CallFacts<'_>) -> Decided {
        if let Some(rule) = self.denies().find(|rule| speaks(rule, call)) {
            return Err(self.denial(DenialKind::DeniedByRule, Some(rule), call.destination, Some(call)));
        }
        let first = self.allows().find(|rule| rule.to.matches(call.destination));
        if let Some(rule) = first.filter(|rule| rule.tls != TlsMode::Intercept) {
            return Err(self.denial(DenialKind::PassesUnread, Some(rule), call.destination, Some(call)));
        }
        if let Some(rule) = self.allows().find(|rule| speaks(rule, call)) {
            return Ok((id(rule), text(&(None::<()>, None::<()>, None::<()>))));
        }
        let denial = self.want_of_a_rule_plainly(call);
        if !self.observes {
            return Err(denial);
        }
        let nearest = denial.rule().cloned();
        Ok((None, text(&(Some(&denial), nearest, self.plain_way(call.destination)))))
    }

    fn unlisted_plainly(&self, destination: &Destination) -> DenialKind {
        let ports: BTreeSet<u16> = self
            .allows()
            .filter(|rule| rule.to.matches_host(destination.host()))
            .filter_map(|rule| rule.to.port())
            .collect();
        if ports.is_empty() { DenialKind::unlisted(destination.host()) } else { DenialKind::PortNotListed { ports } }
    }

    fn want_of_a_rule_plainly(&self, call: &CallFacts<'_>) -> Denial {
        let keep = |rules: &[&Rule], matches: &dyn Fn(&Rule) -> bool| rules.iter().any(|rule| matches(rule));
        let listed: Vec<&Rule> =
            self.allows().filter(|rule| rule.tls == TlsMode::Intercept && rule.to.matches(call.destination)).collect();
        let with_scheme: Vec<&Rule> = listed.iter().copied().filter(|rule| rule.has_scheme(call.scheme)).collect();
        let with_path: Vec<&Rule> = with_scheme.iter().copied().filter(|rule| has_path(rule, call.path)).collect();
        let (kind, nearest) = if listed.is_empty() {
            (self.unlisted_plainly(call.destination), None)
        } else if with_scheme.is_empty() {
            (DenialKind::PlainNotAllowed, Some(listed[0]))
        } else if let (true, Some(rule)) =
            (with_path.is_empty(), with_scheme.iter().find(|rule| would_have(rule, call.path)))
        {
            (DenialKind::EncodedSlash, Some(*rule))
        } else if with_path.is_empty() {
            let has = |rule: &Rule| rule.has_method(call.method);
            let all = !keep(&with_scheme, &has);
            let rules: Vec<&Rule> = with_scheme.iter().copied().filter(|rule| all || has(rule)).collect();
            let mut paths: Vec<PathGlob> = Vec::new();
            let mut more = 0;
            for path in rules.iter().filter_map(|rule| rule.paths()).flatten() {
                if more > 0 || paths.len() == MOST_KEPT && !paths.contains(path) {
                    more += 1;
                } else if !paths.contains(path) {
                    paths.push(path.clone());
                }
            }
            (DenialKind::PathNotAllowed { paths, more }, rules.first().copied())
        } else {
            let mut methods = Vec::new();
            for method in with_path.iter().filter_map(|rule| rule.methods()).flatten() {
                if !methods.contains(method) {
                    methods.push(method.clone());
                }
            }
            (DenialKind::MethodNotAllowed { methods }, with_path.first().copied())
        };
        self.denial(kind, nearest, call.destination, Some(call))
    }
}

fn id(rule: &Rule) -> Option<RuleId> {
    (rule.effect() != Effect::Observe).then(|| rule.id().clone())
}

fn text(seen: &impl Debug) -> String {
    format!("{seen:?}")
}

fn speaks(rule: &Rule, call: &CallFacts<'_>) -> bool {
    rule.tls == TlsMode::Intercept
        && rule.to.matches(call.destination)
        && rule.has_scheme(call.scheme)
        && rule.has_method(call.method)
        && has_path(rule, call.path)
}

fn has_path(rule: &Rule, path: &NormalPath) -> bool {
    if rule.effect() == Effect::Allow {
        return (rule.encoded_slash || !path.has_encoded_slash()) && would_have(rule, path);
    }
    let has = |read: &str| {
        let paths = rule.paths();
        paths.is_none_or(|globs| globs.iter().any(|glob| glob.folded().matches(&folded(read))))
    };
    let denies = |read: &str| {
        let open = read.strip_suffix('/').unwrap_or(read);
        !open.is_empty() && has(open) || has(&format!("{open}/"))
    };
    let either = |read: &str| denies(read) || without_parameters(read).is_some_and(|bare| denies(&bare));
    let split = path.with_slashes_decoded();
    let once = [Some(path.decoded()), split.as_deref()];
    once.into_iter().flatten().any(|read| either(read) || decoded_again(read).is_some_and(|twice| either(&twice)))
}

fn would_have(rule: &Rule, path: &NormalPath) -> bool {
    let both = |read: &str| {
        let named = || rule.paths().into_iter().flatten().any(|glob| glob.has_parameters() && glob.matches(read));
        let bare = |bare: String| lists(rule, &bare) || named();
        lists(rule, read) && without_parameters(read).is_none_or(bare)
    };
    both(path.decoded()) && decoded_again(path.decoded()).is_none_or(|twice| both(&twice))
}

fn lists(rule: &Rule, read: &str) -> bool {
    rule.paths().is_none_or(|globs| globs.iter().any(|glob| glob.matches(read)))
}
