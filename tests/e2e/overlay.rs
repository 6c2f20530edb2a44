//! Where a policy says so, a tree is writable inside and unchanged outside, and what changed can be seen and kept.

mod moved;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::Exeat;

/// The working directory under a layer, with a few files in it.
fn layered() -> Exeat {
    let exeat = Exeat::new().sandbox("");
    let policy = fs::read_to_string(exeat.policy_file()).unwrap();
    fs::write(exeat.policy_file(), policy.replace("write = [\".\"]", "write = \"overlay\"")).unwrap();
    for (file, text) in [
        ("kept", "kept\n"),
        ("changed", "one\ntwo\nthree\n"),
        ("gone", "gone\n"),
        ("dir/a", "a\n"),
        ("dir/b", "b\n"),
        ("old/x/y", "y\n"),
        ("became/x", "x\n"),
        ("was", "was\n"),
    ] {
        let path = exeat.work().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::set_permissions(exeat.work().join("kept"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("kept", exeat.work().join("link")).unwrap();
    exeat
}

/// All that a tree is: names, modes, times, contents.
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let at = fs::symlink_metadata(&path).unwrap();
        let content = if at.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.insert(format!("{path:?}"), format!("{:o} {} {} {content:?}", at.mode(), at.mtime(), at.mtime_nsec()));
        if at.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

const CHANGE: &str = r"
    echo TWO > changed; rm gone; rm -r old; rm -r dir; mkdir dir; echo c > dir/c; touch kept; mkdir -p new/deep; echo new > new/deep/file
    chmod 755 kept; ln -sf changed link; printf 'x\033[2Jy' > 'bad\name'; echo same > same; rm same; mkfifo pipe
    rm -r became; echo file > became; rm was; mkdir was; echo in > was/in";

const CHANGES: &[&str] = &[
    "A \"bad\\\\name\"",
    "D became/",
    "A became",
    "M changed",
    "D dir/a",
    "D dir/b",
    "A dir/c",
    "D gone",
    "M kept",
    "M link",
    "A new/",
    "A new/deep/",
    "A new/deep/file",
    "D old/",
    "A pipe",
    "D was",
    "A was/",
    "A was/in",
];

#[test]
fn the_tree_can_be_written_and_is_unchanged_and_diff_shows_what_changed() {
    let exeat = layered();
    let before = snapshot(&exeat.work());
    let run = exeat.sh(&format!("{CHANGE}\ncat changed link dir/c; ls dir; stat -c %a .")).ok();
    let mode = fs::metadata(exeat.work()).unwrap().mode() & 0o777;
    assert_eq!(run.stdout, format!("TWO\nTWO\nc\nc\n{mode:o}\n"), "{run:#?}");
    assert_eq!(snapshot(&exeat.work()), before);
    assert_eq!(exeat.log().start().sandbox["layered"][0], exeat.work().display().to_string());
    let diff = exeat.exeat(&["diff"]).finish().ok();
    assert_eq!(diff.stdout.lines().collect::<Vec<_>>(), CHANGES, "{diff:#?}");
    assert_eq!(diff.stderr, format!("exeat: note: of worker {}\n", exeat.log().start().worker));
    let json: Value =
        serde_json::from_str(&exeat.exeat(&["diff", "--json", "--agent", "bot"]).finish().ok().stdout).unwrap();
    assert_eq!(json[0]["changes"].as_array().unwrap().len(), CHANGES.len());
    assert_eq!(json[0]["changes"][3]["what"], "modified");
    // The next worker has a layer of its own.
    assert_eq!(exeat.sh("cat changed gone; ls").ok().stdout.lines().count(), 12);
    assert_eq!(exeat.exeat(&["diff"]).finish().ok().stdout, "");
}

#[test]
fn what_changed_can_be_kept_as_files_and_as_a_patch_and_discarded() {
    let exeat = layered();
    // Git takes a patch whole or not at all: what is no text must not spoil it.
    exeat.sh(&format!("{CHANGE}; printf 'x\\000y' > binary")).ok();
    let worker = exeat.log().start().worker.clone();
    let patch = exeat.exeat(&["diff", &worker[28..], "--patch"]).finish().ok().stdout;
    let kept = exeat.path("kept");
    let export = exeat.exeat(&["diff", "--export", kept.to_str().unwrap()]).finish();
    assert!(export.code == Some(1) && export.stderr.matches("left out: ").count() == 1, "{export:#?}");
    assert!(export.stderr.contains("left out: pipe"), "{export:#?}");
    assert_eq!(fs::read_to_string(kept.join("0/new/deep/file")).unwrap(), "new\n");
    assert_eq!(fs::read_link(kept.join("0/link")).unwrap(), Path::new("changed"));
    assert_eq!(fs::metadata(kept.join("0/kept")).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(fs::read_to_string(kept.join("changes.json")).unwrap().contains("\"deleted\""));
    let again = exeat.exeat(&["diff", "--export", kept.to_str().unwrap()]).finish();
    assert_eq!(again.code, Some(125), "{again:#?}");

    // Applied to a copy, the patch makes what was seen inside, but for what no patch can say.
    let copy = exeat.path("copy");
    assert!(
        Command::new("cp")
            .args(["-a", exeat.work().to_str().unwrap(), copy.to_str().unwrap()])
            .status()
            .unwrap()
            .success()
    );
    let mut git = Command::new("git").args(["apply", "-"]).current_dir(&copy).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut git.stdin.take().unwrap(), patch.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success(), "{patch}");
    assert_eq!(fs::read_to_string(copy.join("changed")).unwrap(), "TWO\n");
    assert_eq!(fs::read_to_string(copy.join("bad\\name")).unwrap(), "x\u{1b}[2Jy");
    assert!(
        copy.join("dir/c").exists()
            && !copy.join("dir/a").exists()
            && !copy.join("gone").exists()
            && !copy.join("old").exists()
    );
    assert_eq!(fs::metadata(copy.join("kept")).unwrap().permissions().mode() & 0o777, 0o755);

    let discarded = exeat.exeat(&["diff", &worker, "--discard"]).finish().ok();
    assert!(discarded.stdout.contains("discarded"), "{discarded:#?}");
    let none = exeat.exeat(&["diff", &worker]).finish().ended_with(125);
    assert!(
        none.stderr.contains(&format!("worker {worker} has no layers")) && none.stderr.contains("overlay"),
        "{none:#?}"
    );
    let unknown = "019f0000-0000-7000-8000-00000000abcd";
    let none = exeat.exeat(&["diff", unknown]).finish().ended_with(125);
    assert!(none.stderr.contains(&format!("there is no worker {unknown}")), "{none:#?}");
    let none = Exeat::new().exeat(&["diff", "abcdef"]).finish().ended_with(125);
    assert!(none.stderr.contains("no worker's id ends with `abcdef`"), "{none:#?}");
}

#[test]
fn what_changed_can_be_applied_where_the_machine_did_not_change_the_same() {
    let exeat = layered();
    let inside = exeat
        .sh(&format!(
            "{CHANGE}; rm pipe; mkdir .exeat-apply; mkdir -m 700 closed; mkdir sealed; echo x > sealed/in; chmod 555 sealed; {LISTING}"
        ))
        .ok()
        .stdout;
    let worker = exeat.log().start().worker.clone();
    // The machine's own change to another file is no matter; one to the same stops it all.
    fs::write(exeat.work().join("beside"), "beside").unwrap();
    fs::write(exeat.work().join("old/x/y"), "changed").unwrap();
    let before = snapshot(&exeat.work());
    let refused = exeat.exeat(&["diff", &worker, "--apply"]).finish().ended_with(125);
    assert!(refused.stderr.contains("1 of the changed paths") && refused.stderr.contains(": old"), "{refused:#?}");
    assert_eq!(snapshot(&exeat.work()), before);

    let exeat = layered();
    if rustix::process::geteuid().is_root() {
        // Somebody's directory, in which root applies it.
        assert!(Command::new("chown").args(["-R", "-h", "54321:65534"]).arg(exeat.work()).status().unwrap().success());
    }
    let again = exeat
        .sh(&format!(
            "{CHANGE}; rm pipe; mkdir .exeat-apply; mkdir -m 700 closed; mkdir sealed; echo x > sealed/in; chmod 555 sealed; {LISTING}"
        ))
        .ok()
        .stdout;
    assert_eq!(again, inside);
    let worker = exeat.log().start().worker.clone();
    fs::write(exeat.work().join("beside"), "beside").unwrap();
    exeat.exeat(&["diff", &worker, "--apply"]).finish().ok();
    fs::remove_file(exeat.work().join("beside")).unwrap();
    let outside = Command::new("sh").args(["-c", LISTING]).current_dir(exeat.work()).output().unwrap();
    assert_eq!(String::from_utf8(outside.stdout).unwrap(), inside);
    let owner = fs::metadata(exeat.work()).unwrap().uid();
    assert!(
        ["new", "new/deep/file", "changed", "link"]
            .iter()
            .all(|path| fs::symlink_metadata(exeat.work().join(path)).unwrap().uid() == owner)
    );
    assert_eq!(exeat.exeat(&["diff", &worker]).finish().ok().stdout, "");
}

/// Names, kinds, modes, targets and contents of all that there is.
const LISTING: &str = "find . | sort | while read -r f; do stat -c '%n %F %a' \"$f\"; readlink \"$f\"; [ -f \"$f\" ] && cat \"$f\"; done; true";

#[test]
fn what_is_applied_goes_through_no_link() {
    let exeat = layered();
    let outside = exeat.path("outside");
    fs::create_dir(&outside).unwrap();
    exeat.sh("mkdir dir/new; echo x > dir/new/file; echo x > dir/a; echo x > kept; rm gone; ln -s /nowhere gone").ok();
    let worker = exeat.log().start().worker.clone();
    // What the machine has there now leads elsewhere.
    fs::rename(exeat.work().join("dir"), exeat.path("moved")).unwrap();
    symlink(&outside, exeat.work().join("dir")).unwrap();
    let run = exeat.exeat(&["diff", &worker, "--apply"]).finish();
    assert_ne!(run.code, Some(0), "{run:#?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{run:#?}");
    assert_eq!(fs::read_to_string(exeat.path("moved").join("a")).unwrap(), "a\n");
}

#[test]
fn git_and_builds_work_in_it_and_the_repository_outside_is_as_it_was() {
    let exeat = layered();
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "safe.directory=*"]).args(words);
        let out = command.current_dir(exeat.work()).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "first"]);
    let before = snapshot(&exeat.work());
    let run = exeat.sh(
        "set -e; export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=e@example.com GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=e@example.com
         git checkout -q -b other; git mv dir/a dir/z; mv old elsewhere; git add -A; git commit -qm second; git checkout -q main; test -e old/x/y; git merge -q other
         git gc -q; git status --short; git log --oneline | wc -l; ls",
    );
    assert_eq!(run.ok().stdout, "2\nbecame\nchanged\ndir\nelsewhere\ngone\nkept\nlink\nwas\n");
    assert_eq!(snapshot(&exeat.work()), before);
    assert_eq!(git(&["log", "--oneline"]).lines().count(), 1);
    let diff = exeat.exeat(&["diff"]).finish().ok().stdout;
    assert!(diff.contains("D old/\n") && diff.contains("A elsewhere/x/y\n") && diff.contains("A dir/z\n"), "{diff}");
    // Git takes the patch, in which nothing is that is Git's own.
    assert!(diff.contains("M .git/HEAD\n") || diff.contains(".git/refs"), "{diff}");
    let patch = exeat.path("patch");
    fs::write(&patch, exeat.exeat(&["diff", "--patch"]).finish().ok().stdout).unwrap();
    git(&["apply", "--index", patch.to_str().unwrap()]);
    assert_eq!(git(&["diff", "--cached", "--name-status", "-M"]), "R100\tdir/a\tdir/z\nR100\told/x/y\telsewhere/x/y\n");
}

