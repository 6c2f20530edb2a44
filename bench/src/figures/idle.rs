//! What connections cost that stand and say nothing.
//!
//! Enters: an installation. Leaves: for each number of connections, the worker's memory before they are opened and once they rest, with
//! whatever it keeps towards the upstream. Never: a connection on which nothing was ever asked.

use std::thread::sleep;
use std::time::Duration;

use crate::error::Error;
use crate::job::{Job, Load, Protocol};
use crate::tree::rolled_up;

use super::installation::{Installation, PLAIN, SWAPS};
use super::player::Player;
use super::table::Table;

/// Until what was opened rests, and buffers that are given back are.
const SETTLE: Duration = Duration::from_millis(4500);

/// A worker each.
pub fn table(installation: &Installation) -> Result<String, Error> {
    let about = "Each connection was asked 20 things for 1 KiB and rests; memory is proportional (PSS), of the worker alone. Budget: 24 KiB.";
    let heads = ["connections", "worker before, MiB", "and with them", "KiB each"];
    let mut table = Table::new("Idle connections", about, &heads);
    for (name, agent, protocol, connections) in [
        ("1,000, HTTP/1.1", PLAIN, Protocol::Http1, 1000),
        ("1,000, HTTP/1.1, with a credential", SWAPS, Protocol::Http1, 1000),
        ("2,000, HTTP/1.1", PLAIN, Protocol::Http1, 2000),
        ("1,000, HTTP/2", PLAIN, Protocol::Http2, 1000),
    ] {
        let mut player = Player::start(installation.command(agent, &["./driver", "drive"]), true)?;
        // What the first connections bring with them (caches, the pool) is not what one more costs.
        player.play(&job(agent, protocol, 8), installation.upstream.process())?;
        sleep(SETTLE);
        let [before, ..] = rolled_up(player.process())?;
        player.ready(&job(agent, protocol, connections))?;
        sleep(SETTLE);
        let [with, ..] = rolled_up(player.process())?;
        player.finish(installation.upstream.process())?;
        let each = with.saturating_sub(before) * 10 / connections as u64;
        let mebibytes = |kibibytes: u64| format!("{}.{}", kibibytes / 1024, kibibytes % 1024 * 10 / 1024);
        table.row(&[name.to_owned(), mebibytes(before), mebibytes(with), format!("{}.{}", each / 10, each % 10)]);
    }
    Ok(table.end())
}

fn job(agent: &str, protocol: Protocol, connections: usize) -> Job {
    let host = if protocol == Protocol::Http1 { "h1.bench.example" } else { "h2.bench.example" };
    Job {
        connect: None,
        host: host.to_owned(),
        protocol,
        path: format!("/{}/1024", if agent == PLAIN { "open" } else { "guarded" }),
        load: Load::Requests { connections, streams: 1, seconds: 0.1 },
        beside: None,
        background: false,
    }
}
