//! `exeat workers` and `exeat stop`: what runs, and its end.
//!
//! Enters: the workers of the state directory that live, and their call logs. Leaves: a row for each, or how each ended. Never: a
//! question to a worker, which may not answer; what it wrote before it acted is there.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use record::read::{ReadError, WorkerLog};
use record::{Event, Line, WorkerStart};
use serde::Serialize;

use crate::args;
use crate::out::out;
use crate::places::Places;
use crate::plain::plain;
use crate::report::{Report, chain};
use crate::running::{self, Outcome, Running};

const HEADING: &str = "WORKER                               AGENT        PID     SINCE                CALLS   REFUSED POLICY       IN FORCE SINCE";

/// What is told of a worker.
#[derive(Debug, Serialize)]
pub struct Told {
    #[serde(flatten)]
    running: Running,
    calls: u64,
    refused: u64,
    /// Whether calls pass that no rule covers.
    observes: bool,
    /// Digest of the policy in force.
    policy: String,
    /// Since when it is.
    policy_since: Option<Timestamp>,
    /// Why a later one is not: every mistake in it.
    policy_rejected: Option<String>,
    /// When that was found.
    policy_rejected_at: Option<Timestamp>,
    /// Why its log cannot be read to its end: all else is of what comes before that.
    pub unreadable: Option<String>,
}

/// What became of a worker that was to stop.
#[derive(Debug, Serialize)]
struct Stopped {
    #[serde(flatten)]
    running: Running,
    outcome: Outcome,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running: Running { worker, since, .. }, calls, refused, policy, .. } = self;
        write!(f, "{worker} since {since}, {calls} calls, {refused} refused, policy {}", beginning(policy))
    }
}

/// Lists the workers that run. The exit code is 1 when the log of one cannot be read to its end.
///
/// # Errors
/// When the state directory cannot be read.
pub fn list(places: &Places, arguments: &args::Workers) -> Result<ExitCode, Report> {
    let told: Vec<Told> = running::all(places)?.into_iter().map(|running| tell(places, running)).collect();
    let is_whole = told.iter().all(|told| told.unreadable.is_none());
    let code = if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let mut out = out();
    if arguments.json {
        out.json(&told)?;
        return Ok(code);
    }
    writeln!(out, "{HEADING}")?;
    for told in &told {
        let Told { running: Running { worker, agent, pid, since, .. }, calls, refused, policy, policy_since, .. } =
            told;
        let digest = policy.strip_prefix("sha256:").unwrap_or(policy);
        let policy = beginning(digest.get(..12).unwrap_or(digest));
        let (since, in_force) = (second(*since), policy_since.map(second).unwrap_or_default());
        write!(out, "{worker} {:<12} {pid:<7} {since} {calls:<7} {refused:<7} {policy} {in_force}", agent.as_str())?;
        writeln!(out, "{}", if told.observes { " (observes)" } else { "" })?;
        if let (Some(reason), Some(at)) = (&told.policy_rejected, told.policy_rejected_at) {
            writeln!(out, "    rejected at {}: {} (all of it: `exeat check`)", second(at), first_line(reason))?;
        }
        if let Some(why) = &told.unreadable {
            writeln!(out, "    {}", unreadable(why))?;
        }
    }
    Ok(code)
}

/// What is said where a log goes no further.
pub fn unreadable(why: &str) -> String {
    format!("its log cannot be read from here on: {}", plain(why))
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The first mistake of several.
fn first_line(reason: &str) -> String {
    beginning(reason.lines().next().unwrap_or_default())
}

/// As much of a text as is shown. Somebody else may have written to a log.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 300;
    plain(&text.chars().take(SHOWN).collect::<String>()).into_owned()
}

/// What a running worker has done so far, by its log.
pub fn tell(places: &Places, running: Running) -> Told {
    let mut told = Told {
        running,
        calls: 0,
        refused: 0,
        observes: false,
        policy: String::new(),
        policy_since: None,
        policy_rejected: None,
        policy_rejected_at: None,
        unreadable: None,
    };
    let read = read(&places.workers().join(told.running.worker.to_string()), &mut told);
    told.unreadable = read.err().map(|error| chain(&error));
    told
}

fn read(worker: &Path, told: &mut Told) -> Result<(), ReadError> {
    let log = WorkerLog::open(worker)?;
    for record in log.iter().flat_map(WorkerLog::lines) {
        let Line { time, event, .. } = record?.line;
        match event {
            Event::WorkerStart(WorkerStart { policy, observe, .. }) => {
                (told.policy, told.policy_since, told.observes) = (policy, Some(time), observe);
            }
            Event::PolicyReloaded { policy } => {
                // One that was mended back to what is in force is said, too.
                if policy != told.policy {
                    (told.policy, told.policy_since) = (policy, Some(time));
                }
                (told.policy_rejected, told.policy_rejected_at) = (None, None);
            }
            Event::PolicyRejected { reason } => {
                (told.policy_rejected, told.policy_rejected_at) = (Some(reason), Some(time));
            }
            Event::CallStart(_) | Event::TunnelStart(_) => told.calls += 1,
            Event::Refused(_) => told.refused += 1,
            Event::SegmentStart(_)
            | Event::SegmentKept(_)
            | Event::CallRetried(_)
            | Event::CallEnd(_)
            | Event::NameAsked(_)
            | Event::WorkerEnd(_) => {}
        }
    }
    Ok(())
}

/// Stops a worker, or all of an agent. The exit code is 1 when one runs on.
///
/// # Errors
/// When there is none.
pub fn stop(places: &Places, arguments: &args::Stop) -> Result<ExitCode, Report> {
    let mut workers = running::all(places)?;
    let ids = workers.iter().map(|running| running.worker);
    let worker = arguments.worker.as_ref().map(|part| part.one_of(ids)).transpose()?;
    workers.retain(|running| match (&worker, &arguments.agent) {
        (Some(worker), _) => running.worker == *worker,
        (None, Some(agent)) => running.agent == *agent,
        (None, None) => false,
    });
    if workers.is_empty() {
        return Err(Report::new("no such worker runs in this state directory").hint("`exeat workers` lists them"));
    }
    let mut out = out();
    let mut code = ExitCode::SUCCESS;
    let stopped = running::stop(places, &workers, &because("exeat stop"))?;
    if arguments.json {
        let told: Vec<Stopped> = stopped.into_iter().map(|(running, outcome)| Stopped { running, outcome }).collect();
        out.json(&told)?;
        let runs = told.iter().any(|stopped| stopped.outcome == Outcome::Runs);
        return Ok(if runs { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    for (Running { worker, agent, .. }, stopped) in stopped {
        match stopped {
            Outcome::Stopped => writeln!(out, "{worker} ({agent}): stopped")?,
            Outcome::Killed => writeln!(out, "{worker} ({agent}): did not stop, and was killed")?,
            Outcome::Runs => {
                writeln!(out, "{worker} ({agent}): RUNS ON, though it was killed")?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Why a worker was stopped, for its log.
pub fn because(what: &str) -> String {
    format!("{what} by user {} at {}", rustix::process::getuid().as_raw(), Timestamp::now())
}
