//! What the outside saw, against what the inside says.
//!
//! Enters: findings, the canaries' counts, the worker's call log. Leaves: the findings, the worse of the two where they differ, and what
//! the log alone can show. Never: a *broke* made into anything better.

use proxy::record::{CallStart, Event, Line, Refused};

use super::finding::{Finding, Outcome, Verdict};

/// The parameter by which an attempt is known in the log.
pub(super) const MARK: &str = "probe";

/// Lets the canaries and the log have their say.
pub(super) fn weigh(findings: &mut Vec<Finding>, reached: &[&str], log: &[Line], nonce: &str) {
    for finding in findings.iter_mut().filter(|finding| reached.contains(&finding.id.as_str())) {
        worsen(finding, "but a canary outside was reached");
    }
    let sent: Vec<&CallStart> = log
        .iter()
        .filter_map(|line| if let Event::CallStart(start) = &line.event { Some(start) } else { None })
        .collect();
    for start in &sent {
        let query = start.query.as_deref().unwrap_or_default();
        for finding in findings.iter_mut().filter(|finding| query == format!("{MARK}={}", finding.id)) {
            worsen(finding, &format!("but the call log has it as sent to {}", start.to));
        }
    }
    findings.extend(of_the_log(&sent, log, nonce));
}

fn worsen(finding: &mut Finding, why: &str) {
    finding.verdict = Verdict::Broke;
    finding.seen = format!("{}; {why}", finding.seen);
}

fn of_the_log(sent: &[&CallStart], log: &[Line], nonce: &str) -> [Finding; 3] {
    let refused: Vec<&Refused> = log
        .iter()
        .filter_map(|line| if let Event::Refused(refused) = &line.event { Some(refused) } else { None })
        .collect();
    let names =
        log.iter().filter(|line| matches!(&line.event, Event::NameAsked(asked) if asked.name.contains(nonce))).count();
    let nothing_sent = match sent {
        [] => Outcome::held(format!("no call was sent, {} were refused", refused.len())),
        [first, ..] => Outcome::broke(format!("{} were sent, the first to {}{}", sent.len(), first.to, first.path)),
    };
    let recorded = match (refused.len(), names) {
        (0, _) | (_, 0) => Outcome::broke(format!("{} refusals and {names} names are in the log", refused.len())),
        (refusals, names) => Outcome::held(format!("{refusals} refusals and {names} names are in the log")),
    };
    let ended = matches!(log.last().map(|line| &line.event), Some(Event::WorkerEnd(_)));
    let whole = match ended {
        true => Outcome::held(format!("{} records, each chained to the one before, up to the worker's end", log.len())),
        false => Outcome::broke(format!("{} records, and the worker's end is missing", log.len())),
    };
    let finding = |id: &str, tried: &str, outcome: Outcome| Finding {
        id: id.to_owned(),
        verdict: outcome.verdict,
        tried: tried.to_owned(),
        seen: outcome.seen,
    };
    [
        finding("record/nothing-sent", "whether any attempt went out as an allowed call", nothing_sent),
        finding("record/refusals", "attempts that leave no trace in the call log", recorded),
        finding("record/whole", "a change to the call log", whole),
    ]
}
