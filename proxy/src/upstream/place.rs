//! A call's place on a connection over HTTP/2 that it shares with others, and how it leaves it.
//!
//! Enters: a call as it goes out, what comes of it, or that nobody waits for it any more. Leaves: its reset, at a pace that upstreams bear: many end
//! a connection, with everybody's calls, over calls that are taken back before they were begun (CVE-2023-44487). Never: a call that goes out after it
//! was taken back; more than a few resets of what the upstream may not have seen; a reset that waits for longer than a bound.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::{Body, BoxError};
use crate::limit;

/// All places on one connection.
#[derive(Debug)]
pub(super) struct Places {
    room: Arc<Semaphore>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    /// How many have gone out. Each has its number, in that order.
    sent: u64,
    /// The last that the upstream has shown to have seen, and so all before it.
    seen: u64,
    /// Those that were taken back unseen.
    early: Vec<(u64, Instant)>,
    /// All that were taken back.
    resets: usize,
}

/// Leave for one more call.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Places>,
    permit: OwnedSemaphorePermit,
}

/// The place of a call that has gone out.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
    number: u64,
    sent: Instant,
    /// Whether the connection has it. Until then it can be taken back without a word.
    begun: AtomicBool,
    /// Until when its reset waits, once it is taken back.
    reset: OnceLock<Instant>,
}

impl Places {
    pub(super) fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(limit::UPSTREAM_STREAMS as usize));
        Arc::new(Self { room, calls: Mutex::default() })
    }

    pub(super) fn room(self: &Arc<Self>) -> Option<Room> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Room { places: Arc::clone(self), permit })
    }

    pub(super) fn is_busy(&self) -> bool {
        self.room.available_permits() < limit::UPSTREAM_STREAMS as usize
    }

    /// Whether so many calls were taken back that further ones are better off elsewhere.
    pub(super) fn is_worn(&self) -> bool {
        self.calls().resets >= limit::LINK_RESETS
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// A call goes out, as `send` does it.
    pub(super) fn begin<T>(self, send: impl FnOnce(&Arc<Place>) -> T) -> (T, Arc<Place>) {
        let Self { places, permit } = self;
        // Nobody else sends in between: the numbers are in the order of what is sent.
        let mut calls = places.calls();
        calls.sent += 1;
        let place = Arc::new(Place {
            places: Arc::clone(&places),
            _permit: permit,
            number: calls.sent,
            sent: Instant::now(),
            begun: AtomicBool::new(false),
            reset: OnceLock::new(),
        });
        let sent = send(&place);
        drop(calls);
        (sent, place)
    }
}

impl Place {
    /// The head of its answer has come.
    pub(super) fn answered(&self) {
        let mut calls = self.places.calls();
        calls.seen = calls.seen.max(self.number);
    }

    /// Nobody waits for the rest of its answer.
    pub(super) fn left(&self) {
        self.reset();
    }

    /// Takes it back: when it may be reset.
    fn reset(&self) -> Instant {
        *self.reset.get_or_init(|| {
            let mut calls = self.places.calls();
            let Calls { seen, early, resets, .. } = &mut *calls;
            let (now, by) = (Instant::now(), self.sent + limit::RESET_WAIT);
            *resets += 1;
            early.retain(|(number, by)| number > seen && *by > now);
            if self.number <= *seen {
                return now;
            }
            if early.len() >= limit::EARLY_RESETS {
                return by;
            }
            early.push((self.number, by));
            now
        })
    }
}

/// A call whose answer is waited for: `sent` ends with it, and resets the call where it is dropped.
pub(super) struct Awaited<F: Future + Send + 'static> {
    sent: Option<Pin<Box<F>>>,
    place: Arc<Place>,
}

impl<F: Future + Send + 'static> Awaited<F> {
    pub(super) fn new(sent: F, place: Arc<Place>) -> Self {
        Self { sent: Some(Box::pin(sent)), place }
    }
}

impl<F: Future + Send + 'static> Future for Awaited<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(sent) = &mut self.sent else { return Poll::Pending };
        let answer = ready!(sent.as_mut().poll(cx));
        self.sent = None;
        Poll::Ready(answer)
    }
}

impl<F: Future + Send + 'static> Drop for Awaited<F> {
    fn drop(&mut self) {
        let Some(sent) = self.sent.take() else { return };
        if !self.place.begun.load(Ordering::Relaxed) {
            return;
        }
        let by = self.place.reset();
        if by > Instant::now()
            && let Ok(runtime) = Handle::try_current()
        {
            let place = Arc::clone(&self.place);
            runtime.spawn(async move {
                // An answer that comes by then has been seen by nobody but us: with it, its body is let go of.
                if tokio::time::timeout_at(by, sent).await.is_ok() {
                    place.answered();
                }
            });
        }
    }
}

/// The body of a call on such a connection.
#[derive(Debug)]
pub(super) struct Going {
    body: Body,
    place: Arc<Place>,
    /// What went wrong in it, until that may be told: the call is reset for it.
    failed: Option<(Option<BoxError>, Pin<Box<Sleep>>)>,
}

impl Going {
    pub(super) fn new(body: Body, place: &Arc<Place>) -> Self {
        Self { body, place: Arc::clone(place), failed: None }
    }

    /// The same on no connection.
    pub(super) fn stays(mut self) -> Body {
        std::mem::take(&mut self.body)
    }
}

/// The connection takes a call before it looks into its body, or lets go of one that has nothing.
impl Drop for Going {
    fn drop(&mut self) {
        self.place.begun.store(true, Ordering::Relaxed);
    }
}

impl http_body::Body for Going {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, place, failed } = &mut *self;
        place.begun.store(true, Ordering::Relaxed);
        if failed.is_none() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Err(error)) => {
                    *failed = Some((Some(error), Box::pin(tokio::time::sleep_until(place.reset()))));
                }
                frame => return Poll::Ready(frame),
            }
        }
        let Some((error, wait)) = failed else { return Poll::Ready(None) };
        ready!(wait.as_mut().poll(cx));
        Poll::Ready(error.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
