//! The command line: what can be asked of `exeat`.
//!
//! Enters: the process's arguments. Leaves: one typed command. Never: a default that widens what an agent may do.

mod calls;
mod check;
mod codes;
mod export;
mod operators;
mod prune;
mod report;
mod run_alone;
mod ship;
mod start;
mod suggest;
mod verify;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueHint};
use config::{AgentId, Diversion};

pub use self::calls::{Calls, CallsCommand, Limit, Show, Stats, Wanted};
pub use self::check::Check;
pub use self::codes::{codes, command, offered, told};
pub use self::export::Export;
pub use self::operators::{Approvals, Approve, Deny, Leases, Offboard, Revoke, Stop, Workers};
pub use self::prune::Prune;
pub use self::report::{Documented, Report, Schema};
pub use self::run_alone::run_alone;
pub use self::ship::Ship;
pub use self::start::{Completions, Init, Man, Version};
pub use self::suggest::Suggest;
pub use self::verify::Verify;
use crate::which::WorkerPart;

/// Runs a process that may not be trusted with the network or with a secret, and writes its leave for every call.
#[derive(Debug, Parser)]
#[command(name = "exeat", version, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub at: At,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

// No documentation comment: it would be the command's in its help.
#[derive(Debug, Args)]
pub struct At {
    /// Where the files are that people write: agents/NAME.toml, credentials.toml, broker.toml and log.toml; ~/.config/exeat unless said
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, env = "EXEAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where call logs are kept, and who holds what; ~/.local/state/exeat unless said
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, env = "EXEAT_STATE")]
    pub state: Option<PathBuf>,
}

/// What `exeat` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented configuration for what a project uses
    Init(Init),
    /// Run a command as an agent: sandboxed, with one way out
    Run(Run),
    /// Check the configuration, and whether this machine can run the sandbox
    Check(Check),
    /// Say what an agent's policy would decide about a call, and why
    Explain(Explain),
    /// Suggest the smallest rules that cover what an agent called, as after `run --observe`
    Suggest(Suggest),
    /// List the calls that were made and refused
    Calls(Calls),
    /// Count them: for each agent and host, how many, how they ended, how long they took
    Stats(Stats),
    /// Prove that the call logs are what was written, or say where one is not
    Verify(Verify),
    /// Send the call logs to where log.toml says: an OpenTelemetry collector, a syslog server
    Ship(Ship),
    /// List the leases that are open: who holds what
    Leases(Leases),
    /// List the workers that run
    Workers(Workers),
    /// Stop a worker, or all of an agent
    Stop(Stop),
    /// Show what a worker changed in directories that stayed as they were (`write = "overlay"`)
    Diff(Diff),
    /// Take leases back from their workers, at once
    Revoke(Revoke),
    /// List what waits for permission
    Approvals(Approvals),
    /// Permit a worker to use a credential that needs it; without an id, list what waits
    Approve(Approve),
    /// Deny it, in words that the agent is told
    Deny(Deny),
    /// End an agent: stop its workers, revoke its leases, refuse it from then on, and show the evidence
    Offboard(Offboard),
    /// Say what there is evidence of: an agent's state against OWASP's lists and NIST's
    Report(Report),
    /// Print the JSON Schema of what exeat writes
    Schema(Schema),
    /// The broker as a service of its own
    #[command(subcommand)]
    Broker(Broker),
    /// Show the main job on built-in defaults, offline
    Demo(Demo),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual, or write a page for each command into a directory
    Man(Man),
    /// Print the version
    Version(Version),
    /// Try every escape and bypass from inside a worker, under an agent's real policy
    Probe(Probe),
    /// What `probe` runs inside
    #[command(hide = true)]
    ProbeInside {
        /// The word of the run, by which its log is found
        word: String,
    },
}

