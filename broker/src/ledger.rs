//! Who holds what until when.
//!
//! Enters: a lease, before it is given out; what became of it, afterwards. Leaves: one JSON line for each of these in the
//! ledger's file (mode 0600, appended), from which a later broker shows what an earlier one left open. The file holds lease
//! ids and times, never a secret: what a revocation needs is in memory only, so what a killed broker left open can be shown
//! but not revoked. Closed leases leave the memory; the file keeps them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use config::{AgentId, CredentialName, WorkerId};
use dashmap::DashMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::error::Error;
use crate::holder::Holder;
use crate::issuer::Issuer;
use crate::lease::{Lease, LeaseId};

/// Leases in memory at a time: 64 for each of 1,024 workers. More are refused.
const CAPACITY: usize = 65_536;
/// A line of the file is some 400 bytes. What is longer was not written by a broker.
const MAX_LINE: u64 = 8 * 1024;

/// A line of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What happened to the lease.
    pub event: Event,
    /// The lease.
    pub lease: LeaseId,
    /// Who has it.
    pub worker: WorkerId,
    /// For whom the worker works.
    pub agent: AgentId,
    /// What it is a loan of.
    pub credential: CredentialName,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Why it was kept or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happens to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Given to its worker.
    Leased,
    /// Its worker has ended, and it still stands.
    Kept,
    /// Its issuer takes it no longer.
    Revoked,
    /// It ran out.
    Expired,
    /// Its worker has ended, and there is nothing to revoke: a fixed secret.
    Returned,
}

/// The leases that stand, and the file.
pub(crate) struct Ledger {
    pub(crate) standing: DashMap<LeaseId, Standing>,
    /// How many leases some task still tries to revoke.
    pub(crate) pending: watch::Sender<usize>,
    /// Leases taken back from workers that live, until these end.
    taken_back: DashMap<WorkerId, Vec<LeaseId>>,
    file: Option<Mutex<File>>,
}

/// A lease that stands, with what its revocation needs.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) entry: Entry,
    pub(crate) holder: Holder,
    pub(crate) lease: Arc<Lease>,
    pub(crate) issuer: Arc<Issuer>,
}

impl Ledger {
    /// Opens the file, if there is to be one, for this broker alone. Leaves also what an earlier broker left open.
    pub(crate) fn open(path: Option<&Path>, now: SystemTime) -> Result<(Ledger, Vec<Entry>), Error> {
        let failed = |source| Error::Ledger { path: path.unwrap_or(Path::new("")).to_owned(), source };
        let (file, left) = match path {
            None => (None, Vec::new()),
            Some(path) => {
                let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
                let file = file.map_err(failed)?;
                file.try_lock().map_err(|error| failed(error.into()))?;
                let left = outstanding(&file, now).map_err(failed)?;
                (Some(Mutex::new(file)), left)
            }
        };
        Ok((
            Ledger { standing: DashMap::new(), pending: watch::Sender::new(0), taken_back: DashMap::new(), file },
            left,
        ))
    }

    /// Whether one more lease may be asked for.
    pub(crate) fn has_room(&self) -> bool {
        self.standing.len() < CAPACITY
    }

    /// Takes a lease in, before it is given out. On an error it is in memory all the same, to be revoked with the rest.
    pub(crate) fn enter(&self, holder: &Holder, lease: &Arc<Lease>, issuer: &Arc<Issuer>) -> io::Result<()> {
        self.expire(SystemTime::now());
        let entry = Entry {
            at: Timestamp::now(),
            event: Event::Leased,
            lease: lease.id,
            worker: holder.worker,
            agent: holder.agent.clone(),
            credential: lease.credential.clone(),
            expires: lease.expires.and_then(|time| time.try_into().ok()),
            reason: None,
        };
        let (lease, issuer) = (Arc::clone(lease), Arc::clone(issuer));
        let standing = Standing { entry: entry.clone(), holder: holder.clone(), lease, issuer };
        self.standing.insert(entry.lease, standing);
        self.write(&entry)
    }

    /// Notes that a lease is to be used no longer, though its worker lives. `None`: no living worker has such a lease.
    pub(crate) fn take_back(&self, id: LeaseId) -> Option<WorkerId> {
        let worker = self.standing.get(&id).filter(|one| one.entry.event == Event::Leased)?.entry.worker;
        self.taken_back.entry(worker).or_default().push(id);
        Some(worker)
    }

    /// What was taken back from a worker. No more than it was given.
    pub(crate) fn taken_back(&self, worker: WorkerId) -> Vec<LeaseId> {
        self.taken_back.get(&worker).map(|ids| ids.clone()).unwrap_or_default()
    }

    /// The worker has ended and asks no more.
    pub(crate) fn forget(&self, worker: WorkerId) {
        self.taken_back.remove(&worker);
    }

    /// Keeps a lease in memory though its worker has ended.
    pub(crate) fn keep(&self, id: LeaseId, reason: &str) {
        if let Some(mut standing) = self.standing.get_mut(&id) {
            let entry = &mut standing.entry;
            (entry.at, entry.event, entry.reason) = (Timestamp::now(), Event::Kept, Some(reason.to_owned()));
            self.note(entry);
        }
    }

    /// Lets a lease go that no longer stands, or that nothing can be done about.
    pub(crate) fn close(&self, id: LeaseId, event: Event, reason: Option<String>) {
        if let Some((_, Standing { mut entry, .. })) = self.standing.remove(&id) {
            (entry.at, entry.event, entry.reason) = (Timestamp::now(), event, reason);
            self.note(&entry);
        }
    }

    /// Lets go what has run out.
    pub(crate) fn expire(&self, now: SystemTime) {
        let over = self.standing.iter().filter(|one| !one.lease.is_valid(now)).map(|one| *one.key());
        for id in over.collect::<Vec<_>>() {
            self.close(id, Event::Expired, None);
        }
    }

    /// The leases of workers that have ended, which still stand.
    pub(crate) fn kept(&self) -> Vec<Entry> {
        let kept = self.standing.iter().filter(|one| one.entry.event == Event::Kept);
        kept.map(|one| one.entry.clone()).collect()
    }

    /// What happened has happened, so a file that cannot be written changes nothing but is said.
    fn note(&self, entry: &Entry) {
        if let Err(error) = self.write(entry) {
            tracing::error!(%error, lease = %entry.lease, event = ?entry.event, "cannot write the ledger");
        }
    }

    /// One `write` a line, so that a crash leaves whole lines but for the last.
    fn write(&self, entry: &Entry) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

/// The leases that a ledger's lines leave open at `now`: neither revoked, nor returned, nor run out.
pub fn outstanding(lines: impl Read, now: SystemTime) -> io::Result<Vec<Entry>> {
    let mut open = HashMap::new();
    let mut lines = BufReader::new(lines);
    let mut line = Vec::new();
    while lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        // A line that a crash cut short says nothing.
        if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
            match entry.event {
                Event::Leased | Event::Kept => open.insert(entry.lease, entry),
                Event::Revoked | Event::Expired | Event::Returned => open.remove(&entry.lease),
            };
        }
        line.clear();
    }
    let over =
        |entry: &Entry| entry.expires.is_some_and(|expires| SystemTime::try_from(expires).is_ok_and(|at| at <= now));
    let mut open: Vec<_> = open.into_values().filter(|entry| !over(entry)).collect();
    open.sort_by_key(|entry| entry.at);
    Ok(open)
}
