//! `exeat leases` and `exeat revoke`: who holds what, and its end.
//!
//! Enters: the ledgers of all brokers of the state directory, living or gone. Leaves: a row for each lease; those that were to be
//! revoked, and what became of them. What a broker that is gone left is revoked here. Never: a credential.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;

use ::broker::ledger::{self, Entry, Found};
use ::broker::{Client, ClientError, Kept, LeaseId, Which, control};
use config::WorkerId;
use jiff::Timestamp;
use serde_json::json;

use crate::args;
use crate::broker::{self, unusable};
use crate::out::out;
use crate::places::Places;
use crate::plain::plain;
use crate::report::Report;

const HEADING: &str =
    "LEASE                                AGENT        CREDENTIAL   STATE      ASKED                EXPIRES";
const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Lists leases.
///
/// # Errors
/// When a ledger cannot be read.
pub fn list(places: &Places, arguments: &args::Leases) -> Result<ExitCode, Report> {
    let now = Timestamp::now();
    let mut found = ledger::read(&places.ledgers()).map_err(unusable)?;
    found.retain(|found| arguments.all || found.entry.is_open(now));
    let mut out = out();
    if arguments.json {
        out.json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{HEADING}")?;
    for Found { entry, living } in &found {
        let Entry { lease, agent, credential, state, asked, expires, reason, .. } = entry;
        let (agent, credential, asked) = (agent.as_str(), credential.as_str(), asked.strftime(TIME));
        let expires = expires.map_or("never".to_owned(), |expires| expires.strftime(TIME).to_string());
        write!(out, "{lease} {agent:<12} {credential:<12} {state:<10} {asked} {expires:<20}")?;
        if !living && entry.is_open(now) {
            write!(out, " its broker is gone; the next one revokes it")?;
        }
        match reason {
            // In an issuer's words.
            Some(reason) => writeln!(out, " {}", plain(reason))?,
            None => writeln!(out)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes leases back. The exit code is 1 when an issuer still takes one of the credentials.
///
/// # Errors
/// When there is no such lease.
pub fn revoke(places: &Places, arguments: &args::Revoke) -> Result<ExitCode, Report> {
    let which = arguments.which().ok_or_else(|| Report::new("nothing is named to be revoked"))?;
    let mut out = out();
    if let Some(socket) = &arguments.broker {
        let ended = runtime()?.block_on(async { Client::connect(socket).await?.revoke(&which).await });
        let ended = ended.map_err(|error| {
            Report::new(error)
                .hint("`lease` in the call log and in the ledger is the id of a lease; it is gone when its worker is")
        })?;
        if arguments.json {
            let revoked =
                ended.revoked.iter().map(|lease| json!({ "lease": lease, "state": "revoked", "reason": null }));
            let kept = ended.kept.iter().map(
                |Kept { lease, credential, reason, again, .. }| json!({ "lease": lease, "credential": credential, "state": "kept", "reason": reason, "again": again }),
            );
            out.json(&revoked.chain(kept).collect::<Vec<_>>())?;
            return Ok(code(ended.kept.is_empty()));
        }
        for lease in &ended.revoked {
            writeln!(out, "{lease}: revoked")?;
        }
        for kept in &ended.kept {
            let again = if kept.again { "; the broker tries again" } else { "" };
            writeln!(out, "{}: taken from its worker, but not revoked: {}{again}", kept.lease, plain(&kept.reason))?;
        }
        if ended.revoked.is_empty() && ended.kept.is_empty() {
            cut_off(&mut out, &ended.told)?;
        }
        return Ok(code(ended.kept.is_empty()));
    }
    let Taken { leases: taken, told } = take_back(places, &which)?;
    if taken.is_empty() && told.is_empty() {
        let hint = "`exeat leases` lists what is open in this state directory; `--broker` asks a service elsewhere";
        return Err(Report::new("no such lease is open").hint(hint));
    }
    if arguments.json {
        out.json(&taken)?;
    }
    for Entry { lease, state, reason, .. } in taken.iter().filter(|_| !arguments.json) {
        match reason {
            Some(reason) => writeln!(out, "{lease}: {state}: {}", plain(reason))?,
            None => writeln!(out, "{lease}: {state}")?,
        }
    }
    if taken.is_empty() && !arguments.json {
        cut_off(&mut out, &told)?;
    }
    Ok(code(!taken.iter().any(|entry| entry.is_open(Timestamp::now()))))
}

fn code(all_over: bool) -> ExitCode {
    if all_over { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says of workers whose lease had ended before, that what they had opened with it ends now.
fn cut_off(out: &mut impl Write, told: &[WorkerId]) -> io::Result<()> {
    told.iter().try_for_each(|worker| {
        writeln!(out, "{worker}: no lease is open; what it had opened with any before is cut off")
    })
}

/// What was taken back.
#[derive(Debug)]
pub struct Taken {
    /// The leases that were open, as they are now.
    pub leases: Vec<Entry>,
    /// The workers that were told.
    pub told: Vec<WorkerId>,
}

/// Takes back what is open of these, and says what became of each: brokers that live are asked, what others left is revoked here.
///
/// # Errors
/// When the ledgers cannot be read, or what was left cannot be swept.
pub fn take_back(places: &Places, which: &Which) -> Result<Taken, Report> {
    let (ledgers, now) = (places.ledgers(), Timestamp::now());
    let before: Vec<Found> = ledger::read(&ledgers)
        .map_err(unusable)?
        .into_iter()
        .filter(|found| which.wants(&found.entry) && found.entry.is_open(now))
        .collect();
    let gone = before.iter().any(|found| !found.living);
    let brokers = control::brokers(&ledgers)?;
    let told = runtime()?.block_on(async {
        let (mut asked, mut told) = (tokio::task::JoinSet::new(), Vec::new());
        for directory in brokers {
            let which = which.clone();
            asked.spawn(async move { control::connect(&directory).await?.revoke(&which).await });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                // It is gone, or has no such lease.
                Ok(Err(ClientError::Unavailable { .. } | ClientError::Denied { .. })) => {}
                Ok(Ok(ended)) => told.extend(ended.told),
                Ok(Err(error)) => tracing::warn!(%error, "a broker did not do it"),
                Err(error) => tracing::error!(%error, "a broker could not be asked"),
            }
        }
        match gone {
            true => ::broker::sweep(broker::settings(places, None)?).await.map(|_| told).map_err(unusable),
            false => Ok(told),
        }
    })?;
    let after: HashMap<LeaseId, Entry> =
        ledger::read(&ledgers).map_err(unusable)?.into_iter().map(|Found { entry, .. }| (entry.lease, entry)).collect();
    let leases = before.into_iter().map(|Found { entry, .. }| after.get(&entry.lease).cloned().unwrap_or(entry));
    Ok(Taken { leases: leases.collect(), told })
}

/// For a few questions to brokers.
///
/// # Errors
/// When the system gives no threads or files.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
