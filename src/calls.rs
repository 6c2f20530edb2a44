//! `exeat calls`: what was called and what was refused, as a table.
//!
//! Enters: the logs of all workers in the state directory. Leaves: a row for each call, in order of time, or the records
//! themselves. Never: a log that was changed without saying so.

mod csv;
pub mod export;
mod filter;
mod find;
mod follow;
mod host;
mod id;
mod listing;
mod ocsf;
#[cfg(test)]
mod oracle;
mod row;
mod rule;
mod show;
mod status;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use config::AgentId;
use record::Event;
use record::read::{Position, ReadError, WorkerLog};

pub use self::filter::{Filter, is_refused, outcome, status};
use self::find::Cuts;
pub use self::find::Finder;
use self::follow::Following;
pub use self::host::HostFilter;
pub use self::id::CallId;
use self::listing::Listing;
pub use self::row::Row;
pub use self::rule::RuleFilter;
pub use self::status::Statuses;
use crate::args;
use crate::places::Places;
use crate::prune;
use crate::report::Report;
use crate::running;

/// How often `--follow` looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Unless said: nobody reads more in a terminal.
const IN_A_TERMINAL: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// So many calls are in memory at once, with their records.
const AT_ONCE: usize = 4096;

/// Lists the calls, or tells one.
///
/// # Errors
/// When the logs cannot be listed. One that cannot be read is said, and the code is 1.
pub fn run(places: &Places, arguments: &args::Calls) -> Result<ExitCode, Report> {
    match &arguments.command {
        Some(args::CallsCommand::Show(arguments)) => return show::run(places, arguments),
        Some(args::CallsCommand::Export(arguments)) => return export::run(places, arguments),
        Some(args::CallsCommand::Prune(arguments)) => return prune::run(places, arguments),
        None => {}
    }
    let filter = Filter::new(&arguments.wanted)?;
    let unsaid = io::stdout().is_terminal().then_some(IN_A_TERMINAL);
    let most = arguments.limit.map_or(unsaid, |limit| limit.0);
    match list(places, arguments, &filter, most) {
        Err(Stop::Gone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(report)) => Err(report),
        Ok(code) => Ok(code),
    }
}

/// The last rows of an agent, oldest first, and what could not be read of its logs.
///
/// # Errors
/// When the logs cannot be listed.
pub fn last(places: &Places, agent: &AgentId, most: usize) -> Result<(Vec<Row>, Vec<ReadError>), Report> {
    let filter = Filter::new(&args::Wanted { agent: vec![agent.clone()], ..args::Wanted::default() })?;
    let mut finder = Finder::new(places)?;
    let (mut found, mut flaws) = finder.find(&filter, NonZeroUsize::new(most), None);
    if finder.read(&found.hits).is_err() {
        // What was found is not there: the logs say what is.
        finder = finder.without_index();
        (found, flaws) = finder.find(&filter, NonZeroUsize::new(most), None);
    }
    flaws.retain(|flaw| may_be_of(agent, flaw.worker()));
    let (rows, more) = finder.readable(&found.hits, &mut Cuts::default());
    flaws.extend(more);
    Ok((rows, flaws))
}

/// Whether the worker with this directory is one of the agent's, by what it wrote down at its start or by its log. Where neither says whose it
/// is, it may be.
fn may_be_of(agent: &AgentId, worker: &Path) -> bool {
    let log = WorkerLog::open(worker).ok().flatten();
    let first = log.and_then(|log| log.lines().next()?.ok());
    let logged = first.and_then(|first| match first.line.event {
        Event::WorkerStart(start) => Some(start.agent),
        Event::SegmentStart(start) => Some(start.agent),
        _ => None,
    });
    let written = running::written(worker).map(|running| running.agent.to_string());
    let said = [logged, written];
    said.iter().all(Option::is_none) || said.iter().flatten().any(|said| said == agent.as_str())
}

/// Why no more is written.
enum Stop {
    /// Nobody reads it.
    Gone,
    Failed(Report),
}

