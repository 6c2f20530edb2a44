//! Programs as issuers in credentials.toml: what is read, and what is said about each mistake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Audience, CommandSettings, Credentials, IssuerSettings, SigningAlgorithm};

const GOOD: &str = r#"
[api]
issuer            = "command"
issue             = ["mint", "--for", "two words"]
revoke            = ["unmint"]
identity_audience = "the-house"
algorithm         = "RS256"
agents            = ["bot"]
to                = ["api.example.com"]
"#;

#[test]
fn the_programs_and_the_audience_are_read() {
    let issuer = |text: &str| {
        let credentials = Credentials::parse("credentials.toml", text).unwrap();
        let IssuerSettings::Command(settings) = credentials.iter().next().unwrap().issuer.clone() else { panic!() };
        *settings
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let audience = Audience { name: "the-house".into(), algorithm: Some(SigningAlgorithm::Rs256) };
    let (issue, revoke) = (words(&["mint", "--for", "two words"]), Some(words(&["unmint"])));
    assert_eq!(issuer(GOOD), CommandSettings { issue, revoke, audience: Some(audience) });
    let short: String = GOOD
        .lines()
        .filter(|line| !["revoke", "identity", "algorithm"].iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    let short = issuer(&short);
    assert_eq!((short.revoke, short.audience), (None, None));
}

#[test]
fn every_mistake_is_shown_with_a_remedy() {
    let with = |find: &str, put: &str| GOOD.replacen(find, put, 1);
    for (text, line, key, says) in [
        (with("issue             = [\"mint\", \"--for\", \"two words\"]", ""), 2, "api", "`issue` is missing"),
        (with("[\"mint\", \"--for\", \"two words\"]", "\"mint --for\""), 4, "api.issue", "a list is expected"),
        (with("[\"unmint\"]", "[]"), 5, "api.revoke", "there is no program to run"),
        (with("identity_audience = \"the-house\"", ""), 7, "api.algorithm", "no identity to sign"),
        (with("revoke   ", "revokes  "), 5, "api.revokes", "did you mean `revoke`"),
    ] {
        let mistakes = Credentials::parse("credentials.toml", &text).unwrap_err();
        let found = mistakes.mistakes().iter().find(|found| found.key == key && found.line == line);
        let shown = found.unwrap_or_else(|| panic!("{says}: {mistakes}")).to_string();
        assert!(shown.contains(says), "{says}: {shown}");
    }
}
