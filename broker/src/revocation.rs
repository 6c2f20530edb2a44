//! The end of leases.
//!
//! Enters: a worker that has ended, however it ended, or one lease that is taken back. Leaves: for each lease, that it is revoked, or that it is
//! kept and why. A kept one is tried again, at growing intervals, until it is revoked or has run out; never longer, and
//! never without the ledger saying so.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::WorkerId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api::{Ended, Kept};
use crate::issuer::{Revocation, chain};
use crate::lease::LeaseId;
use crate::ledger::{Event, Ledger, Standing};

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
        let mine = |one: &Standing| one.entry.worker == worker && one.entry.event == Event::Leased;
        let mine: Vec<LeaseId> = self.standing.iter().filter(|one| mine(one)).map(|one| *one.key()).collect();
        let mut attempts = JoinSet::new();
        for id in mine {
            let ledger = Arc::clone(self);
            attempts.spawn(async move { ledger.first_attempt(id).await });
        }
        let mut ended = Ended::default();
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Some(Ok(id))) => ended.revoked.push(id),
                Ok(Some(Err(kept))) => ended.kept.push(kept),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, %worker, "a revocation broke off"),
            }
        }
        self.forget(worker);
        ended
    }

    /// Takes one lease back. Its worker is told whatever the issuer says. `None`: no living worker has such a lease.
    pub(crate) async fn revoke(self: &Arc<Self>, id: LeaseId) -> Option<Ended> {
        self.take_back(id)?;
        // A task of its own: who asked may go, the revocation is tried.
        let ledger = Arc::clone(self);
        let attempt = tokio::spawn(async move { ledger.first_attempt(id).await });
        let mut ended = Ended::default();
        match attempt.await {
            Ok(Some(Ok(id))) => ended.revoked.push(id),
            Ok(Some(Err(kept))) => ended.kept.push(kept),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, lease = %id, "a revocation broke off"),
        }
        Some(ended)
    }

    /// Waits until no revocation is pending.
    pub(crate) async fn settled(&self) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    async fn first_attempt(self: Arc<Self>, id: LeaseId) -> Option<Result<LeaseId, Kept>> {
        let standing = self.standing.get(&id)?.clone();
        match self.attempt(&standing).await {
            Attempt::Closed { revoked } => revoked.then_some(Ok(id)),
            Attempt::Kept { reason, again } => {
                let expires = standing.lease.expires;
                match (expires, again) {
                    (None, false) => self.close(id, Event::Returned, Some(reason.clone())),
                    _ => self.keep(id, &reason),
                }
                let credential = standing.lease.credential.clone();
                tracing::warn!(lease = %id, %credential, reason, again, "a lease could not be revoked");
                if again {
                    self.pending.send_modify(|pending| *pending += 1);
                    tokio::spawn(self.retry(standing));
                }
                Some(Err(Kept { lease: id, credential, expires, reason, again }))
            }
        }
    }

    async fn retry(self: Arc<Self>, standing: Standing) {
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.attempt(&standing).await {
                Attempt::Kept { again: true, .. } => {}
                Attempt::Kept { reason, again: false } => break self.keep(standing.lease.id, &reason),
                Attempt::Closed { .. } => break,
            }
        }
        self.pending.send_modify(|pending| *pending -= 1);
    }

    async fn attempt(&self, Standing { holder, lease, issuer, .. }: &Standing) -> Attempt {
        if !lease.is_valid(SystemTime::now()) {
            self.close(lease.id, Event::Expired, None);
            return Attempt::Closed { revoked: false };
        }
        match issuer.revoke(holder, &lease.secret).await {
            Ok(Revocation::Revoked) => {
                self.close(lease.id, Event::Revoked, None);
                Attempt::Closed { revoked: true }
            }
            Ok(Revocation::Impossible(reason)) => Attempt::Kept { reason: reason.to_owned(), again: false },
            Err(error) => Attempt::Kept { reason: chain(&error), again: true },
        }
    }
}
