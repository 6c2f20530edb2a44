//! A refused call ends in the same hint wherever a person or an agent reads of it, and what the agent put into it does nothing there.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Exeat, Run, Upstream, binary};
use crate::terminal::at_a_terminal_of;

/// The problem that a call reads, and the run.
fn refused(exeat: &Exeat, curl: &str) -> (Value, Run) {
    let run = exeat.sh(&format!("curl -sS --path-as-is {curl}")).ok();
    (serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:#?}")), run)
}

/// Types `command` at a shell outside, where `exeat` is the one under test.
fn typed(exeat: &Exeat, command: &str) -> std::process::Output {
    let bin = exeat.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let link = bin.join("exeat");
    if !link.exists() {
        std::os::unix::fs::symlink(binary(), &link).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("PATH", path)
        .env("EXEAT_CONFIG", exeat.config(""))
        .env("EXEAT_STATE", exeat.state());
    shell.current_dir(exeat.work()).output().unwrap()
}

#[test]
fn the_answer_the_log_and_explain_end_in_the_same_lines() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .allow_with("api.example.com", &upstream, "methods = [\"GET\"]\npaths = [\"/a/**\"]")
        .rule("[[deny]]\nto = \"api.example.com\"\npaths = [\"/a/payroll\"]");
    for (method, url) in [
        ("POST", "https://other.example.com/v1/things?key=s3cret-in-the-query"),
        ("GET", "https://api.example.com:8443/a/b"),
        ("DELETE", "https://api.example.com/a/b"),
        ("GET", "https://api.example.com/b?key=s3cret-in-the-query"),
        ("GET", "https://api.example.com/a/payroll"),
        ("GET", "https://api.example.com/a/x%2Fy"),
    ] {
        let (problem, run) = refused(&exeat, &format!("-X {method} '{url}'"));
        let hint = problem["ask_for"].as_str().unwrap();
        let logged = run.log.refusals();
        assert_eq!(logged.last().unwrap().hint.as_deref(), Some(hint));
        assert!(!serde_json::to_string(&logged).unwrap().contains("s3cret"), "{logged:?}");
        // Whoever types the command reads the same again.
        let command = problem["explain"].as_str().unwrap();
        assert!(hint.ends_with(&format!("\n# {command}\n")), "{hint}");
        let said = typed(&exeat, command);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.ends_with(&format!("hint: {hint}")), "{said}\n---\n{hint}");
        // And so does a table of the log.
        let table = exeat.exeat(&["calls", "--refused"]).finish().ok();
        assert!(table.stdout.lines().last().unwrap().contains(command), "{table:#?}");
    }
    upstream.assert_untouched();
}

#[test]
fn the_lines_of_the_hint_allow_that_call_and_no_other() {
    let upstream = Upstream::start();
    let exeat = Exeat::new();
    let (problem, _) = refused(&exeat, "-d x=1 https://api.example.com/v1/things");
    let hint = problem["ask_for"].as_str().unwrap();
    let rule = format!("{}dial = \"{}\"\n", &hint[hint.find("[[allow]]").unwrap()..], upstream.dial());
    let exeat = exeat.rule(&rule);
    exeat.sh("curl -sSf -d x=1 https://api.example.com/v1/things").ok();
    exeat.sh("curl -sSf https://api.example.com/v1/things").ended_with(22);
    exeat.sh("curl -sSf -d x=1 https://api.example.com/v1/things/1").ended_with(22);
    assert_eq!(upstream.only().target, "/v1/things");
}

#[test]
fn what_an_agent_puts_into_a_url_does_nothing_in_an_operators_shell() {
    let exeat = Exeat::new();
    for path in
        ["/$(touch$IFS''pwned)", "/';touch${IFS}pwned;'", "/%60touch$IFS-pwned%60", "/a&touch${IFS}pwned&", "/!!;*~"]
    {
        let quoted = path.replace('\'', "'\\''");
        let (problem, run) = refused(&exeat, &format!("-g 'https://evil.example.com{quoted}'"));
        let logged = run.log.refusals().last().unwrap().hint.clone().unwrap();
        for command in [problem["explain"].as_str(), logged.lines().last().unwrap().strip_prefix("# ")] {
            let said = typed(&exeat, command.unwrap());
            assert_eq!(said.status.code(), Some(1), "{command:?}: {said:?}");
            let said = String::from_utf8(said.stdout).unwrap();
            assert!(said.starts_with("refused (host-not-listed): GET https://evil.example.com/"), "{said}");
            assert!(!Path::new(&exeat.work()).join("pwned").exists(), "{command:?}");
        }
    }
}

#[test]
fn a_placeholder_in_a_refused_path_is_named_in_the_hint_and_not_shown() {
    let exeat = Exeat::new()
        .rule("[[allow]]\nto = \"api.example.com\"\npaths = [\"/only\"]\ncredential = \"key\"")
        .fixed("key", "the-real-one", "to = [\"api.example.com\"]\nenv = \"KEY\"");
    let run = exeat.sh("curl -sS https://api.example.com/x/$KEY >/dev/null; printf %s \"$KEY\"").ok();
    let placeholder = run.stdout.trim();
    assert!(placeholder.len() > 20 && !run.log.text.contains(placeholder), "{run:#?}");
    let hint = run.log.refusals().last().unwrap().hint.clone().unwrap();
    assert!(hint.contains("‹key›"), "{hint}");
}

const CALLS: &str = "for n in 1 2 3; do curl -s -o /dev/null https://often.example.com/a; done
    for n in 1 2 3 4; do curl -s -o /dev/null https://once.example.com/$n; done";

#[test]
fn at_a_terminal_a_run_ends_with_what_was_refused() {
    let exeat = Exeat::new().rule("");
    let run = at_a_terminal_of(&exeat, &["sh", "-c", CALLS], &[]).ok();
    let (_, told) = run.stdout.split_once("exeat: note: 7 calls were refused").unwrap_or_else(|| panic!("{run:#?}"));
    let often = told.find("3 × GET often.example.com/a: host-not-listed").unwrap_or_else(|| panic!("{told}"));
    let hint = told.find("hint: exeat explain --agent bot -X GET https://often.example.com/a").unwrap();
    assert!(often < hint && hint < told.find("GET once.example.com/1").unwrap(), "{told}");
    assert!(told.contains("and 2 others: `exeat calls --refused --agent bot`"), "{told}");
    assert!(told.lines().count() <= 9, "{told}");
}

#[test]
fn nobody_is_told_where_nothing_was_refused_or_it_is_unwanted_or_no_person_reads_it() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream);
    let run = at_a_terminal_of(&exeat, &["curl", "-sS", "-o/dev/null", "https://api.example.com/"], &[]).ok();
    assert_eq!(run.stdout, "");
    let script = "curl -s -o /dev/null https://denied.example.com/";
    let piped = exeat.sh(script).ok();
    assert_eq!((piped.stderr.as_str(), piped.log.refusals().len()), ("", 1));
    let words =
        [&binary(), "run", "--agent", "bot", "--quiet", "--", "sh", "-c", &format!("'{script}'")].map(str::to_owned);
    let quiet = crate::terminal::at_the_shell_of(&exeat, &[("$ ", &format!("{}; exit\n", words.join(" ")))]);
    assert!(!quiet.stdout.contains("were refused") && !quiet.stdout.contains("was refused"), "{quiet:#?}");
    assert_eq!(exeat.log().refusals().len(), 2);
}
