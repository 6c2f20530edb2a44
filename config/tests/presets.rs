//! Presets: what is made looks like the real thing to whoever knows that, and nobody guesses it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use config::{Credentials, Placeholder, Shape};
use regex::RegexBuilder;

/// By the issuers' documents, or by the rules of scanners for leaked secrets; not by what is in `preset.rs`.
const SECRETS: [(&str, &str); 17] = [
    ("github-pat", "^ghp_[0-9a-zA-Z]{36}$"),
    ("github-oauth", "^gho_[0-9a-zA-Z]{36}$"),
    ("github-app", "^(?:ghu|ghs)_[0-9a-zA-Z]{36}$"),
    ("github-fine-grained", r"^github_pat_\w{82}$"),
    ("gitlab", r"^glpat-[\w-]{20,}$"),
    (
        "openai",
        "^sk-(?:proj|svcacct|admin)-(?:[A-Za-z0-9_-]{74}|[A-Za-z0-9_-]{58})T3BlbkFJ(?:[A-Za-z0-9_-]{74}|[A-Za-z0-9_-]{58})$",
    ),
    ("anthropic", r"^sk-ant-api03-[a-zA-Z0-9_\-]{93}AA$"),
    ("slack-bot", "^xoxb-[0-9]{10,13}-[0-9]{10,13}[a-zA-Z0-9-]*$"),
    ("slack-user", "^xox[pe](?:-[0-9]{10,13}){3}-[a-zA-Z0-9-]{28,34}$"),
    ("slack-app", r"^xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+$"),
    ("stripe-live", "^(?:sk|rk)_(?:test|live|prod)_[a-zA-Z0-9]{10,99}$"),
    ("stripe-test", "^(?:sk|rk)_(?:test|live|prod)_[a-zA-Z0-9]{10,99}$"),
    ("npm", "^npm_[a-zA-Z0-9]{36}$"),
    ("pypi", r"^pypi-AgEIcHlwaS5vcmc[\w-]{50,1000}$"),
    ("aws", "^[A-Za-z0-9/+]{40}$"),
    ("aws-session", "^[A-Za-z0-9/+]{40}$"),
    ("google-service-account", r"^ya29\.[0-9A-Za-z_.-]+$"),
];
const IDS: [(&str, &str); 3] = [
    ("aws", r"^AKIA[A-Z2-7]{12,124}$"),
    ("aws-session", r"^ASIA[A-Z2-7]{12,124}$"),
    ("google-service-account", "^[0-9a-f]{40}$"),
];

/// The shapes of a preset: of the secret, and of the id where there is one.
fn shapes(preset: &str) -> (Shape, Option<Shape>) {
    let text = format!(
        "[x]\nissuer = \"fixed\"\nvalue = {{ env = \"X\" }}\nagents = [\"bot\"]\nto = [\"a.example\"]\nshape = \"{preset}\""
    );
    let credentials = Credentials::parse("credentials.toml", &text).unwrap();
    let credential = credentials.iter().next().unwrap().clone();
    (credential.shape, credential.id.map(|id| id.shape))
}

fn assert_looks_like(preset: &str, shape: &Shape, published: &str) {
    assert!(shape.entropy_bits() >= 128.0, "{preset}: {} bits", shape.entropy_bits());
    let published = RegexBuilder::new(published).unicode(false).build().unwrap();
    let mut seen = HashSet::new();
    for _ in 0..500 {
        let placeholder = Placeholder::generate(shape).unwrap();
        assert!(published.is_match(placeholder.value()), "{preset}: {}", placeholder.value());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        assert!(placeholder.value().bytes().all(plain), "{preset}: {} would need escapes", placeholder.value());
        assert!(seen.insert(placeholder), "{preset}: the same twice");
    }
}

#[test]
fn each_makes_what_is_published() {
    for (preset, published) in SECRETS {
        assert_looks_like(preset, &shapes(preset).0, published);
    }
    for (preset, published) in IDS {
        assert_looks_like(preset, &shapes(preset).1.unwrap(), published);
    }
}

#[test]
fn each_is_looked_at_here() {
    let text =
        "[x]\nissuer = \"fixed\"\nvalue = { env = \"X\" }\nagents = [\"bot\"]\nto = [\"a.example\"]\nshape = \"none\"";
    let error = Credentials::parse("credentials.toml", text).unwrap_err().to_string();
    let named: HashSet<&str> = error.split('`').skip(1).step_by(2).filter(|name| !name.contains('[')).collect();
    let known: HashSet<&str> = SECRETS.iter().map(|(name, _)| *name).chain(["none"]).collect();
    assert_eq!(named, known, "{error}");
    let paired = SECRETS.iter().filter(|(preset, _)| shapes(preset).1.is_some()).map(|(name, _)| *name);
    assert!(paired.eq(IDS.iter().map(|(name, _)| *name)));
}

#[test]
fn a_shape_that_cannot_carry_128_bits_says_how_many_it_can() {
    for (shape, bits) in [("AKIA[A-Z2-7]{16}", "80 bits"), ("[0-9a-f]{31}", "124 bits"), ("sk-[a-z]{4}", "19 bits")] {
        let error = shape.parse::<Shape>().unwrap_err();
        assert!(error.to_string().contains(bits) && error.hint().contains("128"), "{error}");
    }
}
