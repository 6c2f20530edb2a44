//! `exeat offboard`: the end of an agent, and the evidence of it.
//!
//! Enters: an agent. Leaves: a file by which every broker and run of this state directory refuses it from then on; its workers stopped, its
//! leases revoked; what it was allowed, could use, had and did last, and what could not be revoked, printed and kept in a log. Never: a
//! report that says revoked where an issuer has not said so.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ::broker::ledger::{self, Entry, State};
use ::broker::{LeaseId, Which};
use config::{AgentId, CredentialName, IssuerSettings, Policy};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::out::out;
use crate::places::Places;
use crate::plain::plain;
use crate::report::{Report, chain};
use crate::running::{self, Outcome, Running};
use crate::workers::{Told, because, tell, unreadable};
use crate::{args, broker, calls, leases};

/// What is told of the agent's last calls.
const LAST_CALLS: usize = 20;
/// For the brokers of workers that were stopped, which revoke at the same time.
const REVOKING: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);

/// All that there is to show.
#[derive(Debug, Serialize)]
struct Evidence {
    schema: &'static str,
    agent: AgentId,
    at: Timestamp,
    by: u32,
    policy: InForce,
    credentials: Vec<Usable>,
    workers: Vec<Ended>,
    leases: Vec<Entry>,
    last_calls: Vec<Value>,
    /// What could not be read of its logs, where it may have called more.
    unreadable: Vec<String>,
    not_revoked: Vec<NotRevoked>,
    #[serde(skip)]
    rows: Vec<String>,
}

impl Evidence {
    /// Whether all that there is to show is the name, which may have been misspelt.
    fn is_of_nobody(&self) -> bool {
        let Self { policy, credentials, workers, leases, last_calls, .. } = self;
        let traces = [credentials.len(), workers.len(), leases.len(), last_calls.len()];
        !policy.file.exists() && traces.iter().sum::<usize>() == 0
    }
}

#[derive(Debug, Serialize)]
struct InForce {
    file: PathBuf,
    digest: Option<String>,
    /// Why it has none: its file is gone, or has mistakes.
    unusable: Option<String>,
}

/// A credential that lists the agent.
#[derive(Debug, Serialize)]
struct Usable {
    credential: CredentialName,
    to: Vec<String>,
    /// Made by hand: it ends when it is rotated.
    fixed: bool,
    also_of: Vec<AgentId>,
}

