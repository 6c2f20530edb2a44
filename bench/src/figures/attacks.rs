//! A polite client beside a hostile one in the same sandbox.
//!
//! Enters: an installation. Leaves: for each attack, what the polite one's requests take alone and beside it, turn by turn, and the
//! most memory the worker had. Never: an attack that did nothing.

use std::fs;

use crate::error::Error;
use crate::job::{Attack, Job, Load, Protocol};

use super::installation::{ATTACKED, BACKGROUND, Installation};
use super::player::{Player, Turn};
use super::spread::Spread;
use super::table::Table;

/// Turns of each, alone and beside.
const ROUNDS: usize = 5;
/// A turn is this many times as long as one of the other figures: attacks take time to stand.
const LONGER: f64 = 2.0;
/// Thousands of names take so many times longer still; a hundred thousand in a row are a part of their own.
const NAMES_LONGER: f64 = 7.5;
/// Milliseconds between two requests of the polite client.
const EVERY: u64 = 5;

/// The same of whoever is only there to attack from elsewhere.
const SELDOM: u64 = 500;

/// What a polite client's p99 beside an attack may be, of what it is alone.
const TIMES: f64 = 3.0;
/// What may be resident in a worker meanwhile, in MiB.
const RESIDENT: u64 = 128;

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
         {ROUNDS} rounds in turn. Driver, attacker, worker and servers share the cores. *In the background*: the attacker's thread and upstream have \
         the least priority, so that what is measured is what the worker does for them, not how the machine shares its cores; *as equals*: as they \
         come; *elsewhere*: the same from another sandbox, with a worker of its own, which is what the machine does to who shares it. The worker's \
         peak is what was resident at most in any of them, each with a worker of its own. Budget: medians of p99 beside ÷ alone within {TIMES}, {RESIDENT} MiB; the \
         last column says what is beyond."
    );
    let heads = [
        "attack",
        "how often, a turn",
        "p50 alone",
        "p50 beside ÷ alone, as equals",
        "p99 alone",
        "p99 beside ÷ alone, in the background",
        "as equals",
        "elsewhere",
        "new connections: p99 alone",
        "p99 beside ÷ alone, in the background",
        "as equals",
        "worker's peak MiB",
        "within the budget",
    ];
    let mut table = Table::new("Under attack", &about, &heads);
    for (_, (name, attack)) in (1..).zip(ATTACKS).filter(|(number, _)| only.is_none_or(|only| only == *number)) {
        let rounds: Result<Vec<_>, _> = (0..ROUNDS).map(|_| round(installation, attack, seconds * LONGER)).collect();
        table.row(&row(name, attack, &rounds.map_err(|error| error.during(name))?));
    }
    Ok(table.end())
}

/// One round: what the polite client saw, and the most a worker had, in KiB.
struct Round {
    /// On a connection that stands.
    standing: Seen,
    /// On a new one each time.
    anew: Seen,
    /// On one that stands, the attack in another sandbox.
    apart: Turn,
    peak: u64,
}

/// Alone, beside the attack, and beside it where who attacks leaves a core to whoever else wants one.
struct Seen {
    alone: Turn,
    beside: Turn,
    background: Turn,
    peak: u64,
}

impl Seen {
    /// Each with a worker of its own: an attack leaves few ports to come from.
    fn of(installation: &Installation, attack: Attack, seconds: f64, anew: bool) -> Result<Self, Error> {
        let upstream = installation.upstream.process();
        let job = |seconds| polite(EVERY, seconds, anew);
        let mut equal = player(installation, ATTACKED)?;
        let alone = equal.play(&job(seconds), upstream)?;
        let longer = if attack == Attack::Names && !anew { seconds * NAMES_LONGER } else { seconds };
        let beside = equal.play(&Job { beside: Some(attack), ..job(longer) }, upstream)?;
        let peak = peak(equal.process())?;
        drop(equal);
        let attacked = Job { beside: Some(attack), background: true, ..job(seconds) };
        let background = player(installation, BACKGROUND)?.play(&attacked, upstream)?;
        Ok(Self { alone, beside, background, peak })
    }
}

fn player(installation: &Installation, agent: &str) -> Result<Player, Error> {
    Player::start(installation.command(agent, &["./driver", "drive"]), true)
}

