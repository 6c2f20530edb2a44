//! Of the machine there are the programs, the paths that were named, and nothing else.

mod harness;
use harness::{Sandbox, Starter, refused, starters};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

#[test]
fn the_root_holds_only_what_it_should() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let out =
            sandbox.sh("ls / | tr '\\n' ' '; ls -A /home /var /srv /tmp /home/agent /var/tmp | tr '\\n' ' '").ok();
        for absent in ["run", "sys", "boot", "mnt", "media", "root"] {
            assert!(!out.split_whitespace().any(|name| name == absent), "{absent} in {out} ({starter:?})");
        }
        let lists = out.split("/home:").nth(1).unwrap();
        let own = sandbox.directory.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(
            lists.split_whitespace().collect::<Vec<_>>().join(" "),
            format!("agent /home/agent: /srv: /tmp: {own} /var: tmp /var/tmp:"),
            "{starter:?}"
        );
        let sockets = "/run/docker.sock /var/run/docker.sock /etc/shadow /etc/sudoers /etc/ssh /etc/pam.d /etc/crontab";
        assert_ne!(sandbox.sh(&format!("ls -d {sockets} 2>/dev/null")).code, 0);
        assert_eq!(sandbox.sh(&format!("ls -d {sockets} 2>/dev/null")).out, "", "{starter:?}");
    }
}

#[test]
fn accounts_and_names_are_the_sandboxs_own() {
    for starter in starters() {
        let out = Sandbox::of(starter)
            .sh("id -un; cut -d: -f1 /etc/passwd | sort | tr '\\n' ' '; hostname; cat /etc/resolv.conf")
            .ok();
        assert!(out.starts_with("agent\nagent "), "{out}");
        assert!(out.contains("sandbox\nnameserver 198.18.0.1\n"), "{out}");
        assert!(!out.contains("daemon") && !out.contains("postgres"), "{out}");
    }
}

#[test]
fn only_write_paths_and_scratch_space_can_be_written() {
    for starter in starters() {
        let script = "for at in / /usr /etc /opt /dev /proc/sys/kernel/hostname /etc/resolv.conf .; do
                        (echo x > $at/x || echo x > $at) 2>/dev/null && echo wrote $at; done
                      for at in /tmp /var/tmp /dev/shm /home/agent; do echo x > $at/x && echo wrote $at; done";
        let out = Sandbox::of(starter).sh(script).ok();
        assert_eq!(out, "wrote /tmp\nwrote /var/tmp\nwrote /dev/shm\nwrote /home/agent\n", "{starter:?}");
    }
}

#[test]
fn files_of_the_callers_are_the_commands_own_and_nobody_elses() {
    for starter in starters() {
        let files = ["--home-file", ".netrc=machine a", "--home-file", ".config/tool/x=deep"];
        let script = "cd; stat -c '%a %U' .netrc .config .config/tool/x; cat .netrc; echo; cat .config/tool/x; echo; echo own > .netrc; cat .netrc";
        let out = Sandbox::of(starter).with(&files).sh(script).ok();
        assert_eq!(out, "600 agent\n700 agent\n600 agent\nmachine a\ndeep\nown\n", "{starter:?}");
    }
}

#[test]
fn what_is_written_belongs_outside_to_the_owner_of_the_directory() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        fs::write(sandbox.directory.path().join("before"), "old").unwrap();
        let owner = fs::metadata(sandbox.path()).unwrap();
        std::os::unix::fs::chown(sandbox.directory.path().join("before"), Some(owner.uid()), Some(owner.gid()))
            .unwrap();
        fs::set_permissions(sandbox.directory.path().join("before"), fs::Permissions::from_mode(0o600)).unwrap();
        let out = sandbox.sh("cat before; echo new > before; echo made > made; mkdir sub; stat -c %U made before").ok();
        assert_eq!(out, "oldagent\nagent\n", "{starter:?}");
        for made in ["made", "before", "sub"] {
            assert_eq!(
                fs::metadata(sandbox.directory.path().join(made)).unwrap().uid(),
                owner.uid(),
                "{starter:?} {made}"
            );
        }
        assert_eq!(fs::read_to_string(sandbox.directory.path().join("before")).unwrap(), "new\n");
    }
}

#[test]
fn a_read_path_below_a_write_path_stays_read_only_and_one_beside_is_not_there() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        let kept = sandbox.directory.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
        let other = tempfile::tempdir().unwrap();
        let sandbox = sandbox.with(&["--read", kept.to_str().unwrap()]);
        let script = format!(
            "touch here; touch kept/x 2>/dev/null || echo kept; ls {} 2>/dev/null || echo absent",
            other.path().display()
        );
        assert_eq!(sandbox.sh(&script).ok(), "kept\nabsent\n", "{starter:?}");
        assert!(sandbox.directory.path().join("here").exists());
    }
}

