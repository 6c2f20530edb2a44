//! `exeat check` names every mistake in the files with its line, its reason and its remedy, and what the machine lacks.

use std::fs;

use crate::harness::Exeat;

fn check(exeat: &Exeat, options: &[&str]) -> crate::harness::Run {
    exeat.exeat(&[&["check"], options].concat()).finish()
}

#[test]
fn good_files_have_no_mistakes() {
    let exeat = Exeat::new()
        .fixed("api", "secret", "to = [\"api.example.com\"]\n")
        .rule("[[allow]]\nto = \"api.example.com\"\ncredential = \"api\"");
    let run = check(&exeat, &["--files-only"]).ok();
    assert!(run.stdout.contains("1 agents, 1 credentials, no mistakes"), "{run:#?}");
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
    let exeat = Exeat::new().fixed("api", "secret", "to = [\"api.example.com\"]\n");
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
