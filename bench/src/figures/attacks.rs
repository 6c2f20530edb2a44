//! A polite client beside a hostile one in the same sandbox.
//!
//! Enters: an installation. Leaves: for each attack, what the polite one's requests take alone and beside it, turn by turn, and the
//! most memory the worker had. Never: an attack that did nothing.

use std::fs;

use crate::error::Error;
use crate::job::{Attack, Job, Load, Protocol};

use super::installation::{ATTACKED, Installation};
use super::player::{Player, Turn};
use super::spread::Spread;
use super::table::Table;

/// Turns of each, alone and beside.
const ROUNDS: usize = 3;
/// A turn is this many times as long as one of the other figures: attacks take time to stand.
const LONGER: f64 = 2.0;
/// Thousands of names take longer still; twenty thousand in a row are a part of their own.
const NAMES_LONGER: f64 = 15.0;
/// Milliseconds between two requests of the polite client.
const EVERY: u64 = 5;

/// The same of whoever is only there to attack from elsewhere.
const SELDOM: u64 = 500;

/// The attacks, and what each is called.
const ATTACKS: [(&str, Attack); 8] = [
    ("names under one wildcard, a handshake each", Attack::Names),
    ("10,000 half-open handshakes", Attack::HalfOpen),
    ("1,000 slow heads", Attack::SlowHeads),
    ("256 answers of 1 MiB that nobody reads", Attack::SlowReaders),
    ("a flood of questions for names", Attack::NameFlood),
    ("gzip bombs of 1 GiB, scrubbed, 4 at once; MiB", Attack::Bombs),
    ("1,000 concurrent HTTP/2 streams", Attack::Streams),
    ("no attack, to compare: 3 threads that compute; millions of steps", Attack::Compute),
];

/// One row an attack, or a single one of them, by number.
pub fn table(installation: &Installation, seconds: f64, only: Option<usize>) -> Result<String, Error> {
    let about = format!(
        "A client asks for 1 KiB every {EVERY} ms, with a credential, over HTTP/1.1: on a connection that stands, and on a new one each \
         time; a neighbour in the same sandbox attacks meanwhile with a thread and an upstream of its own. Microseconds beside the attack ÷ alone, \
         {ROUNDS} rounds in turn; in another column the same attack comes from another sandbox, with a worker of its own: what the machine itself \
         does to who shares it; the worker's peak is what was resident at most in any of them, each with a worker of its own. Driver, \
         attacker, worker and servers share the cores. Budget: p99 3 times, 128 MiB."
    );
    let heads = [
        "attack",
        "how often, a turn",
        "p50 alone",
        "p50 beside ÷ alone",
        "p99 alone",
        "p99 beside ÷ alone",
        "p99, the attack in another sandbox ÷ alone",
        "new connections: p99 alone",
        "p99 beside ÷ alone",
        "worker's peak MiB",
    ];
    let mut table = Table::new("Under attack", &about, &heads);
    for (_, (name, attack)) in (1..).zip(ATTACKS).filter(|(number, _)| only.is_none_or(|only| only == *number)) {
        let measured = rounds(installation, attack, seconds).map_err(|error| error.during(name))?;
        table.row(&measured.row(name));
    }
    Ok(table.end())
}

/// A round: on a connection that stands alone and beside, on new ones alone and beside, and once more on one that stands, the attack
/// elsewhere; and the worker's peak.
struct Rounds(Vec<([Turn; 5], u64)>);

fn rounds(installation: &Installation, attack: Attack, seconds: f64) -> Result<Rounds, Error> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let player = || Player::start(installation.command(ATTACKED, &["./driver", "drive"]), true);
        let (mut players, mut elsewhere) = ([player()?, player()?], player()?);
        // What is measured anew has a sandbox of its own: an attack leaves few ports to come from.
        let mut turn = |anew: bool, beside: Option<Attack>| {
            let longer = if beside == Some(Attack::Names) && !anew { NAMES_LONGER } else { LONGER };
            let job = polite(EVERY, seconds * longer, anew, beside);
            players[usize::from(anew)].play(&job, installation.upstream.process())
        };
        let alone = [turn(false, None)?, turn(false, Some(attack))?, turn(true, None)?, turn(true, Some(attack))?];
        // It goes on for longer than what is measured; its own client asks next to nothing.
        elsewhere.ready(&polite(SELDOM, seconds * LONGER * 1.5, false, Some(attack)))?;
        elsewhere.begin()?;
        let apart = turn(false, None)?;
        elsewhere.end()?;
        let [first, second, third, fourth] = alone;
        let turns = [first, second, third, fourth, apart];
        let peaks = [peak(players[0].process())?, peak(players[1].process())?];
        rounds.push((turns, peaks.into_iter().max().unwrap_or(0)));
    }
    Ok(Rounds(rounds))
}

fn polite(every: u64, seconds: f64, anew: bool, beside: Option<Attack>) -> Job {
    let (host, path) = ("h1.bench.example".to_owned(), "/guarded/1024".to_owned());
    Job { connect: None, host, protocol: Protocol::Http1, path, load: Load::Polite { every, seconds, anew }, beside }
}

impl Rounds {
    fn row(&self, name: &str) -> [String; 10] {
        let spread = |of: &dyn Fn(&[Turn; 5]) -> f64| -> Spread { self.0.iter().map(|(turns, _)| of(turns)).collect() };
        let often = self.0.iter().map(|(turns, _)| turns[1].outcome.attacks).max().unwrap_or(0);
        let peak = self.0.iter().map(|(_, peak)| *peak).max().unwrap_or(0);
        [
            name.to_owned(),
            often.to_string(),
            spread(&|turns| turns[0].outcome.p50).told(0),
            spread(&|turns| turns[1].outcome.p50 / turns[0].outcome.p50).told(1),
            spread(&|turns| turns[0].outcome.p99).told(0),
            spread(&|turns| turns[1].outcome.p99 / turns[0].outcome.p99).told(1),
            spread(&|turns| turns[4].outcome.p99 / turns[0].outcome.p99).told(1),
            spread(&|turns| turns[2].outcome.p99).told(0),
            spread(&|turns| turns[3].outcome.p99 / turns[2].outcome.p99).told(1),
            format!("{}", peak / 1024),
        ]
    }
}

/// The most that was ever resident, in KiB.
pub fn peak(process: u32) -> Result<u64, Error> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.ok_or_else(|| Error::new("the kernel does not say what was resident at most"))
}
