//! What a shell, an editor, a multiplexer and a pipeline expect of a command, with a sandbox in between.
//!
//! The programs are the real ones. A person at the terminal is played by `terminal.rs`.

use std::fs;
use std::time::Duration;

use crate::harness::{Exeat, binary};
use crate::terminal::{at_a_terminal, at_a_terminal_of, at_the_shell_of};

#[test]
fn vim_edits_a_file() {
    let exeat = Exeat::new().rule("");
    fs::write(exeat.work().join("note.txt"), "first\n").unwrap();
    let steps = [("first", "Osecond\u{1b}:set nu\n"), ("2 ", ":wq\n")];
    at_a_terminal_of(&exeat, &["vim", "-u", "NONE", "-i", "NONE", "-N", "note.txt"], &steps).ok();
    assert_eq!(fs::read_to_string(exeat.work().join("note.txt")).unwrap(), "second\nfirst\n");
}

#[test]
fn tmux_has_windows_and_ends_with_the_last() {
    let steps = [
        ("$ ", "tmux new-window -n second sh\n"),
        ("1:second", "echo two-$((1 + 1))\n"),
        ("two-2", "exit\n"),
        ("0:first*", "echo back-$((9 * 9))\n"),
        ("back-81", "exit\n"),
    ];
    let run = at_a_terminal(&["tmux", "-f", "/dev/null", "new-session", "-n", "first", "sh"], &steps).ok();
    assert!(run.stdout.contains("[exited]"), "{run:#?}");
}

#[test]
fn a_run_in_the_background_leaves_its_shell_the_terminal() {
    let exeat = Exeat::new().rule("");
    let start = format!("{} run --agent bot -- sh -c 'echo from-$((3 * 7)); cat; echo end-$((2 * 4))' &\n", binary());
    let steps = [
        ("$ ", start.as_str()),
        ("from-21", "echo still-$((5 * 5))\n"),
        ("still-25", "fg\n"),
        // What is typed is for the command now.
        ("fg", "typed\n"),
        ("typed\r\ntyped", "\u{4}"),
        // What is typed before the prompt may still be for the command.
        ("end-8", ""),
        ("$ ", "exit 6\n"),
    ];
    at_the_shell_of(&exeat, &steps).ended_with(6);
}

#[test]
fn orphans_are_reaped() {
    let script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.1 &'); done; sleep 0.7
                  cat /proc/[0-9]*/stat | grep -c ') Z ' || true";
    assert_eq!(Exeat::new().sh(script).ok().stdout, "0\n");
}

#[test]
fn whoever_reads_no_further_ends_the_command() {
    let pipeline = ["bash", "-c", "\"$@\" | head -n 1; exit ${PIPESTATUS[0]}", "bash"];
    let run = Exeat::new().through(&pipeline).run(&["yes", "again"]).ended_with(128 + 13);
    assert_eq!(run.stdout, "again\n");
    assert!(run.took < Duration::from_secs(15), "{run:#?}");
}

#[test]
fn a_gigabyte_passes_through_a_pipe() {
    let pipeline = ["bash", "-c", "head -c 1G /dev/zero | \"$@\" | wc -c; exit ${PIPESTATUS[1]}", "bash"];
    let run = Exeat::new().through(&pipeline).run(&["cat"]).ok();
    assert_eq!(run.stdout.trim(), "1073741824");
}

#[test]
fn an_argument_that_is_no_text_arrives_as_it_is() {
    let last = ["sh", "-c", "exec \"$@\" \"$(printf 'a\\377\\376b')\"", "sh"];
    let run = Exeat::new().through(&last).run(&["sh", "-c", "printf %s \"$0\" | od -An -tx1"]).ok();
    assert_eq!(run.stdout.trim(), "61 ff fe 62");
    let command = &run.log.start().command;
    assert_eq!(command.last().unwrap(), "a\u{fffd}\u{fffd}b");
}
