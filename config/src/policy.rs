//! What one agent may do, and the decision.
//!
//! Enters: an agent's file, then facts. Leaves: permits and denials. Never: a policy that is half valid, nor an answer
//! that depends on anything but the rules and the facts.

#[cfg(any(test, fuzzing))]
mod linear;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{AgentId, CredentialName};
use crate::client_certificate::ClientCertificate;
use crate::decision::{CallFacts, CallPermit, ConnectPermit};
use crate::denial::{Denial, DenialKind};
use crate::destination::Destination;
use crate::error::LoadError;
use crate::expectation::Expectation;
use crate::file::{self, Secrets};
use crate::index::Index;
use crate::reading::Readings;
use crate::rule::{Effect, Rule, TlsMode};
use crate::sandbox::SandboxSettings;
use crate::upstream::{ProxyLogin, UpstreamProxy};

/// What a denial lists of paths or methods: far more than is shown, and far less than there may be.
const MOST_KEPT: usize = 64;

/// One agent's policy. One that exists is valid.
#[derive(Debug)]
pub struct Policy {
    pub(crate) agent: AgentId,
    pub(crate) file: String,
    pub(crate) digest: Arc<str>,
    pub(crate) sandbox: SandboxSettings,
    pub(crate) extra_roots: Vec<PathBuf>,
    pub(crate) proxy: Option<Arc<UpstreamProxy>>,
    pub(crate) rules: Vec<Arc<Rule>>,
    pub(crate) allow: Index,
    pub(crate) deny: Index,
    /// Whether what no rule covers passes, and says so.
    pub(crate) observes: bool,
    pub(crate) expectations: Vec<Expectation>,
}

