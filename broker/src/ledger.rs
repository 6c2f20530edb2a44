//! Who holds what until when.
//!
//! Enters: that an issuer is about to be asked, what it gave, before that is given out, and what became of it. Leaves: a row for each lease
//! in the ledger's file, from which a later broker revokes, or at least shows, what an earlier one left open; the leases that
//! stand, in memory. The file has a credential only where its revocation needs it, sealed, and only while it is open. Never: a
//! lease that is used and not in the ledger, nor an issuer that was asked without the ledger saying so.

mod end;
mod left;
mod loan;
mod seal;
mod store;

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::{AgentId, CredentialName, WorkerId};
use dashmap::DashMap;
use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::loan::Loan;
use self::seal::SealingKey;
pub(crate) use self::store::directories;
use self::store::{Durability, Store, name_for_once};
use crate::error::Error;
use crate::issuer::Issuer;
use crate::lease::{Lease, LeaseId};
use crate::secret::Secret;
use crate::settings::LedgerPlace;

/// Leases in memory at a time: 64 for each of 1,024 workers. More are refused.
const CAPACITY: usize = 65_536;
/// How long what may have been issued is shown, where nobody knows how long it lives: longer than an access token usually does.
const SHOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// Why a fixed secret is not revoked.
pub(crate) const FIXED: &str = "a fixed secret ends when it is rotated";

/// A row of the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The lease.
    pub lease: LeaseId,
    /// Who has it.
    pub worker: WorkerId,
    /// For whom the worker works.
    pub agent: AgentId,
    /// What it is a loan of.
    pub credential: CredentialName,
    /// Where it may go, and what it may do there as far as exeat knows.
    pub scope: String,
    /// What has become of it.
    pub state: State,
    /// When the issuer was asked for it.
    pub asked: Timestamp,
    /// When it ends by itself, if it does.
    pub expires: Option<Timestamp>,
    /// When it came into this state, or was last tried to be revoked.
    pub changed: Timestamp,
    /// How it is revoked, if it can be.
    pub revocation: Option<String>,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// How often it was tried in vain to revoke it.
    pub attempts: u32,
}

/// A row of some ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The row.
    #[serde(flatten)]
    pub entry: Entry,
    /// Whether the broker whose ledger it is in lives. If not, what is open is revoked when the next one starts.
    pub living: bool,
}

/// What has become of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its issuer is being asked.
    Asked,
    /// Given to its worker.
    Leased,
    /// To be used no longer, and it still stands.
    Kept,
    /// Its issuer was asked, and nobody knows what came of it: it may stand.
    Unanswered,
    /// Its issuer gave nothing.
    Refused,
    /// Its issuer takes it no longer.
    Revoked,
    /// It ran out.
    Expired,
    /// Its worker has ended, and there is nothing to revoke: a fixed secret.
    Returned,
}

/// More than a broker has threads. By itself the map would ask how many cores there are, for which the standard library reads the groups of this process.
const SHARDS: usize = 8;

/// The leases that stand, and the file.
pub(crate) struct Ledger {
    pub(crate) standing: DashMap<LeaseId, Standing>,
    /// How many leases some task still tries to revoke.
    pub(crate) pending: watch::Sender<usize>,
    /// Workers that live, and what was taken back from each.
    loans: DashMap<WorkerId, Loan>,
    store: Store,
    key: SealingKey,
}

/// A lease that stands, with what its revocation needs.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) entry: Entry,
    pub(crate) lease: Arc<Lease>,
    /// What its revocation needs, where that is not the credential itself.
    pub(crate) receipt: Option<Arc<Secret>>,
    pub(crate) issuer: Arc<Issuer>,
    /// Why it is given back before its time, where it is.
    pub(crate) given_back: Option<&'static str>,
    /// A task tries to revoke it, again and again.
    pub(crate) retried: bool,
}

/// Every lease in the ledgers of one directory, of brokers that live and of those that are gone, oldest first.
pub fn read(ledgers: &Path) -> Result<Vec<Found>, Error> {
    store::read_all(ledgers)
}

impl Entry {
    /// A lease that is about to be asked for.
    pub(crate) fn asked(
        worker: WorkerId,
        agent: AgentId,
        credential: CredentialName,
        scope: String,
        revocation: Option<String>,
    ) -> Entry {
        let (lease, asked) = (LeaseId::generate(), Timestamp::now());
        let (state, changed) = (State::Asked, asked);
        let (expires, reason, attempts) = (None, None, 0);
        Entry { lease, worker, agent, credential, scope, state, asked, expires, changed, revocation, reason, attempts }
    }

    /// Whether it may still be taken somewhere.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state.is_open() && self.expires.is_none_or(|expires| now < expires)
    }

    fn became(&mut self, state: State, reason: Option<String>) {
        (self.state, self.changed, self.reason) = (state, Timestamp::now(), reason);
    }
}

impl Ledger {
    /// Opens the ledger, for this broker alone; without a place, in memory.
    pub(crate) fn open(place: Option<&LedgerPlace>) -> Result<Ledger, Error> {
        let (store, key) = match place {
            None => (Store::in_memory()?, SealingKey::of_this_moment()?),
            Some(LedgerPlace { directory, name, key }) => {
                let name = name.clone().unwrap_or_else(name_for_once);
                (Store::claim(&directory.join(name))?, SealingKey::load(key)?)
            }
        };
        Ok(Ledger {
            standing: DashMap::with_shard_amount(SHARDS),
            pending: watch::Sender::new(0),
            loans: DashMap::with_shard_amount(SHARDS),
            store,
            key,
        })
    }

