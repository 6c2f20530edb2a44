//! The body of an answer, which carries the record of its call.
//!
//! Enters: the body as it comes. Leaves: the same; the end of the record, where that of the body is. Never: a body that stays silent without end; one
//! that is called done before its last byte has passed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::CallRecord;
use crate::error::Refusal;
use crate::limit;

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
            if outcome == "done" {
                record.once_sent();
            }
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use config::RoomSettings;
    use http_body_util::BodyExt;
    use record::{CallEnd, CallLog, Event};
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::record::{Account, Pace};
    use crate::upstream::BoxError;

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
        let account = Account::new(&Pace::new(&log, RoomSettings::default()), 1);
        CallRecord { account, started: Instant::now(), end, sent, scrubbed, stopped, upload: None, leave: None }
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

    /// The body of a request that goes on as often as it is told to.
    struct Rest(mpsc::Receiver<Bytes>);

    impl Body for Rest {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    /// A record behind an answer that is whole, of whose request more is to come: the rest, and what is told of it.
    struct Early {
        log: Arc<CallLog>,
        directory: tempfile::TempDir,
        feed: mpsc::Sender<Bytes>,
        body: crate::upstream::Body,
        sent: crate::record::Sent,
        withdraw: oneshot::Sender<Refusal>,
        alerts: Arc<AtomicUsize>,
    }

    fn early() -> Early {
        let directory = tempfile::tempdir().unwrap();
        let (feed, rest) = mpsc::channel(1);
        let (withdraw, withdrawn) = oneshot::channel();
        let alerts = Arc::new(AtomicUsize::new(0));
        let mut record = record(directory.path());
        let (log, sent, alerted) = (Arc::clone(record.account.log()), record.sent(), Arc::clone(&alerts));
        let withdrawn = async { withdrawn.await.unwrap_or_else(|_| panic!("nobody tells")) };
        let alert = Box::new(move |_: &Refusal| _ = alerted.fetch_add(1, Ordering::Relaxed));
        let body = record.share(Rest(rest).boxed_unsync(), withdrawn, alert);
        drop(Recorded::new(Announced(0), record));
        Early { log, directory, feed, body, sent, withdraw, alerts }
    }

    impl Early {
        /// Its end, once there is one.
        async fn end(&self) -> CallEnd {
            self.log.all_ended().await;
            let Event::CallEnd(end) = record::verified(self.directory.path()).unwrap().remove(0).event else {
                panic!("no end")
            };
            end
        }

        fn has_ended(&self) -> bool {
            !record::verified(self.directory.path()).unwrap().is_empty()
        }
    }

    #[tokio::test]
    async fn a_record_ends_when_both_the_answer_and_the_request_have() {
        let mut early = early();
        early.feed.send(Bytes::from_static(b"xyz")).await.unwrap();
        assert!(early.body.frame().await.unwrap().is_ok() && !early.has_ended());
        early.sent.bytes(3);
        let (feed, _) = mpsc::channel(1);
        early.feed = feed;
        assert!(early.body.frame().await.is_none());
        let end = early.end().await;
        assert_eq!((end.outcome.as_ref(), end.sent), ("done", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_silent_behind_its_answer_is_not_waited_for_without_end() {
        let mut early = early();
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            tokio::time::sleep(limit::BODY_IDLE * 3 / 4).await;
            early.sent.bytes(1);
        }
        let end = early.end().await;
        assert_eq!(end.outcome, "broken");
        let quarters = (begun.elapsed().as_secs_f64() * 4.0 / limit::BODY_IDLE.as_secs_f64()).round();
        assert!((13.0..=17.0).contains(&quarters), "{quarters}");
        early.feed.send(Bytes::from_static(b"x")).await.unwrap();
        assert!(early.body.frame().await.unwrap().is_err(), "and nothing of it goes upstream any more");
    }

    #[tokio::test]
    async fn a_request_whose_leave_is_taken_back_behind_its_answer_is_cut_off() {
        let mut early = early();
        let (other, _) = oneshot::channel();
        std::mem::replace(&mut early.withdraw, other).send(Refusal::Stopped).unwrap();
        assert_eq!(early.end().await.outcome, "cut");
        assert!(early.body.frame().await.unwrap().is_err());
        assert!(early.body.frame().await.is_none());
    }

    #[tokio::test]
    async fn what_breaks_a_request_off_is_why_it_ended_and_that_its_client_did_is_not() {
        let misdirected = || {
            let credential = "api".parse().unwrap();
            let (place, why) = (crate::swap::Place::Body, crate::swap::Why::Destination);
            Refusal::Misdirected(crate::swap::Misdirected { credential, place, why })
        };
        for (refusal, outcome, alerts) in
            [(misdirected(), "refused", 1), (Refusal::Malformed("x".to_owned()), "done", 0)]
        {
            let mut early = early();
            early.sent.break_off(refusal);
            let (feed, _) = mpsc::channel(1);
            early.feed = feed;
            assert!(early.body.frame().await.is_none());
            assert_eq!((early.end().await.outcome.as_ref(), early.alerts.load(Ordering::Relaxed)), (outcome, alerts));
        }
    }
}
