//! exeat beside what a user would pick instead.
//!
//! Enters: an installation. Leaves: two tables, a row for each, and what the targets are held against. Never: a rival's figure from
//! another run.

use crate::error::Error;
use crate::job::{Load, Protocol};
use crate::rivals::setup::{BARE, HAPROXY, HUDSUCKER, Place};

use super::contest::{Contest, Contestant, EXEAT, EXEAT_SWAPS, Heats, Scene};
use super::findings::Findings;
use super::player::Turn;
use super::table::Table;

/// Names for each turn of first requests; one that stalls takes 45 ms for each.
const FIRST: u32 = 20;
/// Where they begin, so that no other part of a run has asked for one.
const FIRST_OF_ALL: u32 = 3_000_000;
/// New connections at once.
const AT_ONCE: usize = 8;
/// What is downloaded.
const LONG: u64 = 10 << 20;

/// Both tables about load.
pub fn tables(
    installation: &super::Installation,
    findings: &mut Findings,
    (rounds, seconds): (u32, f64),
) -> Result<String, Error> {
    let before_nginx = installation.with_nginx()?;
    let place = place(&before_nginx, "rivals")?;
    let mut contest = Contest::start(&before_nginx, &place)?;
    let mut play = |what: &str, scene: &Scene, who: fn(&Contestant) -> bool| {
        super::progress(&format!("rivals: {what}"));
        contest.play(rounds, scene, who).map_err(|error| error.during(what))
    };
    let everybody: fn(&Contestant) -> bool = |_| true;
    let stand = |connections, streams, seconds| move |_| Load::Requests { connections, streams, seconds };
    let keep = play("16 connections", &Scene::short(stand(16, 1, seconds)), everybody)?;
    let one = play("one connection", &Scene::short(stand(1, 1, seconds)), everybody)?;
    let new = move |_| Load::Calls { at_once: AT_ONCE, seconds };
    let new = play("new connections", &Scene::short(new), everybody)?;
    let first = |round| Load::FirstRequests { first: FIRST_OF_ALL + round * FIRST, count: FIRST };
    let first = Scene { host: "names.bench.example", ..Scene::short(first) };
    let first = play("new names", &first, |contestant| contestant.mints)?;
    let down = play("downloads", &Scene { bytes: LONG, ..Scene::short(stand(1, 1, seconds)) }, everybody)?;
    let up = move |_| Load::Uploads { connections: 1, seconds };
    let up = play("uploads", &Scene { bytes: LONG, ..Scene::short(up) }, everybody)?;
    let streams = Scene { host: "h2.bench.example", protocol: Protocol::Http2, ..Scene::short(stand(1, 100, seconds)) };
    let streams = play("streams", &streams, everybody)?;
    let heats = Measured { keep, one, new, first, down, up, streams };
    heats.note(findings);
    let Measured { keep, one, new, first, down, up, streams } = &heats;
    let about = format!(
        "{rounds} rounds of {seconds} s turns, everybody in each, the first one another each time: median (least–greatest). The server is nginx with one \
         process, as in issue 8's own table; uploads it passes on to an application behind it. exeat through its sandbox's own network, with ten rules and the log written before and after; everything on is one header swapped, head and body scrubbed. A relay \
         or proxy beside it is reached over loopback. CPU is user and system of the proxy with all its processes; of exeat, worker and \
         broker. 1 KiB over HTTP/1.1: on 16 connections that stand; on one, what is added to direct; TCP, TLS and one request each time, {AT_ONCE} at \
         once; the first request to a name never heard of, one after the other (what cannot mint has none); {} MiB on one connection.",
        LONG >> 20
    );
    let heads = [
        "",
        "CPU µs a request",
        "requests/s ÷ direct",
        "added p50 µs",
        "added p99 µs",
        "CPU µs a new connection",
        "new name, p50 ms",
        "download ÷ direct",
        "upload ÷ direct",
    ];
    let mut table = Table::new("Beside what else there is", &about, &heads);
    let about = "100 concurrent streams on one connection, 1 KiB. nginx asks its upstream over HTTP/1.1.";
    let mut second = Table::new(
        "HTTP/2, beside what else there is",
        about,
        &["", "requests/s ÷ direct", "CPU µs a request", "added p50 µs", "added p99 µs"],
    );
    for name in contest.contestants().iter().map(|contestant| contestant.name).skip(1) {
        let cell = |heats: &Heats, digits, of: fn(&Turn, &Turn) -> f64| match heats.of(name, of) {
            Some(spread) => spread.told(digits),
            None => "–".to_owned(),
        };
        table.row(&[
            name.to_owned(),
            cell(keep, 1, cpu),
            cell(keep, 2, rate),
            cell(one, 0, p50),
            cell(one, 0, p99),
            cell(new, 0, cpu),
            cell(first, 2, |turn, _| turn.outcome.p50 / 1e3),
            cell(down, 2, rate),
            cell(up, 2, rate),
        ]);
        let cells = [cell(streams, 2, rate), cell(streams, 1, cpu), cell(streams, 0, p50), cell(streams, 0, p99)];
        second.row(&[[name.to_owned()].as_slice(), &cells].concat());
    }
    Ok(table.end() + &second.end())
}

