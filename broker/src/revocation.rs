//! The end of leases.
//!
//! Enters: a worker that has ended, however it ended; leases that are taken back, or that another broker left. Leaves: for each lease, that it is
//! revoked, or that it is kept and why. A kept one is tried again, at growing intervals, until it is revoked or has run out;
//! never longer, and never without the ledger saying so.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::{CredentialName, WorkerId};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api::{Ended, Kept, Which};
use crate::issuer::{Revocation, chain};
use crate::lease::LeaseId;
use crate::ledger::{Ledger, Standing, State};

/// Pauses between attempts: an issuer that restarts is met soon, one that is down for hours is not hammered.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

enum Attempt {
    Closed {
        revoked: bool,
    },
    /// It stands. `again`: another attempt may succeed.
    Kept {
        reason: String,
        again: bool,
    },
}

impl Ledger {
    /// Ends all leases of a worker. Takes as long as its slowest issuer, which is bounded. May be called again: what was
    /// ended stays ended, what was cut short is done.
    pub(crate) async fn end_worker(self: &Arc<Self>, worker: WorkerId) -> Ended {
        self.expire(SystemTime::now());
        let mine = self.those(|one| one.entry.worker == worker && one.is_lent());
        let ended = self.attempt_all(mine).await;
        self.forget(worker);
        ended
    }

    /// Takes leases back, whoever has them. Their workers are told whatever the issuers say, also of leases that stand no longer. Those that
    /// are kept already are tried once more.
    pub(crate) async fn revoke(self: &Arc<Self>, which: &Which) -> Ended {
        let told = self.take_back(which);
        self.expire(SystemTime::now());
        let wanted = self.those(|one| which.wants(&one.entry));
        // A task of its own: who asked may go, the revocation is tried.
        let ledger = Arc::clone(self);
        let attempts = tokio::spawn(async move { ledger.attempt_all(wanted).await });
        let ended = attempts.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a revocation broke off");
            Ended::default()
        });
        Ended { told, ..ended }
    }

    /// Begins to revoke a lease that another has replaced. What still streams with it is not cut off for that: its worker does as it was told.
    pub(crate) fn give_back(self: &Arc<Self>, id: LeaseId, why: &'static str) {
        if let Some(mut standing) = self.standing.get_mut(&id) {
            standing.given_back = Some(why);
        }
        self.sweep(vec![id]);
    }

    /// The same for all of a credential, which a worker may use no longer: it is told, and what streams with any lease of it is cut off.
    pub(crate) fn withdraw(self: &Arc<Self>, worker: WorkerId, credential: &CredentialName, why: &'static str) {
        self.take_back_all_of(worker, credential);
        let mine = |one: &Standing| one.entry.worker == worker && one.entry.credential == *credential && one.is_lent();
        for id in self.those(mine) {
            self.give_back(id, why);
        }
    }

    /// Begins to revoke what a broker that is gone left.
    pub(crate) fn sweep(self: &Arc<Self>, left: Vec<LeaseId>) {
        if left.is_empty() {
            return;
        }
        self.pending.send_modify(|pending| *pending += 1);
        let ledger = Arc::clone(self);
        tokio::spawn(async move {
            ledger.attempt_all(left).await;
            ledger.pending.send_modify(|pending| *pending -= 1);
        });
    }

    /// Waits until no revocation is pending.
    pub(crate) async fn settled(&self) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    fn those(&self, wanted: impl Fn(&Standing) -> bool) -> Vec<LeaseId> {
        self.standing.iter().filter(|one| wanted(one)).map(|one| *one.key()).collect()
    }

    async fn attempt_all(self: &Arc<Self>, leases: Vec<LeaseId>) -> Ended {
        let mut attempts = JoinSet::new();
        for id in leases {
            let ledger = Arc::clone(self);
            attempts.spawn(async move { ledger.first_attempt(id).await });
        }
        let mut ended = Ended::default();
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Some(Ok(id))) => ended.revoked.push(id),
                Ok(Some(Err(kept))) => ended.kept.push(kept),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a revocation broke off"),
            }
        }
        ended
    }

    async fn first_attempt(self: Arc<Self>, id: LeaseId) -> Option<Result<LeaseId, Kept>> {
        let standing = self.standing.get(&id)?.clone();
        match self.attempt(&standing).await {
            Attempt::Closed { revoked } => revoked.then_some(Ok(id)),
            Attempt::Kept { reason, again } => {
                let expires = standing.lease.expires;
                match (expires, again) {
                    (None, false) => self.close(id, State::Returned, Some(reason.clone())),
                    _ => self.keep(id, &reason),
                }
                let credential = standing.lease.credential.clone();
                tracing::warn!(lease = %id, %credential, reason, again, "a lease could not be revoked");
                if again && self.is_first_to_retry(id) {
                    self.pending.send_modify(|pending| *pending += 1);
                    tokio::spawn(self.retry(standing));
                }
                Some(Err(Kept { lease: id, credential, expires, reason, again }))
            }
        }
    }

    /// Whether nobody tries it again yet.
    fn is_first_to_retry(&self, id: LeaseId) -> bool {
        self.standing.get_mut(&id).is_some_and(|mut one| !std::mem::replace(&mut one.retried, true))
    }

    async fn retry(self: Arc<Self>, standing: Standing) {
        let (mut pause, id) = (FIRST_PAUSE, standing.lease.id);
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if !self.standing.contains_key(&id) {
                break; // revoked by another attempt
            }
            match self.attempt(&standing).await {
                Attempt::Kept { again: true, reason } => self.keep(id, &reason),
                Attempt::Kept { reason, again: false } => break self.keep(id, &reason),
                Attempt::Closed { .. } => break,
            }
        }
        self.pending.send_modify(|pending| *pending -= 1);
    }

    async fn attempt(&self, standing: &Standing) -> Attempt {
        let Standing { entry, lease, issuer, .. } = standing;
        // As it is by now: it may have been made to last longer since it was looked at.
        if self.standing.get(&lease.id).is_none_or(|one| one.is_over(SystemTime::now())) {
            self.close(lease.id, State::Expired, None);
            return Attempt::Closed { revoked: false };
        }
        match issuer.revoke(entry, standing.receipt()).await {
            Ok(Revocation::Revoked) => {
                self.close(lease.id, State::Revoked, None);
                Attempt::Closed { revoked: true }
            }
            Ok(Revocation::Impossible(reason)) => Attempt::Kept { reason: reason.to_owned(), again: false },
            Err(error) => Attempt::Kept { reason: chain(&error), again: true },
        }
    }
}
