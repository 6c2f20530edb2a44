//! A call that is sent, and sent once more where its upstream no longer takes the credential that it carries.
//!
//! Enters: a permitted call, and its request. Leaves: the answer. One that is 401 was not carried out (RFC 9110 section 15.5.2), so any
//! method may be sent again: once, with another lease, its body whole, the policy asked anew and its rate counted. Never: a second
//! request that is not in the log; one without another credential; a body of which a part is gone.

use std::pin::pin;
use std::sync::Arc;

use broker::Lease;
use config::{CallPermit, Policy};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;

use super::body::Upload;
use super::kept::Kept;
use super::outgoing;
use crate::connection::Connection;
use crate::error::Refusal;
use crate::leave::Leave;
use crate::record::CallRecord;
use crate::request::Call;
use crate::serve::Worker;
use crate::swap::Plan;
use crate::tool::Asked;
use crate::upstream::{Answer, Body, Caller};

/// A call on its way.
pub(super) struct Attempt<'a> {
    pub(super) worker: &'a Arc<Worker>,
    pub(super) connection: &'a Connection,
    pub(super) call: &'a Call,
    pub(super) permit: &'a CallPermit,
    /// By which it is permitted.
    pub(super) policy: &'a Arc<Policy>,
    /// Where the credential goes: in its head, its body, the messages of its WebSocket.
    pub(super) plans: &'a [Option<Plan>],
    /// Whether it asks for a WebSocket.
    pub(super) upgrade: bool,
    /// What it asks for where its rule looks into bodies.
    pub(super) asked: &'a Asked,
}

/// What a call that was refused was sent with.
pub(super) struct Attempted<'a> {
    /// What its upstream no longer takes.
    pub(super) lease: Arc<Lease>,
    /// Its body.
    pub(super) kept: &'a Kept,
    /// Where that is counted.
    pub(super) upload: &'a Upload,
}

impl Attempt<'_> {
    /// The request as it goes upstream.
    pub(super) fn request(&self, leave: &Leave, body: Body, lease: Option<&Lease>) -> Result<Request<Body>, Refusal> {
        let body = leave.clone().hold(body).boxed_unsync();
        let plan = self.plans.first().and_then(Option::as_ref);
        outgoing(self.worker, self.call, body, plan, lease, self.upgrade, self.asked)
    }

    /// Sends `request`, as long as the call has its leave.
    pub(super) async fn send(&self, leave: &Leave, request: Box<Request<Body>>) -> Result<Answer, Refusal> {
        let Self { worker, connection, call, permit, .. } = self;
        let send = pin!(async {
            let http2 = call.version == Version::HTTP_2;
            let Connection { offer, share, seat, .. } = connection;
            let caller = Caller { offer: *offer, http2, share, seat };
            if self.upgrade {
                // Few calls are sent so; the others need not have the room for it.
                Box::pin(worker.upstream.send_alone(permit, caller, request)).await
            } else {
                worker.upstream.send(permit, caller, request).await
            }
        });
        // Its body may have seen first that it was taken back, and the connection failed over that since this was asked.
        leave.during(send).await?.map_err(|refusal| leave.or(refusal))
    }

    /// Sends a call once more that was `answered`, if that is worth it; otherwise that is its answer. With it come the lease that it
    /// carries then, and its leave.
    pub(super) async fn again(
        &self,
        answered: Answer,
        with: Attempted<'_>,
        leave: Leave,
        record: &mut CallRecord,
    ) -> (Result<Answer, Refusal>, Leave, Option<Arc<Lease>>) {
        let Attempted { lease: refused, kept, upload } = with;
        // By another policy its way out may be another; its client may ask anew.
        let changed = !Arc::ptr_eq(&self.worker.policy.current(), self.policy);
        let over = changed || self.worker.goes_on().is_err();
        if answered.response.status() != StatusCode::UNAUTHORIZED || over {
            return (Ok(answered), leave, Some(refused));
        }
        let other = leave.during(pin!(self.other(&refused))).await;
        let other = match other {
            Ok(other) => other,
            Err(refusal) => return (Err(refusal), leave, Some(refused)),
        };
        // Also where it cannot be sent once more: the client may do that itself.
        let replay = other.and_then(|lease| self.replay(&lease, kept, upload).map(|body| (lease, body)));
        let Some((lease, body)) = replay else { return (Ok(answered), leave, Some(refused)) };
        let leave = leave.over(Arc::clone(&lease));
        // Nothing of the first answer is read: what of it has not come yet is not waited for.
        drop(answered);
        let request = self.request(&leave, body, Some(&lease));
        let request = request.and_then(|request| record.retried(refused.id, lease.id).map(|()| request));
        match request {
            Ok(request) => (self.send(&leave, Box::new(request)).await, leave, Some(lease)),
            Err(refusal) => (Err(refusal), leave, Some(lease)),
        }
    }

    /// Another lease than the one that was refused. From here on every answer is scrubbed of it, too.
    async fn other(&self, refused: &Lease) -> Option<Arc<Lease>> {
        let Self { worker, permit, .. } = self;
        if !worker.known.has_room() {
            tracing::warn!(credential = %refused.credential, "its upstream answers 401, and no other lease is asked for: too many are still good");
            return None;
        }
        let replaced = worker.broker.replace(&refused.credential, permit.destination(), refused.id).await;
        let lease = replaced.inspect_err(|error| tracing::debug!(%error, "no other lease")).ok().flatten()?;
        let placeholder = self.plans.iter().flatten().next()?.placeholder();
        worker.known.remember(&lease, lease.secret.expose(), placeholder.value()).ok()?;
        // Some issuers give the same again, for longer.
        Some(lease).filter(|lease| lease.secret.expose() != refused.secret.expose())
    }

    /// The body once more, where it is all there and the rate has room for it.
    fn replay(&self, lease: &Lease, kept: &Kept, upload: &Upload) -> Option<Body> {
        let Self { worker, permit, .. } = self;
        let admitted = kept.is_whole().then(|| worker.rates.admit(permit.counts_against(), permit.rate()));
        admitted?.ok().and_then(|()| kept.again(lease, upload))
    }
}
