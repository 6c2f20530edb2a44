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

/// A credential of another agent's, the broker's keys and what a receiver of the logs is shown, each in a file of this directory.
fn with_secrets_in(exeat: &Exeat, directory: &Path) {
    let file = |name: &str| {
        let file = directory.join(name);
        fs::write(&file, format!("the {name}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        format!("{{ file = {file:?} }}")
    };
    let lines = "agents = [\"other\"]\nto = [\"api.example.com\"]\nin = [\"header\"]";
    let credential = format!("[api]\nissuer = \"fixed\"\nvalue = {}\n{lines}\n", file("token"));
    fs::write(exeat.config("credentials.toml"), credential).unwrap();
    let headers = format!("headers = {{ authorization = {} }}", file("header"));
    fs::write(exeat.config("log.toml"), format!("[[ship]]\nto = \"otlp\"\nurl = \"http://127.0.0.1:1\"\n{headers}\n"))
        .unwrap();
}

#[test]
fn the_files_that_secrets_are_read_from_are_out_of_sight() {
    let exeat = exeat();
    let shown = exeat.path("shown");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("beside"), "in sight").unwrap();
    let exeat = exeat.sandbox(&format!("read = [{shown:?}]"));
    with_secrets_in(&exeat, &shown);
    let run = sh_at(&exeat, &[], &format!("cd {shown:?} && cat beside token header")).ok();
    assert_eq!(run.stdout, "in sight", "{run:#?}");
}

#[test]
fn nothing_starts_where_the_command_could_put_something_in_the_place_of_a_secret() {
    let exeat = exeat();
    let work = fs::canonicalize(exeat.work()).unwrap();
    with_secrets_in(&exeat, &work);
    refused(&sh_at(&exeat, &[], "echo ran"), &work.join("token"));
    // And that is foreseen, without being a mistake of the files.
    let check = exeat.exeat(&["check"]).finish().ok();
    let foreseen = format!(
        "note: bot: from here nothing starts: cannot go by a file that the command could write to, `{}`",
        work.join("token").display()
    );
    assert!(check.stdout.contains(&foreseen), "{foreseen}: {check:#?}");
    fs::remove_file(exeat.config("credentials.toml")).unwrap();
    fs::remove_file(exeat.config("log.toml")).unwrap();
    sh_at(&exeat, &[], "echo ran").ok();
    let check = exeat.exeat(&["check"]).finish().ok();
    assert!(!check.stdout.contains("from here nothing starts"), "{check:#?}");
}

#[test]
fn nothing_starts_with_authorities_that_the_command_could_change() {
    let exeat = exeat();
    let (inside, outside) = (fs::canonicalize(exeat.work()).unwrap().join("roots.pem"), exeat.path("roots.pem"));
    let policy = fs::read_to_string(exeat.policy_file()).unwrap();
    for file in [&inside, &outside] {
        fs::copy(exeat.config("ca.pem"), file).unwrap();
        fs::write(exeat.policy_file(), policy.replace("\"../ca.pem\"", &format!("{file:?}"))).unwrap();
        let run = sh_at(&exeat, &[], "echo ran");
        if file == &inside { refused(&run, file) } else { assert_eq!(run.ok().stdout, "ran\n") }
    }
}

/// The files in which a program can be named that is run for a secret.
fn running(exeat: &Exeat, words: &[&str]) -> Vec<(&'static str, String)> {
    let lines = "agents = [\"other\"]\nto = [\"api.example.com\"]\nin = [\"header\"]";
    let outside = exeat.path("token").display().to_string();
    let credential = |issuer: String| ("credentials.toml", format!("[api]\n{issuer}\n{lines}\n"));
    vec![
        credential(format!("issuer = \"fixed\"\nvalue = {{ command = {words:?} }}")),
        credential(format!("issuer = \"command\"\nissue = {words:?}")),
        credential(format!("issuer = \"command\"\nissue = [{outside:?}]\nrevoke = {words:?}")),
        ("broker.toml", format!("[identity]\nes256 = [{{ command = {words:?} }}]\n")),
        (
            "log.toml",
            format!(
                "[[ship]]\nto = \"otlp\"\nurl = \"http://127.0.0.1:1\"\nheaders = {{ authorization = {{ command = {words:?} }} }}\n"
            ),
        ),
    ]
}

#[test]
fn nothing_starts_where_the_command_could_change_what_is_run_for_a_secret() {
    let exeat = exeat();
    let (work, outside, twice) = (fs::canonicalize(exeat.work()).unwrap(), exeat.path("token"), exeat.path("twice"));
    for file in [&work.join("scripts/token"), &work.join("bin/first"), &outside, &twice] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::hard_link(&twice, work.join("other-name")).unwrap();
    symlink(&outside, work.join("link")).unwrap();
    let exeat = exeat.environment("PATH", &format!("bin:{}", std::env::var("PATH").unwrap()));
    let script = work.join("scripts/token");
    let (own, linked) = (script.display().to_string(), twice.display().to_string());
    let cases: [(&[&str], Option<&str>); 11] = [
        (&["./scripts/token"], Some("scripts/token")),
        (&["python3", "scripts/token"], Some("bin/python3")),
        (&["/bin/sh", "scripts/token"], Some("scripts/token")),
        (&["/bin/sh", "-c", "exec scripts/token; true"], Some("scripts/token")),
        (&["/bin/sh", "--from=scripts/"], Some("scripts")),
        (&[&own], Some("scripts/token")),
        (&["./not-there-yet"], Some("not-there-yet")),
        (&["./link"], Some("link")),
        (&["first"], Some("bin/first")),
        (&[&linked], Some("other-name")),
        (&["/bin/sh", "-c", "true", "scripts", "nothing/here"], None),
    ];
    for (words, place) in cases {
        for (file, text) in running(&exeat, words) {
            fs::write(exeat.config(file), text).unwrap();
            let run = sh_at(&exeat, &[], "echo ran");
            match place {
                Some(place) => refused(&run, &work.join(place)),
                // The key that it prints is none.
                None if file == "broker.toml" => assert!(run.stderr.contains("the secret is empty"), "{run:#?}"),
                None => assert_eq!(run.ok().stdout, "ran\n", "{words:?} in {file}"),
            }
            fs::remove_file(exeat.config(file)).unwrap();
        }
    }
}

#[test]
fn the_key_and_the_authorities_of_receivers_and_issuers_are_kept_from_the_command() {
    let exeat = exeat();
    let (work, shown) = (fs::canonicalize(exeat.work()).unwrap(), exeat.path("shown"));
    fs::create_dir(&shown).unwrap();
    for directory in [&work, &shown] {
        fs::write(directory.join("key"), "in sight").unwrap();
        fs::copy(exeat.config("ca.pem"), directory.join("file.pem")).unwrap();
    }
    let exeat = exeat.sandbox(&format!("read = [{shown:?}]"));
    let (vault, lines) =
        ("address = \"https://vault.example.com\"", "agents = [\"other\"]\nto = [\"api.example.com\"]");
    let credential = |issuer: &str| ("credentials.toml", format!("[api]\n{issuer}\n{lines}\n"), false);
    let ship = |lines: &str| {
        let receivers = ["to = \"otlp\"\nurl = \"http://127.0.0.1:1\"", "to = \"syslog\"\naddress = \"h\""];
        receivers
            .map(|receiver| ("log.toml", format!("[[ship]]\n{receiver}\n{lines}\n"), lines.contains("key = \"DIR")))
    };
    let oauth = "issuer = \"oauth2-client\"\nclient_id = \"x\"\nclient_secret = { env = \"X\" }";
    let mut cases = vec![
        credential(&format!("{oauth}\ntoken_endpoint = \"https://issuer.example.com/t\"\nroots = [\"DIR/file.pem\"]")),
        credential(&format!("issuer = \"vault\"\n{vault}\nrole = \"r\"\nread = \"a/b\"\nroots = [\"DIR/file.pem\"]")),
        credential(&format!(
            "issuer = \"fixed\"\nvalue = {{ vault = {{ {vault}, role = \"r\", path = \"secret/data/a\", roots = [\"DIR/file.pem\"] }} }}"
        )),
        credential(
            "issuer = \"aws-sts\"\nshape = \"aws\"\nrole = \"arn:aws:iam::123456789012:role/bot\"\nroots = [\"DIR/file.pem\"]",
        ),
    ];
    cases.extend(ship("roots = [\"DIR/file.pem\"]"));
    cases.extend(ship("client_certificate = { certificate = \"DIR/file.pem\", key = \"elsewhere\" }"));
    cases.extend(ship("client_certificate = { certificate = \"elsewhere\", key = \"DIR/key\" }"));
    for (file, text, hidden) in cases {
        let at = |directory: &Path| text.replace("DIR", directory.to_str().unwrap());
        fs::write(exeat.config(file), at(&work)).unwrap();
        refused(&sh_at(&exeat, &[], "echo ran"), &work.join(if hidden { "key" } else { "file.pem" }));
        fs::write(exeat.config(file), at(&shown)).unwrap();
        let run = sh_at(&exeat, &[], &format!("cat {shown:?}/key"));
        assert_eq!(run.ok().stdout, if hidden { "" } else { "in sight" }, "{text}");
        // Only of a key that is none it says more.
        let mistakes = !exeat.exeat(&["check", "--files-only"]).finish().stdout.contains("no mistakes");
        assert_eq!(mistakes, text.contains("client_certificate"), "{text}");
        fs::remove_file(exeat.config(file)).unwrap();
    }
}
