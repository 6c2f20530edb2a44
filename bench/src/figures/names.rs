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

/// Names, in so many parts.
const NAMES: u32 = 100_000;
const PARTS: u32 = 10;
/// Where they begin: no other part of a run asks for these.
const FIRST: u32 = 5_000_000;
/// Handshakes at once.
const AT_ONCE: usize = 8;

/// What is held after each part.
pub fn table(installation: &Installation, findings: &mut Findings) -> Result<String, Error> {
    let mut player = Player::start(installation.command(PLAIN, &["./driver", "drive"]), true)?;
    let mut held = Vec::new();
    for part in 0..PARTS {
        super::progress(&format!("names: {} of {NAMES}", part * (NAMES / PARTS)));
        let job = Job {
            connect: None,
            host: "names.bench.example".to_owned(),
            protocol: Protocol::Http1,
            path: "/open/1024".to_owned(),
            load: Load::NewNames { at_once: AT_ONCE, first: FIRST + part * (NAMES / PARTS), count: NAMES / PARTS },
            beside: None,
            background: false,
        };
        player.play(&job, installation.upstream.process())?;
        held.push(tree::memory(&tree::exeat(player.process())?)?[0] / 1024.0);
    }
    let (first, last) = (held.first().copied().unwrap_or(f64::NAN), held.last().copied().unwrap_or(f64::NAN));
    findings.note("names' memory", [last / first].into_iter().collect());
    let about = format!(
        "A handshake each with {NAMES} names under one wildcard, as fast as the sandbox's name server answers: looked up, leaf minted. PSS of worker \
         and broker, MiB, after each tenth."
    );
    let heads: Vec<String> = (1..=PARTS).map(|part| (part * (NAMES / PARTS)).to_string()).collect();
    let mut table = Table::new("Names in a row", &about, &heads.iter().map(String::as_str).collect::<Vec<_>>());
    table.row(&held.iter().map(|mebibytes| format!("{mebibytes:.1}")).collect::<Vec<_>>());
    Ok(table.end())
}
