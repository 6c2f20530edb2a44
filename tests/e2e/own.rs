//! What exeat goes by is out of the command's reach: also what is not there yet, and wherever links lead.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::harness::{Exeat, Run};

/// Runs a script with options before `run`.
fn sh_at(exeat: &Exeat, options: &[&str], script: &str) -> Run {
    exeat.exeat(&[options, &["run", "--agent", "bot", "--", "sh", "-c", script]].concat()).finish()
}

/// A policy, and a file of another name for it.
fn exeat() -> Exeat {
    Exeat::new().rule("[[allow]]\nto = \"api.example.com\"")
}

#[test]
fn a_state_directory_that_was_not_there_is_out_of_sight_from_the_first_run_on() {
    let script = "sleep 0.5; ls -A st/; cat st/leases/*/control.key st/workers/*/calls/* st/checkpoint.key
                  for log in st/workers/*/calls/000001.jsonl; do echo spoilt >> $log && echo written; done; true";
    for state in ["st", "below/st"] {
        let (exeat, script) = (exeat(), script.replace("st/", &format!("{state}/")));
        for time in ["first", "second"] {
            let run = sh_at(&exeat, &["--state", state], &script).ok();
            assert_eq!(run.stdout, "", "{state}, {time}: {run:#?}");
        }
        let made = exeat.work().join(state);
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(made.join("workers")).unwrap().count(), 2);
        exeat.exeat(&["--state", state, "verify"]).finish().ok();
    }
}

/// Nothing has run.
#[track_caller]
fn refused(run: &Run, place: &Path) {
    assert!(run.code == Some(125) && run.stdout.is_empty(), "{run:#?}");
    assert!(run.stderr.contains(&format!("`{}`", place.display())) && run.stderr.contains("hint: "), "{run:#?}");
}

/// What each of these files leads to lies in the directory that the command writes to.
#[test]
fn nothing_starts_by_a_file_that_the_command_could_write_to() {
    for name in ["agents/bot.toml", "agents/other.toml", "credentials.toml", "broker.toml", "log.toml"] {
        for hard in [false, true] {
            let exeat = exeat();
            let (file, real) = (exeat.config(name), fs::canonicalize(exeat.work()).unwrap().join("real"));
            fs::write(&real, fs::read(&file).unwrap_or_default()).unwrap();
            let _ = fs::remove_file(&file);
            match hard {
                true => fs::hard_link(&real, &file).unwrap(),
                false => symlink(&real, &file).unwrap(),
            }
            let run = sh_at(&exeat, &[], "echo ran; printf '\\n[[allow]]\\nto = \"example.org\"\\n' >> real");
            refused(&run, &real);
        }
    }
}

#[test]
fn nothing_starts_by_a_link_that_the_command_could_change() {
    let (config, state) = ("config", "state");
    for (name, to) in [("--config", config), ("--state", state)] {
        let exeat = exeat();
        let real = fs::canonicalize(exeat.work()).unwrap();
        symlink(exeat.path(to), real.join("link")).unwrap();
        // The link itself, and one on the way.
        let below = exeat.path("below");
        symlink(real.join("link"), &below).unwrap();
        for path in ["link", "../below"] {
            refused(&sh_at(&exeat, &[name, path], "echo ran; rm link && mkdir link"), &real.join("link"));
        }
        fs::remove_file(real.join("link")).unwrap();
        fs::remove_file(&below).unwrap();
        symlink(exeat.path(to), &below).unwrap();
        sh_at(&exeat, &[name, "../below"], "echo ran").ok();
    }
}

#[test]
fn what_a_link_leads_to_in_a_directory_that_is_only_read_is_out_of_sight() {
    let exeat = exeat();
    let shown = exeat.path("shown");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("beside"), "in sight").unwrap();
    let exeat = exeat.sandbox(&format!("read = [{shown:?}]"));
    for name in ["agents/bot.toml", "credentials.toml"] {
        let real = shown.join(Path::new(name).file_name().unwrap());
        fs::write(&real, fs::read(exeat.config(name)).unwrap_or_else(|_| b"# a comment".to_vec())).unwrap();
        let _ = fs::remove_file(exeat.config(name));
        symlink(&real, exeat.config(name)).unwrap();
    }
    let run = sh_at(&exeat, &[], &format!("cd {shown:?} && cat beside bot.toml credentials.toml")).ok();
    assert_eq!(run.stdout, "in sight", "{run:#?}");
}
