//! What it takes to be there: memory before anything was called, and of connections that stand and say nothing.
//!
//! Enters: an installation. Leaves: a table, a row for each who is compared; and how many connections
//! go through one worker, of 2,000. Never: memory of a process that did something else before.

use std::thread::sleep;
use std::time::Duration;

use crate::error::Error;
use crate::job::{Job, Load, Outcome, Protocol, per};
use crate::tree;

use super::contest::{Contest, EXEAT_SWAPS, Scene};
use super::findings::Findings;
use super::spread::Spread;
use super::table::Table;

/// Times that everybody is started anew.
const ROUNDS: usize = 3;
/// Connections held open.
const HELD: usize = 1_000;
/// Connections through one worker.
const MANY: usize = 2_000;
/// Until what is over has been given back.
const SETTLE: Duration = Duration::from_millis(4500);

/// Memory of everybody.
pub fn table(installation: &super::Installation, findings: &mut Findings) -> Result<String, Error> {
    let about = format!(
        "After one call, and with {HELD} intercepted connections open that were used once each and say nothing; started anew {ROUNDS} times: \
         median (least–greatest). PSS counts a page shared by n processes as 1/n. What of a connection is the kernel's is in neither."
    );
    let heads = ["", "idle PSS MiB", "idle RSS MiB", "KiB PSS an idle connection", "KiB RSS an idle connection"];
    let mut table = Table::new("Memory, beside what else there is", &about, &heads);
    let mut rows: Vec<(&str, [Spread; 4])> = Vec::new();
    let place = super::rivals::place(installation, "held")?;
    for _ in 0..ROUNDS {
        super::progress("held: memory of everybody");
        let mut contest = Contest::start(installation, &place)?;
        sleep(SETTLE);
        for contestant in contest.contestants().iter_mut().skip(1) {
            let name = contestant.name;
            let figures = hold(contestant).map_err(|error| error.during(name))?;
            if rows.iter().all(|(other, _)| *other != name) {
                rows.push((name, Default::default()));
            }
            let row = rows.iter_mut().find(|(other, _)| *other == name);
            row.into_iter().for_each(|(_, row)| row.iter_mut().zip(figures).for_each(|(spread, one)| spread.push(one)));
        }
    }
    for (name, [pss, rss, of_pss, of_rss]) in rows {
        table.row(&[name.to_owned(), pss.told(1), rss.told(1), of_pss.told(1), of_rss.told(1)]);
        if name == EXEAT_SWAPS {
            findings.note("idle PSS", pss);
            findings.note("idle connection", of_pss);
        } else if name == crate::rivals::setup::BARE {
            findings.note("idle PSS, bare", pss);
            findings.note("idle connection, bare", of_pss);
        }
    }
    Ok(table.end() + &many(installation, findings)?)
}

/// PSS and RSS in MiB, and what of each a connection takes in KiB.
fn hold(contestant: &mut super::contest::Contestant) -> Result<[f64; 4], Error> {
    let [pss, rss] = tree::memory(&contestant.processes()?)?;
    let job = contestant.job(&Scene::short(|_| Load::Hold { connections: HELD }), 0);
    contestant.player().ready(&job)?;
    sleep(SETTLE);
    let held = tree::memory(&contestant.processes()?)?;
    contestant.player().begin()?;
    let outcome = contestant.player().end()?;
    let each = |now: f64, before: f64| (now - before) / per(outcome.done, 1.0);
    Ok([pss / 1024.0, rss / 1024.0, each(held[0], pss), each(held[1], rss)])
}

/// Through one worker: as many as are asked for, or half of them where those are not to be had.
fn many(installation: &super::Installation, findings: &mut Findings) -> Result<String, Error> {
    super::progress("held: many connections through one worker");
    let about = "Connections through one worker, each asked once, all held open, and then asked once more, one after the other. Memory while \
                 they are held, worker and broker.";
    let heads = ["connections", "answered while all stood", "PSS MiB", "RSS MiB", "p50 µs", "p99 µs"];
    let mut table = Table::new("Many connections", about, &heads);
    for connections in [MANY, MANY / 2] {
        match held(installation, connections) {
            Ok(([pss, rss], outcome)) => {
                findings.note("open connections", [per(outcome.done, 1.0)].into_iter().collect());
                table.row(&[
                    connections.to_string(),
                    outcome.done.to_string(),
                    format!("{:.1}", pss / 1024.0),
                    format!("{:.1}", rss / 1024.0),
                    format!("{:.0}", outcome.p50),
                    format!("{:.0}", outcome.p99),
                ]);
                break;
            }
            Err(error) => {
                super::progress(&format!("held: {connections} connections: {error}"));
                table.row(&[connections.to_string(), "some were refused or lost".to_owned()]);
            }
        }
    }
    Ok(table.end())
}

fn held(installation: &super::Installation, connections: usize) -> Result<([f64; 2], Outcome), Error> {
    let mut player = super::Player::start(installation.command(super::SWAPS, &["./driver", "drive"]), true)?;
    let worker = player.process();
    let job = Job {
        connect: None,
        host: "h1.bench.example".to_owned(),
        protocol: Protocol::Http1,
        path: "/guarded/1024".to_owned(),
        load: Load::Hold { connections },
        beside: None,
        background: false,
    };
    player.ready(&job)?;
    sleep(SETTLE);
    let memory = tree::memory(&tree::exeat(worker)?)?;
    player.begin()?;
    Ok((memory, player.end()?))
}
