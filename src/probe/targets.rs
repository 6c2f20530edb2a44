//! What the real policy would and would not let out, and so what is worth trying.
//!
//! Enters: an agent's policy and, where it can be read, what credentials are granted. Leaves: a [`Brief`]. Never: a call that the
//! policy would let go out as it is.

mod disguise;
mod inner;
mod misdirection;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use config::{CallFacts, CallPermit, Destination, Effect, Method, NormalPath, Policy, Rule, RuleId, Scheme, TlsMode};

use super::brief::{Brief, Call, Canaries, digest, namespaces};
use super::canary::{machine_resolvers, readable};
use super::upstream::End;
use crate::environment;
use crate::places::Places;

/// Nobody is there: RFC 5737 and RFC 3849.
const NOBODY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7))];
/// Metadata services first, then one address of each range that companies have services in.
const PRIVATE: [&str; 11] = [
    "169.254.169.254:80",
    "[fd00:ec2::254]:80",
    "100.100.100.200:80",
    "168.63.129.16:80",
    "10.0.0.1:443",
    "172.16.0.1:443",
    "192.168.0.1:443",
    "100.64.0.1:443",
    "0.0.0.0:443",
    "[::ffff:10.0.0.1]:443",
    "[64:ff9b::a00:1]:443",
];
const RESOLVERS: [(&str, &str); 4] = [
    ("8.8.8.8", "dns.google"),
    ("1.1.1.1", "cloudflare-dns.com"),
    ("9.9.9.9", "dns.quad9.net"),
    ("2001:4860:4860::8888", "dns.google"),
];

/// Everything for the battery.
pub(super) fn brief(places: &Places, policy: &Policy, (canaries, end): (&Canaries, &End), nonce: &str) -> Brief {
    let listed = |address: IpAddr, port: u16| policy.connect(&Destination::new(address.into(), port)).is_ok();
    let unlisted = |socket: &SocketAddr| !listed(socket.ip(), socket.port());
    let variables = variables(policy);
    let mut canaries = canaries.clone();
    canaries.machine.retain(unlisted);
    canaries.secret = canaries.secret.filter(|_| hides_secrets(policy));
    let resolvers = RESOLVERS.iter().filter_map(|(address, name)| Some((address.parse().ok()?, (*name).to_owned())));
    Brief {
        nonce: nonce.to_owned(),
        only: Vec::new(),
        end: end.address.to_string(),
        canaries,
        nobody: NOBODY.into_iter().filter(|address| !listed(*address, 443)).collect(),
        private: PRIVATE.iter().filter_map(|text| text.parse().ok()).filter(unlisted).collect(),
        machine_resolvers: machine_resolvers(),
        public_resolvers: resolvers
            .filter(|(address, _): &(IpAddr, String)| !listed(*address, 443) && !listed(*address, 853))
            .collect(),
        namespaces: namespaces(),
        broker: None,
        own_files: own_files(places, policy),
        own_directories: vec![
            places.config.join("agents"),
            places.config.clone(),
            places.workers(),
            places.state.clone(),
        ],
        withheld: withheld(nonce, &variables),
        variables,
        port: policy.ports().into_iter().next().unwrap_or(443),
        unlisted: format!("probe-{nonce}.invalid"),
        nested: policy.sandbox().nested,
        allowed: allowing(policy, nonce).next(),
        carried: carried(policy, nonce).next(),
        in_the_clear: carried(policy, nonce).find(|call| lets_out(policy, call, Scheme::Http).is_some()),
        posted: told_apart(policy, nonce, "POST"),
        moving: ["COPY", "MOVE"].iter().filter_map(|method| told_apart(policy, nonce, method)).collect(),
        beside: beside(policy, nonce),
        told_apart: allowing(policy, nonce).find(|call| tells_apart(policy, call)),
        plain: allowing(policy, nonce).find(|call| lets_out(policy, call, Scheme::Http).is_none()),
        unread: connected(policy, TlsMode::Passthrough, nonce),
        tunnel: connected(policy, TlsMode::Tcp, nonce),
        look_alikes: disguise::look_alikes(policy, nonce),
        paths: disguise::paths(policy, nonce),
        mcp: inner::mcp(policy, nonce),
        listing: inner::listing(policy, nonce),
        graphql: inner::graphql(policy, nonce),
        placeholders: misdirection::all(places, policy, nonce),
        bared: misdirection::bared(places, policy, nonce),
    }
}

