//! A request's body that streams, watched for placeholders on its way.
//!
//! Enters: the body as the client sends it. Leaves: the same, counted, each piece once it has been looked through. Never: a piece that was not; one
//! behind what must not pass.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::body::Upload;
use super::coded::CodedWatch;
use super::kept::Kept;
use crate::error::Refusal;
use crate::request::Behind;
use crate::upstream::{Body, BoxError};

pub(super) struct Watched {
    body: Body,
    /// Until the body has ended.
    watch: Option<CodedWatch>,
    /// What was fed to it last, or that there is no more, until it has looked through that.
    fed: Option<Option<Frame<Bytes>>>,
    behind: Behind,
    upload: Upload,
    kept: Kept,
}

impl Watched {
    pub(super) fn new(body: Body, (watch, behind): (CodedWatch, Behind), (upload, kept): (Upload, Kept)) -> Self {
        Self { body, watch: Some(watch), fed: None, behind, upload, kept }
    }

    /// Has the next frame looked through.
    fn poll_judged(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Refusal>> {
        if self.fed.is_none() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return self.poll_resting(cx);
            };
            let frame = frame.transpose().map_err(Refusal::of_body)?;
            if let (Some(bytes), Some(watch)) = (frame.as_ref().and_then(Frame::data_ref), &mut self.watch) {
                watch.feed(bytes)?;
            }
            self.fed = Some(frame);
        }
        if let Some(watch) = &mut self.watch {
            ready!(watch.poll_seen(cx))?;
        }
        let frame = self.fed.take().flatten();
        self.judge(frame.as_ref())?;
        Poll::Ready(Ok(frame))
    }

    /// Nothing comes for now, and its decoder may have to go meanwhile.
    fn poll_resting<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Refusal>> {
        if let Some(watch) = &mut self.watch {
            watch.rests(cx);
            ready!(watch.poll_seen(cx))?;
        }
        Poll::Pending
    }

    /// Judges a frame whose bytes were looked through.
    fn judge(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), Refusal> {
        if let (Some(bytes), Some(_)) = (frame.and_then(Frame::data_ref), &self.watch) {
            self.kept.text(bytes);
            self.upload.sent().bytes(bytes.len());
        }
        if let Some(trailers) = frame.and_then(Frame::trailers_ref) {
            self.behind.judge(trailers)?;
            // Nobody asks for more behind them.
            self.watch.take().map_or(Ok(()), CodedWatch::finish)?;
            self.kept.ends(Some(trailers));
        }
        // A body of known length is not asked for more than that: its end is looked at before its last piece goes.
        if frame.is_none() || self.body.is_end_stream() {
            self.watch.take().map_or(Ok(()), CodedWatch::finish)?;
            self.kept.ends(None);
        }
        Ok(())
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match ready!(self.poll_judged(cx)) {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(refusal) => {
                self.fed = None;
                Poll::Ready(Some(Err(self.upload.break_off(refusal))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.watch.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
