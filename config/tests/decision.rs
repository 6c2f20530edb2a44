//! The decision, against a second one written in the plainest way, and the promises that hold for every policy.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use config::{CallFacts, DenialKind, Destination, Method, NormalPath, Policy, Scheme, TlsMode};
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
        let sent = rule.paths.iter().any(|glob| glob_matches(glob, &asked.path));
        let without = rule.paths.iter().any(|glob| glob_matches(glob, &bare));
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

/// What the policy says to `METHOD URL`, as kind, reason and remedy.
fn refusal(rules: &str, method: &str, url: &str) -> (DenialKind, String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let port = if scheme == Scheme::Https { 443 } else { 80 };
    let destination = Destination::parse_authority(authority, port).unwrap();
    let (method, path) = (method.parse().unwrap(), NormalPath::parse(path).unwrap());
    let facts = CallFacts { destination: &destination, scheme, method: &method, path: &path };
    let denial = parse(rules).unwrap().call(&facts).unwrap_err();
    (denial.kind().clone(), denial.reason(), denial.remedy())
}

#[test]
fn a_denial_says_what_was_refused_why_and_what_to_ask_for() {
    let rules = r#"
[[allow]]
to = "api.github.com"
methods = ["GET"]
paths = ["/repos/acme/**"]
credential = "github"
[[deny]]
to = "api.github.com"
paths = ["/repos/acme/payroll/**"]
"#;
    let (kind, reason, remedy) = refusal(rules, "POST", "https://api.github.com/repos/acme/x");
    assert!(matches!(kind, DenialKind::MethodNotAllowed { methods } if methods.len() == 1));
    assert_eq!(
        reason,
        "POST https://api.github.com/repos/acme/x is not allowed: the methods listed for it are `GET` (nearest: allow #1 (line 2))"
    );
    assert_eq!(
        remedy,
        "ask the operator to add this to the policy of agent `bot`:\n\n[[allow]]\nto = \"api.github.com\"\n\
         methods = [\"POST\"]\npaths = [\"/repos/acme/x\"]\ncredential = \"github\"\n\
         # exeat explain --agent bot -X POST https://api.github.com/repos/acme/x\n"
    );

    let (kind, reason, _) = refusal(rules, "GET", "https://api.github.com/user");
    assert!(matches!(kind, DenialKind::PathNotAllowed { paths, .. } if paths[0].as_str() == "/repos/acme/**"));
    assert!(reason.contains("the paths listed for it are `/repos/acme/**`"), "{reason}");

    let (kind, reason, remedy) = refusal(rules, "GET", "https://api.github.com/repos/acme/payroll/x");
    assert_eq!(kind, DenialKind::DeniedByRule);
    assert!(reason.ends_with("is denied by rule deny #1 (line 7)"), "{reason}");
    assert!(remedy.contains("narrow or remove deny #1 (line 7)"), "{remedy}");

    let (kind, reason, _) = refusal(rules, "GET", "https://evil.example/");
    assert_eq!(kind, DenialKind::HostNotListed);
    assert_eq!(reason, "GET https://evil.example/ is not allowed: no rule lists this host");

    assert_eq!(refusal(rules, "GET", "https://10.0.0.1/").0, DenialKind::AddressNotListed);
    let (kind, _, remedy) = refusal(rules, "GET", "http://api.github.com:443/");
    assert_eq!(kind, DenialKind::PlainNotAllowed);
    assert!(remedy.starts_with("use HTTPS, or ask the operator") && !remedy.contains("credential"), "{remedy}");
    let (kind, reason, _) = refusal(rules, "GET", "https://api.github.com:8443/");
    assert!(matches!(kind, DenialKind::PortNotListed { ports } if ports.contains(&443)));
    assert!(reason.ends_with("with other ports only: `443`"), "{reason}");
}

#[test]
fn a_client_cannot_smuggle_a_wildcard_into_the_lines_its_operator_copies() {
    let (_, _, remedy) = refusal("", "GET", "https://a.example/x/**");
    assert!(remedy.contains("paths = [\"/x/%2A%2A\"]"), "{remedy}");
    let (_, reason, remedy) = refusal("", "GET", &format!("https://a.example/{}", "x".repeat(9000)));
    assert!(reason.len() < 700 && remedy.len() < 700, "{remedy}");
}

#[test]
fn parameters_open_no_way_around_a_rule() {
    let rules = "[[allow]]\nto = \"a.example\"\npaths = [\"/open/**\", \"/*-pub\"]\n[[deny]]\nto = \"a.example\"\npaths = [\"/open/pay/**\"]\n";
    assert_eq!(refusal(rules, "GET", "https://a.example/open/pay;x/1").0, DenialKind::DeniedByRule);
    assert_eq!(refusal(rules, "GET", "https://a.example/open/pay%3Bx/1").0, DenialKind::DeniedByRule);
    assert!(matches!(refusal(rules, "GET", "https://a.example/secret;-pub").0, DenialKind::PathNotAllowed { .. }));
    assert!(matches!(refusal(rules, "GET", "https://a.example/secret;/x").0, DenialKind::PathNotAllowed { .. }));
}