/// What no command may see or change, by the paths that exeat has for it and where links lead from there.
fn own_files(places: &Places, policy: &Policy) -> Vec<PathBuf> {
    let named = [
        places.agent_file(policy.agent()),
        places.credentials_file(),
        places.config.clone(),
        places.config.join("secrets"),
        places.state.clone(),
        places.workers(),
    ];
    let real = named.iter().filter_map(|path| fs::canonicalize(path).ok()).filter(|path| !named.contains(path));
    readable(real.chain(named.iter().cloned()).collect())
}

/// Whether the policy leaves a file like the canary hidden.
fn hides_secrets(policy: &Policy) -> bool {
    let settings = policy.sandbox();
    let mut shown = [&settings.read, &settings.write, &settings.overlay].into_iter().flatten();
    settings.find_secrets && !shown.any(|glob| !glob.is_plain() && glob.as_str().contains(".e"))
}

/// The variables that exeat makes or passes on.
fn variables(policy: &Policy) -> Vec<String> {
    let (agent, pass) = (policy.agent().as_str(), &policy.sandbox().pass_env);
    let built = environment::build(agent, pass, &[], &sandbox::trust_environment());
    built.into_iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
}

/// The caller's other variables. Short values are nobody's secret, and stand in many places.
fn withheld(nonce: &str, variables: &[String]) -> Vec<String> {
    const SHORT: usize = 8;
    let others =
        std::env::vars_os().filter(|(name, _)| !variables.iter().any(|listed| *listed == name.to_string_lossy()));
    let values = others.map(|(_, value)| value.into_encoded_bytes()).filter(|value| value.len() >= SHORT);
    values.chain([nonce.as_bytes().to_owned()]).map(|value| digest(nonce, &value)).collect()
}

/// Calls that a rule lets out: what is wrong with an attempt is then the only thing that speaks against it.
fn allowing<'a>(policy: &'a Policy, nonce: &'a str) -> impl Iterator<Item = Call> + 'a {
    let rules = policy.rules().iter().filter(|rule| rule.effect() == Effect::Allow);
    let plain = rules.filter(|rule| rule.protocol().is_none());
    plain.filter_map(move |rule| call_by(rule, nonce)).filter(|call| lets_out(policy, call, Scheme::Https).is_some())
}

/// Those among them for which nothing is leased.
fn carried<'a>(policy: &'a Policy, nonce: &'a str) -> impl Iterator<Item = Call> + 'a {
    allowing(policy, nonce).filter(|call| is_bare(policy, call))
}

/// Whether the rule that lets it out has neither a credential nor a certificate to show.
fn is_bare(policy: &Policy, call: &Call) -> bool {
    permit(policy, call, Scheme::Https, |permit| {
        permit.credential().is_none() && permit.route().client_certificate().is_none()
    })
    .unwrap_or_default()
}

/// Whether another method or path might be judged otherwise.
fn tells_apart(policy: &Policy, call: &Call) -> bool {
    permit(policy, call, Scheme::Https, |permit| policy.tells_calls_apart(permit)).unwrap_or_default()
}

/// The first such call that may be made by this method as well.
fn told_apart(policy: &Policy, nonce: &str, method: &str) -> Option<Call> {
    let mut calls = allowing(policy, nonce).map(|call| Call { method: method.to_owned(), ..call });
    calls.find(|call| tells_apart(policy, call))
}

/// A path that no rule lets be read or written at any host at which calls are told apart, if there is one.
fn beside(policy: &Policy, nonce: &str) -> Option<String> {
    let path = format!("/probe-{nonce}");
    let mut calls = allowing(policy, nonce).filter(|call| tells_apart(policy, call));
    let nowhere = calls.all(|call| {
        ["GET", "PUT"].iter().all(|method| {
            let call = Call { method: (*method).to_owned(), path: path.clone(), ..call.clone() };
            lets_out(policy, &call, Scheme::Https).is_none()
        })
    });
    nowhere.then_some(path)
}