    /// The broker's own directory, if its ledger is in a file.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.store.directory()
    }

    /// Whether one more lease may be asked for.
    pub(crate) fn has_room(&self) -> bool {
        self.standing.len() < CAPACITY
    }

    /// Says that an issuer is about to be asked. Where the broker is killed before [`Ledger::enter`], this is all that is known.
    pub(crate) fn ask(&self, entry: &Entry) -> io::Result<()> {
        self.store.put(entry, None, Durability::Now)
    }

    /// Says that nothing came of asking, or that nobody knows what did.
    pub(crate) fn in_vain(&self, mut entry: Entry, reason: &str, may_stand: bool) {
        let state = if may_stand { State::Unanswered } else { State::Refused };
        entry.expires = if may_stand { shown_until(&entry) } else { None };
        entry.became(state, Some(reason.to_owned()));
        self.note(&entry);
    }

    /// Takes a lease in, before it is given out. On an error it is in memory all the same, to be revoked with the rest.
    pub(crate) fn enter(
        &self,
        mut entry: Entry,
        lease: &Arc<Lease>,
        receipt: Option<Secret>,
        issuer: &Arc<Issuer>,
    ) -> io::Result<()> {
        self.expire(SystemTime::now());
        entry.expires = lease.expires.and_then(|time| time.try_into().ok());
        entry.became(State::Leased, None);
        let (lent, issuer, receipt) = (Arc::clone(lease), Arc::clone(issuer), receipt.map(Arc::new));
        let standing =
            Standing { entry: entry.clone(), lease: lent, receipt, issuer, given_back: None, retried: false };
        let sealed = entry.revocation.as_ref().map(|_| self.key.seal(&entry, standing.receipt())).transpose();
        self.standing.insert(lease.id, standing);
        let sealed = sealed?;
        self.store.put(&entry, sealed.as_deref(), Durability::Now)
    }

    /// Keeps a lease that is to be used no longer, and could not be revoked.
    pub(crate) fn keep(&self, id: LeaseId, reason: &str) {
        if let Some(mut standing) = self.standing.get_mut(&id) {
            let entry = &mut standing.entry;
            entry.became(State::Kept, Some(reason.to_owned()));
            entry.attempts = entry.attempts.saturating_add(1);
            self.note(entry);
        }
    }

    /// Lets a lease go that no longer stands, or that nothing can be done about.
    pub(crate) fn close(&self, id: LeaseId, state: State, reason: Option<String>) {
        if let Some((_, standing)) = self.standing.remove(&id) {
            if state == State::Expired {
                standing.clone().end_login();
            }
            let Standing { mut entry, given_back, .. } = standing;
            entry.became(state, reason.or(given_back.map(str::to_owned)));
            self.note(&entry);
        }
    }

    /// Lets go what has run out.
    pub(crate) fn expire(&self, now: SystemTime) {
        let over = self.standing.iter().filter(|one| one.is_over(now)).map(|one| *one.key());
        for id in over.collect::<Vec<_>>() {
            self.close(id, State::Expired, None);
        }
    }

    /// The leases that are to be used no longer and still stand, or may.
    pub(crate) fn kept(&self) -> Vec<Entry> {
        let open = self.store.still_open().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the ledger");
            Vec::new()
        });
        let now = Timestamp::now();
        let kept = open.into_iter().map(|(entry, _)| entry).filter(|entry| entry.is_open(now));
        kept.filter(|entry| entry.state != State::Leased).collect()
    }

    /// The broker ends. What is open stays in the ledger for the next.
    pub(crate) fn finish(&self) {
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "cannot put the ledger aside");
        }
    }

    /// What happened has happened, so a file that cannot be written changes nothing but is said.
    fn note(&self, entry: &Entry) {
        if let Err(error) = self.store.put(entry, None, Durability::Soon) {
            tracing::error!(%error, lease = %entry.lease, state = %entry.state, "cannot write the ledger");
        }
    }
}

impl Standing {
    /// A login may outlive the lease that it was for. What comes of this changes nothing: the lease is over.
    fn end_login(self) {
        if let (true, Ok(runtime)) = (self.issuer.renews(), Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = self.issuer.revoke(&self.entry, self.receipt()).await {
                    tracing::debug!(lease = %self.entry.lease, %error, "the login of a lease that is over did not end");
                }
            });
        }
    }

    /// What its revocation needs.
    pub(crate) fn receipt(&self) -> &Secret {
        self.receipt.as_deref().unwrap_or(&self.lease.secret)
    }

    /// Whether a worker may still use it.
    pub(crate) fn is_lent(&self) -> bool {
        self.entry.state == State::Leased
    }
}

/// Until when a lease of unknown life is shown.
fn shown_until(entry: &Entry) -> Option<Timestamp> {
    entry.asked.checked_add(SHOWN).ok()
}

impl State {
    const ALL: [State; 8] = [
        State::Asked,
        State::Leased,
        State::Kept,
        State::Unanswered,
        State::Refused,
        State::Revoked,
        State::Expired,
        State::Returned,
    ];

    /// As it is written in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Asked => "asked",
            State::Leased => "leased",
            State::Kept => "kept",
            State::Unanswered => "unanswered",
            State::Refused => "refused",
            State::Revoked => "revoked",
            State::Expired => "expired",
            State::Returned => "returned",
        }
    }

    fn is_open(self) -> bool {
        matches!(self, State::Asked | State::Leased | State::Kept | State::Unanswered)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = NoState;

    fn from_str(text: &str) -> Result<State, NoState> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or(NoState)
    }
}

/// A word that is no state of a lease.
#[derive(Debug, thiserror::Error)]
#[error("it is no state of a lease")]
pub struct NoState;
