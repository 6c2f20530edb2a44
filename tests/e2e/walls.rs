//! The walls around a command: which of them stand is in the call log and in `exeat check`, and programs that want to build their own can,
//! where the policy says so.

use crate::harness::{Exeat, Upstream};

/// A kernel that lacks a system call, by a filter that answers for it.
fn without(exeat: Exeat, number: u32, errno: i32) -> Exeat {
    let program = include_str!("walls/without.py");
    exeat.through(&["/usr/bin/python3", "-c", program, &format!("{number}:{errno}")])
}

const LANDLOCK_CREATE_RULESET: u32 = 444;

#[test]
fn which_walls_stand_is_in_the_log() {
    let run = Exeat::new().run(&["true"]).ok();
    let sandbox = &run.log.start().sandbox;
    assert_eq!(sandbox["syscall_filter"], "allow-list", "{sandbox:#}");
    assert!(sandbox["landlock"]["abi"].as_i64() >= Some(2), "{sandbox:#}");
    assert_eq!((&sandbox["landlock"]["files"], &sandbox["nested"]), (&true.into(), &false.into()), "{sandbox:#}");
}

#[test]
fn on_a_kernel_without_landlock_commands_run_and_log_and_check_say_so() {
    let enosys = 38;
    // The worker would refuse to go on without; inside, the mounts stand.
    let unlocked = Exeat::new().environment("EXEAT_UNLOCKED_WORKER", "1");
    let run = without(unlocked, LANDLOCK_CREATE_RULESET, enosys).run(&["sh", "-c", "touch /etc/x || echo kept"]).ok();
    assert_eq!(run.stdout, "kept\n");
    assert!(run.log.start().sandbox["landlock"].is_null(), "{run:#?}");
    let check = without(Exeat::new().rule(""), LANDLOCK_CREATE_RULESET, enosys).exeat(&["check"]).finish();
    assert!(check.stdout.contains("NO  Landlock") && check.stdout.contains("CONFIG_SECURITY_LANDLOCK"), "{check:#?}");
}

#[test]
fn a_nested_sandbox_is_made_where_the_policy_says_so_and_what_it_calls_is_judged_like_everything_else() {
    let upstream = Upstream::start();
    let inner = "bwrap --unshare-user --unshare-pid --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp";
    let script = format!(
        "{inner} curl -sS -o /dev/null -o /dev/null -w '%{{http_code}} ' https://www.example.com/ https://other.example.com/
         {inner} --unshare-net curl -sS https://www.example.com/ 2>/dev/null || echo no way out"
    );
    let exeat = Exeat::new().allow("www.example.com", &upstream).sandbox("nested = true");
    let run = exeat.sh(&script).ok();
    assert_eq!(run.stdout, "200 403 no way out\n", "{run:#?}");
    assert_eq!((run.log.calls().len(), run.log.refused_kinds()), (1, vec!["host-not-listed"]), "{run:#?}");
    let sandbox = &run.log.start().sandbox;
    assert_eq!((&sandbox["nested"], &sandbox["landlock"]["files"]), (&true.into(), &false.into()), "{sandbox:#}");

    let check = exeat.exeat(&["check", "--files-only"]).finish().ok();
    assert!(check.stdout.contains("bot.toml: sandbox.nested: "), "{check:#?}");
    let probe = exeat.exeat(&["probe", "--agent", "bot"]).finish().ok();
    assert!(probe.stdout.contains("not applicable  user-namespace"), "{probe:#?}");

    let refused = Exeat::new().allow("www.example.com", &upstream).sh(&format!("{inner} true")).stderr;
    assert!(refused.contains("No permissions to create"), "{refused}");
    let check = Exeat::new().rule("").exeat(&["check", "--files-only"]).finish().ok();
    assert!(!check.stdout.contains("nested"), "{check:#?}");
}
