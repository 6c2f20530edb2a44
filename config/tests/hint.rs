//! The hint of a refusal is pasted into a policy and into a shell, and an agent chooses what is in it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use config::{CallFacts, Denial, Destination, Method, NormalPath, Policy, Scheme, command_in};
use proptest::prelude::*;

/// All that a path in its normal form and a method can have that a shell might act on.
fn some_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z0-9$'`!&;|<>(){}*?\\[\\]~#%\"=,:@+._ -]{0,8}",
        1 => Just("$(touch pwned)".to_owned()),
        1 => Just("';touch pwned;'".to_owned()),
        1 => Just("`id`".to_owned()),
        1 => Just("!!".to_owned()),
        1 => Just("é\u{202e}".to_owned()),
        1 => Just("-rf".to_owned()),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| {
        let path = pieces.concat().replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace(' ', "%20");
        format!("/{path}")
    })
}

fn some_call() -> impl Strategy<Value = (Scheme, &'static str, String, String)> {
    let scheme = prop_oneof![Just(Scheme::Https), Just(Scheme::Http)];
    let to =
        prop_oneof![Just("api.example.com"), Just("api.example.com:8443"), Just("[2001:db8::1]:80"), Just("192.0.2.1")];
    let method = prop_oneof![3 => Just("POST".to_owned()), 1 => "[A-Z!#$%&'*+.^_`|~-]{1,12}"];
    (scheme, to, method, some_path())
}

/// The denial of a call by a policy that allows nothing of it.
fn denied(rules: &str, scheme: Scheme, to: &str, method: &str, path: &str) -> Option<Denial> {
    let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", rules).unwrap();
    let destination = Destination::parse_authority(to, scheme.default_port()).unwrap();
    let (method, path) = (method.parse::<Method>().unwrap(), NormalPath::parse(path).ok()?);
    let facts = CallFacts { destination: &destination, scheme, method: &method, path: &path };
    let denial = policy.connect(&destination).map_err(|denial| denial.of(&facts)).err();
    Some(denial.or_else(|| policy.call(&facts).err()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_an_operator_pastes_into_a_shell_is_the_words_that_were_meant((scheme, to, method, path) in some_call()) {
        let rules = "[[allow]]\nto = \"api.example.com\"\npaths = [\"/only/this\"]\n";
        let Some(denial) = denied(rules, scheme, to, &method, &path) else { return Ok(()) };
        let command = denial.command().unwrap();
        prop_assert!(command.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{command}");
        prop_assert!(is_inert(&command), "{command}");
        // A real shell reads it: nothing is expanded, nothing else is run.
        let words = command.strip_prefix("exeat ").unwrap();
        let script = format!("printf '%s\\n' {words}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        prop_assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = said.lines().collect();
        prop_assert_eq!(&words[..5], &["explain", "--agent", "bot", "-X", &method], "{}", command);
        prop_assert_eq!(words.len(), 6, "{}", command);
        let destination = Destination::parse_authority(to, scheme.default_port()).unwrap();
        let rest = words[5].strip_prefix(&format!("{}://", scheme.as_str())).unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap());
        prop_assert_eq!(Destination::parse_authority(authority, scheme.default_port()).unwrap(), destination);
        // What is asked about is the call that was refused, and is refused in the same words.
        prop_assert_eq!(denied(rules, scheme, to, &method, path).unwrap().remedy(), denial.remedy());
    }

    #[test]
    fn what_an_operator_pastes_into_the_policy_is_one_rule((scheme, to, method, path) in some_call()) {
        let Some(denial) = denied("", scheme, to, &method, &path) else { return Ok(()) };
        let hint = denial.remedy();
        let command = denial.command();
        prop_assert_eq!(command_in(&hint), command.as_deref());
        let lines = &hint[hint.find("[[allow]]").unwrap()..];
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", lines).unwrap();
        prop_assert_eq!(policy.rules().len(), 1, "{}", lines);
        prop_assert!(hint.chars().all(|c| c == '\n' || !c.is_control()), "{hint}");
    }
}

/// Whether no character is where a shell acts on it, an interactive one too: `!` brings back its history also in double quotes.
fn is_inert(command: &str) -> bool {
    let mut quote = None;
    command.chars().all(|c| match (quote, c) {
        (None, '\'' | '"') => {
            quote = Some(c);
            true
        }
        (Some(open), c) if open == c => {
            quote = None;
            true
        }
        (Some('\''), _) => true,
        (Some(_), c) => !"!$`\\".contains(c),
        (None, c) => !"!$`\\;&|<>(){}*?~#^\n".contains(c),
    })
}

#[test]
fn a_path_that_is_too_long_to_repeat_is_asked_about_by_nobody() {
    let denial = denied("", Scheme::Https, "api.example.com", "GET", &format!("/{}", "a".repeat(600))).unwrap();
    assert_eq!(denial.command(), None);
    assert!(!denial.remedy().contains("exeat explain"), "{}", denial.remedy());
    assert_eq!(command_in(&denial.remedy()), None);
}

#[test]
fn every_kind_of_denial_ends_in_the_command_that_says_more() {
    let rules = "[[allow]]\nto = \"api.example.com\"\nmethods = [\"GET\"]\npaths = [\"/a/**\"]\n\
                 [[allow]]\nto = \"db.example.com\"\ntls = \"passthrough\"\n\
                 [[deny]]\nto = \"api.example.com\"\npaths = [\"/a/b\"]\n";
    for (scheme, to, method, path) in [
        (Scheme::Https, "other.example.com", "GET", "/"),
        (Scheme::Https, "api.example.com:99", "GET", "/"),
        (Scheme::Https, "api.example.com", "POST", "/a/c"),
        (Scheme::Https, "api.example.com", "GET", "/b"),
        (Scheme::Https, "api.example.com", "GET", "/a/b"),
        (Scheme::Http, "api.example.com:443", "GET", "/a/c"),
        (Scheme::Https, "api.example.com", "GET", "/a/c%2Fd"),
        (Scheme::Http, "db.example.com:443", "GET", "/"),
    ] {
        let denial = denied(rules, scheme, to, method, path).unwrap();
        let hint = denial.remedy();
        let command = command_in(&hint).unwrap_or_else(|| panic!("{hint}"));
        assert!(command.starts_with(&format!("exeat explain --agent bot -X {method} ")), "{hint}");
        assert!(hint.ends_with(&format!("\n# {command}\n")), "{hint}");
    }
}
