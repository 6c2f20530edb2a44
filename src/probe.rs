//! `exeat probe`: the battery for the security team, inside a worker under an agent's real policy.
//!
//! Enters: an agent's name. Leaves: a line for each escape and bypass that was tried: *held*, *broke* or *not applicable*, and what was
//! seen. Never: a byte to anybody but exeat and canaries of its own, at which all ends that the policy lets out; *held* for what could not be tried.

pub(crate) mod brief;
mod canary;
mod evidence;
pub(crate) mod finding;
mod heard;
pub(crate) mod inside;
mod kept;
pub(crate) mod stand_in;
mod targets;
mod telling;
mod upstream;
mod worker;

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use config::Policy;

use self::brief::Brief;
use self::canary::Aviary;
use self::finding::{Finding, Verdict, battery};
use self::telling::Told;
use self::worker::Battery;
use crate::args;
use crate::out::out;
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
    let policy = Policy::load(places.file_of(&arguments.agent)?)?;
    let (nonce, outside) = (nonce()?, nonce()?);
    let aviary = Aviary::open(&nonce, &outside)?;
    let brief = targets::brief(places, &policy, (&aviary.canaries, &aviary.end), &nonce);
    let brief = Brief { broker: arguments.broker.clone(), ..brief };
    let under_way = Battery::start(places, arguments, &brief, &aviary.end)?;

    let unreachable = controls(&brief, &Brief { nonce: outside, ..brief.clone() });
    let _ = aviary.reached.take();
    let mut findings = under_way.finish(&brief)?;
    complete(&findings, arguments.capture_ports_only)?;
    let (worker, log) = worker::log(places, &nonce)?;
    doubt(&mut findings, &unreachable);
    evidence::weigh(&mut findings, (&aviary.contradictions(), &aviary.end.carried()), &log, &brief);

    let told = Told {
        agent: arguments.agent.as_str(),
        worker: &worker,
        policy: policy.digest(),
        took: begun.elapsed(),
        findings: &findings,
    };
    // Shown first: where it cannot be kept it is not lost, and the exit code says what was found. Nor is it lost where it cannot be shown.
    let mut out = out();
    let shown = if arguments.json { told.json(&mut out) } else { told.text(&mut out) };
    if let Err(report) = kept::keep(places, &arguments.agent, &told) {
        let file = places.probe(&arguments.agent);
        // Where standard error cannot be written to either, there is nobody to tell.
        let _ = writeln!(
            io::stderr(),
            "exeat: the result could not be kept in `{}`, so that `exeat report` has none of it: {report}",
            file.display()
        );
    }
    shown?;
    Ok(if told.broke() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A word that nothing else on this machine has.
fn nonce() -> Result<String, Report> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Report::new("the system has no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The attempts that fail out here too: their failure inside shows nothing.
fn controls(brief: &Brief, to_canaries: &Brief) -> Vec<(&'static str, String)> {
    let tried = battery().filter(|probe| probe.control).map(|probe| {
        let brief = if probe.id.starts_with("network/") { to_canaries } else { brief };
        (probe.id, (probe.attempt)(brief))
    });
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

/// Every attempt has to have been made. Where exeat answered neither a name nor a request that nothing is wrong with, but for its host, the
/// client cannot be shown to work; but with listeners on the policy's ports alone, there may be none to answer.
fn complete(findings: &[Finding], ports_only: bool) -> Result<(), Report> {
    let made: HashMap<&str, Verdict> = findings.iter().map(|finding| (finding.id.as_str(), finding.verdict)).collect();
    if let Some(missing) = battery().find(|probe| !made.contains_key(probe.id)) {
        return Err(Report::new(format!("the battery ended without `{}`", missing.id)));
    }
    let untried = |id: &&str| made.get(id) == Some(&Verdict::NotApplicable);
    match ["dns/address", "names/unlisted"].into_iter().find(untried) {
        Some(id) if !ports_only => {
            let seen = findings.iter().find(|finding| finding.id == id).map_or("", |finding| finding.seen.as_str());
            Err(Report::new(format!("exeat gave `{id}` no answer, so that no other attempt shows anything: {seen}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::finding::Outcome;
    use super::*;

    fn findings(untried: &str) -> Vec<Finding> {
        let outcome = |id| if id == untried { Outcome::not_applicable("silence") } else { Outcome::held("refused") };
        battery().map(|probe| probe.finding(outcome(probe.id))).collect()
    }

    #[test]
    fn a_battery_that_is_not_whole_or_was_not_answered_shows_nothing() {
        assert!(complete(&findings(""), false).is_ok());
        assert!(complete(&findings("")[1..], false).is_err());
        for id in ["dns/address", "names/unlisted"] {
            assert!(complete(&findings(id), false).unwrap_err().to_string().contains("silence"), "{id}");
            assert!(complete(&findings(id), true).is_ok(), "{id}");
        }
    }

    #[test]
    fn what_fails_outside_too_is_not_held() {
        let mut findings = findings("");
        doubt(&mut findings, &[("network/tcp-loopback", "refused by the machine".to_owned())]);
        let doubted = findings.iter().filter(|finding| finding.verdict == Verdict::NotApplicable);
        assert!(doubted.map(|finding| finding.id.as_str()).eq(["network/tcp-loopback"]));
    }
}
