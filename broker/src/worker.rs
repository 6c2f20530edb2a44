//! One worker: what it holds, and what is being fetched for it.
//!
//! Enters: a credential that this worker may have. Leaves: its lease, fetched when there is none or the last is due, and
//! fetched once however many ask. A lease is this worker's alone. A fetch runs to its end even when nobody waits any more,
//! so that whatever an issuer gave is in the ledger before the worker's leases are ended.

#[cfg(test)]
mod reread;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use config::{AgentId, CredentialName, WorkerId};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::Refusal;
use crate::api::Ended;
use crate::approval::ApprovalId;
use crate::holder::Holder;
use crate::identity::Signer;
use crate::issuer::{Issuer, chain};
use crate::lease::{Lease, LeaseId};
use crate::ledger::{Entry, Ledger, State};
use crate::renewal::renew;
use crate::taken_back::TakenBack;

/// How long an answer waits for a fetch. One connection answers one request at a time: a slow issuer must not keep its
/// neighbour's credential waiting.
const SLICE: Duration = Duration::from_millis(100);
/// How long a failure answers for its issuer, so that one that is down is not hammered.
const FAILURE_STANDS: Duration = Duration::from_secs(1);
/// Between two fetches for the reason that an upstream refused a lease: one that refuses whatever it is shown must not make its agent a
/// way to hammer the issuer. A key that was rotated is rotated once.
const REFUSALS_APART: Duration = Duration::from_secs(5);
/// And so many at once, of one credential of one worker: each costs the issuer, and what it has issued is good for a while.
const REFUSALS_AT_ONCE: u32 = 12;
/// And one more each time this has passed since the last.
const REFUSAL_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Why a lease is given back before its time.
const REFUSED: &str = "its upstream answered 401";
/// The same of one that came when nobody was to have it any more.
const UNWANTED: &str = "its permission had ended when it came";

/// And of one that was to be used no longer before it came.
const TOO_LATE: &str = "it was taken back before it came";

/// Whether a lease may still be had, where that depends on a person.
pub(crate) type Permits = Arc<dyn Fn() -> bool + Send + Sync>;

type Landing = Result<Arc<Lease>, Failure>;

#[derive(Clone)]
struct Failure {
    reason: Arc<str>,
    at: Instant,
}

/// The fetch under way, or the last one, and the lease from before it.
#[derive(Clone)]
struct Slot {
    flight: watch::Receiver<Option<Landing>>,
    before: Option<Arc<Lease>>,
    /// Which lease an upstream refused last, and when another was fetched for that.
    refused: Option<(LeaseId, Instant)>,
    /// How many were fetched for that and still count, as of that time.
    forced: u32,
}

/// How many fetches still count after `since`, of those that counted before.
fn still_count(forced: u32, since: Duration) -> u32 {
    forced.saturating_sub(u32::try_from(since.as_secs() / REFUSAL_AGAIN.as_secs()).unwrap_or(u32::MAX))
}

/// A registered worker.
pub(crate) struct Worker {
    pub(crate) holder: Holder,
    ledger: Arc<Ledger>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_name: HashMap<CredentialName, Slot>,
    /// The worker has ended.
    closed: bool,
}

/// The answer to a wish for a lease.
pub(crate) enum Wish {
    Granted(Arc<Lease>),
    Pending,
    /// A person is to permit it, for whom a call waits so long.
    Awaits(ApprovalId, Duration),
}

impl Worker {
    pub(crate) fn new(signer: &Arc<Signer>, agent: AgentId, ledger: Arc<Ledger>) -> Worker {
        let holder = Holder::new(signer, agent, WorkerId::generate());
        ledger.begin(holder.worker, holder.agent.clone());
        Worker { holder, ledger, slots: Mutex::default() }
    }

    /// The worker's lease of a credential; where its upstream `refused` the one it has, another, unless that is to be had so soon after
    /// the last. The caller has checked that it may have it.
    pub(crate) async fn lease(
        &self,
        name: &CredentialName,
        issuer: &Arc<Issuer>,
        scope: String,
        refused: Option<LeaseId>,
        permits: Option<Permits>,
    ) -> Result<Wish, Refusal> {
        let Slot { mut flight, before, .. } = self.slot(name, issuer, scope, refused, permits)?;
        let landed = match timeout(SLICE, flight.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => landed.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        match (landed, before.filter(|lease| self.stands(lease) && Some(lease.id) != refused)) {
            // One that was taken back while it was fetched is fetched anew.
            (Some(Ok(lease)), _) if self.ledger.is_taken_back(self.holder.worker, &lease) => Ok(Wish::Pending),
            (Some(Ok(lease)), _) | (_, Some(lease)) => Ok(Wish::Granted(lease)),
            (Some(Err(failure)), None) => Err(Refusal::Unavailable(failure.reason.to_string())),
            (None, None) => Ok(Wish::Pending),
        }
    }

    /// The lease that it has, if that is good and not yet to be renewed. Nothing is fetched.
    pub(crate) fn has(&self, name: &CredentialName) -> Option<Arc<Lease>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let landed = slots.by_name.get(name)?.flight.borrow().clone()?.ok();
        landed.filter(|lease| lease.is_fresh(SystemTime::now()) && self.stands(lease))
    }

