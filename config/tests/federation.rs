//! The issuers that show who a worker is, in credentials.toml, and broker.toml: what is read, and what is said about each mistake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{
    Audience, ClientProof, Credentials, IdentityKeys, IdentitySettings, IssuerSettings, LoadError, OAuthGrant,
    OAuthSettings, SigningAlgorithm, Source,
};

const CREDENTIALS: &str = r#"
[internal]
issuer    = "identity"
audience  = "https://api.internal"
algorithm = "RS256"
agents    = ["release-bot"]
to        = ["api.internal"]
in        = ["identity"]

[exchange]
issuer         = "token-exchange"
token_endpoint = "https://login.example.com/token"
resource       = ["https://api.example.com/", "urn:example:two"]
scope          = "read"
agents         = ["release-bot"]
to             = ["api.example.com"]

[bearer]
issuer             = "jwt-bearer"
token_endpoint     = "https://login.example.com/token"
identity_audience  = "https://login.example.com"
client_id          = "exeat"
private_key        = { file = "secrets/client.pem" }
key_id             = "2026-11"
assertion_audience = "https://login.example.com"
agents             = ["release-bot"]
to                 = ["api.example.com"]
"#;

const BROKER: &str = r#"
[identity]
issuer       = "https://broker.example.com:8443/exeat"
trust_domain = "example.com"
algorithm    = "RS256"
keys         = "keys.jsonl"
rotate       = "7d"

[identity.audiences]
"https://vault.example.com" = "ES256"
"#;

fn credentials(text: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("/etc/exeat/credentials.toml", text)
}

fn broker(text: &str) -> Result<IdentitySettings, LoadError> {
    IdentitySettings::parse("/etc/exeat/broker.toml", text)
}

fn issuer(credentials: &Credentials, name: &str) -> IssuerSettings {
    credentials.get(&name.parse().unwrap()).unwrap().issuer.clone()
}

fn oauth(credentials: &Credentials, name: &str) -> OAuthSettings {
    let IssuerSettings::OAuth2(settings) = issuer(credentials, name) else { panic!("{name}") };
    *settings
}

#[test]
fn the_issuers_that_show_who_a_worker_is() {
    let credentials = credentials(CREDENTIALS).unwrap();
    let audience = Audience { name: "https://api.internal".into(), algorithm: Some(SigningAlgorithm::Rs256) };
    assert_eq!(issuer(&credentials, "internal"), IssuerSettings::Identity(audience));
    let places = *credentials.get(&"internal".parse().unwrap()).unwrap().grant.places();
    assert!(places.header && !places.basic && !places.query, "a JWT is for a header");

    let exchange = oauth(&credentials, "exchange");
    // Who it is for is who it is shown to, unless something else is said.
    let audience = Audience { name: "https://login.example.com/token".into(), algorithm: None };
    assert_eq!((exchange.grant, exchange.server.client), (OAuthGrant::Exchange(audience), None));
    assert_eq!(exchange.wanted.resource, ["https://api.example.com/", "urn:example:two"]);

    let bearer = oauth(&credentials, "bearer");
    let audience = Audience { name: "https://login.example.com".into(), algorithm: None };
    assert_eq!(bearer.grant, OAuthGrant::Assertion(audience));
    let key = ClientProof::PrivateKey {
        key: Source::File("/etc/exeat/secrets/client.pem".into()),
        key_id: Some("2026-11".into()),
        audience: Some("https://login.example.com".into()),
    };
    assert_eq!(bearer.server.client.unwrap().proof, key);
}

