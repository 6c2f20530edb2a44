//! `exeat ship --status`: how far each receiver is behind, and why.
//!
//! Enters: what the shipping process keeps on the disk, and the logs. Leaves: lines for a person, or one JSON document. Never: a control
//! character of an error on a terminal.

use std::io::Write;
use std::process::ExitCode;

use config::{LogSettings, ShipTarget};
use jiff::{SignedDuration, Timestamp};
use record::read::WorkerLog;
use serde::Serialize;

use super::cursor::{self, Cursor, Gap};
use super::needed::Needed;
use super::reader::workers;
use super::receiver::place;
use super::trouble::Trouble;
use crate::out::out;
use crate::places::Places;
use crate::plain::plain;
use crate::report::Report;

/// Changes when a field changes its meaning or goes; fields may be added.
const SCHEMA: &str = "exeat-ship-status/1";

/// All receivers.
#[derive(Serialize)]
struct Status {
    schema: &'static str,
    /// Whether a process ships now.
    running: bool,
    /// Segments that may not be removed because a receiver lacks something of them.
    needed_segments: usize,
    receivers: Vec<Standing>,
}

/// One of them.
#[derive(Serialize)]
struct Standing {
    name: String,
    place: String,
    shipped: u64,
    rejected: u64,
    last: Option<Timestamp>,
    lag: Lag,
    trouble: Option<Trouble>,
    gaps: Vec<Gap>,
    gaps_ever: u64,
}

/// What has not arrived.
#[derive(Default, Serialize)]
struct Lag {
    records: u64,
    bytes: u64,
    workers: u64,
    oldest: Option<Timestamp>,
    seconds: f64,
}

/// Prints it.
///
/// # Errors
/// When what is on the disk cannot be read.
pub fn print(places: &Places, settings: &LogSettings, json: bool) -> Result<ExitCode, Report> {
    let running = places.shipped().exists() && cursor::lock(&places.shipped())?.is_none();
    let receivers = settings.ship.iter().map(|target| standing(places, target)).collect::<Result<_, _>>()?;
    let status = Status { schema: SCHEMA, running, needed_segments: needed(places)?, receivers };
    let mut out = out();
    match json {
        true => out.json_text(&serde_json::to_string_pretty(&status)?)?,
        false => write!(out, "{}", told(&status, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn standing(places: &Places, target: &ShipTarget) -> Result<Standing, Report> {
    let cursor = Cursor::open(places, &target.name)?;
    let lag = lag(places, &cursor)?;
    let shipped = cursor.shipped();
    Ok(Standing {
        name: target.name.clone(),
        place: place(target),
        shipped: shipped.records,
        rejected: shipped.rejected,
        last: shipped.last,
        lag,
        trouble: Trouble::read(&cursor::directory(places, &target.name)),
        gaps: shipped.gaps.clone(),
        gaps_ever: shipped.gaps_ever,
    })
}

/// Reads what lies behind the cursor; that takes as long as there is much of it.
fn lag(places: &Places, cursor: &Cursor) -> Result<Lag, Report> {
    let mut lag = Lag::default();
    for worker in workers(places)?.iter().filter(|worker| !cursor.is_finished(worker)) {
        let directory = places.workers().join(worker);
        let Some(log) = WorkerLog::open(&directory)? else { continue };
        let before = lag.records;
        for text in log.texts(cursor.mark(worker).next) {
            let text = text?;
            lag.bytes += text.bytes.len() as u64;
            lag.records += 1;
            if lag.records == before + 1
                && let Ok(first) = text.record(&directory)
            {
                lag.oldest = Some(lag.oldest.map_or(first.line.time, |oldest| oldest.min(first.line.time)));
            }
        }
        lag.workers += u64::from(lag.records > before);
    }
    lag.seconds = lag.oldest.map_or(0.0, |oldest| Timestamp::now().duration_since(oldest).as_secs_f64().max(0.0));
    Ok(lag)
}

fn needed(places: &Places) -> Result<usize, Report> {
    let needed = Needed::load(places);
    let mut segments = 0;
    for worker in workers(places)? {
        let directory = places.workers().join(worker);
        if let (Some(oldest), Some(log)) = (needed.oldest(&directory), WorkerLog::open(&directory)?) {
            segments += log.segments().iter().filter(|segment| segment.number() >= oldest).count();
        }
    }
    Ok(segments)
}

fn told(status: &Status, now: Timestamp) -> String {
    let mut text = match status.running {
        true => "exeat ship runs\n".to_owned(),
        false => "exeat ship does not run\n".to_owned(),
    };
    if status.needed_segments > 0 {
        text += &format!("{} segments of the logs stay until they are shipped\n", status.needed_segments);
    }
    for Standing { name, place, shipped, rejected, last, lag, trouble, gaps, gaps_ever } in &status.receivers {
        text += &format!("\n{}  {}\n", plain(name), plain(place));
        text += &match lag.oldest {
            None if lag.records == 0 => "  behind by nothing\n".to_owned(),
            oldest => {
                let since =
                    oldest.map(|oldest| format!(", the oldest from {} ago", length(now, oldest))).unwrap_or_default();
                format!("  behind by {} records of {} workers{since}\n", lag.records, lag.workers)
            }
        };
        let last = last.map(|last| format!(", the last {} ago", length(now, last))).unwrap_or_default();
        text += &format!("  shipped: {shipped}{last}; not wanted there: {rejected}\n");
        if let Some(Trouble { since, attempts, error, last }) = trouble {
            let (since, last) = (length(now, *since), length(now, *last));
            let error = plain(error);
            text += &format!("  takes nothing for {since}, tried {attempts} times, the last {last} ago: {error}\n");
        }
        for Gap { worker, from, to, .. } in gaps {
            let to = to.map_or_else(|| "its end".to_owned(), |to| to.to_string());
            let worker = plain(worker);
            text += &format!("  never shipped, removed before: records {from} to {to} of {worker}\n");
        }
        if *gaps_ever > gaps.len() as u64 {
            text += &format!("  and {} gaps before these\n", gaps_ever - gaps.len() as u64);
        }
    }
    text
}

/// How long ago, to the second.
fn length(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    format!("{:#}", SignedDuration::from_secs(seconds))
}
