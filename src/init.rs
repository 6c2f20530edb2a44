//! `exeat init`: a configuration for what a project uses.
//!
//! Enters: a project's files, the package managers' own, and which variables are set. Leaves: a commented policy for an agent, and credentials
//! whose secrets stay where they are; or, where these files are there already, what to add to them. Never: a secret's value; a file written over;
//! a file with a mistake; a program of the project's that is run.

mod cloud;
mod draft;
mod forge;
mod packages;
mod place;
mod project;
mod remote;
mod rule;
mod stub;
mod told;
mod variable;
mod writing;
mod written;

use std::fs;
use std::process::ExitCode;

use config::{AgentId, Credentials, Policy, cross_check};

use self::draft::Draft;
use self::project::Project;
use self::told::Told;
use crate::args;
use crate::places::Places;
use crate::report::Report;

/// Looks, and writes.
///
/// # Errors
/// When the agent's file is there already, or a file cannot be written. Then nothing is.
pub fn run(places: &Places, arguments: &args::Init) -> Result<ExitCode, Report> {
    let root = fs::canonicalize(&arguments.project).map_err(|error| {
        Report::new(format!("cannot look at `{}`: {error}", arguments.project.display()))
            .hint("name the directory of a project, or start where it is")
    })?;
    if !root.is_dir() {
        return Err(
            Report::new(format!("`{}` is no directory", root.display())).hint("name the directory of a project")
        );
    }
    let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let agent = arguments.agent.clone().unwrap_or_else(|| called(&name));
    let (policy_file, credentials_file) = (places.agent_file(&agent), places.credentials_file());
    if policy_file.exists() && !arguments.dry_run {
        let told = Report::new(format!("`{}` is there already, and init writes over nothing", policy_file.display()));
        let other = free(places, &agent);
        return Err(told.hint(format!("say --agent {other}, or --dry-run to see what would be in it")));
    }
    let mut draft = Draft::of(&Project::here(root.clone()), &agent);
    // What others rely on is theirs to edit.
    let theirs = credentials_file.exists();
    if theirs {
        draft.rules.without_credentials();
    }
    let policy = draft.policy(&agent, &name);
    let credentials = draft.credentials(&agent);
    holds(&agent, places, &policy, if theirs { None } else { credentials.as_deref() })?;
    let mut told = Told::new(&root, &agent, &draft, arguments.dry_run);
    told.file(policy_file, policy, 0o644);
    match credentials {
        Some(_) if theirs => told.addition_to(credentials_file, draft.sections(&agent)),
        Some(credentials) => told.file(credentials_file, credentials, 0o600),
        None => {}
    }
    if !arguments.dry_run {
        written::all(told.files())?;
    }
    told.tell(arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

/// What was made of others' words has no mistake, or is not written.
fn holds(agent: &AgentId, places: &Places, policy: &str, credentials: Option<&str>) -> Result<(), Report> {
    let ours = |error: config::LoadError| {
        Report::new(error).hint("this is a mistake of `exeat init` itself, and nothing was written; please report it")
    };
    let policy = Policy::parse(agent.clone(), places.agent_file(agent), policy).map_err(ours)?;
    let Some(credentials) = credentials else { return Ok(()) };
    let credentials = Credentials::parse(places.credentials_file(), credentials).map_err(ours)?;
    match cross_check(&[policy], &credentials).first() {
        Some(mistake) => {
            Err(Report::new(mistake.to_string()).hint("this is a mistake of `exeat init` itself; please report it"))
        }
        None => Ok(()),
    }
}

/// The name of a directory as an agent's.
fn called(name: &str) -> AgentId {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) { c } else { '-' };
    let name: String = name.to_ascii_lowercase().chars().map(plain).take(63).collect();
    let name = name.trim_matches(['.', '_', '-']);
    name.parse().or_else(|_| "agent".parse()).unwrap_or_else(|_| unreachable!("it is a name"))
}

/// A name that no agent has.
fn free(places: &Places, agent: &AgentId) -> String {
    let mut names = (2..1000).map(|number| format!("{agent}-{number}"));
    names
        .find(|name| name.parse().is_ok_and(|name| !places.agent_file(&name).exists()))
        .unwrap_or_else(|| "NAME".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_any_name_has_an_agent() {
        for (name, agent) in [
            ("site", "site"),
            ("My Site (2)", "my-site--2"),
            ("..", "agent"),
            ("é", "agent"),
            ("_x_", "x"),
            (&"a".repeat(100), &"a".repeat(63)),
            ("x\"\n[[allow]]", "x----allow"),
        ] {
            assert_eq!(called(name).as_str(), agent, "{name:?}");
        }
    }
}
