//! credentials.toml: what is read from it, what is said about each mistake, and how it agrees with the policies.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use config::{
    ClientProof, Credentials, Destination, IssuerSettings, LoadError, OAuthClient, OAuthGrant, OAuthServer,
    OAuthSettings, Policy, Source, Wanted, cross_check,
};

const GOOD: &str = r#"
[github]
issuer = "fixed"
value  = { file = "secrets/github" }
agents = ["release-bot", "triage"]
to     = ["api.github.com", "*.github.com"]
env    = "GITHUB_TOKEN"
shape  = "ghs_[A-Za-z0-9]{36}"

[crm]
issuer              = "oauth2-client"
token_endpoint      = "https://login.example.com/token"
revocation_endpoint = "http://127.0.0.1:8080/revoke"
client_id           = "exeat"
client_secret       = { command = ["pass", "show", "show"] }
scope               = "read write"
audience            = "crm"
roots               = ["ca.pem"]
auth                = "post"
agents              = ["release-bot"]
to                  = ["crm.example.com:8443"]
in                  = ["header", "query"]
"#;

fn parse(text: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("/etc/exeat/credentials.toml", text)
}

#[test]
fn permission_is_needed_where_it_says_so_and_waited_for_within_bounds() {
    let with = |line: &str| parse(&format!("{}{line}\n", GOOD.split_once("[crm]").unwrap().0));
    let wait = |line: &str| {
        let credentials = with(line).unwrap();
        credentials.iter().next().unwrap().approve.map(|wait| wait.as_secs())
    };
    assert_eq!((wait(""), wait("approve = false")), (None, None));
    assert_eq!((wait("approve = true"), wait("approve = {}")), (Some(20), Some(20)));
    assert_eq!((wait("approve = { wait = \"1s\" }"), wait("approve = { wait = \"2m\" }")), (Some(1), Some(120)));
    for (line, reason) in [
        ("approve = \"yes\"", "`true` or `false`"),
        ("approve = { wait = \"3m\" }", "longer than a call waits"),
        ("approve = { wait = \"0s\" }", "is not a duration"),
        ("approve = { once = true }", "once"),
    ] {
        let told = with(line).unwrap_err().to_string();
        assert!(told.contains(reason) && told.contains("github.approve"), "{line}: {told}");
    }
}

#[test]
fn everything_a_file_can_say_is_read() {
    let credentials = parse(GOOD).unwrap();
    let github = credentials.get(&"github".parse().unwrap()).unwrap();
    assert_eq!(github.issuer, IssuerSettings::Fixed { value: Source::File("/etc/exeat/secrets/github".into()) });
    assert_eq!(github.grant.env(), Some("GITHUB_TOKEN"));
    assert_eq!(github.shape.to_string(), "ghs_[A-Za-z0-9]{36}");
    let places = github.grant.places();
    assert!(places.header && places.basic && !places.query && !places.body);
    assert!(github.grant.allows(&Destination::parse_authority("uploads.github.com", 443).unwrap()));

    let crm = credentials.get(&"crm".parse().unwrap()).unwrap();
    assert_eq!(
        crm.issuer,
        IssuerSettings::OAuth2(Box::new(OAuthSettings {
            server: OAuthServer {
                token_endpoint: "https://login.example.com/token".into(),
                revocation_endpoint: Some("http://127.0.0.1:8080/revoke".into()),
                roots: vec![PathBuf::from("/etc/exeat/ca.pem")],
                client: Some(OAuthClient {
                    id: "exeat".into(),
                    proof: ClientProof::Post(Source::Command(vec!["pass".into(), "show".into(), "show".into()])),
                }),
            },
            wanted: Wanted { scope: Some("read write".into()), audience: Some("crm".into()), resource: Vec::new() },
            grant: OAuthGrant::Client,
        }))
    );
    assert!(crm.grant.places().query && !crm.grant.places().basic);
    let for_triage: Vec<_> =
        credentials.for_agent(&"triage".parse().unwrap()).map(|c| c.grant.credential().as_str().to_owned()).collect();
    assert_eq!(for_triage, ["github"]);
    assert!(parse("").unwrap().iter().next().is_none());
}

