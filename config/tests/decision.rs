//! The decision, against a second one written in the plainest way, and the promises that hold for every policy.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use config::{CallFacts, DenialKind, Destination, Method, NormalPath, Policy, Scheme};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A rule as text, before exeat has read it.
#[derive(Clone, Debug)]
struct Written {
    deny: bool,
    to: &'static str,
    port: Option<u16>,
    methods: Vec<&'static str>,
    paths: Vec<String>,
    plain: bool,
}

/// A call as text.
#[derive(Clone, Debug)]
struct Asked {
    host: &'static str,
    port: u16,
    scheme: Scheme,
    method: &'static str,
    path: String,
}

const HOSTS: [&str; 4] = ["a.example", "b.a.example", "c.b.a.example", "10.0.0.5"];
const PATTERNS: [&str; 7] =
    ["a.example", "b.a.example", "*.a.example", "*.b.a.example", "10.0.0.5", "10.0.0.0/8", "192.0.2.0/24"];
const SEGMENTS: [&str; 6] = ["x", "y", "xy", "@me", "x;p=1", "é*"];
const GLOB_SEGMENTS: [&str; 8] = ["x", "y", "*", "**", "x*", "*y", "@me", "x;*"];

fn some_rule(deny: impl Strategy<Value = bool>) -> impl Strategy<Value = Written> {
    let globs = prop::collection::vec(prop::collection::vec(select(&GLOB_SEGMENTS), 0..4), 0..3);
    let methods = prop::collection::btree_set(select(&["GET", "POST", "PUT"]), 0..3);
    let port = prop::option::weighted(0.3, select(&[80, 443, 8443]));
    (deny, select(&PATTERNS), port, methods, globs, prop::bool::weighted(0.2)).prop_map(
        |(deny, to, port, methods, globs, plain)| {
            let mut paths: Vec<String> = globs.iter().map(|segments| format!("/{}", segments.join("/"))).collect();
            paths.dedup();
            Written { deny, to, port, methods: methods.into_iter().collect(), paths, plain: plain && !deny }
        },
    )
}

fn some_rules() -> impl Strategy<Value = Vec<Written>> {
    prop::collection::vec(some_rule(prop::bool::weighted(0.25)), 0..6)
}

