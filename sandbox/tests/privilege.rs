//! The command has no privilege, gets none, and sees nothing of those who have.

mod harness;
use harness::{Sandbox, Starter, starters};
use std::os::unix::fs::PermissionsExt;

#[test]
fn no_capability_in_any_set_and_none_to_come() {
    for starter in starters() {
        let out = Sandbox::of(starter).sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'").ok();
        let expected =
            ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| format!("{set}:0000000000000000\n")).concat();
        assert_eq!(out, expected + "NoNewPrivs:1\nSeccomp:2\n", "{starter:?}");
        let bits = Sandbox::of(starter).sh("setpriv --dump | grep -i securebits").ok();
        let locked = ["noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps_locked"];
        assert!(locked.iter().all(|bit| bits.split([' ', ',', '\n']).any(|word| word == *bit)), "{bits}");
    }
}

#[test]
fn a_program_that_runs_as_its_owner_does_not() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let program = sandbox.directory.path().join("whoami");
        std::fs::copy("/usr/bin/id", &program).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&program, Some(0), Some(0)).unwrap();
        }
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o6755)).unwrap();
        let out = sandbox.sh("id -u; id -g; ./whoami -u; ./whoami -g; stat -c %A whoami").ok();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..2], lines[2..4], "{starter:?}");
        assert_eq!(lines[4], "-rwsr-sr-x", "{starter:?}: it is one");
    }
}

#[test]
fn it_is_never_root_and_maps_nobody_else() {
    for starter in starters() {
        let out = Sandbox::of(starter).sh("id -u; cat /proc/self/uid_map | tr -s ' '").ok();
        let uid =
            if starter == Starter::Root { 65534 } else { std::cmp::max(rustix::process::geteuid().as_raw(), 54321) };
        if rustix::process::geteuid().is_root() {
            assert_eq!(out, format!("{uid}\n {uid} {uid} 1\n"), "{starter:?}");
        }
        assert!(!out.starts_with("0\n"));
    }
}

#[test]
fn started_by_root_in_a_users_directory_it_runs_as_that_user() {
    if !starters().contains(&Starter::Root) {
        return; // root's part is tested when root runs the tests
    }
    let sandbox = Sandbox::of(Starter::Root).writable();
    std::os::unix::fs::chown(sandbox.directory.path(), Some(12345), Some(12345)).unwrap();
    assert_eq!(sandbox.sh("id -u; touch mine; stat -c %u mine").ok(), "12345\n12345\n");
}

#[test]
fn namespaces_mounts_and_set_user_id_programs_give_nothing() {
    for starter in starters() {
        let script = "unshare -U true 2>/dev/null && echo user; unshare -n true 2>/dev/null && echo net
                      mount -t tmpfs none /tmp 2>/dev/null && echo mounted; umount /proc/sys 2>/dev/null && echo unmounted
                      mount -o remount,rw / 2>/dev/null && echo remounted
                      for s in /usr/bin/su /usr/bin/mount /usr/bin/passwd; do [ -u $s ] && echo kept; done | head -1
                      findmnt -no OPTIONS /usr | grep -o nosuid; exit 0";
        assert_eq!(Sandbox::of(starter).sh(script).ok(), "kept\nnosuid\n", "{starter:?}");
        // Behind the filter, which refuses them first.
        assert_eq!(Sandbox::of(starter).sh("cat /proc/sys/user/max_user_namespaces").ok(), "0\n", "{starter:?}");
    }
}

#[test]
fn init_cannot_be_looked_into_or_traced() {
    let script = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), ctypes.get_errno())
for name in ("environ", "mem", "maps", "root/etc/shadow", "fd/3", "cwd"):
    try: os.stat("/proc/1/" + name); open("/proc/1/" + name, "rb").read(1); print("read", name)
    except OSError: pass
print([int(p) for p in os.listdir("/proc") if p.isdigit()] == [os.getpid()])
os.kill(1, 9); os.kill(1, 19); print("alive")
"#;
    for starter in starters() {
        let out = Sandbox::of(starter).run(&["/usr/bin/python3", "-c", script]).ok();
        assert_eq!(out, "-1 1\nTrue\nalive\n", "{starter:?}");
    }
}

#[test]
fn no_keyring_can_be_asked_for_anything() {
    for starter in starters() {
        // add_key, request_key, keyctl(GET_KEYRING_ID, SESSION), and on another processor their other numbers.
        let script = "
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
for call in (248, 249, 250) if os.uname().machine == 'x86_64' else (217, 218, 219):
    print(c.syscall(call, 0, -3, 0, 0, 0), ctypes.get_errno())
print(open('/proc/keys').read() == '')";
        let out = Sandbox::of(starter).run(&["/usr/bin/python3", "-c", script]).ok();
        assert_eq!(out, "-1 1\n-1 1\n-1 1\nTrue\n", "{starter:?}");
    }
}
