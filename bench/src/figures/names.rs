//! Many names in a row.
//!
//! Enters: an installation. Leaves: what a worker holds as names go by, each with a leaf and a connection of its own. Never: a name that was
//! asked for before.

use crate::error::Error;
use crate::job::{Job, Load, Protocol};
use crate::tree;

use super::findings::Findings;
use super::installation::{Installation, PLAIN};
use super::player::Player;
use super::table::Table;

/// After so many names is looked: a tenth of those that a target is about, all of them, and as many as a worker is attacked with.
const AFTER: [u32; 6] = [2_000, 20_000, 40_000, 60_000, 80_000, 100_000];
/// Where they begin: no other part of a run asks for these.
const FIRST: u32 = 5_000_000;
/// Handshakes at once.
const AT_ONCE: usize = 8;

/// What is held after each part.
pub fn table(installation: &Installation, findings: &mut Findings) -> Result<String, Error> {
    let mut player = Player::start(installation.command(PLAIN, &["./driver", "drive"]), true)?;
    let mut held = Vec::new();
    let begun = [0].into_iter().chain(AFTER);
    for (from, to) in begun.zip(AFTER) {
        super::progress(&format!("names: {from} of {}", AFTER[AFTER.len() - 1]));
        let job = Job {
            connect: None,
            host: "names.bench.example".to_owned(),
            protocol: Protocol::Http1,
            path: "/open/1024".to_owned(),
            load: Load::NewNames { at_once: AT_ONCE, first: FIRST + from, count: to - from },
            beside: None,
            background: false,
        };
        player.play(&job, installation.upstream.process())?;
        held.push(tree::memory(&tree::exeat(player.process())?)?[0] / 1024.0);
    }
    findings.note("names' memory", [held[1] / held[0]].into_iter().collect());
    findings.note("many names' memory", held.last().copied().into_iter().collect());
    let about = "A handshake each with so many names under one wildcard, as fast as the sandbox's name server answers: looked up, leaf minted. PSS of \
                 worker and broker, MiB.";
    let heads = AFTER.map(|names| names.to_string());
    let mut table = Table::new("Names in a row", about, &heads.iter().map(String::as_str).collect::<Vec<_>>());
    table.row(&held.iter().map(|mebibytes| format!("{mebibytes:.1}")).collect::<Vec<_>>());
    Ok(table.end())
}
