//! Containers and kernels that lack something, played by blocking the calls: it works without, or says what to ask for.

mod harness;
use harness::{Sandbox, Starter, refused, starters};

/// What Docker's own filter leaves a container without privileges (its clone3 is "not implemented", so that libraries use clone).
const DOCKER: &str = "clone3=ENOSYS clone:0&0x7e020000=EPERM unshare=EPERM mount=EPERM umount2=EPERM setns=EPERM sethostname=EPERM \
                      open_tree=EPERM move_mount=EPERM fsopen=EPERM fsconfig=EPERM fsmount=EPERM mount_setattr=EPERM bpf=EPERM";
/// The same of one that is allowed to make namespaces, but not what they are for.
const HALF: &str =
    "clone3=ENOSYS open_tree=EPERM move_mount=EPERM fsopen=EPERM fsconfig=EPERM fsmount=EPERM mount_setattr=EPERM";

#[test]
fn a_container_that_allows_no_namespaces() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable().where_blocked(DOCKER);
        refused(&sandbox, &["make the sandbox's namespaces", "not permitted", "seccomp=unconfined"]);
    }
}

#[test]
fn a_container_that_allows_namespaces_and_no_mounts() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable().where_blocked(HALF);
        refused(&sandbox, &["mount", "not permitted", "seccomp=unconfined"]);
    }
}

#[test]
fn a_container_whose_clone3_is_not_implemented() {
    for starter in starters() {
        assert_eq!(Sandbox::of(starter).where_blocked("clone3=ENOSYS").sh("echo ran").ok(), "ran\n");
    }
}

/// Only the machine's root may show files as somebody else's; so a directory has to be an ordinary user's there.
#[test]
fn root_of_a_container_with_users_of_its_own() {
    for starter in starters().into_iter().filter(|&starter| starter == Starter::Root) {
        let container = |owner| Sandbox::of(starter).writable().in_a_container(owner);
        let said = container(101_000).sh("id -u; echo text > made && stat -c %u made; curl -sS http://10.1.2.3/").ok();
        assert_eq!(said, "1000\n1000\nwanted 10.1.2.3:80\n");
        refused(&container(100_000), &["show root's files as the command's own", "chown -R"]);
    }
}

/// There, a user namespace is made and has no capability. The setting is laid over the machine's own, which lacks it.
#[test]
fn ubuntus_restriction_of_user_namespaces() {
    let laid = "mount -t tmpfs none /proc/sys/kernel && echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns
                exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$0\" \"$@\"";
    if starters().contains(&Starter::Root) {
        let blocked = Sandbox::of(Starter::Ordinary).where_blocked("open_tree=EPERM");
        let worker = blocked.command(&["echo", "ran"]);
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", laid]).arg(worker.get_program()).args(worker.get_args());
        let outcome = harness::Outcome::of(&command.current_dir(blocked.path()).output().unwrap());
        assert_eq!((outcome.code, outcome.out.as_str()), (125, ""), "{}", outcome.err);
        assert!(outcome.err.contains("AppArmor") && outcome.err.contains("userns,"), "{}", outcome.err);
    }
}

#[test]
fn a_kernel_without_nf_tables_catches_the_ports_that_the_policy_names() {
    const NETFILTER: &str = "socket:2#12=EPROTONOSUPPORT";
    for starter in starters() {
        let sandbox = Sandbox::of(starter).where_blocked(NETFILTER).with(&["--port", "8443", "--status"]);
        let outcome =
            sandbox.sh("curl -sS http://198.18.0.7:8443/; curl -sS -m 5 http://198.18.0.7:8444/ || echo refused");
        assert_eq!(outcome.out, "wanted 198.18.0.7:8443\nrefused\n", "{}", outcome.err);
        assert!(outcome.err.contains("\"ports\":[80,443,8443]"), "{}", outcome.err);
    }
}

#[test]
fn a_kernel_without_system_call_filters() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable().where_blocked("seccomp=ENOSYS");
        refused(&sandbox, &["filter system calls", "not implemented", "CONFIG_SECCOMP_FILTER"]);
    }
}

/// Docker's filter keeps the keyrings from everyone.
#[test]
fn a_kernel_or_container_without_keyrings() {
    for starter in starters() {
        for blocked in ["keyctl=ENOSYS", "keyctl=EPERM"] {
            let out = Sandbox::of(starter).where_blocked(blocked).sh("echo ran").ok();
            assert_eq!(out, "ran\n", "{starter:?}");
        }
    }
}
