//! A request's body, examined for placeholders before it goes upstream.
//!
//! Enters: the body as the client sends it. Leaves: the same bytes, counted; a short one whole, a long one as it comes. Never: a
//! whole placeholder: in a body that streams, it ends the request before the piece that would complete it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::coded::CodedWatch;
use crate::error::Refusal;
use crate::swap::Swap;
use crate::upstream::{Body, BoxError};
use crate::{limit, request};

/// What was found in, and counted of, a body that streams on after its head was sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Examined {
    found: Arc<OnceLock<Refusal>>,
    sent: Arc<AtomicU64>,
}

impl Examined {
    /// Where the bytes of the body are counted.
    pub(super) fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// The refusal that broke the body off, if one did; otherwise `other`, which then was somebody else's doing.
    pub(super) fn or(&self, other: Refusal) -> Refusal {
        self.found.get().cloned().unwrap_or(other)
    }
}

/// Examines a short body whole; a long one, or one of unknown length, while it passes.
///
/// # Errors
/// [`Refusal::Misdirected`] for a placeholder, [`Refusal::UnexaminedBody`] where one could hide, [`Refusal::Malformed`] for a body
/// that does not come.
pub(super) async fn examine(body: Incoming, headers: &HeaderMap, swap: &Swap) -> Result<(Body, Examined), Refusal> {
    let examined = Examined::default();
    let mut watch = CodedWatch::new(headers, swap)?;
    if body.size_hint().upper().is_none_or(|length| length > limit::EXAMINED_BODY) {
        let watched = Watched { body, watch: Some(watch), swap: swap.clone(), examined: examined.clone() };
        return Ok((watched.boxed_unsync(), examined));
    }
    let whole = Limited::new(body, usize::try_from(limit::EXAMINED_BODY).unwrap_or(usize::MAX)).collect();
    let whole = match tokio::time::timeout(limit::EXAMINED_BODY_WAIT, whole).await {
        Ok(whole) => whole.map_err(|error| Refusal::Malformed(format!("the body broke off: {error}")))?,
        Err(_) => return Err(Refusal::Malformed("the body did not arrive in time".to_owned())),
    };
    if let Some(trailers) = whole.trailers() {
        request::trailers(trailers)?;
        swap.trailers(trailers)?;
    }
    let (trailers, bytes) = (whole.trailers().cloned(), whole.to_bytes());
    watch.push(&bytes)?;
    watch.finish()?;
    examined.sent.store(bytes.len() as u64, Ordering::Relaxed);
    let body = http_body_util::Full::new(bytes);
    let body = match trailers {
        None => body.map_err(|never| match never {}).boxed_unsync(),
        Some(trailers) => body
            .with_trailers(std::future::ready(Some(Ok(trailers))))
            .map_err(|never: std::convert::Infallible| match never {})
            .boxed_unsync(),
    };
    Ok((body, examined))
}

struct Watched {
    body: Incoming,
    /// Until the body has ended.
    watch: Option<CodedWatch>,
    swap: Swap,
    examined: Examined,
}

impl Watched {
    fn judge(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), Refusal> {
        if let (Some(bytes), Some(watch)) = (frame.and_then(Frame::data_ref), &mut self.watch) {
            watch.push(bytes)?;
            self.examined.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        if let Some(trailers) = frame.and_then(Frame::trailers_ref) {
            request::trailers(trailers)?;
            self.swap.trailers(trailers)?;
        }
        // A body of known length is not asked for more than that: its end is looked at before its last piece goes.
        if frame.is_none() || self.body.is_end_stream() {
            self.watch.take().map_or(Ok(()), CodedWatch::finish)?;
        }
        Ok(())
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose() {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        if let Err(refusal) = self.judge(frame.as_ref()) {
            // Only the first one counts; a second cannot come, the body ends here.
            let _ = self.examined.found.set(refusal.clone());
            return Poll::Ready(Some(Err(refusal.into())));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.watch.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
