//! Long bodies: how fast they come and go through exeat, and what a gigabyte leaves behind.
//!
//! Enters: an installation. Leaves: rates as ratios, CPU a MiB, the worker's peak before and after. Never: two turns compared that are
//! not of one round.

use crate::error::Error;
use crate::job::{Job, Load, Protocol, per};

use super::attacks::peak;
use super::findings::Findings;
use super::installation::{Installation, PLAIN, SWAPS};
use super::player::{Player, Turn};
use super::spread::Spread;
use super::table::Table;

/// The drivers: directly, through a worker without a credential, through one that swaps and scrubs.
const DIRECT: usize = 0;
const WITHOUT: usize = 1;
const WITH: usize = 2;

const MIB: u32 = 1 << 20;
const LONG: u32 = 10 * MIB;
const LONGEST: u32 = 1 << 30;

/// What is done with a body of what length, over which version.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    protocol: Protocol,
    bytes: u32,
    up: bool,
}

const SCENES: [Scene; 4] = [
    Scene { name: "download, HTTP/1.1", protocol: Protocol::Http1, bytes: LONG, up: false },
    Scene { name: "download, HTTP/2", protocol: Protocol::Http2, bytes: LONG, up: false },
    Scene { name: "upload, HTTP/1.1", protocol: Protocol::Http1, bytes: LONG, up: true },
    Scene { name: "upload, HTTP/2", protocol: Protocol::Http2, bytes: LONG, up: true },
];

/// Both tables.
pub fn tables(
    installation: &Installation,
    findings: &mut Findings,
    rounds: u32,
    seconds: f64,
) -> Result<String, Error> {
    Ok(long(installation, rounds, seconds)? + &longest(installation, findings)?)
}

fn long(installation: &Installation, rounds: u32, seconds: f64) -> Result<String, Error> {
    let about = format!(
        "10 MiB on one connection, one after the other, {rounds} rounds of {seconds} s turns: median (least–greatest). With a credential, one header \
         is swapped, downloads are scrubbed and uploads searched for placeholders. CPU for each MiB, as above. Budget: 0.70, with a credential 0.50."
    );
    let heads = [
        "10 MiB",
        "directly, MiB/s",
        "÷ direct",
        "with a credential ÷ direct",
        "ends µs/MiB",
        "worker µs/MiB",
        "with a credential µs/MiB",
    ];
    let mut table = Table::new("Long bodies", &about, &heads);
    let mut players = players(installation)?;
    for scene in SCENES {
        let mut turns = Vec::new();
        for _ in 0..rounds {
            turns.push(scene.round(installation, &mut players, seconds)?);
        }
        let spread = |of: &dyn Fn(&[Turn]) -> f64| -> Spread { turns.iter().map(|turns| of(turns)).collect() };
        let mebibytes = f64::from(scene.bytes) / f64::from(MIB);
        let ratio = |who: usize| spread(&|t| t[who].outcome.rate() / t[DIRECT].outcome.rate()).told(2);
        let worker = |who: usize| spread(&|t| t[who].worker.unwrap_or(f64::NAN) / mebibytes).told(0);
        table.row(&[
            scene.name.to_owned(),
            spread(&|t| t[DIRECT].outcome.rate() * mebibytes).told(0),
            ratio(WITHOUT),
            ratio(WITH),
            spread(&|t| t[DIRECT].ends / mebibytes).told(0),
            worker(WITHOUT),
            worker(WITH),
        ]);
    }
    Ok(table.end())
}

fn longest(installation: &Installation, findings: &mut Findings) -> Result<String, Error> {
    let about = "1 GiB, once each, with a credential. The worker's peak is what was resident at most, before and after; before, it has \
                 carried bodies of 1 MiB.";
    let heads = ["1 GiB", "directly, s", "with a credential, s", "÷ direct", "peak before, MiB", "after, MiB"];
    let mut table = Table::new("The longest bodies", about, &heads);
    let mut growth = Spread::default();
    for scene in SCENES {
        let scene = Scene { bytes: LONGEST, ..scene };
        let mut players = players(installation)?;
        let direct = scene.turn(installation, &mut players, DIRECT, 0.0)?;
        let server = installation.upstream.process();
        players[WITH].ready(&scene.job(installation, WITH, 0.0))?;
        let before = peak(players[WITH].process())?;
        let through = players[WITH].finish(server).map_err(|error| error.during(scene.name))?;
        let after = peak(players[WITH].process())?;
        growth.push(per(after, 1.0) / per(before, 1.0));
        table.row(&[
            scene.name.to_owned(),
            format!("{:.2}", 1.0 / direct.outcome.rate()),
            format!("{:.2}", 1.0 / through.outcome.rate()),
            format!("{:.2}", through.outcome.rate() / direct.outcome.rate()),
            format!("{:.1}", f64::from(u32::try_from(before).unwrap_or(u32::MAX)) / 1024.0),
            format!("{:.1}", f64::from(u32::try_from(after).unwrap_or(u32::MAX)) / 1024.0),
        ]);
    }
    // Of all ways, the worst.
    findings.note("gigabyte's memory", [growth.at(1, 1)].into_iter().collect());
    Ok(table.end())
}

fn players(installation: &Installation) -> Result<[Player; 3], Error> {
    let sandboxed = |agent| Player::start(installation.command(agent, &["./driver", "drive"]), true);
    Ok([Player::start(installation.directly(), false)?, sandboxed(PLAIN)?, sandboxed(SWAPS)?])
}

impl Scene {
    fn job(&self, installation: &Installation, who: usize, seconds: f64) -> Job {
        let addresses = installation.upstream.addresses;
        let (host, address) = match self.protocol {
            Protocol::Http1 => ("h1.bench.example", addresses.http1),
            Protocol::Http2 => ("h2.bench.example", addresses.both),
        };
        let load = if self.up {
            Load::Uploads { connections: 1, seconds }
        } else {
            // One at least is done in a turn of no length at all.
            Load::Requests { connections: 1, streams: 1, seconds: seconds.max(0.001) }
        };
        Job {
            connect: (who == DIRECT).then_some(address),
            host: host.to_owned(),
            protocol: self.protocol,
            path: format!("/{}/{}", if who == WITHOUT { "open" } else { "guarded" }, self.bytes),
            load,
            beside: None,
            background: false,
        }
    }

    fn turn(
        &self,
        installation: &Installation,
        players: &mut [Player; 3],
        who: usize,
        seconds: f64,
    ) -> Result<Turn, Error> {
        let job = self.job(installation, who, seconds);
        players[who].play(&job, installation.upstream.process()).map_err(|error| error.during(self.name))
    }

    fn round(&self, installation: &Installation, players: &mut [Player; 3], seconds: f64) -> Result<Vec<Turn>, Error> {
        [DIRECT, WITHOUT, WITH].iter().map(|&who| self.turn(installation, players, who, seconds)).collect()
    }
}
