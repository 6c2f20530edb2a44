//! The permissions of all workers of one broker.
//!
//! Enters: wishes, decisions, ends of workers and of permissions. Leaves: whether the issuer may be asked; what waits for a person. Never:
//! more requests of one worker than a person can look at, or one that stands when its worker is gone.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use config::{AgentId, CredentialName, Destination, WorkerId};
use jiff::Timestamp;

use super::journal::Journal;
use super::{Approval, ApprovalId, ApprovalState, Decision, Permission, Says};

/// Requests of one worker that nobody has decided. It has one for each credential; a person who finds more looks at none.
const PENDING: usize = 16;

/// All of them.
pub(crate) struct Desk {
    permissions: Mutex<HashMap<(WorkerId, CredentialName), Permission>>,
    journal: Journal,
}

/// What becomes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The issuer may be asked.
    Open,
    /// What was had may be used, and nothing else be had.
    OneThatIsThere,
    /// It waits for a person, under this name.
    Pending(ApprovalId),
    /// It was denied, in these words.
    Denied(String),
    /// Too many wait already.
    Crowded,
}

impl Desk {
    /// An empty one, with a journal in the directory of the ledgers.
    pub(crate) fn new(ledgers: Option<PathBuf>) -> Desk {
        Desk { permissions: Mutex::default(), journal: Journal::new(ledgers) }
    }

    /// What becomes of a wish, which is put down where there is none yet, or the permission has run out.
    pub(crate) fn ask(
        &self,
        (worker, agent): (WorkerId, &AgentId),
        credential: &CredentialName,
        destination: &Destination,
        now: Timestamp,
    ) -> io::Result<Gate> {
        let mut permissions = self.permissions();
        let key = (worker, credential.clone());
        match permissions.get(&key).map(|permission| (permission.says(now), permission.approval().id)) {
            Some((Says::Yes, _)) => return Ok(Gate::Open),
            Some((Says::OneThatIsThere, _)) => return Ok(Gate::OneThatIsThere),
            Some((Says::NotYet, id)) => return Ok(Gate::Pending(id)),
            Some((Says::No(why), _)) => return Ok(Gate::Denied(why)),
            Some((Says::Over, _)) | None => {}
        }
        let waits = |one: &&Permission| one.approval().worker == worker && one.says(now) == Says::NotYet;
        if permissions.values().filter(waits).count() >= PENDING {
            return Ok(Gate::Crowded);
        }
        let id = loop {
            let id = ApprovalId::draw().map_err(|_| io::Error::other("the machine gives no random bytes"))?;
            if permissions.values().all(|other| other.approval().id != id) {
                break id;
            }
        };
        let approval = Approval {
            id,
            worker,
            agent: agent.clone(),
            credential: credential.clone(),
            destination: destination.clone(),
            since: now,
            state: ApprovalState::Pending,
        };
        permissions.insert(key, Permission::asked(approval));
        Ok(Gate::Pending(id))
    }

    /// Takes a decision, once it is in the journal; a denial also where that cannot be written. `None`: there is no such request.
    pub(crate) fn decide(
        &self,
        id: ApprovalId,
        decision: &Decision,
        by: u32,
        now: Timestamp,
    ) -> io::Result<Option<Approval>> {
        let mut permissions = self.permissions();
        let known = |one: &&mut Permission| one.approval().id == id && one.says(now) != Says::Over;
        let Some(permission) = permissions.values_mut().find(known) else { return Ok(None) };
        let mut decided = permission.clone();
        decided.decide(decision, by, now);
        match (self.journal.add(decided.approval()), decision) {
            (Err(error), Decision::Deny { .. }) => {
                tracing::error!(%error, %id, "a denial is in force and cannot be written down");
            }
            (written, _) => written?,
        }
        *permission = decided;
        Ok(Some(permission.approval().clone()))
    }

    /// A lease was given out by permission. The answer is when it ends, where that is known from now on.
    pub(crate) fn lent(&self, worker: WorkerId, credential: &CredentialName, due: SystemTime) -> Option<Timestamp> {
        let due = Timestamp::try_from(due).ok()?;
        let mut permissions = self.permissions();
        permissions.get_mut(&(worker, credential.clone()))?.lent(due).then_some(due)
    }

    /// What was had by it is there no longer, though its time has not run out: it has to be asked for anew.
    pub(crate) fn withdraw(&self, worker: WorkerId, credential: &CredentialName, now: Timestamp) {
        let (mut permissions, key) = (self.permissions(), (worker, credential.clone()));
        // Unless somebody has decided anew meanwhile.
        if permissions.get(&key).is_some_and(|one| one.says(now) == Says::OneThatIsThere) {
            permissions.remove(&key);
        }
    }

    /// Whether what was had may be used.
    pub(crate) fn permits(&self, worker: WorkerId, credential: &CredentialName, now: Timestamp) -> bool {
        let says = self.permissions().get(&(worker, credential.clone())).map(|one| one.says(now));
        matches!(says, Some(Says::Yes | Says::OneThatIsThere))
    }

    /// All that stand, the oldest first.
    pub(crate) fn all(&self, now: Timestamp) -> Vec<Approval> {
        let permissions = self.permissions();
        let standing = permissions.values().filter(|one| one.says(now) != Says::Over);
        let mut all: Vec<_> = standing.map(|one| one.approval().clone()).collect();
        all.sort_by_key(|approval| (approval.since, approval.id));
        all
    }

    /// The worker has ended.
    pub(crate) fn forget(&self, worker: WorkerId) {
        self.permissions().retain(|(own, _), _| *own != worker);
    }

    fn permissions(&self) -> MutexGuard<'_, HashMap<(WorkerId, CredentialName), Permission>> {
        self.permissions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
