//! All rounds, interleaved, and what is read from them.
//!
//! Enters: where the binaries are. Leaves: tables in Markdown on standard output. Never: a figure from a single run, or two that
//! are compared and were not measured turn by turn.

mod attacks;
mod bodies;
mod crowd;
mod idle;
mod installation;
mod machine;
mod memory;
mod player;
mod pure;
mod serving;
mod spread;
mod start;
mod table;

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;

use self::installation::Installation;

/// What to measure, and with what.
#[derive(Debug, Args)]
pub struct Settings {
    /// The exeat to be measured
    #[arg(long, value_name = "FILE")]
    exeat: PathBuf,
    /// A directory on a disk, outside /tmp, which the sandbox replaces; what is made in it is removed
    #[arg(long, value_name = "DIR")]
    room: PathBuf,
    /// Where criterion left its estimates; without it, the pure parts are left out
    #[arg(long, value_name = "DIR")]
    criterion: Option<PathBuf>,
    /// Rounds of everything that is measured by load
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each turn
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measure only this part: start, memory, crowd, serving, connections (of serving), bodies, idle, attacks, pure
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Only one of the attacks, by its number from 1 on
    #[arg(long, value_name = "NUMBER")]
    attack: Option<usize>,
    /// Starts of each kind
    #[arg(long, default_value_t = 40)]
    starts: u32,
    /// Workers at once
    #[arg(long, default_value_t = 200)]
    workers: u32,
}

/// Measures everything and prints it.
pub fn run(settings: &Settings) -> Result<(), Error> {
    let installation = Installation::lay_out(&settings.exeat, &settings.room)?;
    let mut text = machine::told()?;
    let wanted = |part: &str| settings.only.as_deref().is_none_or(|only| only == part);
    if wanted("start") {
        text += &start::table(&installation, settings.starts)?;
    }
    if wanted("memory") {
        text += &memory::table(&installation)?;
    }
    if wanted("idle") {
        text += &idle::table(&installation)?;
    }
    if wanted("crowd") {
        text += &crowd::table(&installation, settings.workers)?;
    }
    if wanted("serving") {
        text += &serving::tables(&installation, settings.rounds, settings.seconds)?;
    }
    if settings.only.as_deref() == Some("connections") {
        text += &serving::connections(&installation, settings.rounds, settings.seconds)?;
    }
    if wanted("bodies") {
        text += &bodies::tables(&installation, settings.rounds, settings.seconds)?;
    }
    if wanted("attacks") {
        text += &attacks::table(&installation, settings.seconds, settings.attack)?;
    }
    if let Some(directory) = settings.criterion.as_deref().filter(|_| wanted("pure")) {
        text += &pure::table(directory)?;
    }
    crate::say(text.trim_end())
}
