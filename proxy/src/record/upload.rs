//! The body of a request that streams, which has a part in the record of its call.
//!
//! Enters: the body as it goes upstream, and when the answer is over. Leaves: the same body, and word of its end; of one that was broken off, at once
//! where that is an alert. Never: a byte of it behind the end of the record; an answer that is done and an upload that is forgotten: that goes on
//! for as long as it moves, has its leave, and somebody takes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::Sent;
use crate::error::Refusal;
use crate::limit;
use crate::upstream::BoxError;

/// What comes first of its end and the reasons for one.
pub(super) enum Over {
    /// There is no more of it, for whatever reason.
    Ended,
    /// Its leave was taken back.
    Withdrawn(Refusal),
    /// None of it has moved for too long.
    Silent,
}

/// The record's end of it. The rest of the body does not go upstream once this is dropped.
pub(super) struct Upload {
    over: oneshot::Receiver<()>,
    withdrawn: Pin<Box<dyn Future<Output = Refusal> + Send>>,
}

/// The body's end of it.
pub(super) struct Uploading<B> {
    body: B,
    /// Until it is over.
    record: Option<oneshot::Sender<()>>,
    sent: Sent,
    alert: Option<Alert>,
}

/// Tells of what turned out to be carried off.
pub(crate) type Alert = Box<dyn FnOnce(&Refusal) + Send>;

/// Both ends for `body`, of which `sent` is counted.
pub(super) fn share<B>(
    body: B,
    sent: Sent,
    withdrawn: impl Future<Output = Refusal> + Send + 'static,
    alert: Alert,
) -> (Upload, Uploading<B>) {
    let (record, over) = oneshot::channel();
    let uploading = Uploading { body, record: Some(record), sent, alert: Some(alert) };
    (Upload { over, withdrawn: Box::pin(withdrawn) }, uploading)
}

impl Upload {
    /// The same, if there is more of it.
    pub fn rest(mut self) -> Option<Self> {
        let goes_on = matches!(self.over.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        goes_on.then_some(self)
    }

    /// Waits for its end, or for a reason to end it.
    pub async fn over(&mut self, sent: &Sent) -> Over {
        loop {
            let before = sent.counted();
            tokio::select! {
                _ = &mut self.over => return Over::Ended,
                refusal = &mut self.withdrawn => return Over::Withdrawn(refusal),
                () = tokio::time::sleep(limit::BODY_IDLE) => {}
            }
            if sent.counted() == before {
                return Over::Silent;
            }
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upload(..)")
    }
}

impl<B> Uploading<B> {
    /// Nothing more comes.
    fn end(&mut self) {
        if let Some(refusal) = self.sent.broke_off().filter(|refusal| refusal.is_alert())
            && let Some(alert) = self.alert.take()
        {
            alert(refusal);
        }
        self.record = None;
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Uploading<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(record) = &mut self.record else { return Poll::Ready(None) };
        if record.poll_closed(cx).is_ready() {
            self.end();
            return Poll::Ready(Some(Err("its call is over".into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
