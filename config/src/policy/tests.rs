//! The decision by index against the one that asks every rule, and what is said of rules that cannot come to pass against a comparison of
//! all with all: on policies whose hosts, ranges, ports and paths overlap in every way.

mod scene;

use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::Index;

use super::Policy;
use crate::decision::{CallFacts, Scheme};
use crate::destination::Destination;
use crate::path::NormalPath;
use crate::rule::{Effect, Rule};
use scene::{some_call, some_rules};

fn parse(text: &str) -> Result<Policy, crate::LoadError> {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text)
}

/// The policy of these rules but those of which it is said that they are mistakes.
fn policy(mut rules: Vec<String>) -> Policy {
    // What is a mistake alone was written wrongly here, and nothing would be tried of it.
    rules.iter().for_each(|rule| drop(parse(rule).unwrap()));
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

/// Whether the first rule speaks of all that the second does, as it is meant.
fn covers(one: &Rule, other: &Rule) -> bool {
    let (one_denies, same) = (one.effect() == Effect::Deny, one.effect() == other.effect());
    let every = |rule: &Rule| rule.paths().is_some_and(|paths| paths.iter().any(|glob| glob.as_str() == "/**"));
    let methods =
        || one.methods().is_none_or(|all| other.methods().is_some_and(|some| some.iter().all(|one| all.contains(one))));
    let paths = || {
        one.paths()
            .is_none_or(|all| every(one) || other.paths().is_some_and(|some| some.iter().all(|one| all.contains(one))))
    };
    let calls = || {
        methods()
            && paths()
            && (one_denies || (one.plain() >= other.plain() && one.encoded_slash() >= other.encoded_slash()))
    };
    one.to().covers(other.to()) && (same && one.tls() != other.tls() || calls())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_decision_by_index_is_the_one_that_asks_every_rule(
        (rules, hosts, depth) in some_rules(60),
        calls in prop::collection::vec(some_call(), 32),
        observes: bool,
    ) {
        let policy = policy(rules);
        let policy = if observes { policy.observing() } else { policy };
        for sketch in &calls {
            let Some(path) = sketch.path(&policy, depth) else { continue };
            let (destination, method) = (sketch.destination(hosts), sketch.method.parse().unwrap());
            let call = CallFacts { destination: &destination, scheme: sketch.scheme, method: &method, path: &path };
            let differs = policy.differs(&call);
            prop_assert!(differs.is_none(), "{:?}: {}\n{:#?}", call, differs.unwrap(), policy.rules());
        }
    }

    #[test]
    fn the_rules_that_cannot_come_to_pass_are_those_that_a_comparison_of_all_with_all_finds(
        (rules, ..) in some_rules(40),
        again in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let mut rules = rules;
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
            let denying = read.iter().find(|other| other.effect() == Effect::Deny && covers(other, rule));
            let before = read[..i].iter().find(|other| other.effect() == Effect::Allow && covers(other, rule));
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