#[test]
fn every_mistake_is_shown_with_a_remedy() {
    let with = |find: &str, put: &str| GOOD.replacen(find, put, 1);
    for (text, line, key, says) in [
        (with("\"fixed\"", "\"gitlab-app\""), 3, "github.issuer", "there are `fixed`, `oauth2-client`"),
        (with("issuer = \"fixed\"", ""), 2, "github", "`issuer` is missing"),
        (with("{ file = \"secrets/github\" }", "\"s3cret\""), 4, "github.value", "not written in this file"),
        (with("{ file = \"secrets/github\" }", "{}"), 4, "github.value", "0 places"),
        (with("{ file = \"secrets/github\" }", "{ file = \"a\", env = \"B\" }"), 4, "github.value", "2 places"),
        (
            with("{ file = \"secrets/github\" }", "{ fil = \"a\", env = \"B\" }"),
            4,
            "github.value.fil",
            "did you mean `file`",
        ),
        (with("{ file = \"secrets/github\" }", "{ env = \"A B\" }"), 4, "github.value.env", "variable"),
        (with("[\"pass\", \"show\", \"show\"]", "[]"), 15, "crm.client_secret.command", "no program"),
        (with("[\"release-bot\", \"triage\"]", "[]"), 5, "github.agents", "list the agents"),
        (with("[\"release-bot\", \"triage\"]", "[\"Bot\"]"), 5, "github.agents[1]", "not a name for an agent"),
        (with("[\"api.github.com\", \"*.github.com\"]", "[\"*\"]"), 6, "github.to[1]", "every host"),
        (with("to     = [\"api.github.com\", \"*.github.com\"]", ""), 2, "github", "`to` is missing"),
        (with("GITHUB_TOKEN", "PATH"), 7, "github.env", "choose another name"),
        (with("{36}", "{3}"), 8, "github.shape", "could be guessed"),
        (with("https://login", "http://login"), 12, "crm.token_endpoint", "loopback"),
        (with("https://login", "ftp://login"), 12, "crm.token_endpoint", "https://"),
        (with("https://login", "https://u:p@login"), 12, "crm.token_endpoint", "URL"),
        (with("http://127.0.0.1", "http://10.0.0.1"), 13, "crm.revocation_endpoint", "loopback"),
        (with("\"header\", \"query\"", "\"bodies\""), 22, "crm.in[1]", "`websocket` or `identity`"),
        (with("\"header\", \"query\"", ""), 22, "crm.in", "leave the key out"),
        (with("\"post\"", "\"digest\""), 19, "crm.auth", "`post` or `private_key_jwt`"),
        (with("scope  ", "scopes "), 16, "crm.scopes", "did you mean `scope`"),
        (with("in                  =", "env = \"GITHUB_TOKEN\"\n#"), 22, "crm.env", "`github` too"),
        (with("[github]", "[\"Git Hub\"]"), 2, "`Git Hub`", "not a name for a credential"),
        ("github = 1".to_owned(), 1, "github", "a table is expected"),
    ] {
        let error = parse(&text).expect_err(says);
        let [mistake] = error.mistakes() else { panic!("{says}: {error}") };
        assert_eq!((mistake.line, &*mistake.key), (line, key), "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(!mistake.remedy.is_empty(), "{error}");
    }
}

#[test]
fn a_secret_written_in_the_file_is_not_repeated_in_the_error() {
    let error = parse(&GOOD.replace("{ file = \"secrets/github\" }", "\"s3cret\"")).unwrap_err();
    assert!(!error.to_string().contains("s3cret") && !format!("{error:?}").contains("s3cret"));
}

#[test]
fn a_credential_is_used_only_where_both_files_say_so() {
    let credentials = parse(GOOD).unwrap();
    let checked = |agent: &str, to: &str, credential: &str| {
        let text = format!("[[allow]]\nto = \"{to}\"\ncredential = \"{credential}\"\n");
        let policy = Policy::parse(agent.parse().unwrap(), "agents/a.toml", &text).unwrap();
        let mistakes = cross_check(&[policy], &credentials);
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(checked("release-bot", "api.github.com", "github"), "");
    assert_eq!(checked("release-bot", "x.y.github.com", "github"), "");
    assert_eq!(
        checked("release-bot", "api.github.com", "gitlab"),
        "agents/a.toml:3: allow[1].credential: there is no credential `gitlab`\n  hint: add it to the credentials file; there are `crm`, `github`"
    );
    assert!(checked("other", "api.github.com", "github").contains("is not for agent `other`"));
    assert!(checked("release-bot", "github.com", "github").contains("is not for all of `github.com`"));
    assert!(checked("release-bot", "*.example.com:8443", "crm").contains("is not for all of `*.example.com:8443`"));
    assert!(checked("release-bot", "crm.example.com", "crm").contains("add `crm.example.com` to `to` of `crm`"));
    assert_eq!(checked("release-bot", "crm.example.com:8443", "crm"), "");
}
