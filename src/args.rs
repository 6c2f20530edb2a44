//! The command line: what can be asked of `exeat`.
//!
//! Enters: the process's arguments. Leaves: one typed command. Never: a default that widens what an agent may do.

mod suggest;
mod verify;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use broker::{ApprovalId, LeaseId, Term, Which};
use clap::{Args, Parser, Subcommand};
use config::{AgentId, WorkerId};

pub use self::suggest::Suggest;
pub use self::verify::Verify;

/// Runs a process that may not be trusted with the network or with a secret, and writes its leave for every call.
#[derive(Debug, Parser)]
#[command(name = "exeat", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Where the files are that people write: agents/NAME.toml and credentials.toml
    #[arg(long, global = true, value_name = "DIR", env = "EXEAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where workers keep their call logs
    #[arg(long, global = true, value_name = "DIR", env = "EXEAT_STATE")]
    pub state: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes of `run`: the command's own; 128+N when signal N ended it; 124 when its wall clock ran out; 123 when it was stopped by `exeat stop` or `offboard`; 122 when another limit of its agent ended it; 125 when exeat \
itself failed and nothing has run; 126 when the command cannot be executed; 127 when it is not there.";

const PROBE_EXIT_CODES: &str =
    "Exit codes: 0, everything held; 1, something broke; 2, the battery could not be run to its end.";

const VERIFY_EXIT_CODES: &str =
    "Exit codes: 0, the logs are what was written; 1, one is not; 125, it could not be said.";

/// What `exeat` does.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Prove that the call logs are what was written, or say where one is not
    Verify(Verify),
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
    /// The broker as a service of its own
    #[command(subcommand)]
    Broker(Broker),
    /// Show the main job on built-in defaults, offline
    Demo(Demo),
    /// Try every escape and bypass from inside a worker, under an agent's real policy
    #[command(after_help = PROBE_EXIT_CODES)]
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
    #[arg(long, value_name = "SOCKET")]
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
    /// Say nothing at the end of what was refused, as where standard error is no terminal
    #[arg(short, long)]
    pub quiet: bool,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

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
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `exeat explain`
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0, allowed; 1, refused; 125, it could not be said.")]
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

/// `exeat calls`
#[derive(Debug, Args)]
pub struct Calls {
    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
    /// Only those to this host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only what was refused
    #[arg(long)]
    pub refused: bool,
    /// Only from this time on: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 1d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Keep waiting for more
    #[arg(short, long)]
    pub follow: bool,
    /// The records themselves, one JSON object a line
    #[arg(long)]
    pub json: bool,
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
    #[arg(long, value_name = "SOCKET")]
    pub socket: PathBuf,
    /// Also publish the keys that sign worker identities on this HTTPS address; nothing else answers there
    #[arg(long, value_name = "ADDRESS:PORT", requires = "certificate", requires = "key")]
    pub https: Option<SocketAddr>,
    /// The certificate of that address, with its chain: a PEM file
    #[arg(long, value_name = "FILE", requires = "https")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key: a PEM file
    #[arg(long, value_name = "FILE", requires = "https")]
    pub key: Option<PathBuf>,
}

/// `exeat leases`
#[derive(Debug, Args)]
pub struct Leases {
    /// Also those that are over
    #[arg(long)]
    pub all: bool,
    /// One JSON array
    #[arg(long)]
    pub json: bool,
}

/// `exeat workers`
#[derive(Debug, Args)]
pub struct Workers {
    /// One JSON array
    #[arg(long)]
    pub json: bool,
}

/// `exeat stop`
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Stop {
    /// Which one, as `exeat workers` has it
    #[arg(value_name = "WORKER")]
    pub worker: Option<WorkerId>,
    /// All of this agent
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
}

/// `exeat diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// Whose changes; without one, those of the last worker that has any
    #[arg(value_name = "WORKER", conflicts_with = "agent")]
    pub worker: Option<WorkerId>,
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

/// `exeat revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// Which one, as in the call log and in `exeat leases`
    #[arg(long, value_name = "ID", required_unless_present_any = ["worker", "agent"], conflicts_with_all = ["worker", "agent"])]
    pub lease: Option<LeaseId>,
    /// All of this worker
    #[arg(long, value_name = "ID", conflicts_with_all = ["agent", "broker"])]
    pub worker: Option<WorkerId>,
    /// All of this agent
    #[arg(long, value_name = "NAME", conflicts_with = "broker")]
    pub agent: Option<AgentId>,
    /// A lease of the broker that listens there, if that has another state directory
    #[arg(long, value_name = "SOCKET")]
    pub broker: Option<PathBuf>,
}

impl Revoke {
    /// What is to be taken back.
    pub fn which(&self) -> Option<Which> {
        let worker = || self.worker.map(Which::Worker);
        self.lease.map(Which::Lease).or_else(worker).or_else(|| self.agent.clone().map(Which::Agent))
    }
}

/// `exeat approvals`
#[derive(Debug, Args)]
pub struct Approvals {
    /// Also what was decided, as long as its worker lives
    #[arg(long)]
    pub all: bool,
    /// One JSON array
    #[arg(long)]
    pub json: bool,
}

/// `exeat approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// Which request, as in `exeat approvals`
    #[arg(value_name = "ID")]
    pub id: Option<ApprovalId>,
    /// For one lease: all calls until it would be renewed (a fixed secret: for a minute)
    #[arg(long, requires = "id", conflicts_with_all = ["time", "worker"])]
    pub once: bool,
    /// For this long, such as 15m; then what was leased is revoked
    #[arg(id = "time", long = "for", value_name = "TIME", value_parser = config::parse_duration, requires = "id", conflicts_with = "worker")]
    pub time: Option<Duration>,
    /// As long as its worker lives, which is so unless said otherwise
    #[arg(id = "worker", long = "for-worker", requires = "id")]
    pub worker: bool,
}

impl Approve {
    /// For how long.
    pub fn term(&self) -> Term {
        match (self.once, self.time) {
            (true, _) => Term::Once,
            (false, Some(time)) => Term::For(time.as_secs()),
            (false, None) => Term::Worker,
        }
    }
}

/// `exeat deny`
#[derive(Debug, Args)]
pub struct Deny {
    /// Which request, as in `exeat approvals`
    #[arg(value_name = "ID")]
    pub id: ApprovalId,
    /// Why: the agent is told
    #[arg(long, value_name = "WORDS")]
    pub why: String,
}

/// `exeat offboard`
#[derive(Debug, Args)]
pub struct Offboard {
    /// Whom
    #[arg(value_name = "AGENT")]
    pub agent: AgentId,
    /// Let it run again. What was revoked stays revoked
    #[arg(long)]
    pub undo: bool,
    /// One JSON document
    #[arg(long, conflicts_with = "undo")]
    pub json: bool,
}

/// `exeat demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the configuration in this directory, as a starting point
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// `exeat probe`
#[derive(Debug, Args)]
pub struct Probe {
    /// Whose policy applies: agents/NAME.toml
    #[arg(long, value_name = "NAME")]
    pub agent: AgentId,
    /// Use the broker that listens on this Unix socket instead of one of our own
    #[arg(long, value_name = "SOCKET")]
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