#[test]
fn every_mistake_of_these_issuers_is_shown_with_a_remedy() {
    let with = |find: &str, put: &str| CREDENTIALS.replacen(find, put, 1);
    for (text, line, key, says) in [
        (with("audience  = \"https://api.internal\"", ""), 2, "internal", "`audience` is missing"),
        (with("\"https://api.internal\"", "\"two words\""), 4, "internal.audience", "without a blank"),
        (with("\"RS256\"", "\"HS256\""), 5, "internal.algorithm", "`ES256` or `RS256`"),
        (
            with("[\"api.example.com\"]\n\n", "[\"api.example.com\"]\nin = [\"identity\"]\n\n"),
            17,
            "exchange.in[1]",
            "issuer = \"identity\"",
        ),
        (with("urn:example:two", "https://x/#y"), 13, "exchange.resource[2]", "without a `#`"),
        (with("urn:example:two", "example"), 13, "exchange.resource[2]", "is not the URL of a service"),
        (
            with("scope          = \"read\"", "client_secret = { env = \"S\" }"),
            14,
            "exchange.client_secret",
            "add `client_id",
        ),
        (with("scope          = \"read\"", "key_id = \"x\""), 14, "exchange.key_id", "no `private_key`"),
        (with("\"token-exchange\"", "\"oauth2-client\""), 10, "exchange", "`client_id` is missing"),
        (
            with("key_id             = \"2026-11\"", "client_secret = { env = \"S\" }"),
            23,
            "bearer.private_key",
            "here are two",
        ),
        (
            with("key_id             = \"2026-11\"", "auth = \"post\""),
            23,
            "bearer.private_key",
            "`private_key_jwt` only",
        ),
        (
            with("= { file = \"secrets/client.pem\" }", "= \"-----BEGIN\""),
            23,
            "bearer.private_key",
            "not written in this file",
        ),
        (with("\"jwt-bearer\"", "\"jwt-bearers\""), 19, "bearer.issuer", "there are `fixed`"),
    ] {
        let error = credentials(&text).expect_err(says);
        let mistake = &error.mistakes()[0];
        assert_eq!((mistake.line, &*mistake.key), (line, key), "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(!mistake.remedy.is_empty(), "{error}");
    }
    let keyless = with(
        "private_key        = { file = \"secrets/client.pem\" }\nkey_id             = \"2026-11\"\n",
        "auth = \"private_key_jwt\"\n",
    );
    let error = credentials(&keyless.replace("assertion_audience = \"https://login.example.com\"\n", "")).unwrap_err();
    assert!(error.to_string().contains("add `private_key"), "{error}");
}

#[test]
fn a_brokers_file_is_read_and_one_that_is_not_there_says_nothing() {
    let settings = broker(BROKER).unwrap();
    assert_eq!(settings.issuer, "https://broker.example.com:8443/exeat");
    assert_eq!(settings.trust_domain.to_string(), "example.com");
    assert_eq!(
        settings.keys,
        IdentityKeys::File { path: "/etc/exeat/keys.jsonl".into(), rotate: Duration::from_secs(7 * 86_400) }
    );
    assert_eq!(settings.algorithm, SigningAlgorithm::Rs256);
    assert_eq!(settings.audiences["https://vault.example.com"], SigningAlgorithm::Es256);
    assert_eq!(settings.algorithms(), SigningAlgorithm::ALL.into());
    for nothing in ["", "[identity]\n"] {
        assert_eq!(broker(nothing).unwrap(), IdentitySettings::default());
    }
    assert_eq!(IdentitySettings::load("/nonexistent/broker.toml").unwrap(), IdentitySettings::default());

    let own = "[identity]\nes256 = [{ file = \"new.pem\" }, { env = \"OLD\" }]\n";
    let keys = IdentityKeys::Given {
        es256: vec![Source::File("/etc/exeat/new.pem".into()), Source::Env("OLD".into())],
        rs256: Vec::new(),
    };
    assert_eq!(broker(own).unwrap().keys, keys);
}

#[test]
fn every_mistake_of_a_brokers_file_is_shown_with_a_remedy() {
    let with = |find: &str, put: &str| BROKER.replacen(find, put, 1);
    for (text, line, key, says) in [
        (with("https://broker", "http://broker"), 3, "identity.issuer", "https://"),
        (with("/exeat\"", "/exeat/\""), 3, "identity.issuer", "no slash at its end"),
        (with("/exeat\"", "/exeat?x\""), 3, "identity.issuer", "no query"),
        (with("\"example.com\"", "\"Example\""), 4, "identity.trust_domain", "a-z"),
        (with("\"RS256\"", "\"EdDSA\""), 5, "identity.algorithm", "`ES256` or `RS256`"),
        (with("\"7d\"", "\"59m\""), 7, "identity.rotate", "`1h` or more"),
        (with("\"ES256\"", "\"es256\""), 10, "identity.audiences.`https://vault.example.com`", "`ES256` or `RS256`"),
        (with("https://vault.example.com", "a b"), 10, "identity.audiences.`a b`", "is not an audience"),
        (with("keys         =", "es256 = [{ env = \"K\" }]\nkeys ="), 7, "identity.keys", "neither makes nor rotates"),
        (
            with("keys         = \"keys.jsonl\"\nrotate       = \"7d\"", "es256 = [{ env = \"K\" }]"),
            2,
            "identity",
            "RS256 is to sign",
        ),
        (
            with("keys         = \"keys.jsonl\"\nrotate       = \"7d\"", "rs256 = []"),
            6,
            "identity.rs256",
            "0 keys are listed",
        ),
        (
            with("keys         = \"keys.jsonl\"\nrotate       = \"7d\"", "rs256 = [\"-----BEGIN\"]"),
            6,
            "identity.rs256[1]",
            "not written in this file",
        ),
        (with("trust_domain", "trustdomain"), 4, "identity.trustdomain", "did you mean `trust_domain`"),
        (with("[identity]", "[identit]"), 2, "identit", "did you mean `identity`"),
    ] {
        let error = broker(&text).expect_err(says);
        let found = error.mistakes().iter().find(|mistake| mistake.key == key && mistake.line == line);
        let mistake = found.unwrap_or_else(|| panic!("{key}:{line}: {error}"));
        assert!(format!("{} {}", mistake.reason, mistake.remedy).contains(says), "{says}: {error}");
    }
}
