//! How long it takes to start and end, with nothing done in between.
//!
//! Enters: exeat, and bubblewrap in the path. Leaves: wall times, turn by turn. Never: a start that failed counted as a fast one.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;

use super::installation::{Installation, PLAIN, SWAPS};
use super::spread::Spread;
use super::table::Table;

/// A start of each kind in turn, as often as `starts` says.
pub fn table(installation: &Installation, starts: u32) -> Result<String, Error> {
    let bubblewrap = |words: &[&str]| {
        let mut command = Command::new("bwrap");
        command.args(words).arg("true");
        command
    };
    let least = ["--unshare-all", "--ro-bind", "/", "/"];
    let alike = [&least[..], &["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]].concat();
    let kinds: [(&str, &dyn Fn() -> Command); 4] = [
        ("`exeat run --agent x -- true`", &|| installation.command(PLAIN, &["true"])),
        ("the same, with a credential granted", &|| installation.command(SWAPS, &["true"])),
        ("`bwrap --unshare-all --ro-bind / / true`", &|| bubblewrap(&least)),
        ("the same, with /proc, /dev and tmpfs", &|| bubblewrap(&alike)),
    ];
    let mut times = vec![Spread::default(); kinds.len()];
    for _ in 0..starts {
        for ((name, command), times) in kinds.iter().zip(&mut times) {
            times.push(time(&mut command()).map_err(|error| error.during(name))?);
        }
    }
    let about = format!("Wall time from exec to exit, {starts} of each, in turn. Budget: 1.5 × bubblewrap.");
    let mut table = Table::new("Start", &about, &["command", "p50 ms", "p10–p90 ms", "÷ bubblewrap"]);
    let base = times[2].median();
    for ((name, _), times) in kinds.iter().zip(&times) {
        let between = format!("{:.1}–{:.1}", times.at(1, 10), times.at(9, 10));
        table.row(&[
            name.to_string(),
            format!("{:.1}", times.median()),
            between,
            format!("{:.2}", times.median() / base),
        ]);
    }
    Ok(table.end())
}

fn time(command: &mut Command) -> Result<f64, Error> {
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(milliseconds) } else { Err(Error::new(format!("it ended with {status}"))) }
}
