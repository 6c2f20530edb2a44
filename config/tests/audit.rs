//! What is found in files that have no mistake, each finding and its absence; and what of it is accepted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Credentials, Finding, LoadError, Policy, Risk, audit};

/// A credential about which there is nothing to say.
const CREDENTIAL: &str = r#"
[api]
issuer         = "oauth2-client"
token_endpoint = "https://login.example.com/token"
client_id      = "exeat"
client_secret  = { env = "SECRET" }
scope          = "read"
agents         = ["bot"]
to             = ["api.example.com"]
"#;

const POLICY: &str = r#"
[[allow]]
to         = "api.example.com"
methods    = ["GET"]
credential = "api"
"#;

fn credentials(text: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("credentials.toml", text)
}

fn policy(agent: &str, text: &str) -> Policy {
    Policy::parse(agent.parse().unwrap(), format!("agents/{agent}.toml"), text).unwrap()
}

/// What is found in these credentials, where `bot` and `other` have a rule for `api`.
fn found(text: &str) -> Vec<Finding> {
    audit(&[policy("bot", POLICY), policy("other", POLICY)], &credentials(text).unwrap())
}

/// The only finding: number, line, key, reason.
fn the_one(text: &str) -> (&'static str, usize, String, String) {
    let mut findings = found(text);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let Finding { risk, line, key, reason, remedy, accepted, .. } = findings.remove(0);
    assert!(!remedy.is_empty() && accepted.is_none());
    (risk.number(), line, key, reason)
}

fn with(find: &str, put: &str) -> String {
    let text = CREDENTIAL.replacen(find, put, 1);
    assert_ne!(text, CREDENTIAL, "{find}");
    text
}

/// The same credential by another issuer.
fn by(issuer: &str) -> String {
    let lines: Vec<_> = CREDENTIAL.lines().collect();
    [&["", "[api]", issuer][..], &lines[7..], &[""]].concat().join("\n")
}

const FIXED: &str = "issuer = \"fixed\"\nvalue = { env = \"SECRET\" }";
const GITHUB: &str = "issuer = \"github-app\"\napp_id = 1\ninstallation_id = 2\nkey = { env = \"KEY\" }\nrepositories = [\"a\"]\n\
                      permissions = { contents = \"read\", issues = \"write\" }";
const GOOGLE: &str = "issuer = \"google-sts\"\nprovider = \"projects/1/locations/global/workloadIdentityPools/p/providers/x\"\n\
                      scope = [\"https://www.googleapis.com/auth/pubsub\"]";
const AZURE: &str =
    "issuer = \"azure-federated\"\ntenant = \"t\"\nclient_id = \"c\"\nscope = \"https://x.example/.default\"";
const EXCHANGE: &str =
    "issuer = \"token-exchange\"\ntoken_endpoint = \"https://login.example.com/token\"\nscope = \"read\"";
const BEARER: &str = "issuer = \"jwt-bearer\"\ntoken_endpoint = \"https://login.example.com/token\"\nscope = \"read\"";
const IDENTITY: &str = "issuer = \"identity\"\naudience = \"https://api.example.com\"";
const ACCOUNT: &str = "\nservice_account = \"bot@project.iam.gserviceaccount.com\"";

#[test]
fn of_what_is_short_lived_narrow_and_ones_own_nothing_is_said() {
    for text in [CREDENTIAL.to_owned()].into_iter().chain([GITHUB, GOOGLE, AZURE, EXCHANGE, BEARER, IDENTITY].map(by)) {
        assert_eq!(found(&text), [], "{text}");
    }
    assert_eq!(found(&by(&format!("{GOOGLE}{ACCOUNT}\nlifetime = \"1h\""))), []);
}

#[test]
fn what_lives_long() {
    let (number, line, key, reason) = the_one(&by(FIXED));
    assert_eq!((number, line, &*key), ("NHI7", 3, "api.issuer"));
    assert!(reason.contains("rotates"), "{reason}");
    let (number, line, key, _) = the_one(&by(&format!("{GOOGLE}{ACCOUNT}\nlifetime = \"2h\"")));
    assert_eq!((number, line, &*key), ("NHI7", 7, "api.lifetime"));
}

