//! A request's body that streams, with the credential put in on its way.
//!
//! Enters: the body as the client sends it, and the credential as it is written there. Leaves: the body with the credential where a
//! placeholder stood; its length is no longer known. Never: more held back than what may be the beginning of a placeholder.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use zeroize::Zeroizing;

use super::body::Upload;
use super::kept::Kept;
use crate::error::Refusal;
use crate::request::{Behind, FormWatch};
use crate::swap::{BodySwap, Gapped};
use crate::upstream::{Body, BoxError};

pub(super) struct Swapped {
    body: Body,
    /// Until the body has ended.
    in_body: Option<BodySwap>,
    form: Option<Box<FormWatch>>,
    behind: Behind,
    spelt: Zeroizing<Vec<u8>>,
    /// The trailers, while the last piece goes before them.
    trailers: Option<Frame<Bytes>>,
    upload: Upload,
    kept: Kept,
}

impl Swapped {
    pub(super) fn new(
        body: Body,
        (in_body, form, behind): (BodySwap, Option<Box<FormWatch>>, Behind),
        spelt: Zeroizing<Vec<u8>>,
        (upload, kept): (Upload, Kept),
    ) -> Self {
        Self { body, in_body: Some(in_body), form, behind, spelt, trailers: None, upload, kept }
    }

    /// What becomes of the next frame, or of the end.
    fn judge(&mut self, frame: Option<Frame<Bytes>>) -> Result<Bytes, Refusal> {
        let Some(in_body) = &mut self.in_body else { return Ok(Bytes::new()) };
        let gapped = match frame {
            Some(frame) if frame.is_data() => {
                let bytes = frame.data_ref().map_or(&[][..], |data| data);
                self.form.as_mut().map_or(Ok(()), |form| form.push(bytes))?;
                in_body.push(bytes)?
            }
            end => {
                self.form.as_mut().map_or(Ok(()), |form| form.finish())?;
                let gapped = in_body.finish()?;
                if let Some(trailers) = end.as_ref().and_then(Frame::trailers_ref) {
                    self.behind.judge(trailers)?;
                    in_body.trailers(trailers)?;
                }
                (self.in_body, self.trailers) = (None, end);
                gapped
            }
        };
        self.kept.piece(&gapped);
        if self.in_body.is_none() {
            self.kept.ends(self.trailers.as_ref().and_then(Frame::trailers_ref));
        }
        Ok(self.filled(gapped))
    }

    fn filled(&self, gapped: Gapped) -> Bytes {
        self.upload.sent().swapped(gapped.gaps());
        let bytes = gapped.filled(&self.spelt);
        self.upload.sent().bytes(bytes.len());
        bytes
    }
}

impl http_body::Body for Swapped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.in_body.is_none() {
                return Poll::Ready(self.trailers.take().map(Ok));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose() {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Some(Err(self.upload.broken(error)))),
            };
            match self.judge(frame) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(refusal) => {
                    self.in_body = None;
                    return Poll::Ready(Some(Err(self.upload.break_off(refusal))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.in_body.is_none() && self.trailers.is_none()
    }
}