/// `exeat run`
#[derive(Debug, Args)]
pub struct Run {
    /// Whose policy applies: agents/NAME.toml
    #[arg(long, value_name = "NAME")]
    pub agent: AgentId,
    /// Use the broker that listens on this Unix socket instead of one of our own
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub broker: Option<PathBuf>,
    /// Let calls pass that no rule covers, and note them for `exeat suggest`: never with a credential, past a `deny` rule or to an address that a
    /// rule has to list; weaker, and in the log
    #[arg(long)]
    pub observe: bool,
    /// Capture only the ports that the policy names, as where the kernel has no nf_tables; weaker, and in the log
    #[arg(long)]
    pub capture_ports_only: bool,
    /// Go on where the kernel cannot lock the worker in (no Landlock, no seccomp); weaker, and in the log
    #[arg(long, env = "EXEAT_UNLOCKED_WORKER", value_parser = clap::builder::FalseyValueParser::new())]
    pub unlocked_worker: bool,
    /// What runs is the battery of `exeat probe`, which says so
    #[arg(long, hide = true)]
    pub battery: bool,
    /// Where what is let out ends, instead of where it is meant for: ADDRESS=ROOT, on this machine
    #[arg(long, hide = true, requires = "battery", conflicts_with = "observe")]
    pub canary: Option<Canary>,
    /// Say nothing at the end of what was refused, as where standard error is no terminal
    #[arg(short, long)]
    pub quiet: bool,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A server of the battery's own, on loopback, and the file with its root.
#[derive(Debug, Clone)]
pub struct Canary(pub Diversion);

impl FromStr for Canary {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (to, root) = text.split_once('=').ok_or("an address, `=` and a file")?;
        let to: SocketAddr = to.parse().map_err(|_| "an address and a port")?;
        if !to.ip().is_loopback() {
            return Err("an address of loopback");
        }
        Ok(Self(Diversion { to, root: root.into() }))
    }
}

/// `exeat explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// Whose policy is asked
    #[arg(long, value_name = "NAME")]
    pub agent: AgentId,
    /// The method
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET", allow_hyphen_values = true)]
    pub method: config::Method,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
    /// Where it goes: HTTPS unless it says http://
    #[arg(value_name = "URL")]
    pub url: String,
}

/// `exeat broker`
#[derive(Debug, Subcommand)]
pub enum Broker {
    /// Serve credentials to the workers of this machine
    Serve(BrokerServe),
}

/// `exeat broker serve`
#[derive(Debug, Args)]
pub struct BrokerServe {
    /// The Unix socket to listen on
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub socket: PathBuf,
    /// Also publish the keys that sign worker identities on this HTTPS address; nothing else answers there
    #[arg(long, value_name = "ADDRESS:PORT", requires = "certificate", requires = "key")]
    pub https: Option<SocketAddr>,
    /// The certificate of that address, with its chain: a PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "https")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key: a PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "https")]
    pub key: Option<PathBuf>,
}

/// `exeat diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// Whose changes: its id, or four characters of its end, or twelve of its beginning; without one, those of the last worker that has any
    #[arg(value_name = "WORKER", conflicts_with = "agent")]
    pub worker: Option<WorkerPart>,
    /// The last worker of this agent
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
    /// As a patch, for `git apply`; binary files are only named
    #[arg(long, conflicts_with_all = ["json", "export", "discard"])]
    pub patch: bool,
    /// One JSON array
    #[arg(long, conflicts_with_all = ["export", "discard"])]
    pub json: bool,
    /// Keep what changed: copy it to DIR/0 (and 1, …), with DIR/changes.json
    #[arg(long, value_name = "DIR", conflicts_with = "discard")]
    pub export: Option<PathBuf>,
    /// Put what changed into the directories themselves, if the machine did not change the same files meanwhile
    #[arg(long, requires = "worker", conflicts_with_all = ["patch", "json", "export", "discard"])]
    pub apply: bool,
    /// Take what was written away, for good
    #[arg(long, requires = "worker")]
    pub discard: bool,
}

/// `exeat demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the configuration in this directory, as a starting point
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keep: Option<PathBuf>,
    /// Nothing is narrated; one JSON document at the end
    #[arg(long)]
    pub json: bool,
}

/// `exeat probe`
#[derive(Debug, Args)]
pub struct Probe {
    /// Whose policy applies: agents/NAME.toml
    #[arg(long, value_name = "NAME")]
    pub agent: AgentId,
    /// Use the broker that listens on this Unix socket instead of one of our own
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub broker: Option<PathBuf>,
    /// As `run` has it
    #[arg(long)]
    pub capture_ports_only: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