#[test]
fn where_it_may_go_and_stand() {
    for wide in ["*.example.com", "api.example.com\", \"*.example.org", "10.0.0.0/8", "2001:db8::/64"] {
        let text = with("[\"api.example.com\"]", &format!("[\"{wide}\", \"api.example.com:8443\", \"192.0.2.1\"]"));
        // A rule has to be covered, which is not asked here.
        let (number, line, key, _) = the_one(&text);
        assert_eq!((number, line, &*key), ("NHI5", 9, "api.to"), "{wide}");
    }
    assert_eq!(
        found(&with("[\"api.example.com\"]", "[\"api.example.com\", \"192.0.2.1\", \"[2001:db8::1]:8443\"]")),
        []
    );
    for (places, wide) in [
        ("\"header\", \"query\"", true),
        ("\"basic\", \"body\"", true),
        ("\"header\", \"basic\"", false),
        ("\"query\"", false),
        ("\"body\"", false),
        ("\"header\", \"websocket\"", false),
    ] {
        let text = format!("{CREDENTIAL}in = [{places}]\n");
        match wide {
            false => assert_eq!(found(&text), [], "{places}"),
            true => assert_eq!(the_one(&text).2, "api.in", "{places}"),
        }
    }
}

#[test]
fn what_is_asked_for() {
    let (number, line, key, _) = the_one(&with("scope          = \"read\"\n", ""));
    assert_eq!((number, line, &*key), ("NHI5", 3, "api.issuer"));
    for narrow in ["resource = [\"https://api.example.com/\"]", "audience = \"api\""] {
        assert_eq!(found(&with("scope          = \"read\"", narrow)), []);
    }
    for (permissions, said) in [
        ("administration = \"write\", contents = \"read\"", Some("`administration`")),
        ("organization_projects = \"admin\", contents = \"read\"", Some("`organization_projects`")),
        ("secrets = \"write\", workflows = \"write\", contents = \"read\"", Some("`secrets`, `workflows`")),
        ("contents = \"write\", issues = \"write\", pull_requests = \"write\"", Some("all of its 3")),
        ("contents = \"write\", pull_requests = \"write\"", None),
        ("administration = \"read\", secrets = \"read\"", None),
    ] {
        let text = by(&GITHUB.replace("contents = \"read\", issues = \"write\"", permissions));
        match said {
            None => assert_eq!(found(&text), [], "{permissions}"),
            Some(said) => {
                let (number, line, key, reason) = the_one(&text);
                assert_eq!((number, line, &*key), ("NHI5", 8, "api.permissions"));
                assert!(reason.contains(said), "{reason}");
            }
        }
    }
    for account in ["", ACCOUNT] {
        let text = by(&format!("{GOOGLE}{account}").replace("auth/pubsub", "auth/cloud-platform"));
        assert_eq!(the_one(&text).2, "api.scope");
    }
}

#[test]
fn a_rule_for_everything_at_a_host() {
    let text = "[[allow]]\nto = \"api.example.com\"\ncredential = \"api\"\n";
    let found = |text: &str| audit(&[policy("bot", text)], &credentials(CREDENTIAL).unwrap());
    let findings = found(text);
    let Finding { risk, file, line, key, agent, .. } = &findings[0];
    assert_eq!(
        (findings.len(), risk, &**file, *line, &**key),
        (1, &Risk::Overprivileged, "agents/bot.toml", 3, "allow[1].credential")
    );
    assert_eq!(agent.as_ref().unwrap().as_str(), "bot");
    for narrower in [
        "methods = [\"GET\"]",
        "paths = [\"/v1/**\"]",
        "mcp = { tools = [\"read\"] }",
        "graphql = { operations = [\"query\"] }",
    ] {
        assert_eq!(found(&format!("{text}{narrower}\n")), [], "{narrower}");
    }
    // Without a credential it is not the credential's.
    assert_eq!(found(&format!("{POLICY}[[allow]]\nto = \"www.example.com\"\n")), []);
}

#[test]
fn one_for_several_agents() {
    let two = |text: &str| text.replace("[\"bot\"]", "[\"bot\", \"other\"]");
    for shared in [CREDENTIAL.to_owned(), by(GITHUB), by(AZURE), by(&format!("{GOOGLE}{ACCOUNT}"))] {
        let (number, _, key, reason) = the_one(&two(&shared));
        assert_eq!((number, &*key), ("NHI9", "api.agents"));
        assert!(reason.contains("`bot`, `other`"), "{reason}");
    }
    for apart in [EXCHANGE, BEARER, IDENTITY, GOOGLE] {
        assert_eq!(found(&two(&by(apart))), [], "{apart}");
    }
}

