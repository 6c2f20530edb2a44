//! What is hidden cannot be got at by any name or way, and nothing else is harmed by it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod harness;
use harness::{Sandbox, starters};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

const WORD: &str = "the-secret-itself";

/// A project with a secret under each of `paths`, all of it its starter's.
fn project(sandbox: &Sandbox, paths: &[&str]) {
    for path in paths {
        let path = sandbox.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("WORD={WORD}\n")).unwrap();
    }
    own(sandbox);
}

fn own(sandbox: &Sandbox) {
    let owner = format!("--reference={}", sandbox.path());
    assert!(std::process::Command::new("chown").args(["-R", "-h", &owner, sandbox.path()]).status().unwrap().success());
}

/// Whatever way leads to a file: those that a program with a shell has, and those of system calls.
const WAYS: &str = r#"
import os, shutil, subprocess, sys
path = sys.argv[1]; name = os.path.basename(path); parent = os.path.dirname(path) or "."
def read(at):
    with open(at, "rb") as file: return file.read()
def held(at):
    fd = os.open(at, os.O_PATH)
    return read(f"/proc/self/fd/{fd}")
def renamed():
    os.rename(path, path + ".moved"); return read(path + ".moved")
def above():
    os.rename(parent, parent + ".moved"); return read(os.path.join(parent + ".moved", name))
def exchanged():
    open("beside", "w").close(); subprocess.run(["mv", "--exchange", "beside", path], check=True, stderr=subprocess.DEVNULL); return read("beside")
def linked():
    os.link(path, "linked"); return read("linked")
def symlinked():
    if not os.path.lexists("symlinked"): os.symlink(os.path.abspath(path), "symlinked")
    return read("symlinked")
def removed():
    os.unlink(path); return read(path)
def copied():
    shutil.copytree(parent, "/tmp/copy", dirs_exist_ok=True); return read("/tmp/copy/" + name)
def bound():
    subprocess.run(["mount", "--bind", parent, "/tmp"], check=True, stderr=subprocess.DEVNULL); return read("/tmp/" + name)
def unmounted():
    subprocess.run(["umount", "-l", path], check=True, stderr=subprocess.DEVNULL); return read(path)
def at_dir():
    fd = os.open(parent, os.O_PATH); return read(f"/proc/self/fd/{fd}/{name}")
def overwritten():
    try: os.chmod(path, 0o666)
    except OSError: pass
    with open(path, "w") as file: file.write("x")
    return b""
here = os.path.abspath(path)
ways = dict(plain=lambda: read(path), absolute=lambda: read(here), root=lambda: read("/proc/self/root" + here),
    init=lambda: read("/proc/1/root" + here), cwd=lambda: read("/proc/self/cwd/" + path),
    dots=lambda: read(os.path.join(parent, "..", os.path.basename(os.path.abspath(parent)), name)),
    held=lambda: held(path), at_dir=at_dir, linked=linked, symlinked=symlinked, exchanged=exchanged, bound=bound,
    unmounted=unmounted, copied=copied, overwritten=overwritten, removed=removed, renamed=renamed, above=above)
for way, attempt in ways.items():
    try: seen = attempt()
    except Exception as error: seen = b""
    if b"the-secret-itself" in seen: print("GOT", way)
print("done", os.path.getsize(path) if os.path.exists(path) else "moved")
"#;

#[test]
fn no_way_leads_to_a_hidden_file_and_it_stays_as_it_was() {
    for starter in starters() {
        for hide in [true, false] {
            let sandbox = Sandbox::of(starter).writable();
            project(&sandbox, &["app/config/secret", "app/beside"]);
            let secret = sandbox.directory.path().join("app/config/secret");
            let path = secret.to_str().unwrap().to_owned();
            let sandbox = if hide { sandbox.with(&["--conceal", &path]) } else { sandbox };
            let out = sandbox.run(&["/usr/bin/python3", "-c", WAYS, "app/config/secret"]).ok();
            // The same attempts do get at what is not hidden.
            assert_eq!(out == "done 0\n", hide, "{starter:?}: {out}");
            if hide {
                assert_eq!(fs::read_to_string(&secret).unwrap(), format!("WORD={WORD}\n"), "{starter:?}");
            }
        }
    }
}

#[test]
fn secrets_are_hidden_by_their_names_and_what_is_around_them_may_move() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        project(&sandbox, &[".env", "app/.env.production", "app/.env.example", "app/.ssh/id_x", "app/src/main"]);
        symlink("src/hidden-target", sandbox.directory.path().join("app/.env")).unwrap();
        fs::write(sandbox.directory.path().join("app/src/hidden-target"), WORD).unwrap();
        fs::hard_link(sandbox.directory.path().join(".env"), sandbox.directory.path().join("app/innocent")).unwrap();
        own(&sandbox);
        let sandbox = sandbox.with(&["--status"]);
        let run = sandbox.sh(&format!(
            "grep -r {WORD} . | sort; mv app moved; grep -rl {WORD} moved | sort; ls -A moved/.ssh | wc -l; touch new; rm .env; ls -A | sort | xargs"
        ));
        let seen = format!(
            "./app/.env.example:WORD={WORD}\n./app/src/main:WORD={WORD}\nmoved/.env.example\nmoved/src/main\n0\n.env moved new\n"
        );
        assert_eq!(run.out, seen, "{starter:?} {}", run.err);
        assert!(run.err.contains("\"hidden\":{\"count\":5,"), "{}", run.err);
        // At the next start they are found where they are now.
        let run = sandbox.sh(&format!("grep -rl {WORD} . | sort"));
        assert_eq!(run.out, "./moved/.env.example\n./moved/src/main\n", "{starter:?} {}", run.err);
        let all = sandbox.with(&["--show-secrets"]).sh(&format!("grep -rl {WORD} . | wc -l"));
        assert_eq!(all.out, "7\n", "{starter:?} {}", all.err);
    }
}

