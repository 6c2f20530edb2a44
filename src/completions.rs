//! `exeat completions`: what a shell completes.
//!
//! Enters: the definition of the command line. Leaves: a script for a shell, which also completes the names of agents, by the files that are
//! there when somebody presses a key. Never: a name from a file that is no agent's, which a shell might take for more than a name.

use std::io::Write;
use std::process::ExitCode;

use clap_complete::{Shell, generate};

use crate::args;
use crate::out::out;
use crate::report::Report;

/// A shell's own words for the names of agents.
struct Names {
    /// A function that lists them.
    function: &'static str,
    /// By what a line is known that completes an agent's name.
    mark: &'static str,
    /// What it has instead of a name, and what it is to have.
    instead: (&'static str, &'static str),
}

const BASH: Names = Names {
    function: include_str!("completions/agents.bash"),
    mark: "",
    instead: (
        "--agent)\n                    COMPREPLY=($(compgen -f \"${cur}\"))",
        "--agent)\n                    COMPREPLY=($(compgen -W \"$(_exeat_agents)\" -- \"${cur}\"))",
    ),
};
const ZSH: Names = Names {
    function: include_str!("completions/agents.zsh"),
    mark: "--agent=[",
    instead: (":NAME:_default'", ":NAME:_exeat_agents'"),
};
const FISH: Names = Names {
    function: include_str!("completions/agents.fish"),
    mark: " -l agent ",
    instead: (" -r", " -r -f -a '(__exeat_agents)'"),
};

/// Prints the script.
///
/// # Errors
/// When standard output cannot be written to.
pub fn print(arguments: &args::Completions) -> Result<ExitCode, Report> {
    out().write_all(script(arguments.shell).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The whole script.
fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut args::offered(), "exeat", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => named(&script, &BASH),
        Shell::Zsh => named(&script, &ZSH),
        Shell::Fish => named(&script, &FISH),
        _ => script,
    }
}

/// The script with the function behind its first line, which zsh reads as what the script is for.
fn named(script: &str, names: &Names) -> String {
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    let (old, new) = names.instead;
    let rest: String = match names.mark {
        "" => rest.replace(old, new),
        mark => rest
            .split_inclusive('\n')
            .map(|line| if line.contains(mark) { line.replacen(old, new, 1) } else { line.to_owned() })
            .collect(),
    };
    match first.starts_with('#') {
        true => format!("{first}\n{}{rest}", names.function),
        false => format!("{}{first}\n{rest}", names.function),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_for_an_agent_completes_their_names() {
        let offered = args::offered();
        let with = offered
            .get_subcommands()
            .flat_map(|command| std::iter::once(command).chain(command.get_subcommands()))
            .filter(|command| command.get_opts().any(|option| option.get_long() == Some("agent")));
        let count = with.count();
        assert!(count > 4, "{count}");
        for (shell, call) in [
            (Shell::Bash, "\"$(_exeat_agents)\""),
            (Shell::Zsh, ":NAME:_exeat_agents'"),
            (Shell::Fish, "-a '(__exeat_agents)'"),
        ] {
            assert_eq!(script(shell).matches(call).count(), count, "{shell}");
        }
    }

    #[test]
    fn what_is_hidden_is_offered_by_no_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell);
            assert!(script.contains("offboard") && !script.contains("probe-inside"), "{shell}");
        }
    }
}
