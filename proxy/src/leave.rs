//! The leave of a call under way, taken back when it no longer holds.
//!
//! Enters: a call, the policy that let it out, and the lease it carries. Leaves: the refusal, once a later policy would not let it
//! out, its lease is revoked, or its worker has stopped. Never: a stream or socket that outlives its leave by a second, whether its client
//! reads or not.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use broker::Lease;
use bytes::Bytes;
use config::Policy;
use http::Version;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use crate::error::Refusal;
use crate::memory::Wait;
use crate::seats::{Busy, Left, Seat};
use crate::serve::Worker;
use crate::turn::{self, Work};
use crate::upstream::BoxError;

/// Asks a policy once more.
type Judge = Arc<dyn Fn(&Policy) -> Result<(), Refusal> + Send + Sync>;

type Withdrawn = Pin<Box<dyn Future<Output = Refusal> + Send>>;

/// What a call under way stands on. Clones are of one call.
#[derive(Clone)]
pub(crate) struct Leave(Arc<Inner>);

struct Inner {
    worker: Arc<Worker>,
    judge: Judge,
    judged_by: Arc<Policy>,
    lease: Option<Arc<Lease>>,
    busy: Arc<Busy>,
    /// Once anybody has seen it: a request whose body broke off over it fails in other hands, in ways of their own.
    taken_back: OnceLock<Refusal>,
}

impl Leave {
    /// The leave that `judged_by` gave; while there is one, its connection is `busy`. `judge` asks a later policy the same, and whether it still grants the lease.
    pub fn new(
        worker: &Arc<Worker>,
        busy: Busy,
        judged_by: Arc<Policy>,
        lease: Option<Arc<Lease>>,
        judge: impl Fn(&Policy) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        let (judge, busy) = (Arc::new(judge), Arc::new(busy));
        let taken_back = OnceLock::new();
        Self(Arc::new(Inner { worker: Arc::clone(worker), judge, judged_by, lease, busy, taken_back }))
    }

    /// The same for the same call with another lease.
    pub fn over(&self, lease: Arc<Lease>) -> Self {
        let Inner { worker, judge, judged_by, busy, .. } = &*self.0;
        Self(Arc::new(Inner {
            worker: Arc::clone(worker),
            judge: Arc::clone(judge),
            judged_by: Arc::clone(judged_by),
            lease: Some(lease),
            busy: Arc::clone(busy),
            taken_back: OnceLock::new(),
        }))
    }

    /// Waits until it is taken back; for ever where it is not.
    pub async fn withdrawn(self) -> Refusal {
        let Inner { worker, lease, taken_back, .. } = &*self.0;
        let refusal = tokio::select! {
            biased;
            refusal = self.denied() => refusal,
            refusal = revoked(worker, lease.as_deref()) => refusal,
            () = stopped(worker.cut.subscribe()) => Refusal::Stopped,
        };
        taken_back.get_or_init(|| refusal).clone()
    }

    /// Why it was taken back, once anybody has seen it.
    pub fn taken_back(&self) -> Option<&Refusal> {
        self.0.taken_back.get()
    }

    /// Does `work` for as long as it is not taken back. It is pinned where it is: handed over, it would have its room twice.
    pub async fn during<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, Refusal> {
        let mut withdrawn = pin!(self.clone().withdrawn());
        poll_fn(|cx| {
            if !self.is_untouched()
                && let Poll::Ready(refusal) = withdrawn.as_mut().poll(cx)
            {
                return Poll::Ready(Err(refusal));
            }
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => withdrawn.as_mut().poll(cx).map(Err),
            }
        })
        .await
    }

    /// Why it was taken back, if that is why something went wrong; otherwise `other`.
    pub fn or<E: From<Refusal>>(&self, other: E) -> E {
        self.0.taken_back.get().cloned().map_or(other, E::from)
    }

    /// Whether nothing has happened that could have taken it back. Where something has, [`Leave::withdrawn`] says whether it did.
    fn is_untouched(&self) -> bool {
        let Inner { worker, judged_by, lease, .. } = &*self.0;
        let revoked = lease.as_ref().is_some_and(|lease| worker.broker.is_revoked(lease));
        !revoked && !*worker.cut.borrow() && worker.policy.is_current(judged_by)
    }

    /// Waits for a policy that would not let the call out.
    async fn denied(&self) -> Refusal {
        let Inner { worker, judge, judged_by, .. } = &*self.0;
        // Subscribed before it is looked at: a change in between is not missed.
        let mut changes = worker.policy_changes();
        let mut judged_by = Arc::clone(judged_by);
        loop {
            let current = worker.policy.current();
            if !Arc::ptr_eq(&current, &judged_by) {
                if let Err(refusal) = judge(&current) {
                    return refusal;
                }
                judged_by = current;
            }
            if changes.changed().await.is_err() {
                // No policy comes any more.
                return std::future::pending().await;
            }
        }
    }

    /// The same body, which breaks off when the leave is taken back.
    pub fn hold<B: http_body::Body>(self, body: B) -> Held<B> {
        Held { body, withdrawn: None, leave: self, over: false, offer: None }
    }

    /// The same of an answer that its client, which speaks this version, is to read from now on.
    pub fn offer<B: http_body::Body>(self, body: B, version: Version) -> Held<B> {
        let Inner { worker, busy, .. } = &*self.0;
        let offer = (!body.is_end_stream()).then(|| {
            let stream = if version == Version::HTTP_2 { Work::under_way() } else { None };
            worker.memory.offer(busy.seat(), Offer { leave: self.clone(), stream })
        });
        Held { offer, ..self.hold(body) }
    }
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leave(..)")
    }
}

