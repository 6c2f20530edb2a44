//! The call log: what happened in one worker, outside the sandbox, written before it matters.
//!
//! Enters: a permitted call, or a refusal. Leaves: its start, before the first byte goes upstream, and its end, by a guard
//! that writes even when the client goes away. Never: a call that is not in the log, nor two ends for one start.

mod before;
mod query;
mod seal;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use broker::LeaseId;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;

pub(crate) use self::before::Before;
pub(crate) use self::query::redact_query;
pub use self::seal::{NotSealed, Seal};
use crate::error::Refusal;
use crate::limit;
use crate::turn;
use crate::upstream::Reached;
use record::{CallEnd, CallLog, CallRetried, CallStart, Event, LogError, Retried, TlsLeg, TunnelStart};

/// What goes upstream behind the head of a call, counted as it goes.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<(AtomicU64, AtomicU64)>);

impl Sent {
    /// So many more bytes.
    pub fn bytes(&self, more: usize) {
        self.0.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Whether any has.
    pub fn has_swapped(&self) -> bool {
        self.0.1.load(Ordering::Relaxed) > 0
    }

    /// So many more placeholders became the credential.
    pub fn swapped(&self, more: usize) {
        self.0.1.fetch_add(more as u64, Ordering::Relaxed);
    }
}

/// A call under way. Dropping it writes its end.
#[derive(Debug)]
pub struct CallRecord {
    log: Arc<CallLog>,
    started: Instant,
    end: CallEnd,
    sent: Sent,
    scrubbed: Arc<AtomicU64>,
    stopped: Arc<OnceLock<String>>,
}

impl CallRecord {
    /// Notes the start. The kernel has the line before anything is written to an upstream, by whomever (`gathered`), or a connection to one is
    /// made; at the end of the turn at the latest. `sent` counts the request's body.
    ///
    /// # Errors
    /// [`Refusal::LogUnavailable`]: the call must not be made.
    pub fn start(log: &Arc<CallLog>, start: CallStart, sent: Sent) -> Result<Self, Refusal> {
        Self::begin(log, start.call, Event::CallStart(start), sent, note)
    }

    /// Writes the start of a connection that is carried unread. When this returns, the kernel has the line.
    ///
    /// # Errors
    /// As [`CallRecord::start`].
    pub fn start_tunnel(log: &Arc<CallLog>, start: TunnelStart, sent: Sent) -> Result<Self, Refusal> {
        Self::begin(log, start.call, Event::TunnelStart(start), sent, CallLog::append)
    }

    fn begin(log: &Arc<CallLog>, call: u64, start: Event, sent: Sent, add: Add) -> Result<Self, Refusal> {
        let end = CallEnd { call, outcome: "abandoned".into(), ..CallEnd::default() };
        add(log, Timestamp::now(), start).map_err(|error| Refusal::LogUnavailable(error.to_string()))?;
        log.opened();
        Ok(Self {
            log: Arc::clone(log),
            started: Instant::now(),
            end,
            sent,
            scrubbed: Arc::default(),
            stopped: Arc::default(),
        })
    }

    /// Where what goes upstream is counted.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Where the scrubber counts what it replaced.
    pub fn scrubbed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.scrubbed)
    }

    /// Where it is said why an answer that ends well for its client was stopped.
    pub fn stopped(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.stopped)
    }

    /// The call is about to be sent once more, with another lease. When this returns, the kernel has the line.
    ///
    /// # Errors
    /// As [`CallRecord::start`].
    pub fn retried(&mut self, refused: LeaseId, lease: LeaseId) -> Result<(), Refusal> {
        let retried = Retried { refused: refused.to_string(), lease: lease.to_string() };
        let event = Event::CallRetried(CallRetried { call: self.end.call, retried: retried.clone() });
        self.log.append(Timestamp::now(), event).map_err(|error| Refusal::LogUnavailable(error.to_string()))?;
        self.end.retried = Some(retried);
        Ok(())
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, status: u16, reached: &Reached, upstream_tls: Option<Arc<TlsLeg>>) {
        self.end.status = Some(status);
        self.end.head_ms = Some(milliseconds(self.started.elapsed()));
        self.dialled(reached);
        self.end.upstream_tls = upstream_tls;
    }

    /// There is a connection.
    pub fn dialled(&mut self, reached: &Reached) {
        self.end.address = Some(Arc::clone(&reached.address));
        self.end.proxy.clone_from(&reached.proxy);
    }

    /// exeat gave the answer; nothing went upstream.
    pub fn answered_here(mut self, status: u16, how: String) {
        self.end.status = Some(status);
        self.finish("answered-here", Some(how));
    }

    /// A tunnel could not be opened.
    pub fn not_opened(mut self, reason: String) {
        self.finish("refused", Some(reason));
    }

    /// The call went wrong on its way; its end says why.
    pub fn refused(mut self, status: u16, refusal: &Refusal) {
        self.end.status = Some(status);
        self.end.forbidden = refusal.forbidden();
        self.finish("refused", Some(refusal.to_string()));
    }

    /// The call ended as it should.
    pub fn done(mut self) {
        self.finish("done", None);
    }

    /// The answer broke off.
    pub fn broken(mut self, reason: String) {
        self.finish("broken", Some(reason));
    }

    /// The call was cut off: its leave was taken back.
    pub fn cut(mut self, reason: String) {
        self.finish("cut", Some(reason));
    }

    /// So many more bytes went to the client.
    pub fn received(&mut self, bytes: u64) {
        self.end.received += bytes;
    }

    fn finish(&mut self, outcome: &'static str, reason: Option<String>) {
        self.end.outcome = outcome.into();
        self.end.reason = reason;
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.end.sent = self.sent.0.0.load(Ordering::Relaxed);
        self.end.swapped = self.sent.0.1.load(Ordering::Relaxed);
        self.end.scrubbed = self.scrubbed.load(Ordering::Relaxed);
        self.end.total_ms = milliseconds(self.started.elapsed());
        if let Some(reason) = self.stopped.get().cloned() {
            self.finish("refused", Some(reason));
        }
        let (call, end) = (self.end.call, std::mem::take(&mut self.end));
        // A log that fails here fails for the next call's start too, and that call is refused.
        if let Err(error) = note(&self.log, Timestamp::now(), Event::CallEnd(end)) {
            tracing::error!(call, %error, "the end of a call is not in the log");
        }
        self.log.closed();
    }
}

