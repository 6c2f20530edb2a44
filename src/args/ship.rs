//! `exeat ship`: what can be asked of it.
//!
//! Enters: the process's arguments. Leaves: whether to ship for ever, once, or to say how far it is. Never: a receiver; those are in log.toml.

use clap::Args;

/// `exeat ship`
#[derive(Debug, Args)]
pub struct Ship {
    /// Ship what there is, and end
    #[arg(long, conflicts_with = "status")]
    pub once: bool,
    /// Say how far each receiver is behind, and ship nothing
    #[arg(long)]
    pub status: bool,
    /// The status as one JSON document
    #[arg(long, requires = "status")]
    pub json: bool,
}