/// An answer that waits for its client.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    leave: Leave,
    /// What carries it, where its connection carries others.
    stream: Option<Work>,
}

impl Offer {
    /// Ends it if its leave was taken back.
    fn judge(&self, seat: &Seat) {
        let mut withdrawn = pin!(self.leave.clone().withdrawn());
        if self.leave.is_untouched() || withdrawn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return;
        }
        match &self.stream {
            Some(stream) => stream.end(),
            None => seat.end(Left::Withdrawn),
        }
    }
}

/// Whoever reads hears by then that the leave of an answer was taken back.
const HEARD: Duration = Duration::from_millis(100);

/// Ends the answers that nobody reads when their leave is taken back. Who does not read asks for nothing more, and is not told so by the answer itself.
pub(crate) async fn unread(worker: Arc<Worker>) {
    let (mut policy, mut broker, mut cut) = (worker.policy_changes(), worker.broker.takings(), worker.cut.subscribe());
    loop {
        tokio::select! {
            _ = policy.changed() => {}
            () = broker.next() => {}
            _ = cut.changed() => {}
        }
        tokio::time::sleep(HEARD).await;
        worker.memory.unread().iter().for_each(|(offer, seat)| offer.judge(seat));
    }
}

/// Waits until the lease is revoked, or nobody is left who would say so.
async fn revoked(worker: &Worker, lease: Option<&Lease>) -> Refusal {
    match lease {
        None => std::future::pending().await,
        Some(lease) => {
            worker.broker.revoked(lease).await;
            Refusal::Revoked(lease.credential.clone())
        }
    }
}

/// What is nearly done at the stop may finish; its client is gone by then, or soon will be.
async fn stopped(mut cut: watch::Receiver<bool>) {
    let _ = cut.wait_for(|cut| *cut).await;
}

/// The last piece of an answer.
struct Last {
    bytes: Bytes,
    _offer: Wait,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body with its leave.
pub(crate) struct Held<B> {
    body: B,
    /// From the first wait on.
    withdrawn: Option<Withdrawn>,
    leave: Leave,
    /// Whether it was taken back, and that has been said.
    over: bool,
    /// None where there is nothing for a client to read.
    offer: Option<Wait>,
}

impl<B> Held<B> {
    /// Looks whether the leave was taken back, and has whoever polls woken when it is.
    fn poll_withdrawn(&mut self, cx: &mut Context<'_>) -> Poll<Refusal> {
        if self.over {
            return Poll::Pending;
        }
        let leave = &self.leave;
        let withdrawn = self.withdrawn.get_or_insert_with(|| Box::pin(leave.clone().withdrawn()));
        let refusal = ready!(withdrawn.as_mut().poll(cx));
        (self.withdrawn, self.over) = (None, true);
        Poll::Ready(refusal)
    }
}

impl<B> http_body::Body for Held<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.offer.iter().for_each(Wait::over);
        // Most answers are here whole, or go on at once: who need not wait needs nobody to wake them.
        if !self.leave.is_untouched()
            && let Poll::Ready(refusal) = self.poll_withdrawn(cx)
        {
            return Poll::Ready(Some(Err(refusal.into())));
        }
        // A body that comes as fast as it goes has no end of its own to its turn.
        ready!(turn::poll_slice(cx));
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Poll::Ready(refusal) = self.poll_withdrawn(cx)
        {
            return Poll::Ready(Some(Err(refusal.into())));
        }
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.offer.iter().for_each(Wait::again);
        }
        let last = if self.body.is_end_stream() { self.offer.take() } else { None };
        let frame = match last {
            // Nobody asks for more behind it: it is on offer for as long as it is held.
            Some(offer) => {
                frame.map_ok(|frame| frame.map_data(|bytes| Bytes::from_owner(Last { bytes, _offer: offer })))
            }
            None => frame,
        };
        frame.map_err(|error| self.leave.or(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