#[test]
fn what_is_named_is_shown_also_within_what_is_hidden() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        project(&sandbox, &[".env", "kept/.env", "home/.ssh/id_x", "home/.ssh/known_hosts", "home/.aws/credentials"]);
        let path = |name: &str| sandbox.directory.path().join(name).to_str().unwrap().to_owned();
        let (home, hosts, kept) = (path("home"), path("home/.ssh/known_hosts"), path("kept/.env"));
        let sandbox = sandbox.with(&["--home", &home, "--read", &hosts, "--read", &kept]);
        let run = sandbox.sh(&format!(
            "grep -rl {WORD} . | sort; ls -A home/.ssh home/.aws | xargs; for at in home/.ssh home/.aws; do touch $at/x 2>/dev/null && echo WROTE; done;
             mv home/.ssh x 2>/dev/null && echo MOVED; mv home other 2>/dev/null && echo MOVED; echo x 2>/dev/null > home/.ssh/known_hosts && echo WROTE; true"
        ));
        let seen = "./home/.ssh/known_hosts\n./kept/.env\nhome/.aws: home/.ssh: known_hosts\n";
        assert_eq!(run.out, seen, "{starter:?} {}", run.err);
    }
}

#[test]
fn a_directory_that_cannot_be_looked_through_is_hidden() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        project(&sandbox, &["closed/.env", "open/x"]);
        fs::set_permissions(sandbox.directory.path().join("closed"), fs::Permissions::from_mode(0o311)).unwrap();
        let run = sandbox.sh("cat closed/.env; chmod 755 closed; cat closed/.env; ls -A open");
        assert!(!run.out.contains(WORD) && run.out.ends_with("x\n"), "{starter:?} {} {}", run.out, run.err);
        fs::set_permissions(sandbox.directory.path().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Root sees what is in them; who the command runs as does not, until it lets itself in.
#[test]
fn a_directory_that_the_command_could_open_by_itself_stops_the_start_and_one_of_anothers_does_not() {
    use std::os::unix::fs::chown;
    for owner in starters().iter().filter(|&&starter| starter == harness::Starter::Root).flat_map(|_| [0, 54321]) {
        for name in [".env", "below/deep/secret"] {
            let start = |closed_by: u32| {
                let sandbox = Sandbox::of(harness::Starter::Root).writable();
                project(&sandbox, &[&format!("closed/{name}")]);
                let closed = sandbox.directory.path().join("closed");
                let secret = closed.join(name).to_str().unwrap().to_owned();
                fs::write(&secret, WORD).unwrap();
                for path in [sandbox.directory.path(), &closed] {
                    chown(path, Some(owner), Some(owner)).unwrap();
                }
                // Of a group that the command's user is not in.
                chown(&closed, Some(closed_by), Some(4321)).unwrap();
                fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
                let sandbox = sandbox.with(&["--conceal", &secret]);
                let run = sandbox.sh(&format!("echo ran; chmod 777 closed; cat closed/{name}"));
                (run, closed.to_str().unwrap().to_owned())
            };
            let (run, closed) = start(owner);
            assert!(run.code == 125 && run.out.is_empty(), "{owner} {name}: {} {}", run.out, run.err);
            assert!(run.err.contains("cover") && run.err.contains(&format!("`{closed}`")), "{}", run.err);
            let (run, _) = start(4321);
            assert_eq!(run.out, "ran\n", "{owner} {name}: {}", run.err);
        }
    }
}

#[test]
fn what_cannot_be_looked_through_within_the_bound_stops_the_start() {
    let starter = starters()[0];
    let sandbox = Sandbox::of(starter);
    let deep = sandbox.directory.path().join("x");
    // Deeper than any path: by relative steps.
    let made = std::process::Command::new("/usr/bin/python3")
        .args(["-c", "import os,sys\nos.makedirs(sys.argv[1]); os.chdir(sys.argv[1])\nfor _ in range(30): os.mkdir('d'*200); os.chdir('d'*200)"])
        .arg(&deep)
        .status();
    assert!(made.unwrap().success());
    own(&sandbox);
    let run = sandbox.run(&["true"]);
    assert_eq!(run.code, 125, "{}", run.err);
    assert!(run.err.contains("look through") && run.err.contains("hint:"), "{}", run.err);
    assert_eq!(sandbox.with(&["--show-secrets"]).run(&["true"]).code, 0);
    assert!(std::process::Command::new("rm").arg("-rf").arg(&deep).status().unwrap().success());
}

#[test]
fn nobody_starts_in_what_is_hidden() {
    let sandbox = Sandbox::of(starters()[0]);
    let path = sandbox.path().to_owned();
    let run = sandbox.with(&["--conceal", &path]).run(&["true"]);
    assert!(run.code == 125 && run.err.contains("hide"), "{}", run.err);
}