impl<E: Into<Report>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

fn list(
    places: &Places,
    arguments: &args::Calls,
    filter: &Filter,
    most: Option<NonZeroUsize>,
) -> Result<ExitCode, Stop> {
    let mut listing = Listing::begin(arguments)?;
    let mut finder = Finder::new(places)?;
    let mut following = arguments.follow.then(|| Following::begin(places, &finder)).transpose()?;
    let (mut found, mut flaws) = finder.find(filter, most, following.as_mut());
    if found.hits.first().is_some_and(|hit| finder.read(std::slice::from_ref(hit)).is_err()) {
        // What was found is not there: the logs say what is.
        finder = finder.without_index();
        following = arguments.follow.then(|| Following::begin(places, &finder)).transpose()?;
        (found, flaws) = finder.find(filter, most, following.as_mut());
    }
    let mut cuts = Cuts::default();
    for hits in found.hits.chunks(AT_ONCE) {
        let (rows, more) = finder.readable(hits, &mut cuts);
        listing.rows(&rows)?;
        flaws.extend(more);
    }
    if found.older > 0 {
        let (shown, all) = (found.hits.len(), found.hits.len() + found.older);
        let hint = "`--limit all` shows all; `--since`, `--host`, `--refused` and others narrow the choice";
        crate::remark(&Report::new(format!("these are the newest {shown} of {all}")).hint(hint));
    }
    // An empty table may be that of a name that was misspelt.
    if found.hits.is_empty() && following.is_none() && !arguments.json && !arguments.csv {
        let hint = "`exeat stats` has the agents and hosts that there are; `--state` names another directory";
        let nothing = format!("no call or refusal in `{}` matches", places.workers().display());
        crate::remark(&Report::new(nothing).hint(hint));
    }
    say_left_out(&finder, filter);
    let mut told = BTreeSet::new();
    say_all_changed(&finder, &mut told);
    let code = match flaws.is_empty() && !told.is_empty() {
        true => ExitCode::FAILURE,
        false => say(&flaws),
    };
    let Some(mut following) = following else { return Ok(code) };
    loop {
        following.look(places, &mut finder)?;
        let (hits, flaws) = following.more(&finder, filter);
        say(&flaws);
        if hits.is_empty() {
            std::thread::sleep(LOOK_AGAIN);
            continue;
        }
        let (rows, flaws) = finder.readable(&hits, &mut cuts);
        // Before anybody reads what somebody else wrote.
        say_all_changed(&finder, &mut told);
        listing.rows(&rows)?;
        say(&flaws);
        following.leave(&cuts);
    }
}

/// Says what could not be read, and with what to end.
pub fn say(flaws: &[ReadError]) -> ExitCode {
    for flaw in flaws {
        let report = Report::new(format!("what follows in this log is left out: {flaw}"));
        crate::remark(&report.hint("the log was changed; see `exeat verify`"));
    }
    if flaws.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what is left out of what is told of agents.
pub fn say_left_out(finder: &Finder, filter: &Filter) {
    match finder.left_out(filter) {
        0 => {}
        1 => crate::remark(&Report::new("what a run of `exeat probe` tried is left out").hint("`--probes` has it")),
        batteries => {
            let text = format!("what {batteries} runs of `exeat probe` tried is left out");
            crate::remark(&Report::new(text).hint("`--probes` has it"));
        }
    }
}

/// Says in which logs a record was met that is not what was written, of each once.
fn say_all_changed(finder: &Finder, told: &mut BTreeSet<usize>) {
    finder.changed(told).into_iter().for_each(|(worker, at)| say_changed(worker, at));
}

/// Says that a record of this worker's log is not what was written.
fn say_changed(worker: &Path, at: Position) {
    let Position { segment, offset } = at;
    let text = format!(
        "`{}` was changed: the record at segment {segment}, byte {offset} is not the one that was written there",
        worker.display()
    );
    crate::remark(&Report::new(text).hint("`exeat verify` says what else of it is"));
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
