//! `exeat check` names every mistake in the files with its line, its reason and its remedy, what may be wrong where there is none, by the
//! numbers of OWASP's list, and what the machine lacks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Exeat, TokenEndpoint, Upstream};

fn check(exeat: &Exeat, options: &[&str]) -> crate::harness::Run {
    exeat.exeat(&[&["check"], options].concat()).finish()
}

#[test]
fn good_files_have_no_mistakes() {
    let exeat = Exeat::new()
        .fixed("api", "secret-of-the-check", "to = [\"api.example.com\"]\n")
        .rule("[[allow]]\nto = \"api.example.com\"\ncredential = \"api\"");
    let run = check(&exeat, &["--files-only"]).ok();
    assert!(run.stdout.contains("1 agents, 1 credentials, no mistakes"), "{run:#?}");
}

#[test]
fn what_the_files_rely_on_and_others_could_change_is_noted_and_no_mistake() {
    let exeat = Exeat::new().fixed("api", "secret-of-the-check", "to = [\"api.example.com\"]\n");
    let policy = "[sandbox]\nread = [\"/nonexistent/tool\"]\n[upstream]\nroots = [\"gone.pem\"]\n\
        [[allow]]\nto = \"api.example.com\"\ncredential = \"api\"\n";
    fs::write(exeat.policy_file(), policy).unwrap();
    let secret = exeat.config("secrets/api");
    let notes = |expected: &[&str]| {
        let run = check(&exeat, &["--files-only"]).ok();
        for note in expected {
            assert!(run.stdout.contains(note), "{note}: {run:#?}");
        }
        run.stdout
    };
    let said = notes(&["sandbox.read: `/nonexistent/tool` is not there", "gone.pem` cannot be read: No such file"]);
    assert!(!said.contains("api: ") && !said.contains("can be changed"), "{said}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(exeat.policy_file(), fs::Permissions::from_mode(0o646)).unwrap();
    notes(&["api: every user of the machine can read or write", "bot.toml` can be changed by every user"]);
    fs::create_dir_all(exeat.state()).unwrap();
    fs::set_permissions(exeat.state(), fs::Permissions::from_mode(0o777)).unwrap();
    notes(&["with it their logs and leases"]);
    fs::set_permissions(exeat.state(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(&secret).unwrap();
    notes(&[
        "cannot be read: No such file or directory (os error 2): while that is so, a broker of this user lends it to nobody",
    ]);
    // A pipe is not waited for either.
    assert!(Command::new("mkfifo").args([&secret, &exeat.config("agents/gone.pem")]).status().unwrap().success());
    notes(&["secrets/api` is not a regular file", "gone.pem` is not a regular file"]);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_a_mistake_and_is_not_waited_for() {
    let exeat = Exeat::new();
    assert!(Command::new("mkfifo").arg(exeat.config("agents/pipe.toml")).status().unwrap().success());
    let run = check(&exeat, &["--files-only"]).ended_with(1);
    assert!(run.stdout.contains("agents/pipe.toml: is not a file"), "{run:#?}");
}

#[test]
fn every_mistake_is_named_with_file_line_and_remedy() {
    let exeat = Exeat::new();
    let policy = "\
[sandbox]
memory = \"lots\"
wall_clok = \"30m\"

[[allow]]
to = \"https://api.example.com/\"

[[allow]]
to = \"www.example.com\"
methods = []
rate = \"fast\"

[[alow]]
to = \"x.example.com\"

[[deny]]
to = \"www.example.com\"
credential = \"api\"
";
    fs::write(exeat.policy_file(), policy).unwrap();
    let credentials = "\
[api]
issuer = \"fixd\"
agents = [\"bot\"]
to = [\"api.example.com\"]

[plain]
issuer = \"fixed\"
agents = [\"bot\"]
to = [\"api.example.com\"]
value = \"written-right-here\"
shape = \"[a-z]{3}\"
";
    fs::write(exeat.config("credentials.toml"), credentials).unwrap();
    let run = check(&exeat, &["--files-only"]).ended_with(1);
    let mistakes = [
        ("bot.toml", 2, "memory"),
        ("bot.toml", 3, "wall_clock"),
        ("bot.toml", 6, "allow[1].to"),
        ("bot.toml", 10, "methods"),
        ("bot.toml", 11, "rate"),
        ("bot.toml", 13, "did you mean `allow`"),
        ("bot.toml", 18, "credential"),
        ("credentials.toml", 2, "fixd"),
        ("credentials.toml", 10, "value"),
        ("credentials.toml", 11, "shape"),
    ];
    for (file, line, about) in mistakes {
        let place = format!("{file}:{line}:");
        assert!(run.stdout.contains(&place), "{place} is not named: {}", run.stdout);
        assert!(run.stdout.contains(about), "{about} is not named: {}", run.stdout);
    }
    assert!(run.stdout.matches("hint:").count() >= mistakes.len(), "{}", run.stdout);
    assert!(!run.stdout.contains("written-right-here"), "a secret in the wrong place is not repeated: {}", run.stdout);
}

#[test]
fn what_only_shows_beside_the_other_file_is_named_too() {
    let exeat = Exeat::new().fixed("api", "secret-of-the-check", "to = [\"api.example.com\"]\n");
    let policy = "[[allow]]\nto = \"www.example.com\"\ncredential = \"api\"\n\n[[allow]]\nto = \"x.example.com\"\ncredential = \"gone\"\n";
    fs::write(exeat.policy_file(), policy).unwrap();
    fs::write(exeat.config("agents/stranger.toml"), "[[allow]]\nto = \"api.example.com\"\ncredential = \"api\"\n")
        .unwrap();
    let run = check(&exeat, &["--files-only"]).ended_with(1);
    for place in ["bot.toml:3:", "bot.toml:7:", "stranger.toml:3:"] {
        assert!(run.stdout.contains(place), "{place}: {}", run.stdout);
    }
}

#[test]
fn what_the_machine_can_do_is_told() {
    let exeat = Exeat::new().rule("");
    let run = check(&exeat, &[]).ok();
    let said = run.stdout.to_ascii_lowercase();
    for capability in ["namespace", "nf_tables", "landlock", "cgroup"] {
        assert!(said.contains(capability), "{capability}: {}", run.stdout);
    }
}

#[test]
fn what_the_machine_lacks_is_told_with_the_way_to_mend_it() {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let exeat = Exeat::new().rule("").through(&["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]);
    let run = check(&exeat, &[]).ended_with(1);
    assert!(run.stdout.contains("NO") && run.stdout.contains("hint:"), "{run:#?}");
}

/// Two credentials that may be used at one rule each, one of them with findings of every kind that files show.
fn questionable() -> Exeat {
    let exeat = Exeat::new()
        .fixed("key", "secret-of-the-check", "to = [\"*.example.com\"]\nin = [\"header\", \"query\"]\n")
        .rule("[[allow]]\nto = \"api.example.com\"\ncredential = \"key\"\n");
    let file = exeat.config("credentials.toml");
    let shared = fs::read_to_string(&file).unwrap().replace("[\"bot\"]", "[\"bot\", \"gone\"]");
    fs::write(file, shared).unwrap();
    exeat
}

#[test]
fn what_may_be_wrong_is_named_with_its_number_its_place_and_what_to_write() {
    let exeat = questionable();
    let run = check(&exeat, &["--files-only"]).ok();
    for (place, number) in [
        ("credentials.toml:2: key.agents", "NHI9:2025 NHI Reuse"),
        ("credentials.toml:2: key.agents", "NHI1:2025 Improper Offboarding: there is no agent `gone`"),
        ("credentials.toml:3: key.issuer", "NHI7:2025 Long-Lived Secrets"),
        ("credentials.toml:5: key.to", "NHI5:2025 Overprivileged NHI"),
        ("credentials.toml:6: key.in", "NHI5:2025 Overprivileged NHI"),
        ("allow[1].credential", "NHI5:2025 Overprivileged NHI: `key` goes with every method and path"),
    ] {
        let line = run.stdout.lines().find(|line| line.contains(place) && line.contains(number));
        assert!(line.is_some(), "{place} {number}: {}", run.stdout);
    }
    assert!(run.stdout.contains("no mistakes; 6 warnings\n"), "{}", run.stdout);
    assert_eq!(run.stdout.matches("hint:").count(), 6, "{}", run.stdout);
    // They fail the check where that is asked for only.
    check(&exeat, &["--files-only", "--strict"]).ended_with(1);
}

#[test]
fn what_is_accepted_with_a_reason_is_shown_as_such_and_fails_no_check() {
    let lines = "to = [\"api.example.com\"]\naccept = { NHI7 = \"the vendor has no others; rotated monthly\", NHI5 = \"left from before\" }\n";
    let rule = "[[allow]]\nto = \"api.example.com\"\nmethods = [\"GET\"]\ncredential = \"key\"\n";
    let exeat = Exeat::new().fixed("key", "secret-of-the-check", lines).rule(rule);
    let run = check(&exeat, &["--files-only", "--strict"]).ok();
    assert!(run.stdout.contains("NHI7:2025 Long-Lived Secrets, accepted"), "{}", run.stdout);
    assert!(run.stdout.contains("accepted: the vendor has no others; rotated monthly"), "{}", run.stdout);
    assert!(run.stdout.contains("0 warnings, 1 accepted"), "{}", run.stdout);
    let needless = "note: ";
    assert!(
        run.stdout.contains(needless) && run.stdout.contains("NHI5:2025 Overprivileged NHI is accepted, and not found")
    );

    let file = exeat.config("credentials.toml");
    let unreasoned = fs::read_to_string(&file).unwrap().replace("the vendor has no others; rotated monthly", "ok");
    fs::write(file, unreasoned).unwrap();
    let run = check(&exeat, &["--files-only"]).ended_with(1);
    assert!(run.stdout.contains("credentials.toml:6: key.accept.NHI7: that is no reason"), "{}", run.stdout);
}

#[test]
fn all_of_it_is_one_document_for_a_pipeline() {
    let exeat = questionable();
    let document: Value = check(&exeat, &["--json"]).ok().json();
    assert_eq!((&document["schema"], &document["warnings"]), (&"exeat-check/1".into(), &6.into()), "{document}");
    assert!(document["machine"].as_array().unwrap().iter().any(|one| one["name"] == "user namespaces"), "{document}");
    let long = document["findings"].as_array().unwrap().iter().find(|one| one["risk"] == "NHI7").unwrap();
    assert_eq!((&long["title"], &long["line"], &long["column"]), (&"Long-Lived Secrets".into(), &3.into(), &1.into()));
    assert_eq!((&long["credential"], &long["accepted"]), (&"key".into(), &Value::Null));
    assert!(long["file"].as_str().unwrap().ends_with("/credentials.toml") && long["remedy"].is_string(), "{long}");

    fs::write(exeat.policy_file(), "[[alow]]\n").unwrap();
    let document: Value = check(&exeat, &["--json", "--files-only"]).ended_with(1).json();
    assert_eq!((&document["mistakes"][0]["line"], &document["machine"]), (&1.into(), &Value::Null), "{document}");
}

#[test]
fn what_an_agent_has_not_used_is_told_by_logs_that_are_old_enough() {
    let upstream = Upstream::start();
    let lines = |name: &str| format!("to = [\"api.example.com\"]\nenv = \"{}\"\n", name.to_uppercase());
    let rule = |name: &str| format!("methods = [\"GET\"]\npaths = [\"/echo\", \"/{name}\"]\ncredential = \"{name}\"");
    let exeat = Exeat::new()
        .fixed("used", "secret-of-the-check", &lines("used"))
        .fixed("idle", "secret-of-the-check", &lines("idle"))
        .allow_with("api.example.com", &upstream, &rule("used"))
        .allow_with("api.example.com:8443", &upstream, &rule("idle"));
    let file = exeat.config("credentials.toml");
    let both = fs::read_to_string(&file)
        .unwrap()
        .replace("to = [\"api.example.com\"]\nenv = \"IDLE\"", "to = [\"api.example.com:8443\"]");
    fs::write(file, both).unwrap();
    let unlogged = check(&exeat, &["--files-only"]).ok();
    assert!(unlogged.stdout.contains("there is no call log of agent `bot`"), "{}", unlogged.stdout);

    exeat.sh("true").ok();
    let young = check(&exeat, &["--files-only"]).ok();
    assert!(young.stdout.contains("cannot be told yet") && !young.stdout.contains("NHI1"), "{}", young.stdout);
    exeat.sh("curl -sSf -H \"X-Key: $USED\" https://api.example.com/echo").ok();
    // The first worker was years ago.
    let workers = fs::read_dir(exeat.state().join("workers")).unwrap();
    let log = workers.map(|entry| entry.unwrap().path().join("calls/000001.jsonl")).min().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let today = jiff::Timestamp::now().strftime("\"time\":\"%Y-").to_string();
    let before = text.replace(&today, "\"time\":\"2020-");
    assert_ne!(before, text);
    fs::write(&log, before).unwrap();
    let run = check(&exeat, &["--files-only"]).ok();
    assert!(
        run.stdout.contains("idle.agents: NHI1:2025 Improper Offboarding: agent `bot` has not used it for 30d"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("used.agents") && !run.stdout.contains("note:"), "{}", run.stdout);
    let run = check(&exeat, &["--files-only", "--unused-since", "3600d"]);
    assert!(run.stdout.contains("cannot be told yet"), "{run:#?}");
    check(&exeat, &["--files-only", "--unused-since", "soon"]).ended_with(125);
}

#[test]
fn what_an_issuer_gives_for_hours_is_told_by_the_ledger() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(12 * 3600));
    let lines = format!("{}scope = \"read\"\nto = [\"api.example.com\"]\nenv = \"API_KEY\"\n", issuer.lines());
    let exeat = Exeat::new().secret("client", TokenEndpoint::SECRET).credential("api", &lines).allow_with(
        "api.example.com",
        &upstream,
        "methods = [\"GET\"]\ncredential = \"api\"",
    );
    assert!(!check(&exeat, &["--files-only"]).ok().stdout.contains("NHI"));
    exeat.sh("curl -sSf -H \"X-Key: $API_KEY\" https://api.example.com/echo").ok();
    let run = check(&exeat, &["--files-only"]).ok();
    assert!(
        run.stdout
            .contains("credentials.toml:3: api.issuer: NHI7:2025 Long-Lived Secrets: its issuer has given it for 1"),
        "{}",
        run.stdout
    );
    assert_eq!(run.stdout.matches("NHI").count(), 1, "{}", run.stdout);
}
