//! Credentials that are long-lived, over-broad, shared, or granted to nobody who names them, by what the files say.
//!
//! Enters: policies and credentials without a mistake. Leaves: findings with their places and what to write instead, in the order of the
//! files. Never: an opinion on what only a log can show.

mod issuer;

use std::collections::BTreeSet;

use crate::agent::{AgentId, CredentialName};
use crate::credential::{Credential, Credentials, IssuerSettings};
use crate::error::listed;
use crate::policy::Policy;
use crate::risk::{Finding, Risk};

/// A key of a credential, what is so about it, and what to write instead.
type Said = (Risk, &'static str, String, String);

/// An agent, and the credentials that its rules name.
type Named<'a> = (&'a AgentId, BTreeSet<CredentialName>);

/// Everything that the files show.
pub fn audit(policies: &[Policy], credentials: &Credentials) -> Vec<Finding> {
    let mut findings = Vec::new();
    let named: Vec<Named<'_>> = policies.iter().map(|policy| (policy.agent(), policy.credentials())).collect();
    for credential in credentials.iter() {
        let said = issuer::said(&credential.issuer).into_iter().chain(breadth(credential)).chain(reuse(credential));
        findings.extend(said.chain(same_secret(credential, credentials)).map(|said| finding(credential, said)));
        findings.extend(credential.agents.iter().filter_map(|agent| without_rule(credential, agent, &named)));
    }
    for policy in policies {
        findings.extend(every_call(policy, credentials));
    }
    findings.sort_by(|a, b| (&a.file, a.line, a.column, a.risk).cmp(&(&b.file, b.line, b.column, b.risk)));
    findings
}

impl Credential {
    /// A finding about one of its keys, or about all of it where it does not have that key.
    pub fn finding(&self, risk: Risk, key: &str, reason: String, remedy: String) -> Finding {
        let name = self.grant.credential();
        let (line, column) = self.written.place(key);
        Finding {
            risk,
            credential: name.clone(),
            agent: None,
            file: self.written.file().to_owned(),
            line,
            column,
            key: if self.written.has(key) { format!("{name}.{key}") } else { name.to_string() },
            reason,
            remedy,
            accepted: self.accepted.get(&risk).cloned(),
        }
    }
}

fn finding(credential: &Credential, (risk, key, reason, remedy): Said) -> Finding {
    credential.finding(risk, key, reason, remedy)
}

/// Where it may go, and where in a request it may stand.
fn breadth(credential: &Credential) -> impl Iterator<Item = Said> + use<> {
    let wide: Vec<_> = credential.grant.to().iter().filter(|pattern| !pattern.is_one_host()).collect();
    let to = (!wide.is_empty()).then(|| {
        let (are, them) = if wide.len() == 1 { ("is", "it") } else { ("are", "them") };
        let reason = format!("{} {are} more than one host, and it may be sent to each", listed(wide));
        (Risk::Overprivileged, "to", reason, format!("list the hosts that are called instead of {them}"))
    });
    let places = credential.grant.places();
    let beside: Vec<_> = [("query", places.query), ("body", places.body)]
        .into_iter()
        .filter_map(|(name, is)| is.then_some(name))
        .collect();
    let places = ((places.header || places.basic) && !beside.is_empty()).then(|| {
        let reason = format!("it may stand in a header, and in {} as well", listed(beside));
        (Risk::Overprivileged, "in", reason, "leave those in `in` where the API expects it".to_owned())
    });
    to.into_iter().chain(places)
}

/// Whether several agents are the same to whoever it is shown to.
fn reuse(credential: &Credential) -> Option<Said> {
    if credential.agents.len() < 2 || issuer::tells_agents_apart(&credential.issuer) {
        return None;
    }
    let reason = format!("one credential is for {}, which nobody there can tell apart", listed(&credential.agents));
    let remedy = "write a credential for each, or an issuer that is shown who calls: `token-exchange`, `identity`";
    Some((Risk::Reuse, "agents", reason, remedy.to_owned()))
}

/// Whether it is another credential's secret by another name.
fn same_secret(credential: &Credential, credentials: &Credentials) -> Option<Said> {
    let IssuerSettings::Fixed { value } = &credential.issuer else { return None };
    let same = |other: &&Credential| {
        let is_same = matches!(&other.issuer, IssuerSettings::Fixed { value: own } if own == value);
        is_same && other.grant.credential() != credential.grant.credential() && other.agents != credential.agents
    };
    let others: Vec<_> = credentials.iter().filter(same).map(|other| other.grant.credential()).collect();
    (!others.is_empty()).then(|| {
        let reason = format!("it is the same secret as that of {}, for other agents", listed(others));
        (Risk::Reuse, "value", reason, "have one made for each agent".to_owned())
    })
}

/// A grant to an agent that has no rule for it, and so no use.
fn without_rule(credential: &Credential, agent: &AgentId, named: &[Named<'_>]) -> Option<Finding> {
    let name = credential.grant.credential();
    // Where the broker is a service, the agents' files may be elsewhere.
    if named.is_empty() {
        return None;
    }
    let reason = match named.iter().find(|(own, _)| *own == agent) {
        Some((_, credentials)) if credentials.contains(name) => return None,
        Some(_) => format!("no rule of agent `{agent}` names it"),
        None => format!("there is no agent `{agent}`"),
    };
    let remedy = format!("take `{agent}` out of `agents`, or the credential out of the file");
    let finding = credential.finding(Risk::ImproperOffboarding, "agents", reason, remedy);
    Some(Finding { agent: Some(agent.clone()), ..finding })
}

/// Rules by which a credential goes with every call to a host.
fn every_call(policy: &Policy, credentials: &Credentials) -> Vec<Finding> {
    let everything = policy
        .rules()
        .iter()
        .filter(|rule| rule.methods().is_none() && rule.paths().is_none() && rule.protocol().is_none());
    let finding = |rule: &std::sync::Arc<crate::rule::Rule>| {
        let credential = credentials.get(rule.credential()?)?;
        let name = credential.grant.credential();
        let reason = format!("`{name}` goes with every method and path at {}", rule.to());
        let remedy = "add `methods` and `paths` that the agent needs".to_owned();
        let (line, column) = rule.credential_at;
        Some(Finding {
            agent: Some(policy.agent().clone()),
            file: policy.file.clone(),
            line,
            column,
            key: format!("allow[{}].credential", rule.id.number),
            ..credential.finding(Risk::Overprivileged, "to", reason, remedy)
        })
    };
    everything.filter_map(finding).collect()
}