#[derive(Debug, Serialize)]
struct Ended {
    #[serde(flatten)]
    told: Told,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct LastCalls {
    rows: Vec<String>,
    records: Vec<Value>,
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NotRevoked {
    credential: CredentialName,
    lease: LeaseId,
    reason: String,
}

/// Offboards an agent, or takes it back. The exit code is 1 when something of it still stands, or the evidence is not whole.
///
/// # Errors
/// When the state directory cannot be read or written. The agent is refused all the same, once its file is there.
pub fn run(places: &Places, arguments: &args::Offboard) -> Result<ExitCode, Report> {
    let (agent, at, by) = (&arguments.agent, Timestamp::now(), rustix::process::getuid().as_raw());
    let mark = places.offboarded().join(agent.as_str());
    if arguments.undo {
        fs::remove_file(&mark).map_err(|error| {
            Report::new(error).hint(format!("`{agent}` was not offboarded in this state directory"))
        })?;
        log(places, &json!({ "agent": agent, "at": at, "by": by, "undone": true }))?;
        match arguments.json {
            true => out().json(&json!({ "agent": agent, "at": at, "by": by, "undone": true }))?,
            false => writeln!(out(), "{agent} may run again, and use what the files say")?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    places.make_offboarded()?;
    fs::write(&mark, serde_json::to_vec(&json!({ "at": at, "by": by }))?)?;
    // What can fail, or is what the agent wrote, waits until nothing is lent any more.
    let stopped = stop(places, agent);
    revoke(places, agent)?;
    let ended = |(running, outcome)| Ended { told: tell(places, running), outcome };
    let workers: Vec<Ended> = stopped?.into_iter().map(ended).collect();
    let leases = of(places, agent)?;
    let LastCalls { rows, records: last_calls, unreadable } = last_calls(places, agent);
    let evidence = Evidence {
        schema: "exeat-offboard/1",
        agent: agent.clone(),
        at,
        by,
        policy: in_force(places, agent),
        credentials: usable(places, agent)?,
        workers,
        not_revoked: not_revoked(&leases),
        leases,
        last_calls,
        unreadable,
        rows,
    };
    log(places, &evidence)?;
    let mut out = out();
    match arguments.json {
        true => out.json(&evidence)?,
        false => show(&mut out, &evidence)?,
    }
    let runs = evidence.workers.iter().any(|ended| ended.outcome == Outcome::Runs);
    let is_whole =
        evidence.unreadable.is_empty() && evidence.workers.iter().all(|ended| ended.told.unreadable.is_none());
    Ok(if runs || !evidence.not_revoked.is_empty() || !is_whole { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether an agent was offboarded here. What cannot be told counts as yes.
pub fn is_offboarded(places: &Places, agent: &AgentId) -> bool {
    let mark = fs::symlink_metadata(places.offboarded().join(agent.as_str()));
    !mark.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn stop(places: &Places, agent: &AgentId) -> io::Result<Vec<(Running, Outcome)>> {
    let mut workers = running::all(places)?;
    workers.retain(|running| running.agent == *agent);
    running::stop(places, &workers, &because("exeat offboard"))
}

/// Until each is revoked, or was tried to be.
fn revoke(places: &Places, agent: &AgentId) -> Result<(), Report> {
    let deadline = Instant::now() + REVOKING;
    let under_way = |entry: &Entry| matches!(entry.state, State::Asked | State::Leased);
    loop {
        leases::take_back(places, &Which::Agent(agent.clone()))?;
        let now = Timestamp::now();
        let open = of(places, agent)?.into_iter().any(|entry| entry.is_open(now) && under_way(&entry));
        if !open || Instant::now() > deadline {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn of(places: &Places, agent: &AgentId) -> Result<Vec<Entry>, Report> {
    let found = ledger::read(&places.ledgers()).map_err(broker::unusable)?;
    Ok(found.into_iter().map(|found| found.entry).filter(|entry| entry.agent == *agent).collect())
}

fn in_force(places: &Places, agent: &AgentId) -> InForce {
    let file = places.agent_file(agent);
    match Policy::load_without_secrets(&file) {
        Ok(policy) => InForce { file, digest: Some(policy.digest().to_owned()), unusable: None },
        Err(error) => InForce { file, digest: None, unusable: Some(error.to_string()) },
    }
}

fn usable(places: &Places, agent: &AgentId) -> Result<Vec<Usable>, Report> {
    let credentials = broker::credentials(places)?;
    let usable = credentials.for_agent(agent).map(|credential| Usable {
        credential: credential.grant.credential().clone(),
        to: credential.grant.to().iter().map(ToString::to_string).collect(),
        fixed: matches!(credential.issuer, IssuerSettings::Fixed { .. }),
        also_of: credential.agents.iter().filter(|other| *other != agent).cloned().collect(),
    });
    Ok(usable.collect())
}

/// What of the last calls is there. No log keeps the evidence from being told.
fn last_calls(places: &Places, agent: &AgentId) -> LastCalls {
    let (rows, flaws) = match calls::last(places, agent, LAST_CALLS) {
        Ok((rows, flaws)) => (rows, flaws.iter().map(|flaw| chain(flaw)).collect()),
        Err(report) => (Vec::new(), vec![report.line()]),
    };
    let mut last = LastCalls { unreadable: flaws, ..LastCalls::default() };
    for row in rows {
        for line in &row.lines {
            match serde_json::from_str(line) {
                Ok(record) => last.records.push(record),
                Err(error) => last.unreadable.push(error.to_string()),
            }
        }
        last.rows.push(row.to_string());
    }
    last
}

/// What stands or may stand, and the last loan of each fixed secret, which stands until it is rotated.
fn not_revoked(leases: &[Entry]) -> Vec<NotRevoked> {
    let now = Timestamp::now();
    let is_last_of_fixed = |entry: &Entry| {
        let same = |other: &&Entry| other.credential == entry.credential && other.state == State::Returned;
        leases.iter().rfind(same).is_some_and(|last| last.lease == entry.lease)
    };
    let stands = leases.iter().filter(|entry| entry.is_open(now) || is_last_of_fixed(entry));
    let told = stands.map(|entry| NotRevoked {
        credential: entry.credential.clone(),
        lease: entry.lease,
        reason: entry.reason.clone().unwrap_or_else(|| format!("it is still {}", entry.state)),
    });
    told.collect()
}

/// Adds a line to the log of offboardings.
fn log(places: &Places, line: &impl Serialize) -> Result<(), Report> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(places.offboardings())?;
    file.write_all(&line)?;
    Ok(file.sync_all()?)
}

fn show(out: &mut impl Write, evidence: &Evidence) -> io::Result<()> {
    let Evidence { agent, at, policy, credentials, workers, leases, not_revoked, rows, .. } = evidence;
    writeln!(
        out,
        "{agent} is offboarded since {at}: no worker starts, no credential is given (`--undo` takes it back)"
    )?;
    if evidence.is_of_nobody() {
        writeln!(
            out,
            "NOTE: nothing here is of an agent of this name, neither a policy nor a credential, lease or call: was another one meant?"
        )?;
    }
    match (&policy.digest, &policy.unusable) {
        (Some(digest), _) => writeln!(out, "\npolicy in force\n  {}: {digest}", policy.file.display())?,
        // It names the file.
        (None, why) => writeln!(out, "\npolicy in force: none\n  {}", why.as_deref().unwrap_or_default())?,
    }
    writeln!(out, "\ncredentials that it could use")?;
    for Usable { credential, to, fixed, also_of } in credentials {
        let fixed = if *fixed { "; a fixed secret" } else { "" };
        let others: Vec<_> = also_of.iter().map(AgentId::as_str).collect();
        let others = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
        writeln!(out, "  {credential}: to {}{fixed}{others}", to.join(" "))?;
    }
    writeln!(out, "\nworkers")?;
    for Ended { told, outcome } in workers {
        let outcome = match outcome {
            Outcome::Stopped => "stopped",
            Outcome::Killed => "killed, as it did not stop",
            Outcome::Runs => "RUNS ON",
        };
        writeln!(out, "  {told}: {outcome}")?;
        if let Some(why) = &told.unreadable {
            writeln!(out, "    {}", unreadable(why))?;
        }
    }
    writeln!(out, "\nleases")?;
    for Entry { lease, credential, state, changed, .. } in leases {
        writeln!(out, "  {lease} {credential}: {state} {changed}")?;
    }
    writeln!(out, "\nlast calls")?;
    for row in rows {
        writeln!(out, "  {row}")?;
    }
    for why in &evidence.unreadable {
        writeln!(out, "  NOT WHOLE: what follows in a log is left out: {}", plain(why))?;
    }
    writeln!(out, "\nnot revoked")?;
    for NotRevoked { credential, lease, reason } in not_revoked {
        writeln!(out, "  {lease} {credential}: {}", plain(reason))?;
    }
    Ok(())
}
