//! `exeat calls` and `exeat stats`: which calls are meant, and how they are shown.
//!
//! Enters: the arguments behind the two words. Leaves: them, typed where a type of their own reads them. Never: a filter that is dropped because
//! it could not be read.

use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::{Args, Subcommand};
use config::{AgentId, CredentialName, NameGlob, PathGlob};

use super::{Export, Prune};
use crate::calls::{CallId, HostFilter, RuleFilter, Statuses};

/// Which calls are meant. Each option narrows the choice; one that is repeated widens its own.
#[derive(Debug, Default, Args)]
pub struct Wanted {
    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    pub agent: Vec<AgentId>,
    /// Only this worker's: its id, or how that begins or ends
    #[arg(long, value_name = "WORKER", value_parser = part)]
    pub worker: Vec<String>,
    /// Only those to this host: a name, `*.example.com`, an address or a range, with `:port` where that matters
    #[arg(long, value_name = "HOST")]
    pub host: Vec<HostFilter>,
    /// Only those with this method
    #[arg(long, value_name = "METHOD")]
    pub method: Vec<String>,
    /// Only those to this path, as in rules: `/repos/*/issues`, `/repos/acme/**`
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathGlob>,
    /// Only those that were answered like this: 404, 4xx, 500-599
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Statuses>,
    /// Only what this rule judged: "allow #2", "deny #1", "deny", "line 14"
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<RuleFilter>,
    /// Only those that used this credential
    #[arg(long, value_name = "NAME")]
    pub credential: Vec<CredentialName>,
    /// Only those that used this lease: its id, or how that begins or ends
    #[arg(long, value_name = "ID", value_parser = part)]
    pub lease: Vec<String>,
    /// Only those that asked for this MCP tool or GraphQL operation; `*` stands for any characters
    #[arg(long, value_name = "NAME")]
    pub tool: Vec<NameGlob>,
    /// Only what was refused
    #[arg(long)]
    pub refused: bool,
    /// Only what a reviewer should see: alerts, calls that passed only because their worker observes, answers that had a credential in them,
    /// answers that broke off or were cut off, names that led to a forbidden address, and calls that were sent again after a 401
    #[arg(long)]
    pub flagged: bool,
    /// Also what `exeat probe` tried, which is no agent's doing
    #[arg(long)]
    pub probes: bool,
    /// Only from this time on: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 1d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `exeat calls`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Calls {
    /// What to do instead of listing
    #[command(subcommand)]
    pub command: Option<CallsCommand>,
    /// Which calls
    #[command(flatten)]
    pub wanted: Wanted,
    /// No more than the newest so many; `all` for all. Unless said, 1,000 in a terminal, and all elsewhere
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<Limit>,
    /// Keep waiting for more
    #[arg(short, long)]
    pub follow: bool,
    /// The records themselves, one JSON object a line
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// As comma-separated values (RFC 4180), which a spreadsheet takes for text and never for a formula
    #[arg(long)]
    pub csv: bool,
}

/// What `exeat calls` does but list.
#[derive(Debug, Subcommand)]
pub enum CallsCommand {
    /// Tell one call from start to end
    Show(Show),
    /// Write the calls in the form of others, one JSON object a line
    Export(Export),
    /// Remove closed files of call logs, the oldest first, as `[keep]` in log.toml has it
    Prune(Prune),
}

/// `exeat calls show`
#[derive(Debug, Args)]
pub struct Show {
    /// Which: as `exeat calls` has it, such as 3fa2c1/12, or WORKER/NUMBER with the number of any of its records
    #[arg(value_name = "ID")]
    pub id: CallId,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `exeat stats`
#[derive(Debug, Args)]
pub struct Stats {
    /// Which calls
    #[command(flatten)]
    pub wanted: Wanted,
    /// So many agents and hosts, those with most calls first, or `all` (default: 50, with --json 10,000)
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<Limit>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<NonZeroUsize>);

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Limit(None)),
            text => text.parse().map(|most| Limit(Some(most))).map_err(|_| "write a number from 1, or `all`"),
        }
    }
}

/// A part of an id, long enough to mean something.
fn part(text: &str) -> Result<String, &'static str> {
    let plain = text.replace('-', "").to_ascii_lowercase();
    let is_id = plain.len() >= 4 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(plain).ok_or("write the id, or at least four characters of its beginning or end")
}
