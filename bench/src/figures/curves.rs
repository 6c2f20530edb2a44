//! How cost grows: with workers, connections, rules and the size of a body.
//!
//! Enters: an installation, and where images go. Leaves: four images, a table below each. Never: a point of exeat's without the direct
//! one of the same round.

mod crew;
mod grown;

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::job::{Job, Load, Protocol};

use super::findings::Findings;
use super::installation::{Installation, PLAIN, RULES, SWAPS};
use super::table::Table;

use self::crew::Crew;
use self::grown::Grown;

/// Rounds of each point: what is drawn are their median, least and greatest.
const ROUNDS: u32 = 3;
/// Connections of each of several workers.
const EACH: usize = 4;
/// Connections where something else grows.
const CONNECTIONS: usize = 16;

/// Who is drawn.
const DIRECT: &str = "directly";
const EXEAT: &str = "no credential";
const EVERYTHING: &str = "everything on";

/// All four. `plots` is where the images go; tables link to them at `plots/`.
pub fn tables(
    installation: &Installation,
    findings: &mut Findings,
    plots: &Path,
    seconds: f64,
) -> Result<String, Error> {
    fs::create_dir_all(plots)?;
    let mut text = format!(
        "## How cost grows\n\nexeat with everything on beside the same driver going directly, {ROUNDS} rounds in turn at each point, the bars from the least \
         to the greatest. CPU is the worker's, of all workers together; directly it is that of both ends, driver and server.\n\n"
    );
    let mut drawn = 0.0;
    for grown in [workers, connections, rules, bodies] {
        let grown = grown(installation, seconds)?;
        fs::write(plots.join(format!("{}.svg", grown.file)), grown.plot().svg())?;
        text += &grown.table();
        drawn += 1.0;
    }
    findings.note("plots", [drawn].into_iter().collect());
    Ok(text)
}

fn workers(installation: &Installation, seconds: f64) -> Result<Grown, Error> {
    let about = "1 KiB over HTTP/1.1, four connections to each worker, all workers at once; directly, as many drivers.";
    let mut grown = Grown::new("workers", "Workers", "workers", about, &[DIRECT, EVERYTHING]);
    let (mut direct, mut exeat) = (Crew::default(), Crew::default());
    for workers in [1, 2, 4, 8, 16, 32, 64] {
        super::progress(&format!("curves: {workers} workers"));
        direct.grow(workers, || installation.directly(), false)?;
        exeat.grow(workers, || installation.command(SWAPS, &["./driver", "drive"]), true)?;
        let load = Load::Requests { connections: EACH, streams: 1, seconds };
        let point = grown.point(crate::job::per(workers, 1.0), workers.to_string());
        for _ in 0..ROUNDS {
            point.round(vec![
                direct.play(&job(installation, true, "/guarded/1024", load.clone()), installation)?,
                exeat.play(&job(installation, false, "/guarded/1024", load.clone()), installation)?,
            ]);
        }
    }
    Ok(grown)
}

fn connections(installation: &Installation, seconds: f64) -> Result<Grown, Error> {
    let about = "1 KiB over HTTP/1.1, through one worker.";
    let mut grown = Grown::new("connections", "Connections", "connections", about, &[DIRECT, EVERYTHING]);
    let (mut direct, mut exeat) = (Crew::direct(installation)?, Crew::worker(installation, SWAPS)?);
    for connections in [1, 4, 16, 64, 256, 1024] {
        super::progress(&format!("curves: {connections} connections"));
        let load = Load::Requests { connections, streams: 1, seconds };
        let point = grown.point(crate::job::per(connections as u64, 1.0), connections.to_string());
        for _ in 0..ROUNDS {
            point.round(vec![
                direct.play(&job(installation, true, "/guarded/1024", load.clone()), installation)?,
                exeat.play(&job(installation, false, "/guarded/1024", load.clone()), installation)?,
            ]);
        }
    }
    Ok(grown)
}

fn rules(installation: &Installation, seconds: f64) -> Result<Grown, Error> {
    let about = "1 KiB over HTTP/1.1, 16 connections; the rule that allows the call is the last one, the others are for a thousand other hosts.";
    let mut grown = Grown::new("rules", "Rules", "rules", about, &[DIRECT, EVERYTHING]);
    let mut direct = Crew::direct(installation)?;
    for rules in RULES {
        super::progress(&format!("curves: {rules} rules"));
        let mut exeat = Crew::worker(installation, &installation.with_rules(rules)?)?;
        let load = Load::Requests { connections: CONNECTIONS, streams: 1, seconds };
        let mut round = || {
            Ok::<_, Error>(vec![
                direct.play(&job(installation, true, "/guarded/1024", load.clone()), installation)?,
                exeat.play(&job(installation, false, "/guarded/1024", load.clone()), installation)?,
            ])
        };
        match (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>, _>>() {
            Ok(rounds) => {
                let point = grown.point(f64::from(rules), rules.to_string());
                rounds.into_iter().for_each(|done| point.round(done));
            }
            // An exeat that takes no file of this length says so itself, on standard error.
            Err(error) => grown.without(format!("{rules}: exeat does not run with so many ({error})")),
        }
    }
    Ok(grown)
}

fn bodies(installation: &Installation, seconds: f64) -> Result<Grown, Error> {
    let about = "An answer of this size over HTTP/1.1, one after the other on one connection: JSON, scrubbed where there is a credential.";
    let mut grown =
        Grown::new("bodies", "Size of an answer's body", "body", about, &[DIRECT, EXEAT, EVERYTHING]).logarithmic();
    let mut direct = Crew::direct(installation)?;
    let (mut plain, mut exeat) = (Crew::worker(installation, PLAIN)?, Crew::worker(installation, SWAPS)?);
    for power in [10u32, 14, 18, 22, 26] {
        let size = 1u64 << power;
        let label = if power < 20 { format!("{} KiB", size >> 10) } else { format!("{} MiB", size >> 20) };
        super::progress(&format!("curves: bodies of {label}"));
        let load = Load::Requests { connections: 1, streams: 1, seconds };
        let (open, guarded) = (format!("/open/{size}"), format!("/guarded/{size}"));
        let point = grown.point(crate::job::per(size, 1.0), label);
        for _ in 0..ROUNDS {
            point.round(vec![
                direct.play(&job(installation, true, &guarded, load.clone()), installation)?,
                plain.play(&job(installation, false, &open, load.clone()), installation)?,
                exeat.play(&job(installation, false, &guarded, load.clone()), installation)?,
            ]);
        }
    }
    Ok(grown)
}

fn job(installation: &Installation, direct: bool, path: &str, load: Load) -> Job {
    let connect = direct.then_some(installation.upstream.addresses.http1);
    let (host, path) = ("h1.bench.example".to_owned(), path.to_owned());
    Job { connect, host, protocol: Protocol::Http1, path, load, beside: None, background: false }
}

/// A heading, the image, the numbers.
fn section(grown: &Grown, heads: &[&str]) -> Table {
    let Grown { file, title, about, .. } = grown;
    Table::part(&format!("{title}\n\n![{title}: requests a second and CPU a request](plots/{file}.svg)"), about, heads)
}
