//! Landlock stands behind the mounts where the kernel has it, is said to, and is missed by nobody where it has not.

mod harness;
use harness::{Sandbox, starters};
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

#[test]
fn it_is_in_force_and_says_what_it_holds() {
    for starter in starters() {
        let outcome = Sandbox::of(starter).with(&["--status"]).run(&["true"]);
        assert_eq!(outcome.code, 0, "{starter:?}: {}", outcome.err);
        let status: serde_json::Value = serde_json::from_str(&outcome.err).unwrap_or_default();
        let landlock = &status["landlock"];
        let abi = landlock["abi"].as_i64();
        assert!(abi.is_some_and(|abi| abi >= 2) && landlock["files"] == true, "{starter:?}: {landlock}");
        assert_eq!(landlock["scopes"], abi >= Some(6), "{landlock}");
    }
}

/// Neither mounts nor permissions forbid this: only Landlock does.
#[test]
fn a_file_that_was_handed_over_to_be_read_cannot_be_written() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("input");
        fs::write(&file, "text").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let script = "cat /dev/stdin; (echo spoilt > /dev/stdin) 2>&1 | grep -o 'Permission denied'";
        let out = sandbox.command(&["bash", "-c", script]).stdin(File::open(&file).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "textPermission denied\n", "{starter:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
    }
}

#[test]
fn where_it_does_not_keep_files_none_is_handed_over_to_be_read_that_the_command_could_write() {
    for starter in starters() {
        for nested in [true, false] {
            let sandbox = || match nested {
                true => Sandbox::of(starter).with(&["--nested"]),
                false => Sandbox::of(starter).where_blocked("landlock_create_ruleset=ENOSYS"),
            };
            let outside = tempfile::tempdir().unwrap();
            fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
            // Everybody's; and its own, who could let itself.
            for (mode, own) in [(0o666, false), (0o622, false), (0o444, true)] {
                let (sandbox, file) = (sandbox(), outside.path().join(format!("{mode:o}")));
                fs::write(&file, "text").unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                let held = File::open(&file).unwrap();
                let owner = fs::metadata(sandbox.path()).unwrap().uid();
                if own && rustix::process::geteuid().is_root() {
                    let user = if owner == 0 { 65534 } else { owner };
                    std::os::unix::fs::chown(&file, Some(user), None).unwrap();
                }
                let script = "echo ran; chmod 644 /dev/stdin; echo spoilt > /dev/stdin";
                let out = sandbox.command(&["bash", "-c", script]).stdin(held).output().unwrap();
                let said = String::from_utf8_lossy(&out.stderr);
                assert_eq!((out.status.code(), &*out.stdout), (Some(125), &b""[..]), "{starter:?} {mode:o}: {said}");
                assert!(said.contains("standard input") && said.contains("hint: "), "{said}");
                assert_eq!(fs::read_to_string(&file).unwrap(), "text");
            }
            // What it could not write anyway, and what is to be written.
            let sandbox = sandbox();
            let (input, output) =
                (File::open("/etc/passwd").unwrap(), File::create(outside.path().join("out")).unwrap());
            assert!(sandbox.command(&["cat"]).stdin(input).stdout(output).status().unwrap().success());
            assert_eq!(fs::read(outside.path().join("out")).unwrap(), fs::read("/etc/passwd").unwrap());
        }
    }
}

#[test]
fn files_that_were_handed_over_to_be_written_are_opened_anew_by_name() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let outside = tempfile::tempdir().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [out, err] = ["out", "err"].map(|name| outside.path().join(name));
        let open = |path| {
            let file = File::create(path).unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o666)).unwrap();
            file
        };
        let script = "echo 1; echo 2 >> /dev/stdout; echo 3 > /dev/stderr; echo 4 | tee -a /proc/self/fd/2 > /dev/null";
        let mut command = sandbox.command(&["bash", "-c", script]);
        assert!(command.stdout(open(&out)).stderr(open(&err)).status().unwrap().success());
        assert_eq!(fs::read_to_string(out).unwrap(), "1\n2\n", "{starter:?}");
        assert_eq!(fs::read_to_string(err).unwrap(), "3\n4\n", "{starter:?}");
        let mut nowhere = sandbox.command(&["bash", "-c", "echo > /dev/stdout; [ -c /dev/stderr ]"]);
        nowhere.stdout(File::create("/dev/null").unwrap()).stderr(File::create("/dev/null").unwrap());
        assert!(nowhere.status().unwrap().success(), "{starter:?}");
    }
}

