//! `exeat suggest`: whose calls are looked at, and what becomes of the rules.
//!
//! Enters: the process's arguments. Leaves: typed ones. Never: a write that was not asked for.

use clap::Args;
use config::AgentId;

/// `exeat suggest`
#[derive(Debug, Args)]
pub struct Suggest {
    /// Whose calls, and whose policy
    #[arg(long, value_name = "NAME")]
    pub agent: AgentId,
    /// Only calls from this time on: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 1d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Add the rules to the agent's file, which keeps its comments and order
    #[arg(long)]
    pub write: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}