/// Where the rivals of one part are.
pub fn place(installation: &super::Installation, name: &str) -> Result<Place, Error> {
    Place::make(installation.directory(name)?, installation.authority(), installation.upstream.addresses)
}

/// Everything that everybody did.
struct Measured {
    keep: Heats,
    one: Heats,
    new: Heats,
    first: Heats,
    down: Heats,
    up: Heats,
    streams: Heats,
}

impl Measured {
    /// What the targets are about.
    fn note(&self, findings: &mut Findings) {
        let Self { keep, one, new, first, down, up, streams } = self;
        let milliseconds = |turn: &Turn, _: &Turn| turn.outcome.p50 / 1e3;
        let both = |own: &Turn, other: &Turn| cpu(own, own) / cpu(other, other);
        let slowest = [keep, one, new, first].map(|heats| heats.of(EXEAT_SWAPS, |turn, _| turn.outcome.slowest / 1e3));
        let slowest = slowest.into_iter().flatten().map(|spread| spread.at(1, 1)).fold(0.0, f64::max);
        for (name, spread) in [
            ("request's CPU", keep.of(EXEAT_SWAPS, cpu)),
            ("request's CPU, HAProxy", keep.of(HAPROXY, cpu)),
            ("request's CPU ÷ HAProxy's", keep.between(EXEAT_SWAPS, HAPROXY, both)),
            ("requests ÷ direct", keep.of(EXEAT_SWAPS, rate)),
            ("requests ÷ direct, HAProxy", keep.of(HAPROXY, rate)),
            ("added p50", one.of(EXEAT_SWAPS, p50)),
            ("added p50, bare", one.of(BARE, p50)),
            ("added p50 ÷ bare's", one.added(EXEAT_SWAPS, BARE, |turn| turn.outcome.p50)),
            ("added p99", one.of(EXEAT_SWAPS, p99)),
            ("added p99, bare", one.of(BARE, p99)),
            ("slowest", Some([slowest].into_iter().collect())),
            ("connection's CPU", new.of(EXEAT_SWAPS, cpu)),
            ("connection's CPU, hudsucker", new.of(HUDSUCKER, cpu)),
            ("connection's CPU ÷ hudsucker's", new.between(EXEAT_SWAPS, HUDSUCKER, both)),
            ("new name", first.of(EXEAT_SWAPS, milliseconds)),
            ("new name, bare", first.of(BARE, milliseconds)),
            ("new name ÷ bare's", first.between(EXEAT_SWAPS, BARE, |own, bare| own.outcome.p50 / bare.outcome.p50)),
            ("download", down.of(EXEAT, rate)),
            ("download, scrubbed", down.of(EXEAT_SWAPS, rate)),
            ("download, bare", down.of(BARE, rate)),
            ("upload", up.of(EXEAT, rate)),
            ("upload, everything on", up.of(EXEAT_SWAPS, rate)),
            ("upload, bare", up.of(BARE, rate)),
            ("streams", streams.of(EXEAT_SWAPS, rate)),
            ("streams, HAProxy", streams.of(HAPROXY, rate)),
            ("streams, added p99", streams.of(EXEAT_SWAPS, p99)),
            ("streams, added p99, HAProxy", streams.of(HAPROXY, p99)),
        ] {
            spread.into_iter().for_each(|spread| findings.note(name, spread));
        }
    }
}

fn cpu(turn: &Turn, _: &Turn) -> f64 {
    turn.worker.unwrap_or(f64::NAN)
}

fn rate(turn: &Turn, direct: &Turn) -> f64 {
    turn.outcome.rate() / direct.outcome.rate()
}

fn p50(turn: &Turn, direct: &Turn) -> f64 {
    turn.outcome.p50 - direct.outcome.p50
}

fn p99(turn: &Turn, direct: &Turn) -> f64 {
    turn.outcome.p99 - direct.outcome.p99
}