#[test]
fn a_hidden_file_is_hidden_there_too_and_the_layer_has_no_name_inside() {
    let exeat = layered();
    fs::write(exeat.work().join(".env"), "the-secret-itself").unwrap();
    fs::create_dir(exeat.work().join("dir/sub")).unwrap();
    fs::write(exeat.work().join("dir/sub/.env"), "the-secret-itself").unwrap();
    let run = exeat.sh(
        "cat .env; rm .env; echo x > .env; mv .env e; cat e; mv dir moved; cat moved/sub/.env; cp -r dir copied; ln .env l; cat l; grep -r the-secret . /.layers /.stage /srv /tmp
         ls -d /.layers /.stage; cat /proc/self/root/.layers/layer/upper/kept; true",
    );
    assert_eq!(run.stdout, "", "{run:#?}");
    assert_eq!(fs::read_to_string(exeat.work().join(".env")).unwrap(), "the-secret-itself");
    let upper = exeat.state().join("workers").join(&run.log.start().worker).join("overlay/0/upper");
    let leaked = Command::new("grep").args(["-r", "the-secret-itself"]).arg(&upper).output().unwrap();
    assert!(leaked.stdout.is_empty() && upper.is_dir(), "{leaked:?}");
}

#[test]
fn what_a_hostile_layer_has_in_it_leads_nowhere() {
    let exeat = layered();
    let outside = exeat.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    // Links to the outside in the place of directories, deep trees, names that are no text, closed directories.
    let run = exeat.python(&format!(
        "import os
os.symlink('{outside}', 'new'); os.unlink('dir/a'); os.unlink('dir/b'); os.rename('dir', 'd2') if False else None
open(b'not-\\xff-text', 'w').close(); os.mkdir('closed'); open('closed/x', 'w').close(); os.chmod('closed', 0)
os.makedirs('/'.join(['d'] * 300)); os.unlink('link'); os.symlink('/etc/passwd', 'link'); os.truncate('changed', 1 << 40)",
        outside = outside.display(),
    ));
    run.ok();
    let diff = exeat.exeat(&["diff"]).finish();
    let told: Vec<&str> = diff.stdout.lines().collect();
    assert!(
        ["A new", "A \"not-\\xFF-text\"", "A closed/", "M link", "M changed"].iter().all(|line| told.contains(line)),
        "{diff:#?}"
    );
    assert!(diff.code == Some(1) && diff.stderr.contains("directories deep"), "{diff:#?}");
    let patch = exeat.exeat(&["diff", "--patch"]).finish();
    assert!(!patch.stdout.contains("precious") && !patch.stdout.contains("root:x:0"), "{}", patch.stdout);
    // The host's own directory has become a link to elsewhere: nothing is followed there either.
    let kept = exeat.path("kept");
    fs::remove_dir_all(exeat.work().join("dir")).unwrap();
    symlink(&outside, exeat.work().join("dir")).unwrap();
    let export = exeat.exeat(&["diff", "--export", kept.to_str().unwrap()]).finish();
    assert_eq!(export.code, Some(1), "{export:#?}");
    assert_eq!(fs::read_link(kept.join("0/new")).unwrap(), outside);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // A file of holes is no larger here either.
    let huge = fs::metadata(kept.join("0/changed")).unwrap();
    assert_eq!((huge.len(), huge.blocks() < 100), (1 << 40, true));
    assert!(kept.join("0").join(std::ffi::OsStr::from_bytes(b"not-\xff-text")).exists());
    let worker = exeat.log().start().worker.clone();
    exeat.exeat(&["diff", &worker, "--discard"]).finish().ok();
    assert!(!exeat.state().join("workers").join(&worker).join("overlay").exists());
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");
}

