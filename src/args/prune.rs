//! The arguments of `exeat calls prune`.
//!
//! Enters: the process's arguments. Leaves: what to do. Never: how much is kept, which stands in log.toml.

use clap::Args;

/// `exeat calls prune`
#[derive(Debug, Args)]
pub struct Prune {
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}