/// How a line gets into the log.
type Add = fn(&CallLog, Timestamp, Event) -> Result<(), LogError>;

/// In a turn, at whose end all that was noted is written, a line is only noted: many calls of one turn share a write.
fn note(log: &CallLog, time: Timestamp, event: Event) -> Result<(), LogError> {
    if turn::under_way().is_some() { log.note(time, event) } else { log.append(time, event) }
}

/// As the log has them.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// An answer's body which carries the record of its call to the end, bounded in how long it may stay silent.
#[derive(Debug)]
pub struct Recorded<B> {
    body: B,
    record: Option<CallRecord>,
    /// From the first wait on.
    idle: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Whether a frame has come since that was set.
    came: bool,
}

impl<B: Body> Recorded<B> {
    /// Ties `record` to `body`.
    pub fn new(body: B, record: CallRecord) -> Self {
        let mut recorded = Self { body, record: Some(record), idle: None, came: false };
        recorded.end_if_whole();
        recorded
    }

    /// A client that has all the bytes it was told of asks for no more, so the end of such a body is never heard.
    fn end_if_whole(&mut self) {
        if self.body.is_end_stream() || self.body.size_hint().exact() == Some(0) {
            self.end("done", None);
        }
    }

    /// Waits until nothing has come for too long. Of an answer that is never waited for no clock has to know.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let came = std::mem::take(&mut self.came);
        let idle = match &mut self.idle {
            None => self.idle.insert(Box::pin(tokio::time::sleep(limit::BODY_IDLE))),
            Some(idle) => {
                if came {
                    idle.as_mut().reset(tokio::time::Instant::now() + limit::BODY_IDLE);
                }
                idle
            }
        };
        idle.as_mut().poll(cx)
    }

    fn end(&mut self, outcome: &'static str, reason: Option<String>) {
        if let Some(mut record) = self.record.take() {
            record.finish(outcome, reason);
        }
    }
}

impl<B> Body for Recorded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_idle(cx));
            let silent = format!("no byte for {} s", limit::BODY_IDLE.as_secs());
            self.end("broken", Some(silent.clone()));
            return Poll::Ready(Some(Err(silent.into())));
        };
        self.came = true;
        match frame {
            Some(Ok(frame)) => {
                if let (Some(record), Some(bytes)) = (&mut self.record, frame.data_ref()) {
                    record.received(bytes.len() as u64);
                }
                self.end_if_whole();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let error = error.into();
                self.end(if error.is::<Refusal>() { "cut" } else { "broken" }, Some(error.to_string()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.end("done", None);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use http_body_util::BodyExt;

    use super::*;

    /// Three bytes, as announced; that these were all is never said.
    struct Announced(u64);

    impl Body for Announced {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            if self.0 == 0 {
                return Poll::Pending;
            }
            self.0 -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    fn record(directory: &std::path::Path) -> CallRecord {
        let log = Arc::new(CallLog::create(directory).unwrap());
        let end = CallEnd { outcome: "abandoned".into(), ..CallEnd::default() };
        let (sent, scrubbed, stopped) = Default::default();
        log.opened();
        CallRecord { log, started: Instant::now(), end, sent, scrubbed, stopped }
    }

    async fn outcome_after(frames: u64) -> Cow<'static, str> {
        let directory = tempfile::tempdir().unwrap();
        let mut body = Recorded::new(Announced(3), record(directory.path()));
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let Event::CallEnd(end) = record::verified(directory.path()).unwrap().remove(0).event else { panic!("no end") };
        end.outcome
    }

    #[tokio::test]
    async fn an_answer_is_done_when_all_that_was_announced_has_passed_and_not_before() {
        assert_eq!(outcome_after(2).await, "abandoned");
        assert_eq!(outcome_after(3).await, "done");
    }

    /// Bytes that come each so long after the one before, and then nothing.
    struct Slow(Vec<Pin<Box<tokio::time::Sleep>>>);

    impl Body for Slow {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            let Some(next) = self.0.last_mut() else { return Poll::Pending };
            ready!(next.as_mut().poll(cx));
            self.0.pop();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_breaks_off_when_it_was_silent_for_too_long_since_its_last_byte() {
        let directory = tempfile::tempdir().unwrap();
        let begun = tokio::time::Instant::now();
        let at = |quarters: u32| Box::pin(tokio::time::sleep_until(begun + limit::BODY_IDLE * quarters / 4));
        let mut body = Recorded::new(Slow(vec![at(6), at(3), at(0)]), record(directory.path()));
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        assert!(body.frame().await.unwrap().is_err());
        let quarters = (begun.elapsed().as_secs_f64() * 4.0 / limit::BODY_IDLE.as_secs_f64()).round();
        assert!(quarters == 10.0, "{quarters}");
    }
}
