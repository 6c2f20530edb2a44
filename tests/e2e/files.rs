//! Of the files that a policy shows, secrets are absent and what it hides is hidden; two workers share nothing.

use std::fs;

use crate::harness::Exeat;

const WORD: &str = "the-secret-itself";

/// Files with the word in them, in the working directory.
fn project(exeat: &Exeat, files: &[&str]) {
    for file in files {
        let path = exeat.work().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("WORD={WORD}\n")).unwrap();
    }
}

/// Which files are found to have it.
fn seen(exeat: &Exeat) -> Vec<String> {
    let run = exeat.sh(&format!("grep -rl {WORD} . | sort")).ok();
    run.stdout.lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
}

#[test]
fn a_directory_that_one_run_closes_gives_nothing_away_to_the_next() {
    let exeat = Exeat::new().sandbox("hide = [\"app/key\"]");
    fs::create_dir(exeat.work().join("app")).unwrap();
    for (name, text) in [("key", "first-secret"), (".env", "second-secret")] {
        fs::write(exeat.work().join("app").join(name), text).unwrap();
    }
    for mode in ["000", "400"] {
        // As root it is root's directory, shown as the command's own.
        exeat.sh(&format!("chmod {mode} app")).ok();
        let run = exeat.sh("chmod 755 app; cat app/key app/.env; true");
        assert!(!run.stdout.contains("secret"), "{mode}: {run:#?}");
        fs::set_permissions(exeat.work().join("app"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// Where nothing is walked through for secrets, only their own paths tell.
#[test]
fn nor_does_it_where_a_secret_is_known_by_its_path_alone() {
    for (closed, secret) in [("app", "app/key"), (".config", ".config/gh/hosts.yml")] {
        let exeat = Exeat::new();
        let link = exeat.path("link");
        std::os::unix::fs::symlink(exeat.work(), &link).unwrap();
        let home = exeat.work().display().to_string();
        let hide = format!("find_secrets = false\nhide = [\"{}/app/key\"]", link.display());
        let exeat = exeat.environment("HOME", &home).sandbox(&hide);
        project(&exeat, &[secret]);
        exeat.sh(&format!("chmod 000 {closed}")).ok();
        let run = exeat.sh(&format!("chmod 755 {closed}; cat {secret}; true"));
        assert!(!run.stdout.contains(WORD), "{closed}: {run:#?}");
        fs::set_permissions(exeat.work().join(closed), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(!exeat.sh(&format!("cat {secret}; true")).ok().stdout.contains(WORD));
    }
}

#[test]
fn secrets_in_the_project_are_absent_unless_they_are_named_and_the_log_says_so() {
    let exeat = Exeat::new();
    let files = [".env", ".env.local", ".env.example", "api/.env", "api/main.py", "deploy/id_ed25519", ".git/config"];
    project(&exeat, &files);
    assert_eq!(seen(&exeat), [".env.example", ".git/config", "api/main.py"]);
    let run = exeat.sh("cat .env; rm -f .env; echo mine >> .env; mv api web; cat web/.env; mv web api");
    assert!(!run.stdout.contains(WORD), "{run:#?}");
    assert!(fs::read_to_string(exeat.work().join(".env")).unwrap().contains(WORD));
    let hidden = exeat.log().start().sandbox["hidden"].clone();
    assert_eq!(hidden["count"], 4, "{hidden}");
    assert!(hidden["paths"].as_array().unwrap().iter().any(|path| path.as_str().unwrap().ends_with("/api/.env")));
    let exeat = exeat.sandbox("read = [\"api/.env\"]");
    assert_eq!(seen(&exeat), [".env.example", ".git/config", "api/.env", "api/main.py"]);
    let exeat = exeat.sandbox("find_secrets = false");
    assert_eq!(seen(&exeat).len(), files.len());
}

#[test]
fn secrets_of_the_home_are_absent_where_it_is_shown_but_for_what_is_named() {
    let exeat = Exeat::new();
    let home = exeat.path("home");
    for file in [".ssh/id_x", ".ssh/known_hosts", ".aws/credentials", ".config/gcloud/x", ".npmrc", ".profile"] {
        fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
        fs::write(home.join(file), WORD).unwrap();
    }
    let exeat = exeat.environment("HOME", home.to_str().unwrap()).sandbox("read = [\"~\", \"~/.ssh/known_hosts\"]");
    let run = exeat.sh(&format!("cd {}; grep -rl {WORD} . | sort; ls -A .aws | wc -l", home.display())).ok();
    assert_eq!(run.stdout, "./.profile\n./.ssh/known_hosts\n0\n", "{run:#?}");
}

#[test]
fn patterns_show_and_hide_and_check_says_what_they_come_to() {
    let exeat = Exeat::new();
    project(&exeat, &["src/a.rs", "src/deep/b.rs", "src/a.key", "keys/c.key", ".hidden/d.key"]);
    let exeat = exeat.sandbox("hide = [\"**/*.key\", \"nothing/*\", \"src/deep\"]");
    assert_eq!(seen(&exeat), ["src/a.rs"]);
    let outside = exeat.path("outside");
    for file in ["one.txt", "two.txt", "three.md", ".dotted.txt"] {
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join(file), WORD).unwrap();
    }
    let exeat = exeat.sandbox(&format!("read = [\"{}/*.txt\", \"nothing-there/*\"]", outside.display()));
    let run = exeat.sh(&format!("ls -A {}", outside.display())).ok();
    assert_eq!(run.stdout, "one.txt\ntwo.txt\n", "{run:#?}");
    assert!(run.stderr.contains("nothing-there/*") && !run.stderr.contains("nothing/*"), "{run:#?}");
    let checked = exeat.exeat(&["check", "--files-only"]).finish();
    let notes = [
        "bot: sandbox.read: `nothing-there/*` is nothing from here",
        "bot: sandbox.hide: `**/*.key` is from here: \".hidden/d.key\", \"keys/c.key\", \"src/a.key\"",
    ];
    assert!(notes.iter().all(|note| checked.stdout.contains(note)), "{checked:#?}");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    for (lines, told) in
        [("hide = [\".\"]", "hides"), ("read = [\"~nobody/x\"]", "`~/` is the home"), ("write = \"all\"", "overlay")]
    {
        let exeat = Exeat::new().sandbox(lines);
        let policy = fs::read_to_string(exeat.policy_file()).unwrap();
        let policy = if lines.starts_with("write") { policy.replace("write = [\".\"]\n", "") } else { policy };
        fs::write(exeat.policy_file(), policy).unwrap();
        let run = exeat.sh("echo ran").ended_with(125);
        assert!(run.stderr.contains(told) && run.stdout.is_empty(), "{lines}: {run:#?}");
    }
}

/// What one worker leaves wherever it can, the other looks for.
const LEAVE: &str = r#"
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for at in ("/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"]):
    open(at + "/left", "w").write("left")
listener = socket.socket(socket.AF_UNIX); listener.bind("\0left-by-a-worker"); listener.listen()
local = socket.socket(); local.bind(("127.0.0.1", 4711)); local.listen()
print("ipc", libc.shmget(4711, 4096, 0o1600), libc.semget(4711, 1, 0o1600), libc.msgget(4711, 0o1600))
print("left", flush=True); sys.stdin.read()
"#;
const LOOK: &str = r#"
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
found = [at for at in ("/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"]) if os.path.exists(at + "/left")]
found += [name for name, made in (("shm", libc.shmget(4711, 4096, 0o600)), ("sem", libc.semget(4711, 1, 0o600)), ("msg", libc.msgget(4711, 0o600))) if made >= 0]
for family, address in ((socket.AF_UNIX, "\0left-by-a-worker"), (socket.AF_INET, ("127.0.0.1", 4711))):
    try: socket.socket(family).connect(address); found.append(str(address))
    except OSError: pass
found += [pid for pid in os.listdir("/proc") if pid.isdigit() and b"left-by-a-worker" in open(f"/proc/{pid}/cmdline", "rb").read() and int(pid) != os.getpid()]
print("found", found)
"#;

#[test]
fn two_workers_of_one_agent_in_one_project_share_nothing_else() {
    let exeat = Exeat::new();
    let mut first = exeat.start_with_input(&["python3", "-c", LEAVE]);
    first.wait_for("left\n");
    let second = exeat.python(LOOK).ok();
    assert_eq!(second.stdout, "found []\n", "{second:#?}");
    first.signal(rustix::process::Signal::TERM);
    let first = first.finish();
    assert!(first.stdout.starts_with("ipc ") && !first.stdout.contains("-1"), "{first:#?}");
}
