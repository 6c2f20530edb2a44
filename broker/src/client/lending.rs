//! The leases of a worker, as its calls want them.
//!
//! Enters: for each call, a credential and a destination. Leaves: the lease, out of memory while it is fresh; or why there is none, within a
//! bound that is another where a person is waited for. However many ask, one request is under way; a lease that is due but still good is used
//! while one caller fetches the next. Never: a lease of which the broker
//! could not say that it stands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use config::{CredentialName, Destination, Grant};
use http::{Method, StatusCode};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::standing::Standing;
use super::{Client, ClientError, denied, gone, unavailable};
use crate::api::{Ask, Awaits, NotYet};
use crate::approval::ApprovalId;
use crate::lease::{Lease, LeaseId};

/// How long a call waits for its lease. A client's own timeout is 30 s or more.
const WAIT: Duration = Duration::from_secs(20);
/// Before asking again for a lease that the broker is still fetching.
const AGAIN: Duration = Duration::from_millis(20);
/// Before asking again whether a person has decided, who takes longer.
const PERSON_AGAIN: Duration = Duration::from_millis(250);
/// For the issuer, once a person has permitted it: with the usual wait for that still within a client's timeout.
const AFTER_PERSON: Duration = Duration::from_secs(8);

/// A granted credential, and its lease of the moment.
pub(super) struct Slot {
    grant: Grant,
    lease: ArcSwapOption<Lease>,
    fetch: Mutex<()>,
    /// The permission that whoever fetches waits for.
    awaits: watch::Sender<Option<Awaits>>,
    /// Of which request it was said last that it waits.
    told: StdMutex<Option<ApprovalId>>,
}

/// A lease for one call.
#[derive(Debug)]
pub struct Lent {
    /// The lease.
    pub lease: Arc<Lease>,
    /// How long the call waited, where that was for a person.
    pub waited: Option<Duration>,
}

impl Client {
    /// The lease of a credential for a destination, which its grant must list.
    pub async fn lease(&self, credential: &CredentialName, to: &Destination) -> Result<Arc<Lease>, ClientError> {
        self.lend(credential, to).await.map(|lent| lent.lease)
    }

    /// The same, and how long it took where a person was waited for.
    pub async fn lend(&self, credential: &CredentialName, to: &Destination) -> Result<Lent, ClientError> {
        let slot = self.slot(credential, to)?;
        let (begun, awaited) = (Instant::now(), AtomicBool::new(false));
        let lease = tokio::select! {
            biased; // what is under way says first whether a person is waited for
            lease = self.fresh(slot, to) => lease,
            late = slot.late(begun, &awaited) => Err(late),
        };
        let waited = awaited.load(Ordering::Relaxed).then(|| begun.elapsed());
        lease.map(|lease| Lent { lease, waited })
    }

    /// Another lease than this one, which an upstream refused: one that is there already, or one that the broker fetches. However many
    /// callers were refused with it, one asks. `None`: there is no other now.
    pub async fn replace(
        &self,
        credential: &CredentialName,
        to: &Destination,
        refused: LeaseId,
    ) -> Result<Option<Arc<Lease>>, ClientError> {
        let slot = self.slot(credential, to)?;
        let replaced = timeout(WAIT, self.other(slot, to, refused));
        replaced.await.unwrap_or_else(|_| Err(slot.no_answer()))
    }

    fn slot(&self, credential: &CredentialName, to: &Destination) -> Result<&Slot, ClientError> {
        let slot = self.0.slots.get().and_then(|slots| slots.get(credential));
        let slot = slot.ok_or_else(|| denied(format!("this worker has no grant for credential `{credential}`")))?;
        match slot.grant.allows(to) {
            true => Ok(slot),
            false => Err(denied(format!("the grant of credential `{credential}` does not list {to}"))),
        }
    }

