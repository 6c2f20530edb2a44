//! What a policy is expected to decide stands beside its rules, and `exeat check` says where it decides otherwise.

use std::fs;

use crate::harness::{Exeat, Run, Upstream};

const RULES: &str = "\
[[allow]]
to = \"api.example.com\"
paths = [\"/repos/acme/**\"]

[[expect]]
call = \"GET https://api.example.com/repos/acme/x\"
result = \"allow\"

[[expect]]
call = \"GET https://api.example.com/repos/other/x\"
result = \"refuse\"
kind = \"path-not-allowed\"
";

fn check(exeat: &Exeat, options: &[&str]) -> Run {
    exeat.exeat(&[&["check", "--files-only"], options].concat()).finish()
}

#[test]
fn what_is_expected_and_so_passes_and_what_is_not_so_fails_with_its_place_and_remedy() {
    let exeat = Exeat::new().rule(RULES);
    let run = check(&exeat, &[]).ok();
    assert!(run.stdout.contains("no mistakes; 2 expectations hold"), "{run:#?}");

    let text = fs::read_to_string(exeat.policy_file()).unwrap();
    fs::write(exeat.policy_file(), text.replace("/repos/acme/**", "/repos/**")).unwrap();
    let run = check(&exeat, &[]).ended_with(1);
    let line =
        1 + text.lines().position(|line| line.starts_with("call = \"GET https://api.example.com/repos/other")).unwrap();
    let place =
        format!("bot.toml:{}: expect[2]: GET https://api.example.com/repos/other/x: expected to be refused", line - 1);
    assert!(run.stdout.contains(&place) && run.stdout.contains("allowed by allow #1 (line "), "{place} {run:#?}");
    assert!(run.stdout.contains("  hint: narrow allow #1") && run.stdout.contains("1 of 2 expectations DO NOT HOLD"));

    let document = check(&exeat, &["--json"]).ended_with(1).json();
    assert_eq!((&document["expectations"], &document["mistakes"]), (&2.into(), &serde_json::json!([])), "{document}");
    let unmet = &document["unmet"][0];
    assert_eq!((&unmet["expected"], &unmet["decided"]), (&"refuse".into(), &"allow".into()), "{document}");
    assert!(unmet["line"] == line - 1 && unmet["rule_line"].is_number() && unmet["remedy"].is_string(), "{document}");
}

#[test]
fn an_expectation_that_is_not_met_is_no_mistake_and_stops_no_start() {
    let upstream = Upstream::start();
    let exeat = Exeat::new()
        .allow("api.example.com", &upstream)
        .rule("[[expect]]\ncall = \"GET https://api.example.com/\"\nresult = \"refuse\"");
    check(&exeat, &[]).ended_with(1);
    let run = exeat.sh("curl -sSf https://api.example.com/echo").ok();
    assert_eq!(run.log.calls().len(), 1);
}