fn some_call() -> impl Strategy<Value = Asked> {
    let path = prop::collection::vec(select(&SEGMENTS), 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    let schemes = select(&[Scheme::Https, Scheme::Https, Scheme::Http]);
    (select(&HOSTS), select(&[443, 443, 80, 8443]), schemes, select(&["GET", "POST", "PUT", "DELETE"]), path)
        .prop_map(|(host, port, scheme, method, path)| Asked { host, port, scheme, method, path })
}

fn to_toml(rules: &[Written]) -> String {
    let mut text = String::new();
    for rule in rules {
        let port = rule.port.map(|port| format!(":{port}")).unwrap_or_default();
        let _ = writeln!(text, "[[{}]]\nto = \"{}{port}\"", if rule.deny { "deny" } else { "allow" }, rule.to);
        if !rule.methods.is_empty() {
            let _ = writeln!(text, "methods = {:?}", rule.methods);
        }
        if !rule.paths.is_empty() {
            let _ = writeln!(text, "paths = {:?}", rule.paths);
        }
        if rule.plain {
            text.push_str("plain = true\n");
        }
    }
    text
}

fn parse(text: &str) -> Result<Policy, config::LoadError> {
    Policy::parse("bot".parse().unwrap(), "bot.toml", text)
}

/// The policy of these rules. Rules that can never come to pass are left out, as a person would who is told: if the
/// check named one that could, the comparison with the plain decision would show it.
fn policy(rules: &[Written]) -> Policy {
    let mut rules = rules.to_vec();
    loop {
        let error = match parse(&to_toml(&rules)) {
            Ok(policy) => return policy,
            Err(error) => error,
        };
        let number = error.mistakes()[0].key.strip_prefix("allow[").and_then(|rest| rest.strip_suffix(']'));
        let number: usize = number.unwrap_or_else(|| panic!("{error}")).parse().unwrap();
        let allowing = rules.iter().enumerate().filter(|(_, rule)| !rule.deny).map(|(i, _)| i).nth(number - 1);
        rules.remove(allowing.unwrap());
    }
}

/// Asks the policy.
fn allows(policy: &Policy, asked: &Asked) -> bool {
    let destination = Destination::parse_authority(asked.host, asked.port).unwrap();
    let (method, path) = (asked.method.parse::<Method>().unwrap(), NormalPath::parse(&asked.path).unwrap());
    let facts = CallFacts { destination: &destination, scheme: asked.scheme, method: &method, path: &path };
    match policy.call(&facts) {
        Ok(permit) => {
            assert_eq!((permit.destination(), permit.path(), permit.method()), (&destination, &path, &method));
            let connect = policy.connect(&destination).expect("a call is allowed where no connection is");
            assert!(connect.allows(asked.scheme));
            true
        }
        Err(_) => false,
    }
}

/// The decision in the plainest way: some allow and no deny, each matched by recursion on text.
fn plainly_allows(rules: &[Written], asked: &Asked) -> bool {
    let host = |rule: &Written| match rule.to {
        "10.0.0.0/8" => asked.host.starts_with("10."),
        to => match to.strip_prefix('*') {
            Some(suffix) => asked.host.ends_with(suffix),
            None => to == asked.host,
        },
    };
    let port = |rule: &Written| match (rule.port, rule.deny) {
        (Some(port), _) => port == asked.port,
        (None, deny) => deny || asked.port == 443,
    };
    let scheme = |rule: &Written| rule.deny || asked.scheme == Scheme::Https || rule.plain || rule.port == Some(80);
    let method = |rule: &Written| rule.methods.is_empty() || rule.methods.contains(&asked.method);
    let bare: Vec<&str> = asked.path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
    let bare = bare.join("/");
    let path = |rule: &Written| {
        let has = |path: &str| rule.paths.iter().any(|glob| glob_matches(glob, path));
        // To a deny rule a last slash is nothing.
        let either = |path: &str| {
            let open = path.strip_suffix('/').unwrap_or(path);
            has(path) || rule.deny && (!open.is_empty() && has(open) || has(&format!("{open}/")))
        };
        let (sent, without) = (either(&asked.path), either(&bare));
        let named = rule.paths.iter().any(|glob| glob.contains(';') && glob_matches(glob, &asked.path));
        rule.paths.is_empty() || if rule.deny { sent || without } else { sent && without || named }
    };
    let speaks = |rule: &&Written| host(rule) && port(rule) && scheme(rule) && method(rule) && path(rule);
    let (denies, allows): (Vec<&Written>, Vec<&Written>) = rules.iter().partition(|rule| rule.deny);
    allows.iter().any(&speaks) && !denies.iter().any(speaks)
}

fn glob_matches(glob: &str, path: &str) -> bool {
    fn text(glob: &[char], text_: &[char]) -> bool {
        match (glob, text_) {
            (['*', rest @ ..], _) => (0..=text_.len()).any(|n| text(rest, &text_[n..])),
            ([g, glob @ ..], [t, rest @ ..]) => g == t && text(glob, rest),
            ([], []) => true,
            _ => false,
        }
    }
    fn segments(glob: &[&str], path: &[&str]) -> bool {
        match (glob, path) {
            (["**"], _) => !path.is_empty(),
            (["**", rest @ ..], _) => (0..=path.len()).any(|n| segments(rest, &path[n..])),
            ([g, glob @ ..], [p, path @ ..]) => {
                let (g, p): (Vec<char>, Vec<char>) = (g.chars().collect(), p.chars().collect());
                (!g.contains(&'*') || !p.is_empty()) && text(&g, &p) && segments(glob, path)
            }
            ([], []) => true,
            _ => false,
        }
    }
    segments(&glob.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
}

/// The same path, some of its characters spelled as escapes, with detours.
fn respelled(path: &str, choices: &[u8]) -> String {
    let mut out = String::new();
    for (i, byte) in path.bytes().enumerate() {
        match choices.get(i % choices.len().max(1)).map_or(0, |choice| choice % 5) {
            _ if byte == b'/' && choices.get(i).is_some_and(|choice| choice % 7 == 0) => out.push_str("/%2e/q/.%2E/"),
            _ if byte == b'/' => out.push('/'),
            0 => drop(write!(out, "%{byte:02x}")),
            1 => drop(write!(out, "%{byte:02X}")),
            _ if byte.is_ascii() => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_decision_is_the_plain_one(rules in some_rules(), calls in prop::collection::vec(some_call(), 8)) {
        let policy = policy(&rules);
        for asked in &calls {
            prop_assert_eq!(allows(&policy, asked), plainly_allows(&rules, asked), "{}\n{:?}", to_toml(&rules), asked);
        }
    }

    #[test]
    fn a_deny_more_never_allows_more(rules in some_rules(), deny in some_rule(Just(true)), at: Index, asked in some_call()) {
        let before = allows(&policy(&rules), &asked);
        let mut more = rules.clone();
        more.insert(at.index(rules.len() + 1), deny);
        prop_assert!(before || !allows(&policy(&more), &asked));
    }

    #[test]
    fn an_allow_more_never_takes_one_away(rules in some_rules(), allow in some_rule(Just(false)), at: Index, asked in some_call()) {
        let before = allows(&policy(&rules), &asked);
        let mut more = rules.clone();
        more.insert(at.index(rules.len() + 1), allow);
        prop_assert!(!before || allows(&policy(&more), &asked));
    }

    #[test]
    fn the_order_of_denies_does_not_matter(rules in some_rules(), asked in some_call()) {
        let (denies, allows_): (Vec<Written>, Vec<Written>) = rules.iter().cloned().partition(|rule| rule.deny);
        let reversed: Vec<Written> = allows_.into_iter().chain(denies.into_iter().rev()).collect();
        prop_assert_eq!(allows(&policy(&rules), &asked), allows(&policy(&reversed), &asked));
    }

    #[test]
    fn without_an_allow_rule_nothing_is_allowed(rules in some_rules(), asked in some_call()) {
        let denies: Vec<Written> = rules.into_iter().filter(|rule| rule.deny).collect();
        prop_assert!(!allows(&policy(&denies), &asked));
    }

    #[test]
    fn how_a_path_is_spelled_does_not_matter(rules in some_rules(), asked in some_call(), choices: [u8; 24]) {
        let policy = policy(&rules);
        let other = Asked { path: respelled(&asked.path, &choices), ..asked.clone() };
        prop_assert_eq!(allows(&policy, &asked), allows(&policy, &other), "{}", other.path);
    }

    #[test]
    fn the_lines_in_a_denial_would_allow_the_call_and_nothing_in_it_moves_the_cursor(rules in some_rules(), asked in some_call()) {
        let policy = policy(&rules);
        let destination = Destination::parse_authority(asked.host, asked.port).unwrap();
        let (method, path) = (asked.method.parse::<Method>().unwrap(), NormalPath::parse(&asked.path).unwrap());
        let facts = CallFacts { destination: &destination, scheme: asked.scheme, method: &method, path: &path };
        let connect = policy.connect(&destination).err();
        if let Some(denial) = policy.call(&facts).err() {
            for denial in connect.iter().chain([&denial]) {
                let (reason, remedy) = (denial.reason(), denial.remedy());
                prop_assert!(!reason.chars().any(char::is_control), "{reason}");
                prop_assert!(!remedy.chars().any(|c| c.is_control() && c != '\n'), "{remedy}");
                prop_assert!(reason.contains(asked.host), "{reason}");
            }
            if denial.kind() == &DenialKind::DeniedByRule {
                prop_assert!(denial.remedy().contains(&denial.rule().unwrap().to_string()));
            } else {
                let remedy = denial.remedy();
                let lines = &remedy[remedy.find("[[allow]]").unwrap()..];
                prop_assert!(allows(&parse(lines).unwrap(), &asked), "{lines}");
                // Added to the file that refused, they do what they promise there too.
                let whole = format!("{}{lines}", to_toml(&rules));
                prop_assert!(parse(&whole).map_or(true, |policy| allows(&policy, &asked)), "{whole}");
            }
        }
    }
}

/// Whether a policy with these rules, and one that allows all of the host, lets the path out.
fn passes(rules: &str, path: &str) -> bool {
    asked(&format!("{rules}\n[[allow]]\nto = \"api.example.com\"\n"), path)
}

/// Whether these rules alone do.
fn asked(rules: &str, path: &str) -> bool {
    let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", rules).unwrap();
    let (destination, method) =
        (Destination::new("api.example.com".parse().unwrap(), 443), "GET".parse::<Method>().unwrap());
    let path = NormalPath::parse(path).unwrap();
    policy.call(&CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path }).is_ok()
}

#[test]
fn a_deny_rule_has_a_path_in_any_case_with_a_last_slash_or_without_and_an_allow_rule_as_it_is_written() {
    let one = "[[deny]]\nto = \"api.example.com\"\npaths = [\"/repos/acme/payroll/**\", \"/Ünder/*K\"]\n".to_owned();
    // Few are asked in turn, many by their literal segments; in one rule or in many.
    let some: String = (0..40).map(|n| format!("\"/Other{n}/x\", ")).collect();
    let many = one.replace("paths = [", &format!("paths = [{some}"));
    let rules: String =
        (0..40).map(|n| format!("[[deny]]\nto = \"api.example.com\"\npaths = [\"/Other{n}/x\"]\n")).collect();
    for deny in [&one, &many, &(rules + &one)] {
        for path in [
            "/repos/acme/payroll/x",
            "/repos/acme/PAYROLL/x",
            "/REPOS/Acme/pay%52oll/x",
            "/repos/acme/payroll;V=1/X",
            "/repos/acme%2FPAYROLL/x",
            "/%C3%9CNDER/xk",
            "/%C3%BCnder/x%E2%84%AA",
            // To many servers a last slash is nothing.
            "/repos/acme/payroll/",
            "/repos/acme/payroll",
            "/repos/acme/Payroll;v=1",
            "/%C3%BCnder/xk/",
            "/other7/x/",
        ] {
            assert!(path.starts_with("/other") && deny == &one || !passes(deny, path), "{path} passed");
        }
        assert!(passes(deny, "/repos/acme/Payrolls/x"));
    }
    let allow = "[[allow]]\nto = \"other.example.com\"\n[[deny]]\nto = \"api.example.com\"\npaths = [\"/**\"]\nmethods = [\"PUT\"]\n";
    assert!(passes(allow, "/X"));
    let exact = "[[allow]]\nto = \"api.example.com\"\npaths = [\"/x/**\"]\n";
    assert!(asked(exact, "/x/") && asked(exact, "/x/y") && !asked(exact, "/x"));
}

#[test]
fn an_allow_rule_that_is_denied_in_another_case_is_told_of() {
    let text = "[[allow]]\nto = \"api.example.com\"\npaths = [\"/repos/x\"]\n[[deny]]\nto = \"api.example.com\"\npaths = [\"/REPOS/X\", \"/y\"]\n";
    let mistake = Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap_err().to_string();
    assert!(mistake.contains("it can never allow anything: deny #1"), "{mistake}");
}
