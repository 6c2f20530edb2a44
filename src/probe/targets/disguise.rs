//! Names and paths that only look like those that a policy allows.
//!
//! Enters: the policy's rules. Leaves: calls that it must not let out. Never: a second opinion on what a name or a path means; where the
//! policy lets out what it must not, that is what is said.

use config::{Effect, Policy, Rule, Scheme};

use super::super::brief::{Call, Disguise};
use super::{call_by, lets_out};

/// Enough to try every kind for a long policy's first rules.
const MOST_NAMES: usize = 48;
const MOST_PATHS: usize = 96;

/// For each listed name: one more letter, one more label on either side, its parent, a dash for a dot; and another port.
pub(super) fn look_alikes(policy: &Policy, nonce: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for rule in with_effect(policy, Effect::Allow) {
        let Some(call) = call_by(rule, nonce) else { continue };
        let (name, port) = (name_of(rule), call.port);
        let mut hosts = vec![
            format!("x{name}"),
            format!("probe.{name}"),
            format!("{name}.probe-{nonce}.invalid"),
            name.replacen('.', "-", 1),
            name.clone(),
        ];
        hosts.extend(name.split_once('.').map(|(_, parent)| parent.to_owned()).filter(|parent| parent.contains('.')));
        let named = hosts.into_iter().map(|host| Call { host, path: "/".to_owned(), ..call.clone() });
        let other_port = Call { port: port.checked_add(1).unwrap_or(8444), path: "/".to_owned(), ..call.clone() };
        for call in named.chain([other_port]) {
            let known = calls.iter().any(|other| (&other.host, other.port) == (&call.host, call.port));
            if !known && !is_listed(policy, &call) {
                calls.push(call);
            }
        }
    }
    calls.truncate(MOST_NAMES);
    calls
}

/// For each rule that denies paths, those paths in disguise; for each that allows some, ways to climb out of them.
pub(super) fn paths(policy: &Policy, nonce: &str) -> Vec<Disguise> {
    let mut disguises: Vec<Disguise> = Vec::new();
    for rule in with_effect(policy, Effect::Deny).filter(|rule| rule.paths().is_some()) {
        let Some(call) = call_by(rule, nonce) else { continue };
        for path in disguised(&call.path) {
            let call = Call { path, ..call.clone() };
            let let_out = lets_out(policy, &call, Scheme::Https).is_some();
            disguises.push(Disguise { call, let_out });
        }
    }
    for rule in with_effect(policy, Effect::Allow).filter(|rule| rule.paths().is_some()) {
        let Some(call) = call_by(rule, nonce) else { continue };
        let climbing = climbing(&call.path).into_iter().map(|path| Call { path, ..call.clone() });
        // Another rule may well allow where this leads.
        let refused = climbing.filter(|call| lets_out(policy, call, Scheme::Https).is_none());
        disguises.extend(refused.map(|call| Disguise { call, let_out: false }));
    }
    disguises.truncate(MOST_PATHS);
    disguises
}

fn with_effect(policy: &Policy, effect: Effect) -> impl Iterator<Item = &Rule> {
    policy.rules().iter().map(AsRef::as_ref).filter(move |rule| rule.effect() == effect)
}

/// `example.com` of `*.example.com:8443`.
fn name_of(rule: &Rule) -> String {
    let pattern = rule.to().to_string();
    let host = pattern.split(':').next().unwrap_or_default();
    host.strip_prefix("*.").unwrap_or(host).to_owned()
}

/// Whether any rule lists it: then some call to it is allowed.
fn is_listed(policy: &Policy, call: &Call) -> bool {
    let destination = format!("{}:{}", call.host, call.port);
    destination.parse().is_ok_and(|destination| policy.connect(&destination).is_ok())
}

/// The path itself, and what some server takes for it.
fn disguised(path: &str) -> Vec<String> {
    let below = path.trim_start_matches('/');
    let (before, last) = path.rsplit_once('/').unwrap_or(("", below));
    let (first, rest) = below.split_once('/').unwrap_or((below, ""));
    let letter = below.bytes().next().unwrap_or(b'a');
    let mut all = vec![
        path.to_owned(),
        format!("/probe/..{path}"),
        format!("/probe/%2e%2e{path}"),
        format!("/probe/.%2E{path}"),
        format!("/.{path}"),
        format!("/%2e{path}"),
        format!("/{path}"),
        format!("{before}//{last}"),
        format!("{before}%2f{last}"),
        format!("{before}%252f{last}"),
        format!("{before}\\{last}"),
        format!("{before}%5c{last}"),
        format!("/{first};probe/{rest}"),
        format!("/{first};/{rest}"),
        format!("/probe/..;{path}"),
    ];
    if letter.is_ascii_alphanumeric() {
        all.push(format!("/%{letter:02x}{}", &below[1..]));
        all.push(format!("/%25{letter:02x}{}", &below[1..]));
    }
    all.dedup();
    all
}

/// From below an allowed path to its neighbours, and to the root's.
fn climbing(path: &str) -> Vec<String> {
    let (before, _) = path.rsplit_once('/').unwrap_or(("", ""));
    let up = before.matches('/').count();
    ["..", "%2e%2e", ".%2e", "..;", "..%2f", "..%5c", "%252e%252e", "..\\"]
        .iter()
        .flat_map(|step| {
            let slash = if step.ends_with("2f") || step.ends_with("5c") || step.ends_with('\\') { "" } else { "/" };
            let one = format!("{step}{slash}");
            [format!("{before}/{one}neighbour"), format!("{before}/{}neighbour", one.repeat(up.max(1)))]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse("bot".parse().unwrap(), "agents/bot.toml", rules).unwrap()
    }

    #[test]
    fn what_looks_like_a_listed_name_is_none_that_a_rule_lists() {
        let policy = policy(
            "[[allow]]\nto = \"api.example.com\"\n[[allow]]\nto = \"*.example.org\"\n[[allow]]\nto = \"probe.api.example.com\"\n",
        );
        let calls = look_alikes(&policy, "n");
        let hosts: Vec<String> = calls.iter().map(|call| format!("{}:{}", call.host, call.port)).collect();
        for host in
            ["xapi.example.com:443", "example.com:443", "api.example.com:444", "example.org:443", "xexample.org:443"]
        {
            assert!(hosts.iter().any(|other| other == host), "{host}: {hosts:?}");
        }
        assert!(!hosts.iter().any(|host| host == "probe.api.example.com:443" || host == "probe.example.org:443"));
    }

    #[test]
    fn a_denied_path_has_disguises_and_no_policy_lets_them_out() {
        let policy = policy(
            "[[allow]]\nto = \"a.example\"\npaths = [\"/repos/**\"]\n[[deny]]\nto = \"a.example\"\npaths = [\"/repos/payroll/**\"]\n",
        );
        let paths = paths(&policy, "n");
        for path in [
            "/repos/payroll/probe",
            "/probe/%2e%2e/repos/payroll/probe",
            "/%72epos/payroll/probe",
            "/repos/../neighbour",
        ] {
            assert!(paths.iter().any(|disguise| disguise.call.path == path), "{path}: {paths:#?}");
        }
        assert!(paths.iter().all(|disguise| !disguise.let_out), "{paths:#?}");
    }
}
