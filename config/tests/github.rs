//! `issuer = "github-app"` in credentials.toml: what is read, and what is said about each mistake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Access, Credentials, IssuerSettings, LoadError, Source};

const APP: &str = r#"
[github]
issuer          = "github-app"
app_id          = 12345
installation_id = 67890
key             = { file = "secrets/app.pem" }
repositories    = ["website", ".github"]
permissions     = { contents = "read", pull_requests = "write" }
agents          = ["release-bot"]
to              = ["api.github.com"]
"#;

fn read(text: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("/etc/exeat/credentials.toml", text)
}

#[test]
fn an_app_and_the_least_of_its_installation() {
    let app = |text: &str| {
        let credentials = read(text).unwrap();
        let IssuerSettings::GitHubApp(app) = credentials.iter().next().unwrap().issuer.clone() else { panic!() };
        *app
    };
    let read = app(APP);
    assert_eq!((read.api.as_str(), read.app.as_str(), read.installation), ("https://api.github.com", "12345", 67890));
    assert_eq!(read.key, Source::File("/etc/exeat/secrets/app.pem".into()));
    assert_eq!(read.repositories, ["website", ".github"]);
    let permissions: Vec<_> = read.permissions.iter().map(|(name, access)| (name.as_str(), *access)).collect();
    assert_eq!(permissions, [("contents", Access::Read), ("pull_requests", Access::Write)]);
    let own =
        APP.replace("app_id          = 12345", "client_id = \"Iv23liAbC\"\napi = \"https://ghe.example/api/v3/\"");
    assert_eq!((app(&own).app, app(&own).api), ("Iv23liAbC".into(), "https://ghe.example/api/v3".into()));
}

#[test]
fn every_mistake_says_where_and_what_to_write() {
    for (from, to, line, said) in [
        ("repositories    = [\"website\", \".github\"]\n", "", 2, "`repositories` is missing"),
        ("[\"website\", \".github\"]", "[]", 7, "the list is empty"),
        ("\"website\"", "\"acme/website\"", 7, "write `website`"),
        ("\"website\"", "\"*\"", 7, "not the name of a repository"),
        ("permissions     = { contents = \"read\", pull_requests = \"write\" }\n", "", 2, "`permissions` is missing"),
        ("{ contents = \"read\", pull_requests = \"write\" }", "{}", 8, "the table is empty"),
        ("contents = \"read\"", "contents = \"all\"", 8, "`read` or `write`"),
        ("contents = \"read\"", "Contents = \"read\"", 8, "not the name of a permission"),
        ("app_id          = 12345\n", "", 2, "`client_id` is missing"),
        ("app_id          = 12345", "app_id = \"12345\"", 4, "a whole number"),
        ("app_id          = 12345", "app_id = 1\nclient_id = \"x\"", 5, "leave one of them out"),
        ("installation_id = 67890\n", "", 2, "`installation_id` is missing"),
        ("{ file = \"secrets/app.pem\" }", "\"-----BEGIN\"", 6, "not written in this file"),
        ("app_id          = 12345", "app_id = 1\napi = \"http://ghe.example/api/v3\"", 5, "loopback"),
        ("app_id          = 12345", "app_id = 1\napi = \"https://ghe.example/?x\"", 5, "the base of an API"),
        ("app_id          = 12345", "app_id = 1\nscope = \"repo\"", 5, "not known"),
    ] {
        let text = APP.replacen(from, to, 1);
        assert_ne!(text, APP, "{from}");
        let error = read(&text).unwrap_err();
        let found = error.mistakes().iter().any(|mistake| mistake.line == line && mistake.to_string().contains(said));
        assert!(found, "{said} in line {line}: {error}");
    }
}