#[test]
fn an_escape_within_an_escape_opens_no_way_around_a_rule() {
    let rules = "[[allow]]\nto = \"a.example\"\npaths = [\"/open/**\", \"/*-pub\"]\n[[deny]]\nto = \"a.example\"\npaths = [\"/open/pay/**\"]\n";
    assert_eq!(refusal(rules, "GET", "https://a.example/open/%2570ay/1").0, DenialKind::DeniedByRule);
    assert_eq!(refusal(rules, "GET", "https://a.example/open/pay%253Bx/1").0, DenialKind::DeniedByRule);
    assert!(matches!(refusal(rules, "GET", "https://a.example/%256fpen/x").0, DenialKind::PathNotAllowed { .. }));
    assert!(matches!(refusal(rules, "GET", "https://a.example/x%252Dpub").0, DenialKind::PathNotAllowed { .. }));
}

#[test]
fn an_escaped_slash_passes_only_where_a_rule_says_so_and_opens_no_way_around_a_deny_rule() {
    let open = "[[allow]]\nto = \"a.example\"\npaths = [\"/@*\", \"/projects/*/issues\"]\n";
    let (kind, reason, remedy) = refusal(open, "GET", "https://a.example/@scope%2fname");
    assert_eq!(kind, DenialKind::EncodedSlash);
    assert!(reason.contains("`encoded_slash = true`") && reason.contains("allow #1"), "{reason}");
    assert!(remedy.contains("paths = [\"/@scope%2Fname\"]\nencoded_slash = true\n"), "{remedy}");
    assert_eq!(
        refusal("[[allow]]\nto = \"a.example\"\n", "GET", "https://a.example/a%2Fb").0,
        DenialKind::EncodedSlash
    );

    let rules = format!(
        "{open}encoded_slash = true\n[[deny]]\nto = \"a.example\"\npaths = [\"/projects/secret/**\", \"/@x%2Fy\"]\n"
    );
    let allowed = |path: &str| {
        let asked = Asked { host: "a.example", port: 443, scheme: Scheme::Https, method: "GET", path: path.to_owned() };
        allows(&parse(&rules).unwrap(), &asked)
    };
    assert!(allowed("/@scope%2fname") && allowed("/projects/group%2Fname/issues"));
    // The escaped slash is no separator for the allow rule, and both for the deny rule.
    assert!(!allowed("/projects%2Fgroup/issues") && !allowed("/projects/a%2Fissues"));
    for path in ["/projects/secret%2Fname/issues", "/projects/secret;x%2Fname/issues", "/@x%2Fy"] {
        assert_eq!(refusal(&rules, "GET", &format!("https://a.example{path}")).0, DenialKind::DeniedByRule, "{path}");
    }
}

#[test]
fn a_deny_rule_holds_over_plain_http_too() {
    let rules = "[[allow]]\nto = \"a.example:80\"\n[[deny]]\nto = \"a.example\"\npaths = [\"/x\"]\n";
    assert_eq!(refusal(rules, "GET", "http://a.example/x").0, DenialKind::DeniedByRule);
}

#[test]
fn what_passes_unread_is_a_connection_and_never_a_call() {
    let rules = "[[allow]]\nto = \"p.example\"\ntls = \"passthrough\"\n[[allow]]\nto = \"a.example\"\npaths = [\"/x\"]\n\
                 [[allow]]\nto = \"*.example\"\ntls = \"passthrough\"\n[[allow]]\nto = \"10.0.0.0/8:5432\"\ntls = \"tcp\"\n\
                 [[deny]]\nto = \"10.9.0.0/16\"\n";
    let policy = parse(rules).unwrap();
    let tunnel = |text| {
        let permit = policy.connect(&Destination::parse_authority(text, 443).unwrap()).ok()?;
        permit.tunnel().map(|tunnel| (tunnel.mode(), tunnel.rule().to_string()))
    };
    assert_eq!(tunnel("p.example"), Some((TlsMode::Passthrough, "allow #1 (line 1)".to_owned())));
    assert_eq!(tunnel("10.1.2.3:5432").map(|(mode, _)| mode), Some(TlsMode::Tcp));
    assert_eq!((tunnel("a.example"), tunnel("10.1.2.3"), tunnel("10.9.0.1:5432")), (None, None, None));
    assert_eq!(refusal(rules, "GET", "https://p.example/").0, DenialKind::PassesUnread);
    // A rule that lets a host's connections pass unread does not widen what its requests may be where they are read.
    assert_eq!(
        refusal(rules, "GET", "https://a.example/y").0,
        DenialKind::PathNotAllowed { paths: vec!["/x".parse().unwrap()], more: 0 }
    );
}

#[test]
fn a_denial_shows_some_of_many_paths_and_counts_the_others() {
    let rules: String = (0..500).map(|i| format!("[[allow]]\nto = \"a.example\"\npaths = [\"/r{i}/**\"]\n")).collect();
    let (kind, reason, _) = refusal(&rules, "GET", "https://a.example/x");
    assert!(matches!(kind, DenialKind::PathNotAllowed { paths, more: 436 } if paths.len() == 64));
    assert!(reason.contains("`/r11/**`, and 488 more (nearest: allow #1 (line 1))"), "{reason}");
}