    /// Ends the worker: no more fetches, and all that it holds is revoked. May be called again, also when it was cut short.
    pub(crate) async fn end(&self) -> Ended {
        let under_way: Vec<_> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.closed = true;
            slots.by_name.values().map(|slot| slot.flight.clone()).collect()
        };
        for mut flight in under_way {
            // Bounded by the issuer's own bounds. A fetch that broke off has entered nothing.
            let _ = flight.wait_for(Option::is_some).await;
        }
        self.ledger.end_worker(self.holder.worker).await
    }

    /// What was taken back from it.
    pub(crate) fn taken_back(&self) -> TakenBack {
        self.ledger.taken_back(self.holder.worker)
    }

    /// Good, and not taken back.
    fn stands(&self, lease: &Lease) -> bool {
        lease.is_valid(SystemTime::now()) && !self.ledger.is_taken_back(self.holder.worker, lease)
    }

    /// Joins the fetch that is under way or whose outcome still stands; else starts one.
    fn slot(
        &self,
        name: &CredentialName,
        issuer: &Arc<Issuer>,
        scope: String,
        refused: Option<LeaseId>,
        permits: Option<Permits>,
    ) -> Result<Slot, Refusal> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.closed {
            return Err(Refusal::Conflict("the worker has ended"));
        }
        let (mut before, mut last_refused, mut forced) = (None, None, 0);
        if let Some(slot) = slots.by_name.get(name) {
            let landed = slot.flight.borrow().clone();
            last_refused = slot.refused;
            let since = last_refused.map(|(_, at)| at.elapsed());
            forced = slot.forced;
            let spent = |since| still_count(forced, since) >= REFUSALS_AT_ONCE;
            let too_soon = since.is_some_and(|since| since < REFUSALS_APART || spent(since));
            let is_good = |lease: &Lease| refused != Some(lease.id) || too_soon;
            match landed {
                None if slot.flight.has_changed().is_ok() => return Ok(slot.clone()),
                Some(Ok(lease)) if lease.is_fresh(SystemTime::now()) && self.stands(&lease) && is_good(&lease) => {
                    return Ok(slot.clone());
                }
                Some(Err(failure)) if failure.at.elapsed() < FAILURE_STANDS || (refused.is_some() && too_soon) => {
                    return Ok(slot.clone());
                }
                Some(Ok(lease)) => before = Some(lease).filter(|lease| self.stands(lease)),
                // It failed a while ago, or broke off.
                Some(Err(_)) | None => before = slot.before.clone().filter(|lease| self.stands(lease)),
            }
        }
        let id = before.as_ref().map(|lease| lease.id);
        if let (Some(id), true) = (id, refused.is_some() && refused == id) {
            forced = last_refused.map_or(0, |(_, at)| still_count(forced, at.elapsed())).saturating_add(1);
            last_refused = Some((id, Instant::now()));
        }
        // Also where the fetch for that came to nothing.
        let is_refused = id.is_some() && last_refused.map(|(id, _)| id) == id;
        let (landing, flight) = watch::channel(None);
        let fetch = Fetch {
            holder: self.holder.clone(),
            name: name.clone(),
            scope,
            issuer: Arc::clone(issuer),
            ledger: Arc::clone(&self.ledger),
            before: before.clone(),
            is_refused,
            permits,
        };
        tokio::spawn(async move {
            let landed = fetch.run().await.map_err(|reason| Failure { reason: reason.into(), at: Instant::now() });
            landing.send_replace(Some(landed));
        });
        let slot = Slot { flight, before, refused: last_refused, forced };
        slots.by_name.insert(name.clone(), slot.clone());
        Ok(slot)
    }
}

/// One fetch of one credential for one worker.
struct Fetch {
    holder: Holder,
    name: CredentialName,
    scope: String,
    issuer: Arc<Issuer>,
    ledger: Arc<Ledger>,
    before: Option<Arc<Lease>>,
    /// Whether an upstream no longer takes that.
    is_refused: bool,
    permits: Option<Permits>,
}