impl Policy {
    /// Reads an agent's file; the agent is the stem of its name.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        file::load_policy(path.as_ref(), Secrets::Read)
    }

    /// The same, for whoever must not know the secrets that stand in files beside it: those files are left alone. It is good for
    /// making a sandbox, and lacks what upstreams and proxies may ask for.
    pub fn load_without_secrets(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        file::load_policy(path.as_ref(), Secrets::LeftOut)
    }

    /// The text of an agent's file, for whoever goes on with the very text that is parsed.
    pub fn text_of(path: impl AsRef<Path>) -> Result<String, LoadError> {
        file::read_policy(path.as_ref())
    }

    /// Reads an agent's file from text. Paths in it are relative to the directory of `file`.
    pub fn parse(agent: AgentId, file: impl AsRef<Path>, text: &str) -> Result<Self, LoadError> {
        file::parse_policy(agent, file.as_ref(), text, Secrets::Read)
    }

    /// The same as [`Policy::load_without_secrets`] is to [`Policy::load`].
    pub fn parse_without_secrets(agent: AgentId, file: impl AsRef<Path>, text: &str) -> Result<Self, LoadError> {
        file::parse_policy(agent, file.as_ref(), text, Secrets::LeftOut)
    }

    /// The file that it was read from, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The agent it is for.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// `sha256:` and the hash of the file's bytes in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the sandbox may have.
    pub fn sandbox(&self) -> &SandboxSettings {
        &self.sandbox
    }

    /// Files with root certificates to trust upstream beside the system's.
    pub fn extra_roots(&self) -> &[PathBuf] {
        &self.extra_roots
    }

    /// The files beside it that hold secrets, which the sandbox must not be shown.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let logins = self.proxy.iter().filter_map(|proxy| proxy.login()).map(ProxyLogin::file);
        logins.chain(self.client_certificates().map(ClientCertificate::key_file))
    }

    /// The files beside it that are read again with it: those that hold secrets, and the certificates of the keys among them.
    pub fn files_beside(&self) -> impl Iterator<Item = &Path> {
        self.secret_files().chain(self.client_certificates().map(ClientCertificate::certificate_file))
    }

    /// Whether another reading of the same file found the same in it and in the files beside it.
    pub(crate) fn is_like(&self, other: &Policy) -> bool {
        let beside = || self.proxy == other.proxy && self.client_certificates().eq(other.client_certificates());
        self.digest == other.digest && beside()
    }

    fn client_certificates(&self) -> impl Iterator<Item = &ClientCertificate> {
        self.rules.iter().filter_map(|rule| rule.client_certificate.as_deref())
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// What its file expects of it, in the order of the file.
    pub fn expectations(&self) -> &[Expectation] {
        &self.expectations
    }

    /// Every port that an allow rule names.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.with_effect(Effect::Allow).filter_map(|rule| rule.to.port()).collect()
    }

    /// Every credential that a rule names.
    pub fn credentials(&self) -> BTreeSet<CredentialName> {
        self.rules.iter().filter_map(|rule| rule.credential.clone()).collect()
    }

    /// Whether a connection may be made at all: some allow rule has its destination, or the policy observes, and no deny rule has all of
    /// it.
    pub fn connect(&self, destination: &Destination) -> Result<ConnectPermit, Denial> {
        if let Some(rule) = self.at(self.deny.summary(destination).whole) {
            return Err(self.denial(DenialKind::DeniedByRule, Some(rule), destination, None));
        }
        let listed = self.allow.summary(destination);
        let Some(rule) = self.at(listed.first) else {
            let denial = self.denial(self.unlisted(destination), None, destination, None);
            return self.observed_connection(destination, denial);
        };
        Ok(ConnectPermit {
            destination: destination.clone(),
            plain: self.observes || listed.plain,
            rule: Arc::clone(rule),
            proxy: self.proxy_for(destination, rule),
            policy: self.digest.clone(),
        })
    }

    /// Whether a call may be made: no deny rule has it, and the first allow rule that has it says how; where there is none, an observing
    /// policy lets it pass and the permit says so.
    pub fn call(&self, call: &CallFacts<'_>) -> Result<CallPermit, Denial> {
        let readings = Readings::of(call.path);
        let speaks = |place: u32| self.rules[place as usize].matches(call, &readings);
        // A deny rule has a path if it has any reading of it, in any case; what an allow rule has, it has as it was decoded too.
        if let Some(rule) = self.at(self.deny.find(call.destination, &readings.each_denied(), speaks)) {
            return Err(self.denial(DenialKind::DeniedByRule, Some(rule), call.destination, Some(call)));
        }
        let first = self.at(self.allow.summary(call.destination).first);
        if let Some(rule) = first.filter(|rule| rule.tls != TlsMode::Intercept) {
            return Err(self.denial(DenialKind::PassesUnread, Some(rule), call.destination, Some(call)));
        }
        let rule = self.at(self.allow.find(call.destination, &std::iter::once(readings.own()), speaks));
        let Some(rule) = rule else {
            let (denial, nearest) = self.for_want_of_a_rule(call, &readings);
            return self.observed_call(call, denial, nearest);
        };
        Ok(CallPermit {
            destination: call.destination.clone(),
            scheme: call.scheme,
            method: call.method.clone(),
            path: call.path.clone(),
            rule: rule.clone(),
            proxy: self.proxy_for(call.destination, rule),
            policy: self.digest.clone(),
            observed: None,
        })
    }

    /// Whether another method or path might have been judged otherwise than this one: where its rule does not take all of them, or looks into
    /// bodies, or a deny rule has some of its destination.
    pub fn tells_calls_apart(&self, permit: &CallPermit) -> bool {
        let rule = &permit.rule;
        !rule.is_whole() || rule.protocol().is_some() || self.deny.summary(&permit.destination).first.is_some()
    }

    /// An address that a rule names to be dialled is dialled.
    fn proxy_for(&self, destination: &Destination, rule: &Rule) -> Option<Arc<UpstreamProxy>> {
        self.proxy.clone().filter(|proxy| rule.dial().is_none() && proxy.is_for(destination))
    }

    fn at(&self, place: Option<u32>) -> Option<&Arc<Rule>> {
        place.map(|place| &self.rules[place as usize])
    }

    /// The allow rules of a destination, in the order of the file.
    pub(crate) fn allowing(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules_at(self.allow.all(destination))
    }

    fn rules_at(&self, places: Vec<u32>) -> impl Iterator<Item = &Arc<Rule>> {
        places.into_iter().map(|place| &self.rules[place as usize])
    }

    pub(crate) fn with_effect(&self, effect: Effect) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter().filter(move |rule| rule.effect() == effect)
    }

    fn denial(
        &self,
        kind: DenialKind,
        rule: Option<&Rule>,
        destination: &Destination,
        call: Option<&CallFacts<'_>>,
    ) -> Denial {
        Denial::new(kind, rule, (&self.agent, &self.digest), destination, call)
    }

    /// The host has no rule, or none with this port.
    fn unlisted(&self, destination: &Destination) -> DenialKind {
        let ports = self.allow.ports(destination.host());
        if ports.is_empty() { DenialKind::unlisted(destination.host()) } else { DenialKind::PortNotListed { ports } }
    }

    /// Which step of host, port, scheme, path and method no allow rule got past, and the first rule that got furthest.
    fn for_want_of_a_rule(&self, call: &CallFacts<'_>, readings: &Readings<'_>) -> (Denial, Option<&Arc<Rule>>) {
        let listed: Vec<_> = self.allowing(call.destination).filter(|rule| rule.tls == TlsMode::Intercept).collect();
        let with_scheme = keep(&listed, |rule| rule.has_scheme(call.scheme));
        let with_path: Vec<_> = self.rules_at(self.allow.with_path(call.destination, readings.own())).collect();
        let with_path = keep(&with_path, |rule| {
            rule.tls == TlsMode::Intercept && rule.has_scheme(call.scheme) && rule.has_path(call.path, readings)
        });
        let (kind, nearest) = if listed.is_empty() {
            (self.unlisted(call.destination), None)
        } else if with_scheme.is_empty() {
            (DenialKind::PlainNotAllowed, listed.first().copied())
        } else if with_path.is_empty()
            && call.path.has_encoded_slash()
            && let Some(rule) = with_scheme.iter().copied().find(|rule| rule.would_have(readings))
        {
            (DenialKind::EncodedSlash, Some(rule))
        } else if with_path.is_empty() {
            let with_method = keep(&with_scheme, |rule| rule.has_method(call.method));
            let rules = if with_method.is_empty() { with_scheme } else { with_method };
            let (paths, more) = distinct(rules.iter().filter_map(|rule| rule.paths()).flatten());
            (DenialKind::PathNotAllowed { paths, more }, rules.first().copied())
        } else {
            let (methods, _) = distinct(with_path.iter().filter_map(|rule| rule.methods()).flatten());
            (DenialKind::MethodNotAllowed { methods }, with_path.first().copied())
        };
        (self.denial(kind, nearest.map(AsRef::as_ref), call.destination, Some(call)), nearest)
    }
}

fn keep<'a>(rules: &[&'a Arc<Rule>], matches: impl Fn(&Rule) -> bool) -> Vec<&'a Arc<Rule>> {
    rules.iter().copied().filter(|rule| matches(rule)).collect()
}

/// Each once, in the order in which they come first; of many, the first ones, and how many are left.
fn distinct<'a, T: Clone + Eq + Hash + 'a>(mut items: impl Iterator<Item = &'a T>) -> (Vec<T>, usize) {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    while let Some(item) = items.next() {
        if !seen.insert(item) {
            continue;
        }
        if kept.len() == MOST_KEPT {
            return (kept, 1 + items.count());
        }
        kept.push(item.clone());
    }
    (kept, 0)
}
