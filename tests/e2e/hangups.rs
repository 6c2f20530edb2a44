//! A SIGHUP that somebody sends to exeat has it read its policy again, and is none of the command's; the end of a terminal or of a session is the
//! command's, as with no sandbox in between.

use std::fs;
use std::process::Command;
use std::time::Duration;

use record::Event;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Exeat, Live, binary, within};

const SOON: Duration = Duration::from_secs(10);

/// Says in a file that it was told of a hang-up.
const TRAPPED: &str = "trap 'echo hung-up >said; exit 7' HUP; echo ready; while :; do sleep 0.1; done";

/// Starts a program at a terminal, types, waits until it says `ready`, and takes the terminal away.
const GONE: &str = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
seen = b''
os.write(terminal, sys.argv[1].encode())
while b'ready' not in seen:
    seen += os.read(terminal, 65536)
os.close(terminal)
os.waitpid(child, 0)";

fn count(live: &Live, of: fn(&Event) -> bool) -> usize {
    live.log().lines.iter().filter(|line| of(&line.event)).count()
}

#[test]
fn one_that_is_sent_has_the_policy_read_again_and_leaves_the_command_alone() {
    let exeat = Exeat::new().rule("");
    let mut live = exeat.start(&["sh", "-c", TRAPPED]);
    live.wait_for("ready");
    fs::write(exeat.policy_file(), "[[alow]]\n").unwrap();
    let rejected = |event: &Event| matches!(event, Event::PolicyRejected { .. });
    within(SOON, "the rejection", || count(&live, rejected) == 1);
    // Whoever asks is told once more; nobody else is.
    live.signal(Signal::HUP);
    within(SOON, "the second rejection", || count(&live, rejected) == 2);
    fs::write(exeat.policy_file(), "# good\n").unwrap();
    within(SOON, "the policy", || count(&live, |event| matches!(event, Event::PolicyReloaded { .. })) == 1);
    live.signal(Signal::HUP);
    // As long as a session could take to end.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(!exeat.work().join("said").exists());
    live.signal(Signal::TERM);
    assert!(live.finish().stderr.contains("alow"));
}

#[test]
fn the_end_of_its_terminal_is_the_commands() {
    let exeat = Exeat::new().rule("");
    at_a_terminal_that_goes(&exeat, "", &[&binary(), "run", "--agent", "bot", "--", "sh", "-c", TRAPPED]);
    within(SOON, "the command told", || exeat.work().join("said").exists());
}

#[test]
fn and_so_is_the_end_of_its_shell_which_a_process_passes_on() {
    let exeat = Exeat::new().rule("");
    fs::write(exeat.work().join("trapped"), TRAPPED).unwrap();
    // bash sends its jobs a SIGHUP of its own when it is told of one.
    let typed = format!("{} run --agent bot -- sh trapped &\n", binary());
    at_a_terminal_that_goes(&exeat, &typed, &["bash", "--norc", "--noprofile", "-i"]);
    within(SOON, "the command told", || exeat.work().join("said").exists());
}

#[test]
fn one_that_the_shell_sends_before_it_leaves_is_passed_on_once_it_is_gone() {
    let script =
        "\"$@\" & until test -s out; do sleep 0.1; done; kill -HUP $!; sleep 0.5; test ! -e said && echo not-yet";
    let exeat = Exeat::new().rule("").through(&["setsid", "--wait", "sh", "-c", script, "sh"]);
    let run = exeat.run(&["sh", "-c", &format!("echo >out; {TRAPPED}")]).ok();
    assert!(run.stdout.contains("not-yet"), "{run:#?}");
    within(SOON, "the command told", || exeat.work().join("said").exists());
}

#[test]
fn one_that_is_sent_long_after_the_shell_left_is_no_end_of_a_session() {
    let script = "\"$@\" >/dev/null 2>&1 & echo $! >pid; until test -s out; do sleep 0.1; done";
    let exeat =
        Exeat::new().rule("").sandbox("wall_clock = \"1m\"").through(&["setsid", "--wait", "sh", "-c", script, "sh"]);
    exeat.run(&["sh", "-c", &format!("echo >out; {TRAPPED}")]).ok();
    let pid: i32 = fs::read_to_string(exeat.work().join("pid")).unwrap().trim().parse().unwrap();
    let tell = |signal| kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    // Longer than a shell that ends takes.
    std::thread::sleep(Duration::from_secs(3));
    fs::write(exeat.policy_file(), "[[alow]]\n").unwrap();
    let rejections =
        || exeat.log().lines.iter().filter(|line| matches!(line.event, Event::PolicyRejected { .. })).count();
    within(SOON, "the rejection", || rejections() == 1);
    tell(Signal::HUP);
    within(SOON, "the second rejection", || rejections() == 2);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(!exeat.work().join("said").exists());
    tell(Signal::TERM);
    within(SOON, "the end", || exeat.log().lines.iter().any(|line| matches!(line.event, Event::WorkerEnd(_))));
}

/// As in a container that a shell outside of it entered: nobody in there can name who leads the session or the group.
#[test]
fn a_session_that_is_led_from_outside_of_the_container_is_as_good_as_any() {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let inside = format!("unshare --user --map-user={user} --map-group={group} \"$@\"; exit $?");
    let script = if user == 0 { "\"$@\"; exit $?" } else { &inside };
    let mut container =
        vec!["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"];
    if user == 0 {
        container.drain(1..3);
    }
    let run = Exeat::new().rule("").through(&container).run(&["sh", "-c", "echo ran"]).ok();
    assert_eq!(run.stdout, "ran\n", "{run:#?}");
}

fn at_a_terminal_that_goes(exeat: &Exeat, typed: &str, command: &[&str]) {
    let mut outside = Command::new("/usr/bin/python3");
    outside.args(["-c", GONE, typed]).args(command).current_dir(exeat.work());
    outside.env("EXEAT_CONFIG", exeat.config("")).env("EXEAT_STATE", exeat.state());
    let run = Live::spawn(&mut outside, Some(Vec::new()), Duration::from_secs(60)).finish();
    assert_eq!(run.code, Some(0), "{run:#?}");
}
