//! Requests and handshakes: the same driver directly and through exeat, turn by turn.
//!
//! Enters: an installation. Leaves: rates as ratios, CPU time, latency added. Never: two turns compared that are not of one round.

use crate::error::Error;
use crate::job::{Job, Load, Protocol};

use super::installation::{Installation, PLAIN, SWAPS};
use super::player::{Player, Turn};
use super::spread::Spread;
use super::table::Table;

/// Names for each turn of new names: few enough for the name server's rate, looked up before the clock starts.
const NAMES: u32 = 300;
/// Names for each turn of first requests, which are made one after the other.
const FIRST: u32 = 60;
/// Handshakes at once.
const AT_ONCE: usize = 8;

/// The drivers: directly, through a worker without a credential, through one that swaps and scrubs.
const DIRECT: usize = 0;
const WITHOUT: usize = 1;
const WITH: usize = 2;

/// Drivers that stand, and the upstream.
struct Stage<'a> {
    installation: &'a Installation,
    players: [Player; 3],
    rounds: u32,
}

/// A version and what is asked in it.
struct Scene {
    name: &'static str,
    protocol: Protocol,
    bytes: u32,
    connections: usize,
    streams: usize,
}

/// All rounds of one scene, each with a turn of every player that took part.
struct Rounds(Vec<Vec<Turn>>);

/// Every table about load.
pub fn tables(installation: &Installation, rounds: u32, seconds: f64) -> Result<String, Error> {
    let mut stage = Stage::set(installation, rounds)?;
    Ok([requests(&mut stage, seconds)?, latency(&mut stage, seconds)?, handshakes(&mut stage, seconds)?].concat())
}

/// The table about connections alone.
pub fn connections(installation: &Installation, rounds: u32, seconds: f64) -> Result<String, Error> {
    handshakes(&mut Stage::set(installation, rounds)?, seconds)
}

fn requests(stage: &mut Stage<'_>, seconds: f64) -> Result<String, Error> {
    let rounds = stage.rounds;
    let about = format!(
        "Through exeat ÷ directly, {rounds} rounds of {seconds} s turns: median (least–greatest). Everything on: ten rules, \
         the log written before and after; with a credential, one header is swapped and head and body are scrubbed. Driver, \
         worker and server have one thread each; all share the cores. Budget for 1 KiB: 0.55 (HTTP/1.1), 0.60 \
         (HTTP/2); for 1 MiB: 0.70, scrubbed 0.50."
    );
    let heads = ["answers", "directly, a second", "÷ direct", "with a credential ÷ direct"];
    let mut table = Table::new("Requests a second", &about, &heads);
    let about = "Microseconds of CPU, user and system, for each request, from the same turns. The ends are driver and server \
                 together, directly; the worker is what exeat adds to them.";
    let heads =
        ["answers", "ends µs", "worker µs", "with a credential µs", "worker ÷ ends", "with a credential ÷ ends"];
    let mut cpu = Table::new("CPU a request", about, &heads);
    for (name, protocol, bytes, connections, streams) in [
        ("1 KiB, HTTP/1.1, 16 connections", Protocol::Http1, 1024, 16, 1),
        ("1 KiB, HTTP/2, 1 connection, 16 streams", Protocol::Http2, 1024, 1, 16),
        ("1 MiB, HTTP/1.1, 4 connections", Protocol::Http1, 1024 * 1024, 4, 1),
        ("1 MiB, HTTP/2, 1 connection, 4 streams", Protocol::Http2, 1024 * 1024, 1, 4),
    ] {
        let rounds = stage.scene(&Scene { name, protocol, bytes, connections, streams }, seconds)?;
        let ratio =
            |who: usize| rounds.spread(|turns| turns[who].outcome.rate() / turns[DIRECT].outcome.rate()).told(2);
        table.row(&[name.to_owned(), rounds.spread(|t| t[DIRECT].outcome.rate()).told(0), ratio(WITHOUT), ratio(WITH)]);
        let worker = |who: usize| rounds.spread(|turns| turns[who].worker.unwrap_or(f64::NAN)).told(0);
        let share = |who: usize| rounds.spread(|t| t[who].worker.unwrap_or(f64::NAN) / t[DIRECT].ends).told(2);
        let ends = rounds.spread(|turns| turns[DIRECT].ends).told(0);
        cpu.row(&[name.to_owned(), ends, worker(WITHOUT), worker(WITH), share(WITHOUT), share(WITH)]);
    }
    Ok(table.end() + &cpu.end())
}

fn latency(stage: &mut Stage<'_>, seconds: f64) -> Result<String, Error> {
    let about = "One request at a time on one connection, 1 KiB: microseconds directly, and what is added to the same \
                 percentile of the same round. p99 is noisy: it takes one other process on the machine to double it.";
    let heads = ["", "direct p50", "p99", "added p50", "p99", "with a credential, added p50", "p99", "slowest of all"];
    let mut table = Table::new("Latency", about, &heads);
    for (name, protocol) in [("HTTP/1.1", Protocol::Http1), ("HTTP/2", Protocol::Http2)] {
        let rounds = stage.scene(&Scene { name, protocol, bytes: 1024, connections: 1, streams: 1 }, seconds)?;
        let mut cells = vec![name.to_owned()];
        cells.extend(both(|at| rounds.spread(|turns| at(&turns[DIRECT])).told(0)));
        for who in [WITHOUT, WITH] {
            cells.extend(both(|at| rounds.spread(|turns| at(&turns[who]) - at(&turns[DIRECT])).told(0)));
        }
        let slowest = rounds.spread(|turns| turns.iter().map(|turn| turn.outcome.slowest).fold(0.0, f64::max));
        cells.push(format!("{:.0}", slowest.at(1, 1)));
        table.row(&cells);
    }
    Ok(table.end())
}