/// A host to which all passes in this way, in which no request is read.
fn connected(policy: &Policy, mode: TlsMode, nonce: &str) -> Option<Call> {
    let rules = policy.rules().iter().filter(|rule| rule.tls() == mode);
    let calls = rules.filter_map(|rule| of_pattern(rule, nonce));
    let mut passing = calls.filter(|call| {
        let destination = format!("{}:{}", call.host, call.port).parse::<Destination>();
        destination.is_ok_and(|destination| policy.connect(&destination).is_ok())
    });
    passing.next()
}

/// A call that the rule speaks of, if it is for names, and its requests are read at all.
fn call_by(rule: &Rule, nonce: &str) -> Option<Call> {
    if rule.tls() == TlsMode::Intercept { of_pattern(rule, nonce) } else { None }
}

fn of_pattern(rule: &Rule, nonce: &str) -> Option<Call> {
    let pattern = rule.to().to_string().replace("*.", &format!("probe-{nonce}."));
    let destination = Destination::parse_authority(&pattern, 443).ok()?;
    let config::Host::Name(name) = destination.host() else { return None };
    let methods = rule.methods().unwrap_or_default();
    let get = methods.is_empty() || methods.iter().any(|method| method.as_str() == "GET");
    let method = if get { "GET".to_owned() } else { methods.first()?.as_str().to_owned() };
    let glob = rule.paths().and_then(<[_]>::first).map_or("/".to_owned(), ToString::to_string);
    let path = glob.replace("**", "probe").replace('*', "probe");
    Some(Call { host: name.to_string(), port: destination.port(), method, path })
}

/// The rule by which the policy lets it out, as far as its head says.
fn lets_out(policy: &Policy, call: &Call, scheme: Scheme) -> Option<RuleId> {
    permit(policy, call, scheme, |permit| permit.rule().clone())
}

/// What is to be known of the policy's leave for it, where it gives one.
fn permit<T>(policy: &Policy, call: &Call, scheme: Scheme, ask: impl FnOnce(&CallPermit) -> T) -> Option<T> {
    let destination = Destination::parse_authority(&format!("{}:{}", call.host, call.port), 443).ok()?;
    let (method, path) = (call.method.parse::<Method>().ok()?, NormalPath::parse(&call.path).ok()?);
    let facts = CallFacts { destination: &destination, scheme, method: &method, path: &path };
    policy.call(&facts).ok().map(|permit| ask(&permit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse("bot".parse().unwrap(), "agents/bot.toml", rules).unwrap()
    }

    #[test]
    fn the_call_that_is_tried_is_one_that_a_rule_lets_out() {
        let found = |rules: &str| {
            allowing(&policy(rules), "n")
                .next()
                .map(|call| format!("{} {}:{}{}", call.method, call.host, call.port, call.path))
        };
        assert_eq!(found(""), None);
        assert_eq!(found("[[allow]]\nto = \"10.0.0.1\"\n"), None);
        let deep = "[[allow]]\nto = \"*.example.com:8443\"\nmethods = [\"PUT\"]\npaths = [\"/a/*/b/**\"]\n";
        assert_eq!(found(deep).unwrap(), "PUT probe-n.example.com:8443/a/probe/b/probe");
        let denied =
            format!("[[deny]]\nto = \"*.example.com\"\npaths = [\"/a/**\"]\n{deep}[[allow]]\nto = \"a.example\"\n");
        assert_eq!(found(&denied).unwrap(), "GET a.example:443/");
    }

    #[test]
    fn what_is_tried_as_another_call_is_tried_where_that_is_told_apart_and_not_allowed() {
        let found = |rules: &str| {
            let policy = policy(rules);
            let moving = ["POST", "COPY", "MOVE"].map(|method| told_apart(&policy, "n", method).is_some());
            (moving, beside(&policy, "n"))
        };
        let path = || Some("/probe-n".to_owned());
        let anything = "[[allow]]\nto = \"a.example\"\n";
        let paths = "[[allow]]\nto = \"b.example\"\npaths = [\"/a/**\"]\n";
        let methods = "[[allow]]\nto = \"c.example\"\nmethods = [\"GET\", \"COPY\"]\n";
        let written = "[[allow]]\nto = \"d.example\"\nmethods = [\"PUT\", \"POST\"]\n";
        assert_eq!(found(anything), ([false; 3], path()));
        assert_eq!(found(&[anything, paths].concat()), ([true; 3], path()));
        assert_eq!(found(methods), ([false, true, false], None));
        assert_eq!(found(&[paths, written].concat()), ([true; 3], None));
    }
}
