//! What each command's exit code says: for its help, its manual, and nobody else.
//!
//! Enters: nothing. Leaves: the definition of the command line with its exit codes in it. Never: a code that has two meanings for one command.

use clap::{Command, CommandFactory};

use super::Arguments;

/// A code, and what it says.
type Code = (&'static str, &'static str);

const RUN: [Code; 10] = [
    ("the command's own", "it ended by itself"),
    ("128+N", "signal N ended it"),
    ("127", "the command is not there"),
    ("126", "the command cannot be executed"),
    ("125", "exeat itself failed, and nothing has run"),
    ("124", "its wall clock ran out"),
    ("123", "it was stopped by `exeat stop` or `offboard`"),
    ("122", "another limit of its agent ended it"),
    ("137", "also: it did not end within its grace, and was killed"),
    ("2", "also: the command line is wrong, and nothing has run"),
];
const CHECK: [Code; 4] = [
    ("0", "no mistake, and the machine can do what it has to"),
    (
        "1",
        "a mistake, an expectation that does not hold, or something that the machine lacks; with `--strict` also a finding that is not \
         accepted, with `--fail-on-difference` a call that would be decided otherwise or a log that could not be read",
    ),
    ("2", "the command line is wrong"),
    ("125", "nothing could be checked"),
];
const EXPLAIN: [Code; 4] =
    [("0", "allowed"), ("1", "refused"), ("2", "the command line is wrong"), ("125", "it could not be said")];
const PROBE: [Code; 3] =
    [("0", "everything held"), ("1", "something broke"), ("2", "the battery could not be run to its end")];
const DEMO: [Code; 4] = [
    ("0", "every step behaved"),
    ("1", "one did not"),
    ("2", "the command line is wrong"),
    ("125", "the demo could not be set up"),
];
/// Of those that end something.
const END: [Code; 4] = [
    ("0", "it is over"),
    ("1", "something of it still stands; what, is said"),
    ("2", "the command line is wrong"),
    ("125", "nothing was done"),
];
const OFFBOARD: [Code; 4] = [
    ("0", "it is over"),
    ("1", "something of it still stands, or a log of its could not be read to its end; what, is said"),
    ("2", "the command line is wrong"),
    ("125", "exeat failed, and something of it may still stand; why is on standard error"),
];
const WORKERS: [Code; 4] = [
    ("0", "done"),
    ("1", "a log could not be read to its end; which, is said"),
    ("2", "the command line is wrong"),
    ("125", "exeat failed; why is on standard error"),
];
const VERIFY: [Code; 4] = [
    ("0", "the logs are what was written"),
    ("1", "one is not"),
    ("2", "the command line is wrong"),
    ("125", "it could not be said"),
];
const CALLS: [Code; 4] = [
    ("0", "done"),
    ("1", "a log could not be read to its end, or a record that was shown is not what was written; which, is said"),
    ("2", "the command line is wrong"),
    ("125", "exeat failed; why is on standard error"),
];
const SHOW: [Code; 4] = [
    ("0", "the call's records are what was written"),
    ("1", "they are not; where, is said"),
    ("2", "the command line is wrong"),
    ("125", "there is no such call, or its log could not be read"),
];
const PRUNE: [Code; 4] = [
    ("0", "done"),
    ("1", "a file that was to go stays; why, is said"),
    ("2", "the command line is wrong"),
    ("125", "nothing was removed, or not all; why is on standard error"),
];
const DIFF: [Code; 4] = [
    ("0", "done"),
    ("1", "something of it could not be looked at; what, is said"),
    ("2", "the command line is wrong"),
    ("125", "exeat failed, or refused to; why is on standard error"),
];
const PLAIN: [Code; 3] = [
    ("0", "done"),
    ("2", "the command line is wrong"),
    ("125", "exeat failed, or refused to; why is on standard error"),
];

const REPORT: [Code; 3] = [
    ("0", "it is written, whatever it says"),
    ("2", "the command line is wrong"),
    ("125", "it could not be made; why is on standard error"),
];

/// The exit codes of a command by its whole name, such as `calls show`.
pub fn codes(command: &str) -> &'static [Code] {
    match command {
        "run" => &RUN,
        "check" => &CHECK,
        "explain" => &EXPLAIN,
        "probe" => &PROBE,
        "demo" => &DEMO,
        "stop" | "revoke" => &END,
        "offboard" => &OFFBOARD,
        "workers" => &WORKERS,
        "calls" | "calls export" | "stats" => &CALLS,
        "calls show" => &SHOW,
        "calls prune" => &PRUNE,
        "diff" => &DIFF,
        "report" => &REPORT,
        "verify" => &VERIFY,
        _ => &PLAIN,
    }
}

const BEGIN: &str = "\
Begin with `exeat init` in a project, then `exeat check`, then `exeat run --agent NAME -- COMMAND`.
`exeat help COMMAND` says more of one, with its exit codes; `exeat man` is the manual.";

/// The command line as it is parsed, shown by `--help`, completed and described in the manual.
pub fn command() -> Command {
    let whole = Arguments::command().after_help(BEGIN);
    below(whole, "")
}

/// The same with the exit codes of every command below this one in their helps.
fn below(whole: Command, name: &str) -> Command {
    let names: Vec<String> = whole.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let with_codes = |command: Command, own: &str| {
        let command = below(command, &format!("{own} "));
        match command.get_after_help() {
            None if !command.is_subcommand_required_set() => command.after_help(told(own)),
            _ => command,
        }
    };
    names.into_iter().fold(whole, |whole, last| {
        let own = format!("{name}{last}");
        whole.mut_subcommand(last, |command| with_codes(command, &own))
    })
}

/// The same without what is hidden, which nobody is to be offered.
pub fn offered() -> Command {
    let whole = command();
    let offered: Vec<Command> = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let about = whole.get_about().cloned().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let bare = Command::new("exeat").version(version).about(about).after_help(BEGIN).subcommand_required(true);
    bare.args(whole.get_arguments().cloned()).subcommands(offered)
}

/// The exit codes of a command, as its help has them.
pub fn told(name: &str) -> String {
    let codes = codes(name);
    let width = codes.iter().map(|(code, _)| code.len()).max().unwrap_or_default();
    let lines: Vec<String> = codes.iter().map(|(code, what)| format!("  {code:<width$}  {what}")).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}
