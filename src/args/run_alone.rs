//! The command line of `exeat run`, without the definitions of all other commands: whoever starts a command waits for them to be made.
//!
//! Enters: the process's arguments. Leaves: what they say, if they are a right command line of `run`. Never: an error, a help, or a guess: for all that
//! there is the whole definition.

use std::ffi::OsString;

use clap::{Args as _, Command as Definition, FromArgMatches as _};

use super::{Arguments, At, Command, Run};

const RUN: &str = "run";

/// `None` where it is anything but a right command line of `run`.
pub fn run_alone(line: impl IntoIterator<Item = OsString>) -> Option<Arguments> {
    let run = Run::augment_args(Definition::new(RUN));
    let whole = At::augment_args(Definition::new("exeat")).subcommand(run).subcommand_required(true);
    let matches = whole.disable_help_subcommand(true).try_get_matches_from(line).ok()?;
    let (_, of_run) = matches.subcommand()?;
    let run = Run::from_arg_matches(of_run).ok()?;
    Some(Arguments { at: At::from_arg_matches(&matches).ok()?, command: Command::Run(run) })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;
    use crate::args::command;

    fn line(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn it_says_what_the_whole_definition_says_or_nothing() {
        for right in [
            "exeat run --agent x -- true",
            "exeat --config /c run --agent x --state /s -- true --help -- --agent y",
            "exeat run -q --observe --capture-ports-only --unlocked-worker --broker /b --agent=x -- a b",
            "exeat run --config /c --agent x -- run",
        ] {
            let whole = command().try_get_matches_from(line(right)).unwrap();
            let whole = Arguments::from_arg_matches(&whole).unwrap();
            assert_eq!(format!("{:?}", run_alone(line(right)).unwrap()), format!("{whole:?}"), "{right}");
        }
        for other in [
            "exeat",
            "exeat run",
            "exeat run --help",
            "exeat --version",
            "exeat help run",
            "exeat run --agent x true",
            "exeat run --agent -- true",
            "exeat run --agent x --no-such -- true",
            "exeat check",
            "exeat runs --agent x -- true",
        ] {
            assert!(run_alone(line(other)).is_none(), "{other}");
        }
    }
}
