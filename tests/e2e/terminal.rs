//! A terminal works as with no sandbox in between: prompts, Ctrl-C, window size, job control.
//!
//! The terminal is made by Python's `pty` on the outside, and a person is played by what it types and waits for. What is typed at a
//! program has to wait until that program runs: a shell that is about to start one may drop a Ctrl-C, sandbox or no sandbox.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Exeat, Live, Run, binary};

/// Plays a person: `steps` are pairs of what to wait for and what to type then. Ends with the command's own code.
const PERSON: &str = "
import fcntl, json, os, pty, select, struct, sys, termios, time
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
def size(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
size(33, 101)
seen, shown, end = b'', 0, time.monotonic() + 40
while time.monotonic() < end:
    if steps and steps[0][0].encode() in seen[shown:]:
        shown = seen.index(steps[0][0].encode(), shown) + len(steps[0][0])
        typed = steps.pop(0)[1]
        if typed.startswith('SIZE '):
            size(*map(int, typed.split()[1:]))
        else:
            os.write(terminal, typed.encode())
        continue
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
else:
    os.kill(child, 9)
    sys.stdout.buffer.write(seen)
    sys.exit('the terminal was waited for in vain: ' + repr(steps[:1]))
sys.stdout.buffer.write(seen)
sys.stdout.flush()
status = os.waitpid(child, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status))
";

/// The beginning of a program that a Ctrl-C ends from its first line on.
const SLEEPER: &str = "from signal import *; from time import sleep; signal(SIGINT, SIG_DFL)";

pub fn at_a_terminal(command: &[&str], steps: &[(&str, &str)]) -> Run {
    // Writes the policy.
    at_a_terminal_of(&Exeat::new().rule(""), command, steps)
}

pub fn at_a_terminal_of(exeat: &Exeat, command: &[&str], steps: &[(&str, &str)]) -> Run {
    let exeat_is = binary();
    let run = [&[exeat_is.as_str(), "run", "--agent", "bot", "--"], command].concat();
    person(exeat, &run, steps)
}

/// At a shell outside, which has job control.
pub fn at_the_shell_of(exeat: &Exeat, steps: &[(&str, &str)]) -> Run {
    person(exeat, &["bash", "--norc", "--noprofile", "-i"], steps)
}

fn person(exeat: &Exeat, command: &[&str], steps: &[(&str, &str)]) -> Run {
    let mut person = Command::new("/usr/bin/python3");
    person.args(["-c", PERSON, &serde_json::to_string(steps).unwrap()]).args(command);
    person
        .env("EXEAT_CONFIG", exeat.config(""))
        .env("EXEAT_STATE", exeat.state())
        .env("TERM", "xterm")
        .env("PS1", "$ ");
    person.current_dir(exeat.work());
    Live::spawn(&mut person, Some(Vec::new()), Duration::from_secs(60)).finish()
}

#[test]
fn the_command_has_a_terminal_of_the_right_size() {
    let run = at_a_terminal(&["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size"], &[]).ok();
    assert!(run.stdout.contains("33 101"), "{run:#?}");
}

#[test]
fn a_change_of_the_windows_size_arrives() {
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.1; done";
    let run = at_a_terminal(&["sh", "-c", script], &[("ready", "SIZE 40 90")]).ok();
    assert!(run.stdout.contains("40 90"), "{run:#?}");
}

#[test]
fn ctrl_c_reaches_the_command_which_decides() {
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done";
    let run = at_a_terminal(&["sh", "-c", script], &[("ready", "\u{3}")]).ended_with(9);
    assert!(run.stdout.contains("caught"), "{run:#?}");
    let ready = format!("{SLEEPER}; print('ready'); sleep(60)");
    at_a_terminal(&["/usr/bin/python3", "-uc", &ready], &[("ready", "\u{3}")]).ended_with(128 + 2);
}

#[test]
fn an_interactive_shell_has_job_control() {
    let sleeper = |word: &str| format!("/usr/bin/python3 -uc \"{SLEEPER}; print({word}); sleep(60)\"\n");
    let (begun, again) = (sleeper("'be' + 'gun'"), sleeper("'a' + 'gain'"));
    let steps = [
        ("$ ", "echo $((6 * 7))\n"),
        ("42", &begun),
        ("begun", "\u{3}"),
        ("$ ", &again),
        ("again", "\u{1a}"),
        ("Stopped", "jobs; echo still $((20 + 3))\n"),
        ("still 23", "exit 5\n"),
        ("stopped jobs", "exit 5\n"),
    ];
    let run = at_a_terminal(&["bash", "--norc", "-i"], &steps).ended_with(5);
    assert!(!run.stdout.contains("no job control"), "{run:#?}");
}

#[test]
fn the_callers_terminal_cannot_be_typed_into_from_inside() {
    let program = "import fcntl, termios
try:
    fcntl.ioctl(0, termios.TIOCSTI, b'x')
    print('TYPED')
except OSError:
    print('refused')";
    let run = at_a_terminal(&["python3", "-c", program], &[]).ok();
    assert!(run.stdout.contains("refused") && !run.stdout.contains("TYPED"), "{run:#?}");
}
