//! `exeat approvals`, `exeat approve` and `exeat deny`: what waits for a person, and what they say.
//!
//! Enters: the brokers of the state directory that live. Leaves: a row for each request, or the decision about one, in force. Never: a
//! decision that no broker has confirmed.

use std::io::{self, Write};
use std::process::ExitCode;

use ::broker::{Approval, ApprovalId, ApprovalState, ClientError, Decision, Term, control};
use jiff::Timestamp;

use crate::args;
use crate::leases::runtime;
use crate::out::out;
use crate::places::Places;
use crate::report::Report;

const HEADING: &str = "ID       WORKER                               AGENT        CREDENTIAL   WANTED FOR           SINCE                STATE";
const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";
const HINT: &str =
    "`exeat approvals` lists what waits in this state directory; for a service with another one, give its `--state`";

/// Lists requests.
///
/// # Errors
/// When the state directory cannot be read.
pub fn list(places: &Places, arguments: &args::Approvals) -> Result<ExitCode, Report> {
    let mut all = all(places)?;
    all.retain(|approval| arguments.all || approval.state == ApprovalState::Pending);
    let mut out = out();
    if arguments.json {
        out.json(&all)?;
    } else {
        show(&mut out, &all)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Permits a request, or lists what waits.
///
/// # Errors
/// When there is no such request, or its broker does not take the decision.
pub fn approve(places: &Places, arguments: &args::Approve) -> Result<ExitCode, Report> {
    match arguments.id {
        Some(id) => decide(places, id, &Decision::Approve(arguments.term()), arguments.json),
        None => list(places, &args::Approvals { all: false, json: arguments.json }),
    }
}

/// Denies a request.
///
/// # Errors
/// As [`approve`].
pub fn deny(places: &Places, arguments: &args::Deny) -> Result<ExitCode, Report> {
    decide(places, arguments.id, &Decision::Deny { why: arguments.why.clone() }, arguments.json)
}

fn decide(places: &Places, id: ApprovalId, decision: &Decision, json: bool) -> Result<ExitCode, Report> {
    decision.check().map_err(Report::new)?;
    let brokers = control::brokers(&places.ledgers())?;
    let decided = runtime()?.block_on(async {
        let mut failed = None;
        for directory in brokers {
            let decided = match control::connect(&directory).await {
                Ok(broker) => broker.decide(id, decision).await,
                // It is gone.
                Err(_) => continue,
            };
            match decided {
                Ok(approval) => return Ok(Some(approval)),
                // Another broker's, if anybody's.
                Err(ClientError::Denied { .. }) => {}
                // One that ends at this moment is not to keep the others from being asked.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), |error| Err(Report::new(error)))
    })?;
    let Some(approval) = decided else { return Err(Report::new(format!("no request {id} waits")).hint(HINT)) };
    let mut out = out();
    if json {
        out.json(&approval)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Approval { worker, agent, credential, state, .. } = &approval;
    writeln!(out, "{id}: {agent} (worker {worker}), credential `{credential}`: {}", told(state))?;
    Ok(ExitCode::SUCCESS)
}

/// What waits or was decided at the brokers that live, the oldest first.
fn all(places: &Places) -> Result<Vec<Approval>, Report> {
    let brokers = control::brokers(&places.ledgers())?;
    let mut all = runtime()?.block_on(async {
        let mut all = Vec::new();
        for directory in brokers {
            let Ok(broker) = control::connect(&directory).await else { continue };
            match broker.approvals().await {
                Ok(approvals) => all.extend(approvals),
                // Gone at this moment, and its requests with it.
                Err(ClientError::Unavailable { .. }) => {}
                Err(error) => tracing::warn!(%error, "a broker did not say what waits at it"),
            }
        }
        all
    });
    all.sort_by_key(|approval| (approval.since, approval.id));
    Ok(all)
}

fn show(out: &mut impl Write, all: &[Approval]) -> io::Result<()> {
    writeln!(out, "{HEADING}")?;
    for Approval { id, worker, agent, credential, destination, since, state } in all {
        let (agent, credential, since) = (agent.as_str(), credential.as_str(), since.strftime(TIME));
        let destination = destination.to_string();
        writeln!(out, "{id} {worker} {agent:<12} {credential:<12} {destination:<20} {since} {}", told(state))?;
    }
    Ok(())
}

/// What became of it, in words.
fn told(state: &ApprovalState) -> String {
    let until = |until: &Option<Timestamp>| until.map(|until| format!(" until {}", until.strftime(TIME)));
    match state {
        ApprovalState::Pending => "waits".to_owned(),
        ApprovalState::Approved { by, term: Term::Worker, .. } => {
            format!("approved by user {by} as long as its worker lives")
        }
        ApprovalState::Approved { by, term: Term::Once, until: end, .. } => {
            format!("approved by user {by} for one lease{}", until(end).unwrap_or_default())
        }
        ApprovalState::Approved { by, term: Term::For(_), until: end, .. } => {
            format!("approved by user {by}{}", until(end).unwrap_or_default())
        }
        ApprovalState::Denied { by, why, .. } => format!("denied by user {by}: {why}"),
    }
}