impl Fetch {
    async fn run(self) -> Result<Arc<Lease>, String> {
        let Fetch { holder, name, scope, issuer, ledger, before, is_refused, permits } = self;
        let permitted = || permits.as_ref().is_none_or(|permits| permits());
        if !ledger.has_room() {
            return Err("the broker's ledger is full".to_owned());
        }
        // One that its upstream no longer takes would be no better for lasting longer.
        if let Some(before) = before.as_ref().filter(|_| !is_refused)
            && let Some(lease) = renew(&issuer, &ledger, before).await?
        {
            return Ok(lease);
        }
        if !permitted() {
            return Err(format!("credential `{name}`: its permission has ended"));
        }
        let unwritable = |error| format!("the broker's ledger cannot be written: {error}");
        let Holder { agent, worker, .. } = &holder;
        let entry = Entry::asked(*worker, agent.clone(), name.clone(), scope, issuer.revocation());
        if issuer.mints() {
            ledger.ask(&entry).map_err(unwritable)?;
        }
        let issued = match issuer.issue(&holder, &entry).await {
            Ok(issued) => issued,
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(%worker, %agent, credential = %name, reason, "cannot issue a credential");
                if issuer.mints() {
                    ledger.in_vain(entry, &reason, error.may_stand());
                }
                return Err(format!("credential `{name}`: {reason}"));
            }
        };
        // A fixed secret that is still the same is still the same lease; one that was rotated replaces it.
        let fixed = before.as_ref().filter(|before| before.expires.is_none() && issued.expires.is_none());
        let same = fixed.filter(|before| before.secret.expose() == issued.secret.expose());
        let lease = Arc::new(Lease {
            id: same.map_or(entry.lease, |before| before.id),
            credential: name,
            secret: issued.secret,
            expires: issued.expires,
            refresh: match issued.expires {
                None => issued.refresh,
                Some(_) => spread(issued.refresh, SystemTime::now()),
            },
        });
        if same.is_some() {
            if issuer.mints() {
                ledger.not_asked(entry.lease).map_err(unwritable)?;
            }
            return Ok(lease);
        }
        if let Some(before) = fixed {
            ledger.close(before.id, State::Returned, Some("it was rotated".to_owned()));
        }
        // Not given out when it cannot be recorded; it is in memory by then, to be revoked when the worker ends.
        ledger.enter(entry, &lease, issued.receipt, &issuer).map_err(unwritable)?;
        if let Some(before) = before.filter(|_| is_refused) {
            ledger.give_back(before.id, REFUSED);
        }
        if !permitted() {
            ledger.withdraw(*worker, &lease.credential, UNWANTED);
        } else if ledger.is_taken_back(*worker, &lease) {
            ledger.give_back(lease.id, TOO_LATE);
        }
        Ok(lease)
    }
}

/// A time somewhat before it, by up to an eighth of what is left: workers that began together do not come together each time.
pub(crate) fn spread(refresh: SystemTime, now: SystemTime) -> SystemTime {
    let left = refresh.duration_since(now).unwrap_or_default();
    let mut random = [0; 2];
    // Without randomness there is still a time.
    let drawn = aws_lc_rs::rand::fill(&mut random).map_or(0, |()| u16::from_ne_bytes(random));
    refresh - left / 8 * u32::from(drawn) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TrustDomain;
    use crate::issuer::fixed::Fixed;
    use crate::source::Environment;
    use config::Source;

    #[tokio::test]
    async fn a_fixed_secret_keeps_its_lease_until_it_is_rotated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ledger = Arc::new(Ledger::open(None).unwrap());
        let signer = Arc::new(Signer::generate("https://broker.example".to_owned(), TrustDomain::default()).unwrap());
        let value = Source::File(file.path().to_owned());
        let issuer = Arc::new(Issuer::Fixed(Fixed { value, pair: false, environment: Arc::new(Environment::new()) }));
        let fetch = async |content: &str, before: Option<&Arc<Lease>>| {
            std::fs::write(file.path(), content).unwrap();
            let fetch = Fetch {
                holder: Holder::new(&signer, "bot".parse().unwrap(), WorkerId::generate()),
                name: "api".parse().unwrap(),
                scope: "api.example".to_owned(),
                issuer: Arc::clone(&issuer),
                ledger: Arc::clone(&ledger),
                before: before.cloned(),
                is_refused: false,
                permits: None,
            };
            fetch.run().await.unwrap()
        };
        let first = fetch("one", None).await;
        let second = fetch("one", Some(&first)).await;
        assert_eq!(first.id, second.id);
        assert!(first.refresh < second.refresh);
        let third = fetch("two", Some(&second)).await;
        assert_eq!(third.secret.expose(), "two");
        assert_ne!(second.id, third.id);
        assert_eq!(ledger.standing.iter().map(|one| *one.key()).collect::<Vec<_>>(), [third.id]);
    }

    #[test]
    fn what_was_forced_counts_for_as_long_as_it_takes_to_be_forgotten() {
        assert_eq!(still_count(REFUSALS_AT_ONCE, Duration::ZERO), REFUSALS_AT_ONCE);
        assert_eq!(still_count(REFUSALS_AT_ONCE, REFUSAL_AGAIN), REFUSALS_AT_ONCE - 1);
        assert_eq!(still_count(1, Duration::from_secs(u64::MAX)), 0);
    }

    #[test]
    fn a_lease_is_due_a_little_before_its_time_and_not_always_as_much() {
        let now = SystemTime::now();
        let due = now + Duration::from_secs(800);
        let drawn: Vec<_> = (0..200).map(|_| spread(due, now)).collect();
        assert!(drawn.iter().all(|at| (now + Duration::from_secs(700)..=due).contains(at)));
        let (first, last) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(last.duration_since(*first).unwrap() > Duration::from_secs(50));
        assert_eq!(spread(now, due), now, "what is due already is due now");
    }
}
