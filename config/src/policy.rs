//! What one agent may do, and the decision.
//!
//! Enters: an agent's file, then facts. Leaves: permits and denials. Never: a policy that is half valid, nor an answer
//! that depends on anything but the rules and the facts.

use std::collections::BTreeSet;
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
use crate::rule::{Effect, Rule, TlsMode};
use crate::sandbox::SandboxSettings;
use crate::upstream::{ProxyLogin, UpstreamProxy};

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
        file::read(path.as_ref())
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
        let denied = |rule: &&Arc<Rule>| rule.is_whole() && rule.to.matches(destination);
        if let Some(rule) = self.with_effect(Effect::Deny).find(denied) {
            return Err(self.denial(DenialKind::DeniedByRule, Some(rule), destination, None));
        }
        let Some(rule) = self.first(destination) else {
            let denial = self.denial(self.unlisted(destination), None, destination, None);
            return self.observed_connection(destination, denial);
        };
        let plain =
            self.observes || self.with_effect(Effect::Allow).any(|rule| rule.plain && rule.to.matches(destination));
        Ok(ConnectPermit {
            destination: destination.clone(),
            plain,
            rule: Arc::clone(rule),
            proxy: self.proxy_for(destination, rule),
            policy: self.digest.clone(),
        })
    }

    /// Whether a call may be made: no deny rule has it, and the first allow rule that has it says how; where there is none, an observing
    /// policy lets it pass and the permit says so.
    pub fn call(&self, call: &CallFacts<'_>) -> Result<CallPermit, Denial> {
        if let Some(rule) = self.with_effect(Effect::Deny).find(|rule| rule.matches(call)) {
            return Err(self.denial(DenialKind::DeniedByRule, Some(rule), call.destination, Some(call)));
        }
        if let Some(rule) = self.first(call.destination).filter(|rule| rule.tls != TlsMode::Intercept) {
            return Err(self.denial(DenialKind::PassesUnread, Some(rule), call.destination, Some(call)));
        }
        let rule = self.with_effect(Effect::Allow).find(|rule| rule.matches(call));
        let Some(rule) = rule else { return self.observed_call(call, self.for_want_of_a_rule(call)) };
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

    /// An address that a rule names to be dialled is dialled.
    fn proxy_for(&self, destination: &Destination, rule: &Rule) -> Option<Arc<UpstreamProxy>> {
        self.proxy.clone().filter(|proxy| rule.dial().is_none() && proxy.is_for(destination))
    }

    /// The first allow rule of a destination, which decides what becomes of connections to it.
    fn first(&self, destination: &Destination) -> Option<&Arc<Rule>> {
        self.with_effect(Effect::Allow).find(|rule| rule.to.matches(destination))
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
        let with_host = self.with_effect(Effect::Allow).filter(|rule| rule.to.matches_host(destination.host()));
        let ports: BTreeSet<u16> = with_host.filter_map(|rule| rule.to.port()).collect();
        if ports.is_empty() { DenialKind::unlisted(destination.host()) } else { DenialKind::PortNotListed { ports } }
    }

    /// Which step of host, port, scheme, path and method no allow rule got past, and the first rule that got furthest.
    fn for_want_of_a_rule(&self, call: &CallFacts<'_>) -> Denial {
        let allowing: Vec<&Rule> = self.with_effect(Effect::Allow).map(|rule| &**rule).collect();
        let listed = keep(&allowing, |rule| rule.tls == TlsMode::Intercept && rule.to.matches(call.destination));
        let with_scheme = keep(&listed, |rule| rule.has_scheme(call.scheme));
        let with_path = keep(&with_scheme, |rule| rule.has_path(call.path));
        let (kind, nearest) = if listed.is_empty() {
            (self.unlisted(call.destination), None)
        } else if with_scheme.is_empty() {
            (DenialKind::PlainNotAllowed, listed.first().copied())
        } else if let (true, Some(rule)) =
            (with_path.is_empty(), with_scheme.iter().find(|rule| rule.would_have(call.path)))
        {
            (DenialKind::EncodedSlash, Some(*rule))
        } else if with_path.is_empty() {
            let with_method = keep(&with_scheme, |rule| rule.has_method(call.method));
            let rules = if with_method.is_empty() { with_scheme } else { with_method };
            let paths = distinct(rules.iter().filter_map(|rule| rule.paths()).flatten());
            (DenialKind::PathNotAllowed { paths }, rules.first().copied())
        } else {
            let methods = distinct(with_path.iter().filter_map(|rule| rule.methods()).flatten());
            (DenialKind::MethodNotAllowed { methods }, with_path.first().copied())
        };
        self.denial(kind, nearest, call.destination, Some(call))
    }
}

fn keep<'a>(rules: &[&'a Rule], matches: impl Fn(&Rule) -> bool) -> Vec<&'a Rule> {
    rules.iter().copied().filter(|rule| matches(rule)).collect()
}

fn distinct<'a, T: Clone + PartialEq + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in items {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    kept
}