#[test]
fn what_programs_do_with_files_and_devices_goes_on() {
    let script = r#"
set -e
for place in /tmp /var/tmp /dev/shm ~ .; do
    mkdir $place/a $place/b; echo x > $place/a/f; mv $place/a/f $place/b/g; ln $place/b/g $place/a/h; mv $place/a $place/b/c
    ln -s / $place/s; mkfifo $place/p; : > $place/b/g; truncate -s 5 $place/b/g; rm -r $place/b $place/s $place/p
done
mkdir /tmp/d; echo x > /tmp/d/f; mv /tmp/d ~/d; mv ~/d ./d; cat d/f; cp -a d /dev/shm
echo 500 > /proc/self/oom_score_adj; echo named > /proc/self/comm; echo 0 > /proc/self/coredump_filter
python3 -c '
import errno, fcntl, os, termios
for name in ("null", "zero", "full", "random", "urandom"):
    fd = os.open("/dev/" + name, os.O_RDWR)
    try: termios.tcgetattr(fd)
    except termios.error as error: assert error.args[0] in (errno.ENOTTY, errno.EINVAL), (name, error)
master, slave = os.openpty(); termios.tcgetattr(os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY))
'
"#;
    for starter in starters() {
        assert_eq!(Sandbox::of(starter).writable().sh(script).ok(), "x\n", "{starter:?}");
    }
}

#[test]
fn a_kernel_without_it_runs_everything_and_that_is_said() {
    for starter in starters() {
        // Not there, switched off at boot, kept back by a container.
        for errno in ["ENOSYS", "EOPNOTSUPP", "EPERM"] {
            let blocked = format!("landlock_create_ruleset={errno}");
            let sandbox = Sandbox::of(starter).writable().with(&["--status"]).where_blocked(&blocked);
            // The mounts alone, which otherwise stand before the wall that the other tests look at.
            let script = "echo ran; touch here; for place in / /etc /usr /usr/bin /dev /home /srv /opt; do
                              touch $place/here 2>/dev/null && echo written to $place; done; echo > /proc/sys/kernel/hostname";
            let outcome = sandbox.sh(script);
            assert_eq!((outcome.code, outcome.out.as_str()), (1, "ran\n"), "{}", outcome.err);
            let line = outcome.err.lines().next().unwrap_or_default();
            let status: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            assert!(status["landlock"].is_null() && status["syscall_filter"] == "allow-list", "{}", outcome.err);

            let told = sandbox.told_beforehand();
            assert!(told.contains("Landlock: no") && told.contains("mounts alone"), "{told}");
        }
    }
}

/// Not in a temporary directory: those may be written to anyway.
#[test]
fn write_paths_are_written_wherever_they_are_and_nothing_beside_them() {
    let starter = starters()[0]; // who runs the tests: the build's directory may be closed to others
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(path("tree/kept")).unwrap();
    fs::write(path("file"), "").unwrap();
    let options = ["--write", &path("tree"), "--write", &path("file"), "--read", &path("tree/kept")];
    let script = "cd $0 && mkdir tree/a tree/b && echo x > tree/a/f && mv tree/a/f tree/b/g && echo y > file && cat tree/b/g file
                  touch tree/kept/f 2>/dev/null || echo kept; touch beside 2>/dev/null || echo not beside";
    let out = Sandbox::of(starter).with(&options).run(&["bash", "-c", script, &path("")]).ok();
    assert_eq!(out, "x\ny\nkept\nnot beside\n");
}
