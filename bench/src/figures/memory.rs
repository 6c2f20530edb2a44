//! What one worker holds while its command does nothing.
//!
//! Enters: the process of `exeat run` and those it made. Leaves: resident and proportional memory of each. Never: what the command
//! itself holds.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::error::Error;

use super::installation::{Installation, SWAPS};
use super::player::Player;
use super::table::Table;

/// Until everything that starts has started.
const SETTLE: Duration = Duration::from_secs(1);

/// One idle worker with its broker and the sandbox's first process.
pub fn table(installation: &Installation) -> Result<String, Error> {
    let player = Player::start(installation.command(SWAPS, &["./driver", "drive"]), true)?;
    sleep(SETTLE);
    let worker = player.process();
    let mut sums = [0; 3];
    let about = "One idle worker, a credential granted, nothing called yet. Proportional (PSS) counts a page shared by n \
                 processes as 1/n; it is what one more worker takes. Budget: 8 MiB PSS, worker and broker.";
    let mut table = Table::new("Memory", about, &["process", "PSS MiB", "RSS MiB", "of it private MiB"]);
    let mut others = children(worker)?;
    others.sort_unstable();
    // The broker is forked before the sandbox.
    let names = ["worker", "broker", "sandbox's first process"];
    for (name, process) in names.iter().zip([worker].into_iter().chain(others)) {
        let sizes = rolled_up(process)?;
        sums.iter_mut().zip(sizes).for_each(|(sum, size)| *sum += size);
        table.row(&row(name, sizes));
    }
    table.row(&row("all", sums));
    Ok(table.end())
}

fn row(name: &str, sizes: [u64; 3]) -> [String; 4] {
    let [pss, rss, private] = sizes.map(|kibibytes| format!("{}.{}", kibibytes / 1024, kibibytes % 1024 * 10 / 1024));
    [name.to_owned(), pss, rss, private]
}

/// The processes that `process` made; each of its threads may have made some.
pub fn children(process: u32) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children"))?;
        found.extend(text.split_whitespace().filter_map(|number| number.parse::<u32>().ok()));
    }
    Ok(found)
}

/// PSS, RSS and private memory, in KiB.
pub fn rolled_up(process: u32) -> Result<[u64; 3], Error> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok([field("Pss:"), field("Rss:"), field("Private_Clean:") + field("Private_Dirty:")])
}
