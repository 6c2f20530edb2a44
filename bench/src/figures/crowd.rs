//! Many workers at once.
//!
//! Enters: how many. Leaves: how long until all of them stand, what they hold and use while they idle, and that each serves a call.
//! Never: a worker that failed left out.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::Error;
use crate::job::{Job, Load, Protocol};
use crate::tree::{children, rolled_up};

use super::findings::Findings;
use super::installation::{Installation, SWAPS};
use super::player::Player;
use super::table::Table;

/// Over which idle CPU time is counted.
const IDLE: Duration = Duration::from_secs(5);

/// `workers` of them, a credential granted to each.
pub fn table(installation: &Installation, findings: &mut Findings, workers: u32) -> Result<String, Error> {
    let begun = Instant::now();
    let mut players = Vec::new();
    for _ in 0..workers {
        players.push(Player::start(installation.command(SWAPS, &["./driver", "drive"]), true)?);
    }
    // A driver answers when it is there; what it is asked first is a call.
    let (mut calls, server) = (0, installation.upstream.process());
    let job = Job {
        connect: None,
        host: "h1.bench.example".to_owned(),
        protocol: Protocol::Http1,
        path: "/guarded/1024".to_owned(),
        load: Load::Requests { connections: 1, streams: 1, seconds: 0.01 },
        beside: None,
        background: false,
    };
    let mut up = Duration::ZERO;
    for player in &mut players {
        player.ready(&job)?;
        up = begun.elapsed();
    }
    for player in &mut players {
        calls += player.finish(server)?.outcome.done.min(1);
    }
    sleep(Duration::from_secs(1));
    let mut kibibytes = 0;
    let mut processes = Vec::new();
    for player in &players {
        let worker = player.process();
        // The broker is forked before the sandbox.
        let mut others = children(worker)?;
        others.sort_unstable();
        processes.extend([worker].into_iter().chain(others.into_iter().take(1)));
    }
    for &process in &processes {
        kibibytes += rolled_up(process)?[0];
    }
    let used = || processes.iter().map(|&process| clock::of(process)).sum::<Result<f64, _>>();
    let before = used()?;
    sleep(IDLE);
    let idle = (used()? - before) / IDLE.as_secs_f64() * 100.0;
    let about = "All started at once, a credential granted to each; each has served a call before memory and CPU are looked at. Memory is \
                 the proportional share (PSS) of workers and brokers; CPU is a percentage of one core, of all of them together.";
    let heads = ["workers", "all up, s", "served a call", "MiB", "MiB each", "idle CPU %"];
    let mut table = Table::new("Many workers", about, &heads);
    let mebibytes = kibibytes as f64 / 1024.0;
    findings.note("crowd's memory", [mebibytes].into_iter().collect());
    findings.note("crowd's CPU", [idle].into_iter().collect());
    table.row(&[
        workers.to_string(),
        format!("{:.1}", up.as_secs_f64()),
        calls.to_string(),
        format!("{mebibytes:.0}"),
        format!("{:.1}", mebibytes / f64::from(workers)),
        format!("{idle:.1}"),
    ]);
    Ok(table.end())
}
