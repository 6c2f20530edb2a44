//! `exeat workers` and `exeat stop`: what runs, and its end.
//!
//! Enters: the workers of the state directory that live, and their call logs. Leaves: a row for each, or how each ended. Never: a
//! question to a worker, which may not answer; what it wrote before it acted is there.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use record::Event;
use record::read::{ReadError, WorkerLog};
use serde::Serialize;

use crate::args;
use crate::places::Places;
use crate::report::Report;
use crate::running::{self, Outcome, Running};

const HEADING: &str =
    "WORKER                               AGENT        PID     SINCE                CALLS   REFUSED POLICY";

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
    /// Why a later one is not.
    policy_rejected: Option<String>,
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
        write!(f, "{worker} since {since}, {calls} calls, {refused} refused, policy {policy}")
    }
}

/// Lists the workers that run.
///
/// # Errors
/// When the state directory cannot be read.
pub fn list(places: &Places, arguments: &args::Workers) -> Result<ExitCode, Report> {
    let told: Vec<Told> =
        running::all(places)?.into_iter().map(|running| tell(places, running)).collect::<Result<_, _>>()?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&told)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{HEADING}")?;
    for Told { running: Running { worker, agent, pid, since }, calls, refused, observes, policy, policy_rejected } in
        &told
    {
        let policy = policy.get(..12).unwrap_or(policy);
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        write!(out, "{worker} {:<12} {pid:<7} {since} {calls:<7} {refused:<7} {policy}", agent.as_str())?;
        if *observes {
            write!(out, " (observes)")?;
        }
        match policy_rejected {
            Some(_) => writeln!(out, " (an edited one has mistakes: `exeat check`)")?,
            None => writeln!(out)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a running worker has done so far, by its log.
///
/// # Errors
/// When the log cannot be read.
pub fn tell(places: &Places, running: Running) -> Result<Told, ReadError> {
    let mut told =
        Told { running, calls: 0, refused: 0, observes: false, policy: String::new(), policy_rejected: None };
    let log = WorkerLog::open(&places.workers().join(told.running.worker.to_string()))?;
    for record in log.iter().flat_map(WorkerLog::lines) {
        match record?.line.event {
            Event::WorkerStart(start) => (told.policy, told.observes) = (start.policy, start.observe),
            Event::PolicyReloaded { policy } => (told.policy, told.policy_rejected) = (policy, None),
            Event::PolicyRejected { reason } => told.policy_rejected = Some(reason),
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
    Ok(told)
}

/// Stops a worker, or all of an agent. The exit code is 1 when one runs on.
///
/// # Errors
/// When there is none.
pub fn stop(places: &Places, arguments: &args::Stop) -> Result<ExitCode, Report> {
    let mut workers = running::all(places)?;
    workers.retain(|running| match (&arguments.worker, &arguments.agent) {
        (Some(worker), _) => running.worker == *worker,
        (None, Some(agent)) => running.agent == *agent,
        (None, None) => false,
    });
    if workers.is_empty() {
        return Err(Report::new("no such worker runs in this state directory").hint("`exeat workers` lists them"));
    }
    let mut out = io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    let stopped = running::stop(places, &workers, &because("exeat stop"))?;
    if arguments.json {
        let told: Vec<Stopped> = stopped.into_iter().map(|(running, outcome)| Stopped { running, outcome }).collect();
        writeln!(out, "{}", serde_json::to_string(&told)?)?;
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
