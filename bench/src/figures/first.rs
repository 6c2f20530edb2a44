//! The first byte of a proxied answer, from exec on.
//!
//! Enters: an installation. Leaves: how long it takes until a command in a new sandbox has it. Never: an answer that is not the whole of
//! one.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use crate::error::Error;

use super::findings::Findings;
use super::installation::{Installation, SWAPS};
use super::spread::Spread;
use super::table::Table;

/// As often as everything else is started.
pub fn table(installation: &Installation, findings: &mut Findings, starts: u32) -> Result<String, Error> {
    let mut times = Spread::default();
    for _ in 0..starts {
        times.push(time(installation)?);
    }
    let about = format!(
        "From exec of `exeat run` until its command has the first byte of an answer, {starts} times: sandbox and broker started, name looked up, \
         leaf minted, upstream verified, credential swapped, answer scrubbed. The command is the driver, which asks once."
    );
    let mut table = Table::new("First byte", &about, &["best ms", "p50 ms", "p90 ms"]);
    table.row(&[(0, 1), (1, 2), (9, 10)].map(|(part, whole)| format!("{:.1}", times.at(part, whole))));
    findings.note("first byte", times);
    Ok(table.end())
}

fn time(installation: &Installation) -> Result<f64, Error> {
    let begun = Instant::now();
    let mut command = installation.command(SWAPS, &["./driver", "ask", "h1.bench.example", "/guarded/1024"]);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let out = process.stdout.take().ok_or_else(|| Error::new("no standard output"))?;
    BufReader::new(out).read_line(&mut line)?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    match process.wait()?.success() && line == crate::drive::FIRST_BYTE {
        true => Ok(milliseconds),
        false => Err(Error::new("the command had no answer")),
    }
}