    async fn fresh(&self, slot: &Slot, to: &Destination) -> Result<Arc<Lease>, ClientError> {
        let standing = self.watched()?;
        let held = || self.held(slot);
        let is_fresh = |lease: &Arc<Lease>| lease.is_fresh(SystemTime::now());
        let _turn = match held() {
            Some(lease) if is_fresh(&lease) => return Ok(lease),
            Some(lease) => match slot.fetch.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(lease),
            },
            None => slot.fetch.lock().await,
        };
        // Another may have fetched it while this one waited for its turn.
        if let Some(lease) = held().filter(is_fresh) {
            return Ok(lease);
        }
        // Before the request: what carries it looks only once it is done.
        standing.leased();
        match self.fetch(slot, to, None).await {
            Ok(lease) => {
                slot.lease.store(Some(Arc::clone(&lease)));
                Ok(lease)
            }
            Err(error) => held().ok_or(error),
        }
    }

    async fn other(&self, slot: &Slot, to: &Destination, refused: LeaseId) -> Result<Option<Arc<Lease>>, ClientError> {
        self.watched()?;
        let _turn = slot.fetch.lock().await;
        let is_other = |lease: &Arc<Lease>| lease.id != refused;
        if let Some(lease) = self.held(slot).filter(is_other) {
            return Ok(Some(lease));
        }
        let lease = self.fetch(slot, to, Some(refused)).await?;
        slot.lease.store(Some(Arc::clone(&lease)));
        Ok(Some(lease).filter(is_other))
    }

    /// What says which leases stand, while there is somebody who says so.
    fn watched(&self) -> Result<&Standing, ClientError> {
        let standing = &*self.0.standing;
        if standing.is_watched() { Ok(standing) } else { Err(gone()) }
    }

    /// The lease of the moment, if it may be used.
    fn held(&self, slot: &Slot) -> Option<Arc<Lease>> {
        let stands = |lease: &Arc<Lease>| lease.is_valid(SystemTime::now()) && self.0.standing.holds(lease);
        slot.lease.load_full().filter(stands)
    }

    async fn fetch(
        &self,
        slot: &Slot,
        destination: &Destination,
        refused: Option<LeaseId>,
    ) -> Result<Arc<Lease>, ClientError> {
        let credential = slot.grant.credential().clone();
        let ask = Ask { credential, destination: destination.clone(), refused };
        // Whoever was told that a person is waited for may have gone, and the person have decided.
        slot.awaits(None);
        loop {
            let answer = self.exchange(Method::POST, "/v1/leases", Some(&ask)).await?;
            let awaits = match answer.status {
                StatusCode::ACCEPTED => answer.read::<NotYet>()?.awaits,
                _ => {
                    slot.awaits(None);
                    return answer.read().map(Arc::new);
                }
            };
            slot.awaits(awaits);
            match awaits {
                None => sleep(AGAIN).await,
                // There is an answer to the call already, which need not wait for a person.
                Some(awaits) if refused.is_some() => return Err(awaits.error()),
                Some(_) => sleep(PERSON_AGAIN).await,
            }
        }
    }
}

impl Slot {
    pub(super) fn new(grant: &Grant) -> Slot {
        let (lease, fetch) = (ArcSwapOption::empty(), Mutex::new(()));
        Slot { grant: grant.clone(), lease, fetch, awaits: watch::Sender::new(None), told: StdMutex::default() }
    }

    /// What the broker said of a person. A request that is new is said once, to whoever looks at the worker.
    fn awaits(&self, awaits: Option<Awaits>) {
        self.awaits.send_if_modified(|before| std::mem::replace(before, awaits) != awaits);
        let Some(Awaits { approval, .. }) = awaits else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.replace(approval) != Some(approval) {
            tracing::warn!("credential `{}` waits for permission: exeat approve {approval}", self.grant.credential());
        }
    }

    /// Waits until a call has waited long enough, and says for what. `awaited` becomes true where that is, or was, a person.
    async fn late(&self, begun: Instant, awaited: &AtomicBool) -> ClientError {
        let (mut changes, mut end) = (self.awaits.subscribe(), begun + WAIT);
        let mut person: Option<Awaits> = None;
        loop {
            let now = *changes.borrow_and_update();
            match (person, now) {
                (_, Some(awaits)) => {
                    awaited.store(true, Ordering::Relaxed);
                    end = begun + Duration::from_secs(awaits.wait_seconds);
                }
                (Some(_), None) => end = (begun + WAIT).max(Instant::now() + AFTER_PERSON),
                (None, None) => {}
            }
            person = now;
            tokio::select! {
                () = sleep_until(end) => return now.map_or_else(|| self.no_answer(), Awaits::error),
                // The sender is in `self`.
                _ = changes.changed() => {}
            }
        }
    }

    fn no_answer(&self) -> ClientError {
        unavailable(format!("credential `{}`: no answer within {} s", self.grant.credential(), WAIT.as_secs()))
    }
}

impl Awaits {
    fn error(self) -> ClientError {
        ClientError::Awaits { approval: self.approval, waited: Duration::from_secs(self.wait_seconds) }
    }
}
