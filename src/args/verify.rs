//! `exeat verify`

use std::path::PathBuf;

use clap::Args;
use config::{AgentId, WorkerId};

/// `exeat verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// A state directory, or a copy of one; without it, the state directory here
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Trust this key only: `NAME+ID+KEY`, or a file that has it; without it, the key that lies in the state directory
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// Where the broker keeps its checkpoints, if not in the same state directory
    #[arg(long, value_name = "DIR")]
    pub checkpoints: Option<PathBuf>,
    /// Only the logs of this agent
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentId>,
    /// Only the log of this worker
    #[arg(long, value_name = "ID")]
    pub worker: Option<WorkerId>,
    /// Fail also where the last records of a worker that is gone have no signature, as it was killed
    #[arg(long)]
    pub strict: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}