#[test]
fn a_hidden_directory_is_empty_stays_where_it_is_and_brings_nothing_else_to_light() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        let made = sandbox.sh("mkdir -p a/state a/kept && echo secret > a/state/s && echo old > a/kept/k");
        assert_eq!(made.code, 0, "{}", made.err);
        let path = |name: &str| sandbox.directory.path().join(name).to_str().unwrap().to_owned();
        let (state, kept) = (path("a/state"), path("a/kept"));
        let sandbox = sandbox.with(&["--hide", &state, "--read", &kept]);
        let script = "ls -A a/state; touch a/state/x 2>/dev/null; mv a b 2>/dev/null; mv a/state c 2>/dev/null; rm -rf a/state 2>/dev/null
                      cat a/kept/k; echo new 2>/dev/null > a/kept/k; echo written > a/beside; cat a/beside";
        assert_eq!(sandbox.sh(script).out, "old\nwritten\n", "{starter:?}");
        assert_eq!(fs::read_to_string(sandbox.directory.path().join("a/state/s")).unwrap(), "secret\n", "{starter:?}");
        assert_eq!(fs::read_to_string(sandbox.directory.path().join("a/kept/k")).unwrap(), "old\n", "{starter:?}");
    }
}

#[test]
fn what_is_to_be_hidden_and_is_not_there_yet_stops_the_start_where_it_would_be_seen() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (inside, outside) = (sandbox.directory.path().join("no/such"), elsewhere.path().join("no/such"));
        let dangling = elsewhere.path().join("dangling");
        std::os::unix::fs::symlink(&inside, &dangling).unwrap();
        let sandbox = sandbox.with(&["--hide", outside.to_str().unwrap()]);
        assert_eq!(sandbox.sh("echo ran").ok(), "ran\n", "{starter:?}");
        for hide in [&inside, &dangling] {
            let sandbox = Sandbox::of(starter).with(&["--write", sandbox.path(), "--hide", hide.to_str().unwrap()]);
            refused(&sandbox, &["not there yet", inside.to_str().unwrap()]);
        }
    }
}

#[test]
fn no_set_user_id_file_can_be_left_behind() {
    let script = r#"
import os
def tried(make):
    try: make(); return "done"
    except OSError as error: return error.errno
open("f", "w").close()
print(tried(lambda: os.chmod("f", 0o4755)), tried(lambda: os.open("g", os.O_CREAT | os.O_WRONLY, 0o4755)),
      tried(lambda: os.mknod("h", 0o104755)), tried(lambda: os.fchmod(os.open("f", os.O_RDWR), 0o4755)), tried(lambda: os.chmod("f", 0o755)))
"#;
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        assert_eq!(sandbox.run(&["/usr/bin/python3", "-c", script]).ok(), "1 1 1 1 done\n", "{starter:?}");
        for entry in fs::read_dir(sandbox.path()).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().mode() & 0o6000, 0, "{starter:?}");
        }
    }
}

#[test]
fn a_working_directory_below_a_directory_closed_to_others_works_for_root() {
    if !starters().contains(&Starter::Root) {
        return; // root's part is tested when root runs the tests; an ordinary user has no such directory
    }
    let sandbox = Sandbox::of(Starter::Root);
    let inner = sandbox.directory.path().join("project");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(sandbox.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let inner = inner.to_str().unwrap().to_owned();
    let sandbox = sandbox.with(&["--write", &inner]);
    let out = sandbox.command(&["bash", "-c", "pwd; echo x > x; ls"]).current_dir(&inner).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), format!("{inner}\nx\n"));
}

#[test]
fn devices_work_and_there_are_no_others() {
    for starter in starters() {
        let script =
            "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; ls /dev | tr '\\n' ' '";
        let out = Sandbox::of(starter).sh(script).ok();
        assert_eq!(out, "4\n4\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero ", "{starter:?}");
    }
}

#[test]
fn scratch_space_ends_where_the_memory_limit_does() {
    for starter in starters() {
        let script = "head -c 40M /dev/zero > /tmp/a; head -c 40M /dev/zero > /dev/shm/b || echo full";
        let outcome = Sandbox::of(starter).with(&["--memory", "67108864"]).sh(script);
        assert_eq!(outcome.out, "full\n", "{starter:?} {}", outcome.err);
    }
}
