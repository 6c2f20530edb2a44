//! `exeat probe`: the battery for the security team, inside a worker under an agent's real policy.
//!
//! Enters: an agent's name. Leaves: a line for each escape and bypass that was tried: *held*, *broke* or *not applicable*, and what was
//! seen. Never: a byte to anybody but exeat and canaries of its own, or *held* for what could not be tried.

pub(crate) mod brief;
mod canary;
mod evidence;
pub(crate) mod finding;
pub(crate) mod inside;
mod targets;
mod telling;
mod worker;

use std::collections::HashSet;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use config::Policy;

use self::brief::Brief;
use self::canary::Aviary;
use self::finding::{Finding, Verdict, battery};
use self::telling::Told;
use self::worker::Battery;
use crate::args;
use crate::places::Places;
use crate::report::Report;

/// The battery could not be run, or not to its end.
const NOT_RUN: u8 = 2;

/// Makes every attempt; the exit code is 1 when something broke.
///
/// # Errors
/// With exit code 2, where the battery could not be run to its end.
pub fn run(places: &Places, arguments: &args::Probe) -> Result<ExitCode, Report> {
    probe(places, arguments).map_err(|report| report.code(NOT_RUN))
}

fn probe(places: &Places, arguments: &args::Probe) -> Result<ExitCode, Report> {
    let begun = Instant::now();
    let policy = Policy::load(places.agent_file(&arguments.agent))?;
    let nonce = nonce()?;
    let aviary = Aviary::open(&nonce)?;
    let under_way = Battery::start(places, arguments, &nonce)?;
    let brief = targets::brief(places, &policy, &aviary.canaries, &nonce);

    let unreachable = controls(&brief);
    let _ = aviary.reached.take();
    let mut findings = under_way.finish(&brief)?;
    complete(&findings)?;
    let (worker, log) = worker::log(places, &nonce)?;
    doubt(&mut findings, &unreachable);
    evidence::weigh(&mut findings, &aviary.reached.take(), &log, &brief);

    let told = Told {
        agent: arguments.agent.as_str(),
        worker: &worker,
        policy: policy.digest(),
        took: begun.elapsed(),
        findings: &findings,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        told.json(&mut out)?;
    } else {
        told.text(&mut out)?;
    }
    Ok(if told.broke() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A word that nothing else on this machine has.
fn nonce() -> Result<String, Report> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Report::new("the system has no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The attempts that fail out here too: their failure inside shows nothing.
fn controls(brief: &Brief) -> Vec<(&'static str, String)> {
    let tried = battery().filter(|probe| probe.control).map(|probe| (probe.id, (probe.attempt)(brief)));
    tried.filter(|(_, outcome)| outcome.verdict != Verdict::Broke).map(|(id, outcome)| (id, outcome.seen)).collect()
}

fn doubt(findings: &mut [Finding], unreachable: &[(&str, String)]) {
    for finding in findings.iter_mut().filter(|finding| finding.verdict == Verdict::Held) {
        if let Some((_, seen)) = unreachable.iter().find(|(id, _)| *id == finding.id) {
            finding.verdict = Verdict::NotApplicable;
            finding.seen = format!("out here it does not get through either: {seen}");
        }
    }
}

/// Every attempt has to have been made.
fn complete(findings: &[Finding]) -> Result<(), Report> {
    let made: HashSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    match battery().find(|probe| !made.contains(probe.id)) {
        None => Ok(()),
        Some(missing) => Err(Report::new(format!("the battery ended without `{}`", missing.id))),
    }
}
