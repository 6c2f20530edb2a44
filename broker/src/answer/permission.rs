//! A lease that a person has to permit.
//!
//! Enters: a wish that the grants allow. Leaves: the lease, or for whom it waits, or who said no. Never: an issuer that is asked, or a lease
//! given out, without a permission that holds at that moment; a lease that outlives its permission by more than it takes to revoke it.

use std::sync::Arc;
use std::time::Duration;

use config::{CredentialName, WorkerId};
use jiff::Timestamp;
use tokio::time::sleep;

use super::{Connection, Refusal};
use crate::api::Ask;
use crate::approval::Gate;
use crate::issuer::Issuer;
use crate::worker::{Wish, Worker};

/// How long a permission may be over by the clock before that is noticed.
const LOOK: Duration = Duration::from_secs(30);
/// Why a lease ends before its time.
const OVER: &str = "its permission ran out";

impl Connection {
    /// The worker's lease of a credential, by permission; `wait` is how long a call waits for that.
    pub(super) async fn by_permission(
        &self,
        worker: &Worker,
        ask: &Ask,
        (issuer, scope): (&Arc<Issuer>, String),
        wait: Duration,
    ) -> Result<Wish, Refusal> {
        let (id, credential, desk) = (worker.holder.worker, &ask.credential, &self.broker.desk);
        let permitted = match self.gate(worker, ask)? {
            Gate::Open => {
                let broker = Arc::clone(&self.broker);
                let permits = {
                    let credential = credential.clone();
                    move || broker.desk.permits(id, &credential, Timestamp::now())
                };
                let wish = worker.lease(credential, issuer, scope, ask.refused, Some(Arc::new(permits))).await?;
                let Wish::Granted(lease) = wish else { return Ok(wish) };
                if let Some(end) = desk.lent(id, credential, lease.refresh) {
                    self.ends_at(end, id, credential);
                }
                // It may have ended meanwhile.
                Some(lease).filter(|_| desk.permits(id, credential, Timestamp::now()))
            }
            Gate::OneThatIsThere => {
                let lease = worker.has(credential);
                if lease.is_none() {
                    desk.withdraw(id, credential, Timestamp::now());
                }
                lease
            }
            gate => {
                // It came after its permission had ended.
                if worker.has(credential).is_some() {
                    self.broker.ledger.withdraw(id, credential, OVER);
                }
                return waiting(gate, wait);
            }
        };
        match permitted {
            Some(lease) => Ok(Wish::Granted(lease)),
            None => waiting(self.gate(worker, ask)?, wait),
        }
    }

    fn gate(&self, worker: &Worker, Ask { credential, destination, .. }: &Ask) -> Result<Gate, Refusal> {
        let holder = (worker.holder.worker, &worker.holder.agent);
        let gate = self.broker.desk.ask(holder, credential, destination, Timestamp::now());
        gate.map_err(|error| Refusal::Broken(error.to_string()))
    }

    /// Takes back what was had by a permission when that has come to its end, unless there is another by then.
    pub(super) fn ends_at(&self, end: Timestamp, worker: WorkerId, credential: &CredentialName) {
        let (broker, credential) = (Arc::downgrade(&self.broker), credential.clone());
        tokio::spawn(async move {
            while let Ok(left) = Duration::try_from(end.duration_since(Timestamp::now())) {
                if left.is_zero() {
                    break;
                }
                // A machine that slept does not count that.
                sleep(left.min(LOOK)).await;
            }
            if let Some(broker) = broker.upgrade()
                && !broker.desk.permits(worker, &credential, Timestamp::now())
            {
                broker.ledger.withdraw(worker, &credential, OVER);
            }
        });
    }
}

fn waiting(gate: Gate, wait: Duration) -> Result<Wish, Refusal> {
    match gate {
        Gate::Pending(id) => Ok(Wish::Awaits(id, wait)),
        Gate::Denied(why) => Err(Refusal::NotApproved(why)),
        Gate::Crowded => {
            Err(Refusal::Unavailable("too many requests of this worker wait for permission already".to_owned()))
        }
        Gate::Open | Gate::OneThatIsThere => Ok(Wish::Pending), // permitted in this moment: ask again
    }
}
