//! Completions, manual and help come from the definition of the command line, and work where people have them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Exeat, Run, binary};

fn exeat(arguments: &[&str]) -> Run {
    Exeat::new().exeat(arguments).finish()
}

/// What bash offers for the last of these words, with the script of this exeat.
fn offered(exeat: &Exeat, words: &[&str]) -> Vec<String> {
    let script = exeat.path("exeat.bash");
    if !script.exists() {
        fs::write(&script, exeat.exeat(&["completions", "bash"]).finish().ok().stdout).unwrap();
    }
    let program = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
        _exeat exeat \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", program, "bash"]).arg(&script).args(words);
    bash.env("EXEAT_CONFIG", exeat.config("")).current_dir(exeat.work());
    let output = bash.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_the_names_of_agents() {
    let exeat = Exeat::new().rule("");
    for agent in ["release-bot", "reviewer"] {
        fs::write(exeat.config(&format!("agents/{agent}.toml")), "").unwrap();
    }
    assert_eq!(offered(&exeat, &["exeat", "off"]), ["offboard"]);
    assert!(!offered(&exeat, &["exeat", "pro"]).contains(&"probe-inside".to_owned()));
    assert!(offered(&exeat, &["exeat", "run", "--cap"]).contains(&"--capture-ports-only".to_owned()));
    assert_eq!(offered(&exeat, &["exeat", "completions", "ba"]), ["bash"]);
    for command in ["run", "explain", "probe", "stop", "init"] {
        assert_eq!(
            offered(&exeat, &["exeat", command, "--agent", ""]),
            ["bot", "release-bot", "reviewer"],
            "{command}"
        );
    }
    assert_eq!(offered(&exeat, &["exeat", "run", "--agent", "re"]), ["release-bot", "reviewer"]);
    // Those of the configuration that the line names.
    let other = exeat.path("other");
    fs::create_dir_all(other.join("agents")).unwrap();
    fs::write(other.join("agents/elsewhere.toml"), "").unwrap();
    let other = other.to_str().unwrap();
    assert_eq!(offered(&exeat, &["exeat", "--config", other, "run", "--agent", ""]), ["elsewhere"]);
    assert_eq!(offered(&exeat, &["exeat", "--config", "=", other, "run", "--agent", ""]), ["elsewhere"]);
}

#[test]
fn a_file_with_a_name_that_bash_would_expand_is_no_agent() {
    let exeat = Exeat::new().rule("");
    for name in ["$(touch pwned).toml", "`touch pwned`.toml", "a b.toml", "-x.toml", "${HOME}.toml", "*.toml"] {
        fs::write(exeat.config(&format!("agents/{name}")), "").unwrap();
    }
    assert_eq!(offered(&exeat, &["exeat", "run", "--agent", ""]), ["bot"]);
    assert!(!exeat.work().join("pwned").exists());
}

#[test]
fn every_page_of_the_manual_is_read_without_a_warning() {
    let exeat = Exeat::new();
    let directory = exeat.path("man1");
    let run = exeat.exeat(&["man", directory.to_str().unwrap()]).finish().ok();
    let pages: Vec<&str> = run.stdout.lines().collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let groff =
            Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8", page]).output().expect("groff is installed");
        assert!(groff.status.success() && groff.stderr.is_empty(), "{page}: {groff:?}");
    }
    let shown = Command::new("groff")
        .args(["-man", "-Tascii", "-P-c", "-P-bou", &format!("{}/exeat-run.1", directory.display())])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    for part in ["NAME", "SYNOPSIS", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO", "exeat(1)", "124"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(!Path::new(&directory).join("exeat-probe-inside.1").exists());
}

#[test]
fn who_says_nothing_or_mistypes_is_told_how_to_go_on() {
    let nothing = exeat(&[]).ended_with(2);
    assert!(
        nothing.stderr.contains("Begin with `exeat init`") && !nothing.stderr.contains("probe-inside"),
        "{nothing:#?}"
    );
    for (words, said) in [
        (&["explian"][..], "'explain'"),
        (&["run", "--agnt", "bot"], "'--agent'"),
        (&["completions", "bsh"], "'bash'"),
        (&["calls", "--refusd"], "'--refused'"),
    ] {
        let run = exeat(words).ended_with(2);
        assert!(run.stderr.contains("similar") && run.stderr.contains(said), "{words:?}: {run:#?}");
    }
    let help = exeat(&["help", "run"]).ok();
    assert!(help.stdout.contains("Exit codes:") && help.stdout.contains("124"), "{help:#?}");
}

#[test]
fn the_version_is_there_for_programs_too() {
    let version = exeat(&["version", "--json"]).ok().json();
    assert_eq!(version["name"], "exeat");
    let line = Command::new(binary()).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(line.stdout).unwrap().trim(),
        format!("exeat {}", version["version"].as_str().unwrap())
    );
}

#[test]
fn the_demo_is_one_document_for_a_program() {
    let demo = exeat(&["demo", "--json"]).ok();
    let told = demo.json();
    assert!(told["steps"].as_u64().unwrap() > 5 && told["failed"] == serde_json::json!([]), "{told}");
}
