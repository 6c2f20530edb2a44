//! `[sandbox]` of an agent's file: what is shown, hidden and layered, and what bounds a command.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{LimitsMode, LoadError, Policy};

fn parse(text: &str) -> Result<Policy, LoadError> {
    Policy::parse("release-bot".parse().unwrap(), "/etc/exeat/agents/release-bot.toml", text)
}

fn written(globs: &[config::FileGlob]) -> Vec<&str> {
    globs.iter().map(config::FileGlob::as_str).collect()
}

#[test]
fn what_is_shown_hidden_and_layered_may_be_patterns() {
    let policy = parse(
        "[sandbox]\nread = [\"~/.cargo/*\"]\nwrite = \"overlay\"\noverlay = [\"vendor\"]\nhide = [\"**/*.key\"]\nfind_secrets = false\n",
    );
    let policy = policy.unwrap();
    let sandbox = policy.sandbox();
    assert_eq!(written(&sandbox.overlay), ["vendor", "."]);
    assert_eq!((written(&sandbox.read), written(&sandbox.hide)), (vec!["~/.cargo/*"], vec!["**/*.key"]));
    assert!(sandbox.write.is_empty() && !sandbox.find_secrets);
    for (wrong, told) in [
        ("write = \"everything\"", "overlay"),
        ("write = 1", "list"),
        ("hide = [\"a**\"]", "stands alone"),
        ("read = [\"[b-a]\"]", "range"),
    ] {
        let error = parse(&format!("[sandbox]\n{wrong}\n")).unwrap_err();
        let mistake = error.mistakes()[0].to_string();
        assert!(mistake.contains(told) && mistake.contains(":2"), "{mistake}");
    }
}

#[test]
fn limits_on_what_is_written_and_how_it_ends_are_read() {
    let policy =
        parse("[sandbox]\nfile_size = \"1GiB\"\ndisk = \"4GiB\"\ngrace = \"10m\"\nlimits = \"required\"\n").unwrap();
    let sandbox = policy.sandbox();
    assert_eq!((sandbox.file_size, sandbox.disk), (Some(1 << 30), Some(4 << 30)));
    assert_eq!((sandbox.grace, sandbox.limits), (Duration::from_secs(600), LimitsMode::Required));
}
