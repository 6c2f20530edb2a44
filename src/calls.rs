//! `exeat calls`: what was called and what was refused, as a table.
//!
//! Enters: the logs of all workers in the state directory. Leaves: a row for each call, in order of time, or the records
//! themselves. Never: a log that was changed without saying so.

pub mod export;
mod ocsf;
mod row;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use config::AgentId;
use jiff::Timestamp;
use record::read::{Position, WorkerLog};
use record::{Event, Line, read};

use self::row::Filter;
pub use self::row::Row;
use crate::ago::ago;
use crate::args;
use crate::places::Places;
use crate::prune;
use crate::report::Report;

/// How often `--follow` looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Lists the calls.
///
/// # Errors
/// When a log cannot be read.
pub fn run(places: &Places, arguments: &args::Calls) -> Result<ExitCode, Report> {
    match &arguments.command {
        Some(args::CallsCommand::Export(arguments)) => return export::run(places, arguments),
        Some(args::CallsCommand::Prune(prune)) => return prune::run(places, prune),
        None => {}
    }
    let filter = Filter {
        agent: arguments.agent.as_ref().map(ToString::to_string),
        host: arguments.host.as_ref().map(|host| host.to_ascii_lowercase()),
        refused: arguments.refused,
        since: arguments.since.as_deref().map(since).transpose()?,
    };
    let mut out = io::stdout().lock();
    let mut seen = HashMap::new();
    let mut headed = arguments.json;
    loop {
        let mut rows = Vec::new();
        for log in logs(places)? {
            let worker = log.worker().to_owned();
            let follower = seen.entry(worker).or_insert_with_key(|worker| Follower::new(worker));
            rows.extend(follower.more(!arguments.follow)?.into_iter().filter(|row| filter.wants(row)));
        }
        rows.sort_by_key(|row| row.time);
        let printed = print(&mut out, &rows, arguments.json, &mut headed);
        match printed {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            printed => printed?,
        }
        if !arguments.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The last rows of an agent, oldest first.
///
/// # Errors
/// When a log cannot be read.
pub fn last(places: &Places, agent: &AgentId, most: usize) -> Result<Vec<Row>, Report> {
    let filter = Filter { agent: Some(agent.to_string()), ..Filter::default() };
    let mut rows = Vec::new();
    // The newest workers first, until there are enough; a worker's calls are later than those of the workers before it, nearly.
    for log in logs(places)?.iter().rev() {
        rows.extend(Follower::new(log.worker()).more(true)?.into_iter().filter(|row| filter.wants(row)));
        if rows.len() >= most {
            break;
        }
    }
    rows.sort_by_key(|row| row.time);
    Ok(rows.split_off(rows.len().saturating_sub(most)))
}

fn print(out: &mut impl Write, rows: &[Row], json: bool, headed: &mut bool) -> io::Result<()> {
    if !*headed {
        writeln!(out, "{}", row::HEADING)?;
        *headed = true;
    }
    for row in rows {
        if json {
            for line in &row.lines {
                writeln!(out, "{line}")?;
            }
        } else {
            writeln!(out, "{row}")?;
        }
    }
    out.flush()
}

/// All logs, oldest worker first: worker ids are ordered by time.
///
/// # Errors
/// When the directory cannot be listed.
pub fn logs(places: &Places) -> Result<Vec<WorkerLog>, Report> {
    let workers = places.workers();
    let entries = match fs::read_dir(&workers) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(
                Report::new(error).hint(format!("`{}` has to be readable by whoever reviews", workers.display()))
            );
        }
    };
    let mut logs = Vec::new();
    for entry in entries {
        logs.extend(WorkerLog::open(&entry?.path())?);
    }
    logs.sort_by(|one, other| one.worker().cmp(other.worker()));
    Ok(logs)
}

/// A time as RFC 3339 writes it, or how long ago.
fn since(text: &str) -> Result<Timestamp, Report> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    match ago(text) {
        Some(ago) => Ok(Timestamp::now().checked_sub(ago)?),
        None => Err(Report::new(format!("`{text}` is not a time")).hint("write 2026-01-31T12:00:00Z, or 15m, 2h, 1d")),
    }
}

/// How far one log was read, and the calls of it that have not ended.
struct Follower {
    records: read::Follower,
    agent: String,
    open: HashMap<u64, Row>,
}

impl Follower {
    fn new(worker: &Path) -> Self {
        Self { records: read::Follower::new(worker, Position::START), agent: String::new(), open: HashMap::new() }
    }

    /// Rows that were completed since the last time; with `all`, also those of calls without an end.
    fn more(&mut self, all: bool) -> Result<Vec<Row>, Report> {
        let mut rows = Vec::new();
        let changed = |error| Report::new(error).hint("the log was changed; see `exeat verify`");
        for record in self.records.more(usize::MAX).map_err(changed)? {
            rows.extend(self.take(record.line, &record.text));
        }
        if all {
            rows.extend(self.open.drain().map(|(_, row)| row));
        }
        Ok(rows)
    }

    fn take(&mut self, line: Line, text: &str) -> Option<Row> {
        match line.event {
            Event::WorkerStart(start) => {
                self.agent = start.agent;
                None
            }
            Event::SegmentStart(start) => {
                self.agent = start.agent;
                None
            }
            Event::CallStart(start) => {
                self.open.insert(start.call, Row::started(&self.agent, line.time, &start, text));
                None
            }
            Event::TunnelStart(start) => {
                self.open.insert(start.call, Row::tunnelled(&self.agent, line.time, &start, text));
                None
            }
            Event::CallEnd(end) => self.open.remove(&end.call).map(|row| row.ended(&end, text)),
            Event::Refused(refused) => Some(Row::refused(&self.agent, line.time, &refused, text)),
            Event::SegmentKept(_)
            | Event::CallRetried(_)
            | Event::NameAsked(_)
            | Event::PolicyReloaded { .. }
            | Event::PolicyRejected { .. }
            | Event::WorkerEnd(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_how_long_ago() {
        assert_eq!(since("1970-01-01T00:00:00Z").unwrap(), Timestamp::UNIX_EPOCH);
        assert!(since("15m").unwrap() < Timestamp::now());
        assert!(since("yesterday-ish").is_err());
    }
}
