//! What somebody asks who begins with exeat: a configuration, completions, the manual, the version.
//!
//! Enters: the process's arguments. Leaves: one typed command. Never: leave to write over a file that a person wrote.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;
use config::AgentId;

/// `exeat init`
#[derive(Debug, Args)]
pub struct Init {
    /// The agent to write agents/NAME.toml for; the directory's name, if it says nothing
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
    /// The project to look at
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub project: PathBuf,
}

/// `exeat completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `exeat man`
#[derive(Debug, Args)]
pub struct Man {
    /// Where to write exeat.1, exeat-run.1 and so on; without it, exeat.1 is printed
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
}

/// `exeat version`
#[derive(Debug, Args)]
pub struct Version {
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}
