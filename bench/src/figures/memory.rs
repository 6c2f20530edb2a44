//! What one worker holds while its command does nothing.
//!
//! Enters: the process of `exeat run` and those it made. Leaves: resident and proportional memory of each. Never: what the command
//! itself holds.

use std::thread::sleep;
use std::time::Duration;

use crate::error::Error;
use crate::tree::{self, children, rolled_up};

use super::findings::Findings;
use super::installation::{Installation, SWAPS};
use super::player::Player;
use super::table::Table;

/// Until everything that starts has started.
const SETTLE: Duration = Duration::from_secs(1);

/// One idle worker with its broker and the sandbox's first process.
pub fn table(installation: &Installation, findings: &mut Findings) -> Result<String, Error> {
    let player = Player::start(installation.command(SWAPS, &["./driver", "drive"]), true)?;
    sleep(SETTLE);
    let worker = player.process();
    findings.note("idle worker", [tree::memory(&tree::exeat(worker)?)?[0] / 1024.0].into_iter().collect());
    let mut sums = [0; 3];
    let about = "One idle worker, a credential granted, nothing called yet. Proportional (PSS) counts a page shared by n \
                 processes as 1/n; it is what one more worker takes. Budget: 8 MiB PSS, worker and broker.";
    let mut table = Table::new("Memory", about, &["process", "PSS MiB", "RSS MiB", "of it private MiB"]);
    let mut others = children(worker)?;
    others.sort_unstable();
    // The sandbox is forked first.
    let names = ["worker", "sandbox's first process", "broker"];
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
