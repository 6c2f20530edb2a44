//! Where the policy lets a command make namespaces, programs that want their own get them, and nothing of the sandbox gives way.

mod harness;
use harness::{Sandbox, Starter, starters};
use std::fs;

fn nested(starter: Starter) -> Sandbox {
    Sandbox::of(starter).with(&["--nested"])
}

#[test]
fn bubblewrap_makes_its_own_sandbox_and_what_shares_the_network_is_caught() {
    let bwrap = "bwrap --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --unshare-user --unshare-pid --unshare-ipc";
    let script = format!(
        "{bwrap} --unshare-uts --hostname inner --uid 0 --gid 0 sh -c 'id -u; hostname; ls -d /proc/[0-9]* | wc -l; curl -sS http://1.2.3.4/'
         {bwrap} --unshare-net sh -c 'touch /tmp/here; curl -s -m 5 http://1.2.3.4/ || echo no way out'
         bwrap --unshare-all --bind / / true && unshare --user --map-root-user --mount true && echo plainly"
    );
    for starter in starters() {
        let out = nested(starter).sh(&script).ok();
        let [user, host, processes, rest @ ..] = &out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
        assert_eq!((*user, *host), ("0", "inner"), "{starter:?}");
        assert!(processes.parse::<u32>().is_ok_and(|processes| processes < 8), "{processes}");
        assert_eq!(rest, ["wanted 1.2.3.4:80", "no way out", "plainly"], "{starter:?}");
    }
}

#[test]
fn it_is_said_with_the_walls_that_it_takes_down() {
    for starter in starters() {
        for (sandbox, nested) in [(nested(starter), true), (Sandbox::of(starter), false)] {
            let outcome = sandbox.with(&["--status"]).sh("unshare --user true");
            assert_eq!(outcome.code == 0, nested, "{starter:?}: {}", outcome.err);
            let line = outcome.err.lines().next().unwrap_or_default();
            let status: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            assert_eq!(
                (&status["nested"], &status["landlock"]["files"]),
                (&nested.into(), &(!nested).into()),
                "{line}"
            );
            assert_eq!(status["syscall_filter"], "allow-list");
        }
    }
}

#[test]
fn without_a_namespace_of_its_own_a_command_is_as_poor_as_ever() {
    let script = "grep -E '^Cap|^NoNewPrivs' /proc/self/status | tr -d '\\t' | sort -u
                  mount -t tmpfs none /tmp 2>/dev/null && echo mounted; umount /tmp 2>/dev/null && echo unmounted
                  hostname other 2>/dev/null && echo named; chroot / true 2>/dev/null && echo changed root
                  touch /etc/new /usr/new /new 2>/dev/null && echo written; exit 0";
    for starter in starters() {
        let out = nested(starter).sh(script).ok();
        let none = ["Amb", "Bnd", "Eff", "Inh", "Prm"].map(|set| format!("Cap{set}:0000000000000000\n")).concat();
        assert_eq!(out, format!("{none}NoNewPrivs:1\n"), "{starter:?}");
    }
}

#[test]
fn root_of_namespaces_of_its_own_sees_and_changes_no_more_files() {
    let expected = "own mount done done
cover away EINVAL
below the cover EINVAL ENOENT
with the cover done ENOENT
copied cover away EINVAL
detached copy EINVAL
overlay EINVAL ENOENT
writable root EPERM EROFS
writable programs EPERM EROFS
writable read path EPERM EROFS
attributes EPERM
with set-user-ID EPERM
sysfs EPERM proc of the sandbox EPERM
kernel/core_pattern EACCES
kernel/hostname EACCES
vm/overcommit_memory EACCES
net/ipv4/ip_unprivileged_port_start EACCES
sysrq - memory -
init - - EPERM
set-user-ID EPERM device EPERM
";
    for starter in starters() {
        let sandbox = nested(starter);
        let path = |name: &str| sandbox.directory.path().join(name);
        for name in ["state", "kept"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::write(path("state/secret"), "secret").unwrap();
        let [hidden, kept] = ["state", "kept"].map(|name| path(name).to_str().unwrap().to_owned());
        let directory = sandbox.path().to_owned();
        let sandbox = sandbox.with(&["--hide", &hidden, "--read", &kept]);
        let out = sandbox.run(&["/usr/bin/python3", "-c", include_str!("nested/root.py"), "files", &directory]).ok();
        // What this kernel lacks, or hides, is as good as refused.
        let said: String = out
            .lines()
            .map(|line| {
                if ["sysrq", "init"].iter().any(|word| line.starts_with(word)) {
                    line.replace("ENOENT", "-").replace("EACCES", "-") + "\n"
                } else {
                    line.to_owned() + "\n"
                }
            })
            .collect();
        assert_eq!(said, expected, "{starter:?}");
    }
}

#[test]
fn no_network_of_its_own_leads_out_and_the_sandboxs_stays_as_it_is() {
    let expected = "device EPERM route EPERM
address EPERM
firewall EPROTONOSUPPORT raw EPERM packet EAFNOSUPPORT
tables EPERM
tables EPERM
port EACCES
caught done
own device done own address done
out ENETUNREACH proxy ECONNREFUSED packet EAFNOSUPPORT raw EPERM
cable EPERM
back EPERM
wanted 1.2.3.4:80
wanted [2001:db8::1]:443
";
    for starter in starters() {
        let script =
            "/usr/bin/python3 -c \"$0\" network && curl -sS http://1.2.3.4/ && curl -sS http://[2001:db8::1]:443/";
        let out = nested(starter).run(&["bash", "-c", script, include_str!("nested/root.py")]).ok();
        assert_eq!(out, expected, "{starter:?}");
    }
}

#[test]
fn namespaces_are_as_many_as_browsers_need_and_no_more() {
    let script = r#"
import ctypes, os, signal
libc, held = ctypes.CDLL(None, use_errno=True), []
for _ in range(200):
    pid = libc.syscall({"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x10000000 | 0x40000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0: signal.pause()
    if pid < 0: break
    held.append(pid)
print(len(held), os.strerror(ctypes.get_errno()))
for pid in held: os.kill(pid, 9)
"#;
    for starter in starters() {
        let sandbox = nested(starter).with(&["--processes", "300"]);
        let out = sandbox.run(&["/usr/bin/python3", "-c", script]).ok();
        let (made, why) = out.split_once(' ').unwrap_or_default();
        assert!(made.parse::<u32>().is_ok_and(|made| (120..=128).contains(&made)), "{starter:?}: {out}");
        assert_eq!(why, "No space left on device\n");
    }
}
