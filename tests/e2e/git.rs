//! git works over HTTPS with a placeholder for a password: it sits inside Basic's base64, and the server sees the real one.

use std::fs;

use crate::harness::{Exeat, GitServer};

fn exeat(server: &GitServer, rule: &str) -> Exeat {
    let rule =
        format!("[[allow]]\nto = \"git.example.com\"\ndial = \"{}\"\ncredential = \"git\"\n{rule}", server.dial());
    Exeat::new()
        .fixed("git", GitServer::PASSWORD, "to = [\"git.example.com\"]\nin = [\"basic\"]\nenv = \"GIT_PASSWORD\"\n")
        .rule(&rule)
}

/// git is told to ask the environment for the password, as in any CI job.
const CLONE: &str = "
    set -eu
    git config --global credential.helper '!f() { echo username=bot; echo password=$GIT_PASSWORD; }; f'
    git config --global user.name bot
    git config --global user.email bot@example.com
    git clone -q https://git.example.com/acme/site.git
    cd site
    cat README";

#[test]
fn clone_and_push_with_a_swapped_password() {
    let server = GitServer::start();
    let exeat = exeat(&server, "");
    let push = format!("{CLONE}\necho more > MORE; git add MORE; git commit -q -m second; git push -q origin main");
    let run = exeat.sh(&push).ok();
    assert!(run.stdout.starts_with("hello"), "{run:#?}");
    assert_eq!(server.subjects(), ["second", "first"]);
    // The first request of git carries no password; the others were let in with the real one.
    let requests = server.requests();
    assert!(requests.starts_with("- \"GET /acme/site.git/info/refs"), "{requests}");
    assert!(requests.contains("bot \"POST /acme/site.git/git-receive-pack"), "{requests}");
    assert!(run.log.calls().iter().any(|call| call.credential.as_ref().is_some_and(|used| used.name == "git")));
    let cloned = fs::read_to_string(exeat.work().join("site/.git/config")).unwrap();
    assert!(!cloned.contains(GitServer::PASSWORD));
}

#[test]
fn the_password_in_the_address_of_the_repository_works_too() {
    let server = GitServer::start();
    let run = exeat(&server, "")
        .sh("git clone -q https://bot:$GIT_PASSWORD@git.example.com/acme/site.git && cat site/README");
    assert_eq!(run.ok().stdout, "hello\n");
}

#[test]
fn a_policy_that_lets_git_read_does_not_let_it_push() {
    let server = GitServer::start();
    let rule = "paths = [\"/acme/site.git/info/refs\", \"/acme/site.git/git-upload-pack\"]\n";
    let exeat = exeat(&server, rule);
    let push = format!("{CLONE}\necho more > MORE; git add MORE; git commit -q -m second; git push origin main");
    let run = exeat.sh(&push);
    assert!(run.code != Some(0) && run.stderr.contains("403"), "{run:#?}");
    assert!(
        run.log.refusals().iter().all(|refused| refused.path.as_deref() == Some("/acme/site.git/git-receive-pack"))
    );
    assert_eq!(server.subjects(), ["first"]);
}
