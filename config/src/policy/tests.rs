//! The decision by index against the one that asks every rule, and what is said of rules that cannot come to pass against a comparison of
//! all with all: on policies whose hosts, ranges, ports and paths overlap in every way.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::Policy;
use crate::decision::{CallFacts, Scheme};
use crate::destination::Destination;
use crate::path::NormalPath;
use crate::rule::{Effect, Rule};

const HOSTS: [&str; 12] = [
    "a.example",
    "b.a.example",
    "c.b.a.example",
    "d.c.b.a.example",
    "example",
    "x.test",
    "10.1.2.3",
    "10.1.200.3",
    "10.2.0.1",
    "192.0.2.9",
    "[2001:db8::1]",
    "[2001:db8:1::1]",
];
const PATTERNS: [&str; 14] = [
    "a.example",
    "b.a.example",
    "*.a.example",
    "*.b.a.example",
    "*.example",
    "c.b.a.example",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3",
    "[2001:db8::/32]",
    "[2001:db8::1]",
    "[2001:db8::/48]",
    "192.0.2.0/24",
];
const GLOBS: [&str; 12] = ["z", "xx", "x", "y", "*", "**", "x*", "*y", "@me", "x;*", "x%2Fy", "100%25ab"];
const SEGMENTS: [&str; 10] = ["x", "y", "xy", "@me", "x;p=1", "x%2Fy", "%78", "100%25ab", "x%2578", "y;%25%37%38"];

/// A rule's table, which may be a mistake beside others.
fn some_rule() -> impl Strategy<Value = String> {
    rule_for(&PATTERNS, 0.25)
}

/// One for some of these patterns, a deny rule more or less often.
fn rule_for(patterns: &'static [&'static str], denies: f64) -> impl Strategy<Value = String> {
    let glob = prop::collection::vec(select(&GLOBS[..]), 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    let paths = prop::collection::btree_set(glob, 0..4);
    let methods = prop::collection::btree_set(select(&["GET", "POST", "PURGE"][..]), 0..3);
    let port = prop::option::weighted(0.3, select(&[80_u16, 443, 8443][..]));
    let modes = prop_oneof![12 => Just(""), 1 => Just("tls = \"passthrough\"\n"), 1 => Just("tls = \"tcp\"\n")];
    let way =
        prop_oneof![6 => Just(""), 1 => Just("dial = \"127.0.0.1:9\"\n"), 1 => Just("addresses = [\"10.0.0.0/8\"]\n")];
    let rest = (modes, way, prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (prop::bool::weighted(denies), select(patterns), port, methods, paths, rest).prop_map(
        |(deny, to, port, methods, paths, (mode, way, plain, slash))| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let mut text = format!("[[{}]]\nto = \"{to}{port}\"\n", if deny { "deny" } else { "allow" });
            let unread = !deny && !mode.is_empty();
            if !methods.is_empty() && !unread {
                let _ = writeln!(text, "methods = {methods:?}");
            }
            if !paths.is_empty() && !unread {
                let _ = writeln!(text, "paths = {paths:?}");
            }
            match (deny, unread) {
                (true, _) => {}
                (_, true) => text += mode,
                _ => {
                    text += way;
                    let escaped = paths.iter().any(|glob| glob.contains("%2F"));
                    let _ = writeln!(text, "plain = {plain}\nencoded_slash = {}", slash || escaped);
                }
            }
            text
        },
    )
}

fn parse(text: &str) -> Result<Policy, crate::LoadError> {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text)
}

/// The policy of these rules but those of which it is said that they are mistakes.
fn policy(mut rules: Vec<String>) -> Policy {
    rules.retain(|rule| parse(rule).is_ok());
    loop {
        let error = match parse(&rules.concat()) {
            Ok(policy) => return policy,
            Err(error) => error,
        };
        let wrong = |rule: &str, effect: &str, number: usize| {
            let key = format!("{effect}[{number}]");
            rule.starts_with(&format!("[[{effect}]]")) && error.mistakes().iter().any(|mistake| mistake.key == key)
        };
        let (mut allows, mut denies, before) = (0, 0, rules.len());
        rules.retain(|rule| {
            let (effect, number) =
                if rule.starts_with("[[deny]]") { ("deny", &mut denies) } else { ("allow", &mut allows) };
            *number += 1;
            !wrong(rule, effect, *number)
        });
        assert!(rules.len() < before, "{error}");
    }
}

/// Few rules; many; and many for one host, of which most are not asked.
fn some_rules() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        prop::collection::vec(some_rule(), 0..12),
        prop::collection::vec(some_rule(), 40..90),
        prop::collection::vec(rule_for(&PATTERNS[..1], 0.2), 30..60),
        prop::collection::vec(rule_for(&PATTERNS[..1], 0.7), 30..60),
    ]
}

