//! What can be asked of `exeat report` and `exeat schema`.
//!
//! Enters: the process's arguments. Leaves: what is asked for. Never: a default that claims more than was measured.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use config::AgentId;

/// `exeat report`
#[derive(Debug, Args)]
pub struct Report {
    /// About whom
    #[arg(long, value_name = "NAME")]
    pub agent: AgentId,
    /// What is counted in call logs, leases and decisions: how far back: 30d, 12h
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: String,
    /// One JSON document, as `exeat schema report` describes it
    #[arg(long)]
    pub json: bool,
    /// Into this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `exeat schema`
#[derive(Debug, Args)]
pub struct Schema {
    /// Of what
    #[arg(value_enum, default_value = "record")]
    pub of: Documented,
}

/// What has a JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Documented {
    /// A line of the call log
    Record,
    /// What `exeat report --json` writes
    Report,
}
