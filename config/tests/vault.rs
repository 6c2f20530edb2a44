//! Vault servers in credentials.toml: what is read, what is filled in, and what is said about each mistake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Audience, Credentials, IssuerSettings, LoadError, SigningAlgorithm, VaultLogin, VaultSecret};

const GOOD: &str = r#"
[database]
issuer  = "vault"
address = "https://vault.example.com:8200"
role    = "exeat"
read    = "database/creds/readonly"
field   = "password"
agents  = ["bot"]
to      = ["api.example.com"]

[key]
issuer            = "vault"
address           = "https://vault.example.com/behind"
namespace         = "team/a"
mount             = "auth-of/exeat"
role              = "exeat"
identity_audience = "vault"
algorithm         = "RS256"
roots             = ["ca.pem"]
read              = "secret/data/team/api-key"
agents            = ["bot"]
to                = ["api.example.com"]
"#;

fn parse(text: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("/etc/exeat/credentials.toml", text)
}

#[test]
fn everything_is_read_and_what_is_left_out_is_filled_in() {
    let credentials = parse(GOOD).unwrap();
    let issuer = |name: &str| credentials.get(&name.parse().unwrap()).unwrap().issuer.clone();
    let address = "https://vault.example.com:8200".to_owned();
    let plain = VaultSecret {
        login: VaultLogin {
            address: address.clone(),
            namespace: None,
            mount: "jwt".into(),
            role: "exeat".into(),
            audience: Audience { name: address, algorithm: None },
            roots: Vec::new(),
        },
        path: "database/creds/readonly".into(),
        field: Some("password".into()),
    };
    assert_eq!(issuer("database"), IssuerSettings::Vault(Box::new(plain)));
    let IssuerSettings::Vault(key) = issuer("key") else { panic!() };
    let VaultLogin { namespace, mount, audience, roots, .. } = key.login;
    assert_eq!((namespace.as_deref(), &*mount, key.field), (Some("team/a"), "auth-of/exeat", None));
    assert_eq!(audience, Audience { name: "vault".into(), algorithm: Some(SigningAlgorithm::Rs256) });
    assert_eq!(roots, [std::path::PathBuf::from("/etc/exeat/ca.pem")]);
}

#[test]
fn every_mistake_is_shown_with_a_remedy() {
    let with = |find: &str, put: &str| GOOD.replacen(find, put, 1);
    for (text, line, key, says) in [
        (with("address = \"https://vault.example.com:8200\"", ""), 2, "database", "`address` is missing"),
        (with("role    = \"exeat\"", ""), 2, "database", "`role` is missing"),
        (with("read    = \"database/creds/readonly\"", ""), 2, "database", "`read` is missing"),
        (with("com:8200\"", "com:8200/\""), 4, "database.address", "no slash at its end"),
        (with("com:8200\"", "com:8200/v1\""), 4, "database.address", "without `/v1`"),
        (with("https://vault.example.com:8200", "http://vault.example.com:8200"), 4, "database.address", "loopback"),
        (with("database/creds/readonly", "/database/creds"), 6, "database.read", "without one at either end"),
        (with("database/creds/readonly", "database/../sys"), 6, "database.read", "is not a path"),
        (with("database/creds/readonly", "database/creds?list=true"), 6, "database.read", "is not a path"),
        (with("database/creds/readonly", "database//creds"), 6, "database.read", "is not a path"),
        (with("auth-of/exeat", "auth%2fjwt"), 15, "key.mount", "is not a path"),
        (with("\"RS256\"", "\"HS256\""), 18, "key.algorithm", "signs nothing here"),
        (with("field   =", "fields  ="), 7, "database.fields", "did you mean `field`"),
    ] {
        let mistakes = parse(&text).unwrap_err();
        let found = mistakes.mistakes().iter().find(|found| found.key == key && found.line == line);
        let shown = found.unwrap_or_else(|| panic!("{says}: {mistakes}")).to_string();
        assert!(shown.contains(says), "{says}: {shown}");
    }
}
