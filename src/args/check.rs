//! The arguments of `exeat check`.
//!
//! Enters: a command line. Leaves: what is to be checked. Never: a replay that nobody asked for; its options need it.

use clap::Args;
use config::AgentId;

/// `exeat check`
#[derive(Debug, Args)]
pub struct Check {
    /// Only the files, not the machine
    #[arg(long)]
    pub files_only: bool,
    /// Fail also where a finding (NHI…) is not accepted in the file
    #[arg(long)]
    pub strict: bool,
    /// For how long an agent may leave a credential unused: 30d, 12h
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub unused_since: String,
    /// Also judge the calls in the logs of this time again (7d, 12h), and say what the files as they are now would have decided
    /// otherwise; the machine is not looked at then
    #[arg(long, value_name = "TIME")]
    pub replay: Option<String>,
    /// Only this agent's calls
    #[arg(long, value_name = "NAME", requires = "replay")]
    pub agent: Option<AgentId>,
    /// Fail where one would have been decided otherwise, or a log could not be read to its end
    #[arg(long, requires = "replay")]
    pub fail_on_difference: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}
