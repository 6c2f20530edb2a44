//! What an observing policy lets pass, and what it does not: property tests against the same policy that does not observe, and the cases
//! that a property would hardly meet.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;

use config::{CallFacts, CallPermit, Denial, DenialKind, Destination, Method, NormalPath, Policy, Scheme, Standing};
use proptest::prelude::*;
use proptest::sample::select;

const RULES: [&str; 9] = [
    "[[allow]]\nto = \"a.example\"\nmethods = [\"GET\"]\npaths = [\"/x/**\"]\ncredential = \"c\"\n",
    "[[allow]]\nto = \"a.example\"\nmethods = [\"POST\"]\npaths = [\"/y\"]\naddresses = [\"10.0.0.0/8\"]\nrate = \"3/h\"\n",
    "[[allow]]\nto = \"*.a.example\"\npaths = [\"/x/*\"]\ndial = \"127.0.0.1:1\"\n",
    "[[allow]]\nto = \"tcp.example:443\"\ntls = \"tcp\"\n",
    "[[allow]]\nto = \"10.0.0.5\"\nmethods = [\"GET\"]\n",
    "[[deny]]\nto = \"a.example\"\npaths = [\"/x/secret/**\"]\n",
    "[[deny]]\nto = \"*.bad.example\"\n",
    "[[deny]]\nto = \"other.example\"\nmethods = [\"DELETE\"]\n",
    "[[deny]]\nto = \"192.0.2.0/24\"\n",
];
const HOSTS: [&str; 7] =
    ["a.example", "b.a.example", "tcp.example", "very.bad.example", "other.example", "10.0.0.5", "192.0.2.7"];
const PATHS: [&str; 7] = ["/", "/x/1", "/x/secret/1", "/x/secret%2F1", "/y", "/x/sec%2572et/1", "/@a%2Fb"];

fn parse(text: &str) -> Policy {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap()
}

/// As the proxy asks: for the connection, then for the call.
fn ask(policy: &Policy, scheme: Scheme, method: &str, to: &str, path: &str) -> Result<CallPermit, Denial> {
    let destination = Destination::parse_authority(to, scheme.default_port()).unwrap();
    let (method, path): (Method, _) = (method.parse().unwrap(), NormalPath::parse(path).unwrap());
    let _ = policy.connect(&destination)?;
    policy.call(&CallFacts { destination: &destination, scheme, method: &method, path: &path })
}

proptest! {
    #[test]
    fn an_observing_policy_adds_what_no_rule_covers_and_nothing_else(
        rules in prop::sample::subsequence(RULES.to_vec(), 0..=RULES.len()),
        host in select(&HOSTS),
        port in select(&["", ":80", ":443", ":8443"]),
        scheme in select(&[Scheme::Https, Scheme::Http]),
        method in select(&["GET", "POST", "DELETE"]),
        path in select(&PATHS),
    ) {
        let text = rules.concat();
        let to = format!("{host}{port}");
        let enforced = ask(&parse(&text), scheme, method, &to, path);
        let observed = ask(&parse(&text).observing(), scheme, method, &to, path);
        match (enforced, observed) {
            (Ok(enforced), Ok(observed)) => {
                prop_assert!(enforced.observed().is_none() && observed.observed().is_none());
                prop_assert_eq!(enforced.rule(), observed.rule());
                prop_assert_eq!(enforced.credential(), observed.credential());
            }
            (Err(_), Err(observed)) => {
                let kept = matches!(observed.kind(), DenialKind::DeniedByRule | DenialKind::PassesUnread);
                prop_assert!(kept, "{observed}");
            }
            (Err(enforced), Ok(observed)) => {
                prop_assert!(!matches!(enforced.kind(), DenialKind::DeniedByRule | DenialKind::PassesUnread), "{enforced}");
                prop_assert_eq!(observed.observed().map(|denial| denial.kind().as_str()), Some(enforced.kind().as_str()));
                prop_assert_eq!(observed.credential(), None);
                prop_assert!(observed.protocol().is_none() && observed.route().client_certificate().is_none());
                prop_assert_eq!((observed.method().as_str(), observed.path().as_str()), (method, path));
                prop_assert_eq!(observed.rule().to_string(), "no rule (observed)");
                // Ranges are a destination's own.
                let listed = rules.iter().filter(|rule| rule.starts_with("[[allow]]")).any(|rule| match host {
                    "a.example" => rule.contains("\"a.example\"") && rule.contains("addresses"),
                    "b.a.example" => rule.contains("*.a.example"),
                    "10.0.0.5" => rule.contains("10.0.0.5"),
                    _ => false,
                });
                let on_its_port = matches!((port, scheme), (":443", _) | ("", Scheme::Https));
                prop_assert_eq!(!observed.route().ranges().is_empty(), listed && on_its_port);
            }
            (Ok(_), Err(observed)) => prop_assert!(false, "observing refuses what is allowed: {observed}"),
        }
    }
}

