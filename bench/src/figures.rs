//! All rounds, interleaved, and what is read from them.
//!
//! Enters: where the binaries are. Leaves: tables in Markdown on standard output. Never: a figure from a single run, or two that
//! are compared and were not measured turn by turn.

mod attacks;
mod bodies;
mod contest;
mod crowd;
mod curves;
mod findings;
mod first;
mod held;
mod idle;
mod installation;
mod machine;
mod memory;
mod names;
mod player;
mod pure;
mod rivals;
mod server;
mod serving;
mod spread;
mod start;
mod table;
mod targets;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::error::Error;

use self::findings::Findings;
use self::installation::{Installation, SWAPS};
use self::player::Player;

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
    /// Where the curves' images go; without it, below the room
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Rounds of everything that is measured by load
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each turn
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measure only these parts: start, first, memory, crowd, rivals, held, idle, names, serving, connections (of serving), bodies, curves, attacks, pure
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    only: Vec<String>,
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

/// The parts, in the order of the tables.
const PARTS: [&str; 13] = [
    "start", "first", "memory", "crowd", "rivals", "held", "idle", "names", "serving", "bodies", "curves", "attacks",
    "pure",
];
/// A part of one of them, measured alone only when it is asked for.
const CONNECTIONS: &str = "connections";

/// Measures everything and prints it.
pub fn run(settings: &Settings) -> Result<(), Error> {
    if let Some(part) = settings.only.iter().find(|part| !PARTS.contains(&part.as_str()) && *part != CONNECTIONS) {
        return Err(Error::new(format!("there is no part `{part}`; there are {}, {CONNECTIONS}", PARTS.join(", "))));
    }
    let installation = Installation::lay_out(&settings.exeat, &settings.room)?;
    let mut findings = Findings::default();
    let machine = machine::told()?;
    let mut text = String::new();
    let begun = Instant::now();
    for part in PARTS.into_iter().chain([CONNECTIONS]) {
        if !settings.wants(part) {
            continue;
        }
        progress(&format!("{part}, {} s after the beginning", begun.elapsed().as_secs()));
        let measured = settings.measure(part, &installation, &mut findings);
        text += &measured.map_err(|error| error.during(part))?;
    }
    let targets = targets::table(&findings);
    crate::say(format!("{machine}{targets}{text}").trim_end())
}

impl Settings {
    fn wants(&self, part: &str) -> bool {
        match self.only.is_empty() {
            true => part != CONNECTIONS,
            false => self.only.iter().any(|only| only == part),
        }
    }

    fn plots(&self) -> Result<PathBuf, Error> {
        Ok(self.plots.clone().unwrap_or(self.room.canonicalize()?.join("plots")))
    }

    fn measure(&self, part: &str, installation: &Installation, findings: &mut Findings) -> Result<String, Error> {
        let Self { rounds, seconds, .. } = *self;
        match part {
            "start" => start::table(installation, findings, self.starts),
            "first" => first::table(installation, findings, self.starts),
            "memory" => memory::table(installation, findings),
            "crowd" => crowd::table(installation, findings, self.workers),
            "rivals" => rivals::tables(installation, findings, (rounds, seconds / 2.0)),
            "held" => held::table(installation, findings),
            "idle" => idle::table(installation),
            "serving" => serving::tables(installation, rounds, seconds),
            "names" => names::table(installation, findings),
            "bodies" => bodies::tables(installation, findings, rounds, seconds),
            "curves" => curves::tables(installation, findings, &self.plots()?, seconds / 2.0),
            "attacks" => attacks::table(installation, seconds, self.attack),
            CONNECTIONS => serving::connections(installation, rounds, seconds),
            _ => self.criterion.as_deref().map_or(Ok(String::new()), |directory| pure::table(directory, findings)),
        }
    }
}

/// What is being measured, for whoever waits.
fn progress(what: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}
