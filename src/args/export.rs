//! `exeat calls export`: what can be asked of it.
//!
//! Enters: the process's arguments. Leaves: which calls, and in whose form. Never: a form that nobody has asked for by its name.

use clap::Args;
use config::AgentId;

/// `exeat calls export`
#[derive(Debug, Args)]
pub struct Export {
    /// Events of the Open Cybersecurity Schema Framework 1.8.0, class API Activity (6003)
    #[arg(long, required = true)]
    pub ocsf: bool,
    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
    /// Only those that began from this time on: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 1d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those that began before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}