#[test]
fn one_secret_by_two_names() {
    let other = |value: &str, agent: &str| {
        let second =
            by(FIXED).replace("[api]", "[second]").replace("SECRET", value).replace("\"bot\"", &format!("\"{agent}\""));
        let name_it = |agent: &str| {
            policy(
                agent,
                &format!("{POLICY}[[allow]]\nto = \"x.example.com\"\nmethods = [\"GET\"]\ncredential = \"second\"\n"),
            )
        };
        let findings = audit(&[name_it("bot"), name_it("other")], &credentials(&(by(FIXED) + &second)).unwrap());
        findings.into_iter().filter(|finding| finding.risk == Risk::Reuse).collect::<Vec<_>>()
    };
    let same = other("SECRET", "other");
    assert_eq!((same.len(), &*same[0].key, &*same[1].key), (2, "api.value", "second.value"));
    assert!(same[0].reason.contains("`second`"), "{same:?}");
    assert_eq!(other("ANOTHER", "other"), []);
    assert_eq!(other("SECRET", "bot"), [], "one agent may have it in two ways");
}

#[test]
fn a_grant_that_no_rule_uses() {
    let gone = with("[\"bot\"]", "[\"gone\"]");
    let findings = found(&gone);
    assert_eq!((findings.len(), findings[0].risk, &*findings[0].key), (1, Risk::ImproperOffboarding, "api.agents"));
    assert!(findings[0].reason.contains("there is no agent `gone`"), "{findings:?}");
    let idle = policy("gone", "[[allow]]\nto = \"api.example.com\"\n");
    let findings = audit(&[idle], &credentials(&gone).unwrap());
    assert!(findings.len() == 1 && findings[0].reason.contains("no rule of agent `gone`"), "{findings:?}");
    assert_eq!(findings[0].agent.as_ref().unwrap().as_str(), "gone");
    assert_eq!(audit(&[], &credentials(&gone).unwrap()), [], "a service's agents may be elsewhere");
}

#[test]
fn what_is_accepted_has_a_reason_and_is_still_shown() {
    let text = by(FIXED) + "accept = { NHI7 = \"the vendor has no others; rotated monthly\" }\n";
    let findings = found(&text);
    assert_eq!(
        (findings.len(), findings[0].accepted.as_deref()),
        (1, Some("the vendor has no others; rotated monthly"))
    );
    let shown = findings[0].to_string();
    assert!(shown.contains("NHI7:2025 Long-Lived Secrets, accepted") && shown.contains("rotated monthly"), "{shown}");
    // Only what it names, and only of this credential.
    let other = by(FIXED) + "accept = { NHI5 = \"the vendor has no others\" }\n";
    assert!(found(&other)[0].accepted.is_none());

    for (accept, said) in [
        ("{ NHI7 = \"\" }", "it is empty"),
        ("{ NHI7 = \"  ok     \" }", "that is no reason"),
        ("{ NHI7 = \"line one\\nand another\" }", "control characters"),
        ("{ NHI2 = \"the vendor has no others\" }", "`NHI1`, `NHI5`, `NHI7` or `NHI9`"),
        ("{ nhi7 = \"the vendor has no others\" }", "`NHI1`, `NHI5`, `NHI7` or `NHI9`"),
        ("{}", "nothing is accepted"),
        ("true", "a table"),
        ("{ NHI7 = true }", "a string"),
    ] {
        let error = credentials(&(by(FIXED) + "accept = " + accept + "\n")).unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert_eq!(error.mistakes()[0].line, 7, "{error}");
    }
    let long = format!("accept = {{ NHI7 = \"{}\" }}\n", "x".repeat(301));
    assert!(credentials(&(by(FIXED) + &long)).unwrap_err().to_string().contains("longer than 300"));
}

#[test]
fn the_titles_are_those_of_the_list() {
    assert_eq!(
        Risk::ALL.map(|risk| risk.to_string()),
        [
            "NHI1:2025 Improper Offboarding",
            "NHI5:2025 Overprivileged NHI",
            "NHI7:2025 Long-Lived Secrets",
            "NHI9:2025 NHI Reuse"
        ]
    );
}
