//! What operators ask: who runs, who holds what, what waits, and the end of any of it.
//!
//! Enters: the process's arguments. Leaves: one typed question or order. Never: an order to all where one was meant.

use std::path::PathBuf;
use std::time::Duration;

use broker::{ApprovalId, LeaseId, Term, Which};
use clap::{ArgGroup, Args, ValueHint};
use config::{AgentId, WorkerId};

use crate::which::WorkerPart;

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
#[command(group = ArgGroup::new("which").args(["worker", "agent"]).required(true))]
pub struct Stop {
    /// Which one, as `exeat workers` has it, or four characters of its id's end, or twelve of its beginning
    #[arg(value_name = "WORKER")]
    pub worker: Option<WorkerPart>,
    /// All of this agent
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
    /// One JSON array
    #[arg(long)]
    pub json: bool,
}

/// `exeat revoke`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["lease", "worker", "agent"]).required(true))]
pub struct Revoke {
    /// Which one, as in the call log and in `exeat leases`
    #[arg(long, value_name = "ID")]
    pub lease: Option<LeaseId>,
    /// All of this worker
    #[arg(long, value_name = "ID", conflicts_with = "broker")]
    pub worker: Option<WorkerId>,
    /// All of this agent
    #[arg(long, value_name = "NAME", conflicts_with = "broker")]
    pub agent: Option<AgentId>,
    /// A lease of the broker that listens there, if that has another state directory
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub broker: Option<PathBuf>,
    /// One JSON array
    #[arg(long)]
    pub json: bool,
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
    /// One JSON document: the request as it stands then; without an id, an array of what waits
    #[arg(long)]
    pub json: bool,
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
    /// One JSON document: the request as it stands then
    #[arg(long)]
    pub json: bool,
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
    #[arg(long)]
    pub json: bool,
}
