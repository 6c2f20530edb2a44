//! An installation access token of a GitHub App, for the repositories and permissions that are listed, and gone with its worker.
//! Against a fake of GitHub: there is no real one for tests.

use serde_json::json;

use crate::harness::{Broken, Exeat, FakeGithub};

/// The credential `github`, and rules that name it.
fn exeat(github: &FakeGithub) -> Exeat {
    let lines =
        format!("{}to = [\"api.github.com\", \"github.com\"]\nenv = \"GH_TOKEN\"\nfiles = [\"git\"]\n", github.lines());
    let rule = |to: &str, path: &str| {
        format!(
            "[[allow]]\nto = \"{to}\"\ndial = \"{}\"\npaths = [\"{path}\"]\ncredential = \"github\"\n",
            github.dial()
        )
    };
    Exeat::new()
        .secret("app", &github.key())
        .credential("github", &lines)
        .rule(&rule("api.github.com", "/repos/acme/website"))
        .rule(&rule("github.com", "/acme/website.git/**"))
}

const CALL: &str =
    "curl -sS -w '%{http_code}' -H \"Authorization: Bearer $GH_TOKEN\" https://api.github.com/repos/acme/website";

#[test]
fn a_clone_and_a_call_by_a_token_for_the_least_which_is_revoked_at_the_end() {
    let github = FakeGithub::start();
    let script = format!("set -eu; git clone -q git@github.com:acme/website.git; cat website/README; {CALL}");
    let exeat = exeat(&github);
    let run = exeat.sh(&script).ok();
    assert!(run.stdout.starts_with("hello\n") && run.stdout.contains("acme/website"), "{run:#?}");
    assert!(run.stdout.ends_with("200") && github.used() > 3, "{run:#?}");
    let least = json!({"repositories": ["website"], "permissions": {"contents": "read", "pull_requests": "write"}});
    assert_eq!(github.asked(), [least]);
    let (made, revoked) = github.tokens();
    assert_eq!((made.len(), &made), (1, &revoked));
    assert_eq!(run.log.end().revoked, 1);
    assert!(!run.stdout.contains(&made[0]), "it is not inside");
    let entry = exeat.leases().remove(0);
    assert!(entry.scope.contains("website") && entry.scope.contains("pull_requests:write"), "{entry:?}");

    // The next worker has one of its own.
    exeat.sh(CALL).ok();
    let (made, revoked) = github.tokens();
    assert!(made.len() == 2 && made == revoked && made[0] != made[1]);
}

#[test]
fn an_answer_that_cannot_be_used_is_no_credential_and_none_of_its_words_are_repeated() {
    let github = FakeGithub::start();
    let good = |more: &str| format!("{{\"token\": \"ghs_x\", \"expires_at\": \"2999-01-01T00:00:00Z\"{more}}}");
    for (status, body, said) in [
        (401, "{\"message\": \"sesame\"}".to_owned(), "answered 401 (the app's id and key"),
        (422, "{\"message\": \"sesame\"}".to_owned(), "does not have all of these"),
        (500, "<html>sesame".to_owned(), "answered 500"),
        (302, "sesame".to_owned(), "answered 302"),
        (200, good(""), "answered 200"),
        (201, "sesame".to_owned(), "not the JSON"),
        (201, "{\"token\": \"sesame\"}".to_owned(), "no `expires_at`"),
        (201, "{\"token\": \"ses ame\", \"expires_at\": \"2999-01-01T00:00:00Z\"}".to_owned(), "no header takes"),
        (201, "{\"token\": \"sesame\", \"expires_at\": \"2001-01-01T00:00:00Z\"}".to_owned(), "clock"),
        (201, good(", \"repository_selection\": \"all\""), "more repositories"),
        (201, good(", \"permissions\": {\"administration\": \"write\"}"), "more permissions"),
        (201, "x".repeat(2 * 1024 * 1024), "longer than"),
    ] {
        github.set_broken(Some(Broken { status, body }));
        let run = exeat(&github).sh(CALL).ok();
        assert!(run.stdout.ends_with("503") && run.stdout.contains(said), "{status} {said}: {run:#?}");
        assert!(!run.stdout.contains("sesame") && !run.stdout.contains("ghs_x"), "{run:#?}");
    }
    assert_eq!(github.used(), 0);
}

#[test]
fn an_app_with_another_key_gets_nothing() {
    let (github, other) = (FakeGithub::start(), FakeGithub::start());
    let run = exeat(&github).secret("app", &other.key()).sh(CALL).ok();
    assert!(run.stdout.ends_with("503") && run.stdout.contains("id and key do not go together"), "{run:#?}");
    assert!(github.asked().is_empty() && github.used() == 0);
}
