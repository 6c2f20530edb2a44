//! What the files say: the policy that a worker would start with, the credentials that list the agent, and what `exeat check` finds.
//!
//! Enters: the configuration directory. Leaves: facts, and why there is none. Never: a finding about another agent, or a secret.

use std::fs;

use config::{AgentId, Credential, Credentials, Effect, IssuerSettings, OAuthGrant, Rule, TlsMode};

use super::facts::{Facts, Found, Granted, Policy, Wide};
use crate::check;
use crate::places::Places;

/// As many of the widest rules are named.
const WIDEST: usize = 5;

/// Adds what the files say.
pub(super) fn add(facts: &mut Facts, places: &Places, agent: &AgentId, since: &str) {
    let file = places.agent_file(agent);
    let mut named = Vec::new();
    match config::Policy::load_without_secrets(&file) {
        Ok(policy) => {
            named.extend(policy.credentials().iter().map(ToString::to_string));
            facts.policy = Some(counted(&policy, file.display().to_string()));
        }
        Err(error) => facts.policy_unusable = error.to_string().lines().next().map(str::to_owned),
    }
    let file = places.credentials_file();
    if fs::exists(&file).unwrap_or_default() {
        match Credentials::load(&file) {
            Ok(all) => facts.credentials = Some(all.for_agent(agent).map(|one| granted(one, agent, &named)).collect()),
            Err(error) => facts.notes.push(format!("credentials.toml cannot be used: {error}")),
        }
    }
    if facts.policy.is_some() {
        findings(facts, places, agent, since);
    }
}

fn findings(facts: &mut Facts, places: &Places, agent: &AgentId, since: &str) {
    let (findings, notes) = match check::findings(places, since) {
        Ok(found) => found,
        Err(why) => {
            facts.notes.push(format!("`exeat check` has no findings to tell: {why}"));
            return;
        }
    };
    let own: Vec<String> = facts.credentials.iter().flatten().map(|granted| granted.name.clone()).collect();
    let concerns = |finding: &config::Finding| match &finding.agent {
        Some(of) => of == agent,
        None => own.iter().any(|name| name == finding.credential.as_str()),
    };
    let told = findings.into_iter().filter(concerns).map(|finding| Found {
        risk: finding.risk.number().to_owned(),
        place: format!("{}:{}: {}", finding.file, finding.line, finding.key),
        reason: finding.reason,
        accepted: finding.accepted,
    });
    facts.findings = Some(told.collect());
    let quoted = format!("agent `{agent}`");
    facts.notes.extend(notes.into_iter().filter(|note| note.contains(&quoted) || note.starts_with("the ledgers")));
}

fn counted(policy: &config::Policy, file: String) -> Policy {
    let allow: Vec<&Rule> =
        policy.rules().iter().map(|rule| &**rule).filter(|rule| rule.effect() == Effect::Allow).collect();
    let count = |is: &dyn Fn(&Rule) -> bool| allow.iter().filter(|rule| is(rule)).count();
    let narrowed = |rule: &Rule| rule.methods().is_some() || rule.paths().is_some() || rule.protocol().is_some();
    let mut widest: Vec<Wide> = allow.iter().map(|rule| wide(rule)).filter(|wide| !wide.because.is_empty()).collect();
    widest.sort_by_key(|wide| std::cmp::Reverse(wide.because.len()));
    widest.truncate(WIDEST);
    Policy {
        file,
        digest: policy.digest().to_owned(),
        allow: allow.len(),
        deny: policy.rules().len() - allow.len(),
        one_host: count(&|rule| rule.to().is_one_host()),
        with_credential: count(&|rule| rule.credential().is_some()),
        with_credential_narrowed: count(&|rule| rule.credential().is_some() && narrowed(rule)),
        with_rate: count(&|rule| rule.rate().is_some()),
        with_protocol: count(&|rule| rule.protocol().is_some()),
        unread: count(&|rule| rule.tls() != TlsMode::Intercept),
        plain: count(&Rule::plain),
        widest,
    }
}

fn wide(rule: &Rule) -> Wide {
    let reasons = [
        (!rule.to().is_one_host(), "more than one host"),
        (rule.tls() != TlsMode::Intercept, "passes unread"),
        (rule.methods().is_none(), "every method"),
        (rule.paths().is_none(), "every path"),
        (rule.plain() && rule.to().port() != Some(443), "plain HTTP"),
        (rule.credential().is_some(), "with a credential"),
    ];
    let because: Vec<String> = reasons.into_iter().filter(|(is, _)| *is).map(|(_, why)| why.to_owned()).collect();
    // A credential alone makes no rule wide.
    let because = if because == ["with a credential"] { Vec::new() } else { because };
    Wide { rule: rule.id().to_string(), to: rule.to().to_string(), because }
}

fn granted(credential: &Credential, agent: &AgentId, named: &[String]) -> Granted {
    let name = credential.grant.credential().to_string();
    let (line, _) = credential.written.place("issuer");
    let also_of = credential.agents.iter().filter(|other| *other != agent).map(ToString::to_string).collect();
    let fixed = matches!(credential.issuer, IssuerSettings::Fixed { .. });
    Granted {
        place: format!("{}:{line}", credential.written.file()),
        issuer: issuer(&credential.issuer).to_owned(),
        fixed,
        by_identity: credential.issuer.audience().is_some() && credential.issuer.sources().is_empty(),
        cloud: matches!(issuer(&credential.issuer), "aws-sts" | "google-sts" | "azure-federated"),
        to: credential.grant.to().iter().map(ToString::to_string).collect(),
        needs_permission: credential.approve.is_some(),
        named_by_a_rule: named.contains(&name),
        also_of,
        name,
    }
}

/// As `issuer` in credentials.toml names it.
fn issuer(settings: &IssuerSettings) -> &'static str {
    match settings {
        IssuerSettings::Fixed { .. } => "fixed",
        IssuerSettings::Identity(_) => "identity",
        IssuerSettings::OAuth2(settings) => match &settings.grant {
            OAuthGrant::Client => "oauth2-client",
            OAuthGrant::Exchange(_) => "token-exchange",
            OAuthGrant::Assertion(_) => "jwt-bearer",
            OAuthGrant::Federated(_) => "azure-federated",
        },
        IssuerSettings::AwsRole(_) => "aws-sts",
        IssuerSettings::Vault(_) => "vault",
        IssuerSettings::Command(_) => "command",
        IssuerSettings::GitHubApp(_) => "github-app",
        IssuerSettings::Google(_) => "google-sts",
    }
}