fn round(installation: &Installation, attack: Attack, seconds: f64) -> Result<Round, Error> {
    let [standing, anew] = [false, true].map(|anew| Seen::of(installation, attack, seconds, anew));
    let (standing, anew) = (standing?, anew?);
    // It goes on for longer than what is measured; its own client asks next to nothing.
    let (mut calm, mut elsewhere) = (player(installation, ATTACKED)?, player(installation, ATTACKED)?);
    elsewhere.ready(&Job { beside: Some(attack), ..polite(SELDOM, seconds * 1.5, false) })?;
    elsewhere.begin()?;
    let apart = calm.play(&polite(EVERY, seconds, false), installation.upstream.process())?;
    elsewhere.end()?;
    let peak = standing.peak.max(anew.peak);
    Ok(Round { standing, anew, apart, peak })
}

fn polite(every: u64, seconds: f64, anew: bool) -> Job {
    let (host, path) = ("h1.bench.example".to_owned(), "/guarded/1024".to_owned());
    let load = Load::Polite { every, seconds, anew };
    Job { connect: None, host, protocol: Protocol::Http1, path, load, beside: None, background: false }
}

fn row(name: &str, attack: Attack, rounds: &[Round]) -> [String; 13] {
    let spread = |of: &dyn Fn(&Round) -> f64| -> Spread { rounds.iter().map(of).collect() };
    let often = rounds.iter().map(|round| round.standing.beside.outcome.attacks).max().unwrap_or(0);
    let peak = rounds.iter().map(|round| round.peak).max().unwrap_or(0);
    let p99 = |of: &dyn Fn(&Round) -> (&Turn, &Turn)| {
        spread(&|round| {
            let (beside, alone) = of(round);
            beside.outcome.p99 / alone.outcome.p99
        })
    };
    let standing = [
        p99(&|round| (&round.standing.background, &round.standing.alone)),
        p99(&|round| (&round.standing.beside, &round.standing.alone)),
    ];
    let anew = [
        p99(&|round| (&round.anew.background, &round.anew.alone)),
        p99(&|round| (&round.anew.beside, &round.anew.alone)),
    ];
    let beyond = beyond(&standing, &anew, peak / 1024);
    [
        name.to_owned(),
        often.to_string(),
        spread(&|round| round.standing.alone.outcome.p50).told(0),
        spread(&|round| round.standing.beside.outcome.p50 / round.standing.alone.outcome.p50).told(1),
        spread(&|round| round.standing.alone.outcome.p99).told(0),
        standing[0].told(1),
        standing[1].told(1),
        p99(&|round| (&round.apart, &round.standing.alone)).told(1),
        spread(&|round| round.anew.alone.outcome.p99).told(0),
        anew[0].told(1),
        anew[1].told(1),
        format!("{}", peak / 1024),
        if attack == Attack::Compute { "–".to_owned() } else { beyond },
    ]
}

/// What is beyond the budget, each in the background and as equals.
fn beyond(standing: &[Spread; 2], anew: &[Spread; 2], resident: u64) -> String {
    let over = |[background, equal]: &[Spread; 2], whose| {
        let ways = [(background, "in the background"), (equal, "as equals")];
        let ways = ways.into_iter().filter(|(spread, _)| spread.median() > TIMES || spread.median().is_nan());
        ways.map(|(spread, way)| format!("{whose} {way}: {:.1}", spread.median())).collect::<Vec<_>>()
    };
    let mut beyond = over(standing, "standing");
    beyond.extend(over(anew, "new"));
    if resident > RESIDENT {
        beyond.push(format!("{resident} MiB"));
    }
    if beyond.is_empty() { "yes".to_owned() } else { format!("**no**: {}", beyond.join(", ")) }
}

/// The most that was ever resident, in KiB.
pub fn peak(process: u32) -> Result<u64, Error> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.ok_or_else(|| Error::new("the kernel does not say what was resident at most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_budget_is_named() {
        let spread = |times: f64| -> Spread { [times; 3].into_iter().collect() };
        let of =
            |standing: [f64; 2], anew: [f64; 2], resident| beyond(&standing.map(spread), &anew.map(spread), resident);
        assert_eq!(of([3.0; 2], [2.9, 1.0], 128), "yes");
        assert_eq!(
            of([3.2, 1.0], [1.0, 4.0], 129),
            "**no**: standing in the background: 3.2, new as equals: 4.0, 129 MiB"
        );
        assert_eq!(of([f64::NAN, 1.0], [1.0; 2], 1), "**no**: standing in the background: NaN");
    }
}