#[test]
fn two_workers_at_once_have_a_layer_each() {
    let exeat = layered();
    let mut first = exeat.start_with_input(&["sh", "-c", "echo first > changed; echo ready; cat; cat changed"]);
    first.wait_for("ready");
    let second = exeat.sh("cat changed; echo second > changed").ok();
    assert_eq!(second.stdout, "one\ntwo\nthree\n");
    let running = exeat.exeat(&["workers", "--json"]).finish().ok().stdout;
    let running: Value = serde_json::from_str(&running).unwrap();
    let refused = exeat.exeat(&["diff", running[0]["worker"].as_str().unwrap(), "--discard"]).finish().ended_with(125);
    assert!(refused.stderr.contains("still runs"), "{refused:#?}");
    first.close_input();
    assert_eq!(first.finish().ok().stdout, "ready\nfirst\n");
}

#[test]
fn a_layer_that_cannot_be_is_refused_in_words() {
    let exeat = layered();
    let around = exeat.path("");
    let policy = fs::read_to_string(exeat.policy_file()).unwrap();
    let overlay = |paths: &str| policy.replace("write = \"overlay\"", &format!("overlay = {paths}"));
    for (paths, told) in [
        (format!("[\"{}\"]", around.display()), "lie in the directory itself"),
        ("[\"kept\"]".to_owned(), "no directory"),
        ("[\".\"]\nwrite = [\".\"]".to_owned(), "both write to"),
    ] {
        fs::write(exeat.policy_file(), overlay(&paths)).unwrap();
        let run = exeat.sh("echo ran").ended_with(125);
        assert!(run.stderr.contains(told) && run.stderr.contains("hint:"), "{run:#?}");
        assert!(run.stdout.is_empty() && fs::read_dir(exeat.state().join("layers")).unwrap().count() == 0);
    }
    if rustix::process::geteuid().is_root() {
        // What would be copied up would belong to a group that is nobody's inside.
        std::os::unix::fs::chown(exeat.work(), Some(54321), Some(1)).unwrap();
        fs::write(exeat.policy_file(), &policy).unwrap();
        let run = exeat.sh("echo ran").ended_with(125);
        assert!(run.stderr.contains("another group") && run.stderr.contains("chgrp"), "{run:#?}");
        std::os::unix::fs::chown(exeat.work(), Some(0), Some(0)).unwrap();
    }
    // Some below others: the deeper entry decides.
    fs::write(exeat.policy_file(), overlay("[\".\"]\nwrite = [\"old\"]\nread = [\"dir\"]")).unwrap();
    let run = exeat.sh("echo x > changed; echo real > old/x/y; echo x > dir/a; true").ok();
    assert!(run.stderr.contains("Read-only"), "{run:#?}");
    assert_eq!(fs::read_to_string(exeat.work().join("old/x/y")).unwrap(), "real\n");
    assert_eq!(fs::read_to_string(exeat.work().join("changed")).unwrap(), "one\ntwo\nthree\n");
    assert_eq!(exeat.exeat(&["diff"]).finish().ok().stdout, "M changed\n");
}

#[test]
fn where_the_kernel_takes_no_layer_nothing_starts() {
    // A state directory on an overlay file system; a tree with a mount in it, which nobody inside may take apart.
    let on_overlay = |exeat: &Exeat| {
        let (state, on) = (exeat.state(), exeat.path("config"));
        let (state, on) = (state.display(), on.join("secrets").display().to_string());
        format!(
            "mount -t tmpfs none {on} && mkdir {on}/l {on}/u {on}/w &&
             mount -t overlay -o userxattr,lowerdir={on}/l,upperdir={on}/u,workdir={on}/w none {state}"
        )
    };
    let within = |exeat: &Exeat| format!("mount -t tmpfs none {}", exeat.work().join("dir").display());
    for mounts in [&on_overlay as &dyn Fn(&Exeat) -> String, &within] {
        let exeat = layered();
        let mounts = mounts(&exeat);
        let exeat = exeat.through_mounts(&mounts);
        let run = exeat.sh("echo ran").ended_with(125);
        assert!(run.stderr.contains("put a layer over ") && run.stderr.contains("hint:"), "{mounts}: {run:#?}");
        assert_eq!(run.stdout, "");
    }
}
