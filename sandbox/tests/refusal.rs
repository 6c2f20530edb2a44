//! When the sandbox cannot be had, nothing has run, and the error says what was tried, why it failed, and what to do.

mod harness;
use harness::{Sandbox, Starter, enter, refused, starters};
use std::process::Command;

#[test]
fn paths_that_are_not_there_or_would_open_the_sandbox() {
    for starter in starters() {
        for bad in ["/no/such/path", "/proc/1", "/", "/etc", "/dev/null", "relative"] {
            refused(&Sandbox::of(starter).writable().with(&["--read", bad]), &[bad]);
        }
    }
}

#[test]
fn user_namespaces_switched_off() {
    for starter in starters() {
        let off = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"";
        let sandbox =
            Sandbox::of(starter).writable().within(&["unshare", "--user", "--map-root-user", "sh", "-c", off]);
        refused(&sandbox, &["make the sandbox's namespaces", "No space left", "sysctl user.max_user_namespaces"]);
    }
}

#[test]
fn no_network_namespace_is_to_be_had() {
    // CLONE_NEWNET. The first process finds out while it is being given what it needs: whichever of both is first.
    for starter in starters().into_iter().cycle().take(20) {
        let sandbox = Sandbox::of(starter).writable().where_blocked("unshare:0&0x40000000=ENOSPC");
        refused(&sandbox, &["make the sandbox's namespaces", "No space left", "user.max_*_namespaces"]);
    }
}

#[test]
fn root_of_a_container_that_has_no_other_user() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable().within(&["unshare", "--user", "--map-root-user"]);
        refused(&sandbox, &["uid_map", "not permitted", "as a user that the container maps"]);
    }
}

#[test]
fn a_container_that_hides_parts_of_proc() {
    for starter in starters() {
        let masked =
            "mount -t tmpfs none /proc/sys/fs && exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$0\" \"$@\"";
        if starter == Starter::Root {
            let sandbox = Sandbox::of(Starter::Ordinary).within(&["unshare", "--mount", "sh", "-c", masked]);
            let mut worker = sandbox.command(&["echo", "ran"]);
            let out = Command::new(worker.get_program()).args(worker.get_args()).current_dir(sandbox.path()).output();
            let out = out.unwrap_or_else(|error| panic!("{error} {:?}", worker.spawn()));
            let said = String::from_utf8_lossy(&out.stderr);
            assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(125), &b""[..]), "{said}");
            assert!(said.contains("fresh file system `proc`") && said.contains("systempaths=unconfined"), "{said}");
        }
    }
}

#[test]
fn a_file_system_that_cannot_show_roots_files_as_the_commands() {
    for starter in starters().into_iter().filter(|&starter| starter == Starter::Root) {
        let sandbox = Sandbox::of(starter);
        let overlay = "cd \"$0\" && mkdir l u w m && mount -t tmpfs none u && mkdir u/u u/w && mount -t overlay none -o \
                       lowerdir=l,upperdir=u/u,workdir=u/w m && cd m && exec \"$1\" --write \"$0/m\" -- touch ran";
        let worker = ["--mount", "sh", "-c", overlay, sandbox.path(), enter().to_str().unwrap_or_default()];
        let out = Command::new("unshare").args(worker).output();
        let said = out.map(|out| String::from_utf8_lossy(&out.stderr).into_owned()).unwrap_or_default();
        assert!(said.contains("show root's files as the command's own") && said.contains("chown -R"), "{said}");
    }
}

#[test]
fn a_process_with_threads_cannot_fork() {
    // This one has them: the test harness's.
    let error = sandbox::fork_process(|| 0).map(|child| child.id()).map_err(|error| error.to_string());
    assert!(error.as_ref().is_err_and(|error| error.contains("threads")), "{error:?}");
}

#[test]
fn what_the_machine_can_do_is_told_beforehand() {
    for starter in starters() {
        let told = Sandbox::of(starter).told_beforehand();
        for name in ["user namespaces: yes", "nf_tables: ", "IPv6: ", "Landlock: ", "cgroups: ", "forked: 7"] {
            assert!(told.contains(name), "no {name:?} in {told}");
        }
        assert_eq!(told.contains("idmapped mounts"), starter == Starter::Root);
    }
}
