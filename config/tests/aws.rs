//! `issuer = "aws-sts"` in credentials.toml: what is read, what is said about each mistake, and that pairs are signed with.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{AwsRole, Credentials, IssuerSettings, SigningAlgorithm};

const ROLE: &str = "arn:aws:iam::123456789012:role/team/agents";

fn text(lines: &str) -> String {
    format!("[s3]\nagents = [\"bot\"]\nto = [\"s3.amazonaws.com\"]\n{lines}\n")
}

fn role(lines: &str) -> AwsRole {
    let text = text(&format!("issuer = \"aws-sts\"\nshape = \"aws\"\nrole = \"{ROLE}\"\n{lines}"));
    let credentials = Credentials::parse("/etc/exeat/credentials.toml", &text).unwrap();
    let credential = credentials.iter().next().unwrap();
    assert!(credential.grant.signs());
    let IssuerSettings::AwsRole(role) = &credential.issuer else { panic!("another issuer") };
    (**role).clone()
}

#[track_caller]
fn mistake(lines: &str, reason: &str, remedy: &str) {
    let error = Credentials::parse("/etc/exeat/credentials.toml", &text(lines)).unwrap_err();
    let said: Vec<_> = error.mistakes().iter().map(|mistake| (&*mistake.reason, &*mistake.remedy)).collect();
    let found = said.iter().any(|(r, m)| r.contains(reason) && m.contains(remedy));
    assert!(found && said.len() == 1, "{lines}: {said:?}");
}

#[test]
fn a_role_is_read_and_what_is_not_said_is_the_least() {
    let least = role("");
    assert_eq!((&*least.role, &*least.endpoint), (ROLE, "https://sts.amazonaws.com/"));
    assert_eq!((least.duration, least.session_policy), (Duration::from_secs(900), None));
    assert_eq!((&*least.audience.name, least.audience.algorithm), ("sts.amazonaws.com", None));

    let said = role(
        "endpoint = \"https://sts.eu-central-1.amazonaws.com/\"\nduration = \"1h\"\nidentity_audience = \"house\"\n\
         algorithm = \"RS256\"\nroots = [\"ca.pem\"]\nsession_policy = '{\"Version\":\"2012-10-17\",\"Statement\":[]}'",
    );
    assert_eq!(
        (&*said.endpoint, said.duration),
        ("https://sts.eu-central-1.amazonaws.com/", Duration::from_secs(3600))
    );
    assert_eq!((&*said.audience.name, said.audience.algorithm), ("house", Some(SigningAlgorithm::Rs256)));
    assert_eq!(said.roots, [std::path::PathBuf::from("/etc/exeat/ca.pem")]);
    assert!(said.session_policy.unwrap().starts_with('{'));
}

#[test]
fn roles_of_others_are_roles_too() {
    for role in ["arn:aws-us-gov:iam::123456789012:role/a", "arn:minio:iam:::role/idp-x", "arn:aws:iam:::role/S3Access"]
    {
        let text = text(&format!("issuer = \"aws-sts\"\nshape = \"aws\"\nrole = \"{role}\""));
        assert!(Credentials::parse("credentials.toml", &text).is_ok(), "{role}");
    }
}

#[test]
fn what_sts_would_refuse_is_a_mistake() {
    let sts = |lines: &str| format!("issuer = \"aws-sts\"\nshape = \"aws\"\n{lines}");
    mistake(&sts(""), "", "role = \"arn:");
    for role in [
        "role/agents",
        "arn:aws:iam::1234:role/agents",
        "arn:aws:iam::123456789012:user/agents",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:sts::123456789012:role/a",
        "arn:aws:iam::123456789012:role/a b",
    ] {
        mistake(&sts(&format!("role = \"{role}\"")), "not the ARN of a role", "arn:aws:iam::");
    }
    let with = |line: &str| sts(&format!("role = \"{ROLE}\"\n{line}"));
    for duration in ["14m", "13h"] {
        mistake(&with(&format!("duration = \"{duration}\"")), "not a length that STS gives", "`15m` to `12h`");
    }
    for policy in ["[]", "{", "Allow", "{} {}"] {
        mistake(&with(&format!("session_policy = '{policy}'")), "an object in JSON", "policy document");
    }
    let long = format!("session_policy = '{{\"a\":\"{}\"}}'", "x".repeat(2041));
    mistake(&with(&long), "up to 2048 characters", "");
    mistake(&with("endpoint = \"http://sts.example.com/\""), "", "loopback");
    mistake(&with("region = \"us-east-1\""), "", "");
    mistake(&with("in = [\"header\"]"), "sent nowhere", "leave the key out");
    mistake(&with("inject = true"), "sent nowhere", "take it out");
}

#[test]
fn a_pair_of_placeholders_stands_for_a_pair() {
    mistake(&format!("issuer = \"aws-sts\"\nrole = \"{ROLE}\""), "a pair", "shape = \"aws\"");
    mistake(
        &format!("issuer = \"aws-sts\"\nrole = \"{ROLE}\"\nshape = \"github-pat\""),
        "have to be a pair",
        "shape = \"aws\"",
    );
    let oauth = "issuer = \"token-exchange\"\ntoken_endpoint = \"https://login.example.com/token\"\nshape = \"aws\"";
    mistake(oauth, "`token-exchange` has none", "issuer = \"aws-sts\"");
    let fixed = text("issuer = \"fixed\"\nvalue = { env = \"PAIR\" }\nshape = \"aws\"");
    assert!(Credentials::parse("credentials.toml", &fixed).unwrap().iter().all(|credential| credential.grant.signs()));
    let sent = text("issuer = \"fixed\"\nvalue = { env = \"PAIR\" }\nshape = \"github-pat\"");
    assert!(Credentials::parse("credentials.toml", &sent).unwrap().iter().all(|credential| !credential.grant.signs()));
}
