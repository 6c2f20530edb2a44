//! What workers that live are to use no longer, whether it still stands or not.
//!
//! Enters: that a worker begins and ends; what a person takes back, or the end of a permission does. Leaves: what each worker is told. The
//! leases that stand are no measure of it: one that was replaced, given back or ran out stands no longer, and what was opened with it
//! does. Never: a worker that is gone.

use std::io;

use config::{AgentId, CredentialName, WorkerId};

use super::{Entry, Ledger};
use crate::api::Which;
use crate::lease::{Lease, LeaseId};
use crate::taken_back::TakenBack;

/// A worker that lives.
pub(super) struct Loan {
    agent: AgentId,
    taken_back: TakenBack,
}

impl Ledger {
    /// There is a worker from which something may be taken back.
    pub(crate) fn begin(&self, worker: WorkerId, agent: AgentId) {
        self.loans.insert(worker, Loan { agent, taken_back: TakenBack::default() });
    }

    /// The worker has ended and asks no more.
    pub(crate) fn forget(&self, worker: WorkerId) {
        self.loans.remove(&worker);
    }

    /// What was taken back from a worker.
    pub(crate) fn taken_back(&self, worker: WorkerId) -> TakenBack {
        self.loans.get(&worker).map(|loan| loan.taken_back.clone()).unwrap_or_default()
    }

    /// Whether this one was.
    pub(crate) fn is_taken_back(&self, worker: WorkerId, lease: &Lease) -> bool {
        self.loans.get(&worker).is_some_and(|loan| loan.taken_back.has(lease))
    }

    /// Notes that nothing of a credential that a worker was lent so far is to be used any longer.
    pub(crate) fn take_back_all_of(&self, worker: WorkerId, credential: &CredentialName) {
        if let Some(mut loan) = self.loans.get_mut(&worker) {
            loan.taken_back.all_of(credential);
        }
    }

    /// The same of what an operator names. Leaves whom there is to tell, which of a lease that was taken back before is nobody.
    pub(crate) fn take_back(&self, which: &Which) -> Vec<WorkerId> {
        if let Which::Lease(lease) = which {
            return self.take_back_one(*lease).into_iter().collect();
        }
        let mut told = Vec::new();
        for mut loan in self.loans.iter_mut() {
            let wanted = match which {
                Which::Worker(worker) => loan.key() == worker,
                Which::Agent(agent) => loan.agent == *agent,
                Which::Lease(_) => false,
            };
            if wanted {
                loan.taken_back.all();
                told.push(*loan.key());
            }
        }
        told
    }

    fn take_back_one(&self, lease: LeaseId) -> Option<WorkerId> {
        let Entry { worker, credential, .. } = self.entry(lease).unwrap_or_else(|error| {
            tracing::error!(%error, %lease, "cannot look into the ledger for whose it is");
            None
        })?;
        let mut loan = self.loans.get_mut(&worker)?;
        let is_new = !loan.taken_back.names(lease, &credential);
        loan.taken_back.one(lease);
        is_new.then_some(worker)
    }

    /// A lease of this broker's, standing or not.
    fn entry(&self, lease: LeaseId) -> io::Result<Option<Entry>> {
        if let Some(standing) = self.standing.get(&lease) {
            return Ok(Some(standing.entry.clone()));
        }
        self.store.row(lease)
    }
}