fn some_call() -> impl Strategy<Value = (&'static str, u16, Scheme, &'static str, String)> {
    let path =
        prop::collection::vec(select(&SEGMENTS[..]), 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    let scheme = select(&[Scheme::Https, Scheme::Https, Scheme::Http][..]);
    (
        select(&HOSTS[..]),
        select(&[443_u16, 443, 80, 8443][..]),
        scheme,
        select(&["GET", "POST", "PURGE", "PUT"][..]),
        path,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_decision_by_index_is_the_one_that_asks_every_rule(
        rules in some_rules(),
        calls in prop::collection::vec(some_call(), 24),
        observes: bool,
    ) {
        let policy = policy(rules);
        let policy = if observes { policy.observing() } else { policy };
        for (host, port, scheme, method, path) in calls {
            let (destination, path) = (Destination::parse_authority(host, port).unwrap(), NormalPath::parse(&path).unwrap());
            let call = CallFacts { destination: &destination, scheme, method: &method.parse().unwrap(), path: &path };
            let differs = policy.differs(&call);
            prop_assert!(differs.is_none(), "{:?}: {}\n{:#?}", call, differs.unwrap(), policy.rules());
        }
    }

    #[test]
    fn the_rules_that_cannot_come_to_pass_are_those_that_a_comparison_of_all_with_all_finds(
        rules in prop::collection::vec(some_rule(), 0..40),
        again in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let mut rules: Vec<String> = rules.into_iter().filter(|rule| parse(rule).is_ok()).collect();
        for index in again.iter().filter(|_| !rules.is_empty()).map(|index| index.index(rules.len())).collect::<Vec<usize>>() {
            rules.push(rules[index].clone());
        }
        let read: Vec<_> = rules.iter().map(|rule| parse(rule).unwrap().rules[0].clone()).collect();
        let number = |of: &Rule| {
            let place = read.iter().position(|rule| std::ptr::eq(&**rule, of)).unwrap();
            read[..=place].iter().filter(|rule| rule.effect() == of.effect()).count()
        };
        let mut plainly = Vec::new();
        for (i, rule) in read.iter().enumerate().filter(|(_, rule)| rule.effect() == Effect::Allow) {
            let denying = read.iter().find(|other| other.effect() == Effect::Deny && other.covers(rule));
            let before = read[..i].iter().find(|other| other.effect() == Effect::Allow && other.covers(rule));
            let (start, effect) = if denying.is_some() { ("it can never allow anything", "deny") } else { ("it is never reached", "allow") };
            plainly.extend(denying.or(before).map(|other| (format!("allow[{}]", number(rule)), format!("{start}: {effect} #{} (", number(other)))));
        }
        let told = parse(&rules.concat()).err();
        let told: Vec<_> = told.iter().flat_map(crate::LoadError::mistakes).filter(|mistake| mistake.key.starts_with("allow")).collect();
        prop_assert_eq!(told.len(), plainly.len());
        for (mistake, (key, reason)) in told.iter().zip(&plainly) {
            prop_assert_eq!(&mistake.key, key);
            prop_assert!(mistake.reason.starts_with(reason), "{} {}", mistake, reason);
        }
    }
}

#[test]
fn of_rules_that_treat_connections_otherwise_the_first_decides() {
    let read = "[[allow]]\nto = \"*.a.example\"\npaths = [\"/x\"]\n";
    let unread = "[[allow]]\nto = \"b.a.example\"\ntls = \"passthrough\"\n";
    let error = parse(&format!("{read}{unread}")).unwrap_err().to_string();
    assert!(error.contains("allow[2]: it is never reached: allow #1 (line 1) comes first"), "{error}");
    assert!(parse(&format!("{unread}{read}")).is_ok());
}

#[test]
fn among_many_deny_rules_one_is_found_by_every_reading_of_a_path() {
    let mut rules = "[[allow]]\nto = \"a.example\"\nencoded_slash = true\n".to_owned();
    for name in (0..40).map(|i| format!("r{i}")).chain(["pay".to_owned()]) {
        let _ = write!(rules, "[[deny]]\nto = \"a.example\"\npaths = [\"/{name}/**\"]\n");
    }
    let policy = parse(&rules).unwrap();
    let destination = Destination::parse_authority("a.example", 443).unwrap();
    let denied = |path: &str| {
        let path = NormalPath::parse(path).unwrap();
        let method = "GET".parse().unwrap();
        let call = CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path };
        assert_eq!(policy.differs(&call), None);
        policy.call(&call).is_err()
    };
    for path in ["/pay/1", "/pay;x/1", "/pay%2F1", "/%2570ay/1", "/pay%253Bx/1", "/pay;x%2F1", "/p%2561y%2F1"] {
        assert!(denied(path), "{path}");
    }
    assert!(!denied("/payroll/1") && !denied("/r40/x") && denied("/r39/x"));
}