#[test]
fn a_policy_that_was_not_told_to_observe_does_not() {
    assert!(!parse("").observes());
    assert!(ask(&parse(""), Scheme::Https, "GET", "a.example", "/").is_err());
}

#[test]
fn what_is_observed_counts_against_the_rate_of_the_rule_that_came_nearest() {
    let policy = parse(RULES[1]).observing();
    let permit = ask(&policy, Scheme::Https, "GET", "a.example", "/y").unwrap();
    assert_eq!(permit.rate().map(|rate| rate.to_string()).as_deref(), Some("3/h"));
    assert_eq!(permit.counts_against().to_string(), "allow #1 (line 1)");
    let permit = ask(&policy, Scheme::Https, "GET", "b.example", "/y").unwrap();
    assert!(permit.rate().is_none());
}

#[test]
fn a_reload_goes_on_observing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bot.toml");
    fs::write(&file, "").unwrap();
    let standing = Standing::load_observing(&file).unwrap();
    fs::write(&file, "[[deny]]\nto = \"b.example\"\n").unwrap();
    assert!(standing.reload().unwrap());
    assert!(ask(&standing.current(), Scheme::Https, "GET", "a.example", "/").unwrap().observed().is_some());
    assert!(ask(&standing.current(), Scheme::Https, "GET", "b.example", "/").is_err());
    let standing = Standing::load(&file).unwrap();
    fs::write(&file, "").unwrap();
    assert!(standing.reload().unwrap() && !standing.current().observes());
}

/// The house's proxy looks a name up once more: what no rule lists has to be such that another answer comes to nothing.
#[test]
fn by_way_of_a_proxy_only_what_proves_its_name_is_observed() {
    let with = |lines: &str| parse(&format!("[upstream]\nproxy = \"http://proxy.example:3128\"\n{lines}")).observing();
    let plain = |to: &str, policy: &Policy| ask(policy, Scheme::Http, "GET", to, "/").is_ok();
    let tls = |to: &str, policy: &Policy| ask(policy, Scheme::Https, "GET", to, "/").is_ok();
    let policy = with("no_proxy = [\"*.house.example\"]\n[[allow]]\nto = \"a.example\"\npaths = [\"/x\"]\n");
    assert!(tls("b.example", &policy) && !plain("b.example", &policy));
    assert!(tls("b.house.example", &policy) && plain("b.house.example", &policy));
    assert!(plain("a.example:443", &policy), "a rule vouches for the name");
    let policy = with("proxy_resolves = true\n[[allow]]\nto = \"a.example\"\npaths = [\"/x\"]\n");
    assert!(!tls("b.example", &policy) && !plain("b.example", &policy));
    assert!(tls("a.example", &policy) && tls("192.0.2.1", &policy));
    // Nor is the proxy itself called, which takes a client anywhere.
    assert!(
        !plain("proxy.example:3128", &with("no_proxy = [\"proxy.example\"]")) && !tls("proxy.example:3128", &policy)
    );
}
