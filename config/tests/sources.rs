//! Where long-lived secrets are, as the files say it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Credentials, IdentitySettings, IssuerSettings, LoadError, SigningAlgorithm, Source};

fn parse(value: &str) -> Result<Source, LoadError> {
    let text = format!("[a]\nissuer = \"fixed\"\nvalue = {value}\nagents = [\"bot\"]\nto = [\"api.example.com\"]\n");
    let credentials = Credentials::parse("/etc/exeat/credentials.toml", &text)?;
    let IssuerSettings::Fixed { value } = credentials.iter().next().unwrap().issuer.clone() else { panic!() };
    Ok(value)
}

#[test]
fn each_place_is_read() {
    assert_eq!(parse("{ file = \"secrets/a\" }").unwrap(), Source::File("/etc/exeat/secrets/a".into()));
    assert_eq!(parse("{ env = \"A\" }").unwrap(), Source::Env("A".into()));
    assert_eq!(parse("{ command = [\"pass\", \"a\"] }").unwrap(), Source::Command(vec!["pass".into(), "a".into()]));
    assert_eq!(parse("{ systemd = \"api-key.v1\" }").unwrap(), Source::Systemd("api-key.v1".into()));
    assert_eq!(parse("{ keyring = \"user:exeat:git hub\" }").unwrap(), Source::Keyring("exeat:git hub".into()));
    let vault = "{ vault = { address = \"https://v.example\", role = \"r\", path = \"secret/data/a\", field = \"f\", algorithm = \"RS256\" } }";
    let source = parse(vault).unwrap();
    assert_eq!(source.audience().unwrap().name, "https://v.example");
    let Source::Vault(secret) = source else { panic!() };
    assert_eq!((&*secret.path, secret.field.as_deref(), &*secret.login.mount), ("secret/data/a", Some("f"), "jwt"));
    // The broker has to have a key that signs so.
    let text = format!("[a]\nissuer = \"fixed\"\nvalue = {vault}\nagents = [\"bot\"]\nto = [\"api.example.com\"]\n");
    let credentials = Credentials::parse("credentials.toml", &text).unwrap();
    let issuer = &credentials.iter().next().unwrap().issuer;
    assert_eq!(
        issuer.audiences().map(|audience| audience.algorithm).collect::<Vec<_>>(),
        [Some(SigningAlgorithm::Rs256)]
    );
}

#[test]
fn every_mistake_is_shown_with_a_remedy() {
    for (value, key, says) in [
        ("\"s3cret\"", "a.value", "only where it is found"),
        ("{}", "a.value", "0 places are named"),
        ("{ env = \"A\", systemd = \"a\" }", "a.value", "2 places are named"),
        ("{ systemd = \"../a\" }", "a.value.systemd", "without a slash"),
        ("{ systemd = \"..\" }", "a.value.systemd", "is not the name"),
        ("{ systemd = \"a:b\" }", "a.value.systemd", "before the colon"),
        ("{ keyring = \"exeat\" }", "a.value.keyring", "write `user:`"),
        ("{ keyring = \"logon:exeat:a\" }", "a.value.keyring", "shows keys of the type `logon` to no program"),
        ("{ keyring = \"user:\" }", "a.value.keyring", "1 to 255 bytes"),
        ("{ keyring = \"big_key:a\" }", "a.value.keyring", "keys of other types"),
        ("{ vault = \"secret/data/a\" }", "a.value.vault", "a table is expected"),
        ("{ vault = { address = \"https://v\", role = \"r\" } }", "a.value.vault", "`path` is missing"),
        (
            "{ vault = { address = \"https://v\", role = \"r\", path = \"a\", read = \"a\" } }",
            "a.value.vault.read",
            "is not known",
        ),
    ] {
        let mistakes = parse(value).unwrap_err();
        let found = mistakes.mistakes().iter().find(|found| found.key == key);
        let shown = found.unwrap_or_else(|| panic!("{says}: {mistakes}")).to_string();
        assert!(shown.contains(says), "{says}: {shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let key = "[identity]\nes256 = [{ vault = { address = \"https://v\", role = \"r\", path = \"a\" } }]\n";
    let mistakes = IdentitySettings::parse("broker.toml", key).unwrap_err();
    assert!(mistakes.to_string().contains("would be needed to read it there"), "{mistakes}");
}