fn both(cell: impl Fn(fn(&Turn) -> f64) -> String) -> [String; 2] {
    [cell(|turn| turn.outcome.p50), cell(|turn| turn.outcome.p99)]
}

fn handshakes(stage: &mut Stage<'_>, seconds: f64) -> Result<String, Error> {
    let about = format!(
        "TCP, TLS 1.3 without resumption, orderly end; {AT_ONCE} at once. New names are {NAMES} under a wildcard each turn, \
         looked up beforehand, so that each takes a leaf of its own. A handshake with exeat does not reach the server: its worker stands where the server stands \
         directly. First requests go one at a time to a name never heard \
         of: looked up, leaf minted, upstream resolved, dialled and verified, 1 KiB answered; directly that is TCP, TLS \
         and the request."
    );
    let heads = [
        "",
        "directly, a second",
        "through exeat",
        "÷ direct",
        "server's CPU µs, directly",
        "worker's CPU µs",
        "direct p50 µs",
        "p50 µs",
        "p99 µs",
    ];
    let mut table = Table::new("Connections", &about, &heads);
    // A name is new once: each round has its own.
    let new = move |round| Load::NewNames { at_once: AT_ONCE, first: round * NAMES, count: NAMES };
    let first = move |round| Load::FirstRequests { first: 1_000_000 + round * FIRST, count: FIRST };
    let cached = move |_| Load::Handshakes { at_once: AT_ONCE, seconds };
    let calls = move |_| Load::Calls { at_once: AT_ONCE, seconds };
    let kinds: [(_, _, &dyn Fn(u32) -> Load); 4] = [
        ("handshakes, leaf in the cache", "h1.bench.example", &cached),
        ("connections with one request each, name known", "h1.bench.example", &calls),
        // Before the other new names: these are looked up while the clock runs, and must not find the name server's rate used up.
        ("first request to a new name", "names.bench.example", &first),
        ("handshakes, a leaf minted each time", "names.bench.example", &new),
    ];
    for (name, host, load) in kinds {
        let job = |round| Job {
            connect: None,
            host: host.to_owned(),
            protocol: Protocol::Http1,
            path: "/open/1024".to_owned(),
            load: load(round),
            beside: None,
            background: false,
        };
        let rounds = stage.play(&[DIRECT, WITHOUT], |_, round| job(round)).map_err(|error| error.during(name))?;
        let rate = |who: usize| rounds.spread(|turns| turns[who].outcome.rate()).told(0);
        table.row(&[
            name.to_owned(),
            rate(DIRECT),
            rate(WITHOUT),
            rounds.spread(|turns| turns[WITHOUT].outcome.rate() / turns[DIRECT].outcome.rate()).told(2),
            rounds.spread(|turns| turns[DIRECT].server).told(0),
            rounds.spread(|turns| turns[WITHOUT].worker.unwrap_or(f64::NAN)).told(0),
            rounds.spread(|turns| turns[DIRECT].outcome.p50).told(0),
            rounds.spread(|turns| turns[WITHOUT].outcome.p50).told(0),
            rounds.spread(|turns| turns[WITHOUT].outcome.p99).told(0),
        ]);
    }
    Ok(table.end())
}

impl<'a> Stage<'a> {
    fn set(installation: &'a Installation, rounds: u32) -> Result<Self, Error> {
        let sandboxed = |agent| Player::start(installation.command(agent, &["./driver", "drive"]), true);
        let players = [Player::start(installation.directly(), false)?, sandboxed(PLAIN)?, sandboxed(SWAPS)?];
        Ok(Self { installation, players, rounds })
    }

    /// All three, in turn. The credential is demanded from those who have it.
    fn scene(&mut self, scene: &Scene, seconds: f64) -> Result<Rounds, Error> {
        let Scene { protocol, bytes, connections, streams, .. } = *scene;
        let host = if protocol == Protocol::Http1 { "h1.bench.example" } else { "h2.bench.example" };
        let rounds = self.play(&[DIRECT, WITHOUT, WITH], |who, _| Job {
            connect: None,
            host: host.to_owned(),
            protocol,
            path: format!("/{}/{bytes}", if who == WITHOUT { "open" } else { "guarded" }),
            load: Load::Requests { connections, streams, seconds },
            beside: None,
            background: false,
        });
        rounds.map_err(|error| error.during(scene.name))
    }

    fn play(&mut self, who: &[usize], job: impl Fn(usize, u32) -> Job) -> Result<Rounds, Error> {
        let upstream = &self.installation.upstream;
        let mut rounds = Vec::new();
        for round in 0..self.rounds {
            let mut turns = Vec::new();
            for &player in who {
                let mut job = job(player, round);
                if player == DIRECT {
                    let addresses = upstream.addresses;
                    let http1 = job.protocol == Protocol::Http1;
                    job.connect = Some(if http1 { addresses.http1 } else { addresses.both });
                }
                turns.push(self.players[player].play(&job, upstream.process())?);
            }
            rounds.push(turns);
        }
        Ok(Rounds(rounds))
    }
}

impl Rounds {
    fn spread(&self, of: impl Fn(&[Turn]) -> f64) -> Spread {
        self.0.iter().map(|turns| of(turns)).collect()
    }
}
