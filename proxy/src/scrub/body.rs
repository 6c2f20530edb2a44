//! The body of an answer, scrubbed as it streams.
//!
//! Enters: the upstream's body. Leaves: its data decoded and scrubbed, then its trailers scrubbed. Never: more at once than
//! one buffer; a wait for more where there is something to give; the rest of a body whose coding is broken.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::BodyScrub;
use crate::coding::{Coding, Decoder};
use crate::grpc::{Compressed, Messages};

/// What is decoded at once: a TLS record's worth.
const ROOM: usize = 16 * 1024;

/// A body without credentials.
#[derive(Debug)]
pub struct ScrubbedBody<B> {
    body: B,
    way: Way,
}

/// How it is sent on.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most answers are looked through: a place of its own would be made for each"
)]
enum Way {
    /// As it is.
    Unseen,
    /// This is all of it, whatever else comes: it was there at once, or there is to be none.
    Whole(Bytes),
    /// As it comes.
    Streams(Work),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E: Error + 'static> {
    /// The upstream's body did.
    #[error("the upstream's body broke off")]
    Upstream(#[source] E),
    /// It is not what its `Content-Encoding` says.
    #[error("the upstream's body cannot be decoded, and so not be examined for credentials")]
    Coding(#[source] io::Error),
    /// Nothing can be seen in it.
    #[error("the upstream's answer cannot be examined for credentials")]
    Message(#[source] Compressed),
    /// One is in it, and cannot be replaced.
    #[error("the upstream sent a credential in a gRPC message, which does not enter the sandbox")]
    Credential,
}

/// The same without the upstream's own errors.
enum Broken {
    Coding(io::Error),
    Message(Compressed),
    Credential,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Coding(error)
    }
}

impl From<Compressed> for Broken {
    fn from(compressed: Compressed) -> Self {
        Self::Message(compressed)
    }
}

struct Work {
    decoder: Option<(Decoder, Box<[u8]>)>,
    scrub: BodyScrub,
    /// Of gRPC, whose messages end within the body.
    messages: Option<Messages>,
    stage: Stage,
}

enum Stage {
    Open,
    /// The data has ended; these are left.
    Ended(Option<HeaderMap>),
    /// All is out but these.
    Flushed(Option<HeaderMap>),
}

impl<B> ScrubbedBody<B> {
    /// One that passes as it is.
    pub(super) fn unseen(body: B) -> Self {
        Self { body, way: Way::Unseen }
    }

    /// None, though the upstream may send one.
    pub(super) fn none(body: B) -> Self {
        Self { body, way: Way::Whole(Bytes::new()) }
    }

    /// One that is looked through.
    pub(super) fn scrubbed(body: B, coding: Coding, scrub: BodyScrub, messages: Option<Messages>) -> Self {
        let decoder = (coding != Coding::Identity).then(|| (Decoder::new(coding), vec![0; ROOM].into()));
        Self { body, way: Way::Streams(Work { decoder, scrub, messages, stage: Stage::Open }) }
    }

    /// Scrubs a body of which `take` gives all, so that its length can be told with its head. Its body has nothing more then. One that has
    /// to be decoded, or has messages, is left as it is.
    pub fn settle(&mut self, take: impl FnOnce(&mut B) -> Option<Bytes>) {
        let Way::Streams(work) = &mut self.way else { return };
        let Work { decoder: None, scrub, messages: None, .. } = work else { return };
        if let Some(all) = take(&mut self.body) {
            self.way = Way::Whole(scrub.last(all));
        }
    }
}

impl<B> Body for ScrubbedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Error + 'static,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, way } = self.get_mut();
        let work = match way {
            Way::Unseen => return Pin::new(body).poll_frame(cx).map_err(BodyError::Upstream),
            Way::Whole(all) => {
                let all = std::mem::take(all);
                return Poll::Ready((!all.is_empty()).then(|| Ok(Frame::data(all))));
            }
            Way::Streams(work) => work,
        };
        loop {
            match work.decoded() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(work.broken(error)))),
            }
            match &mut work.stage {
                Stage::Open => {}
                Stage::Ended(trailers) => {
                    work.stage = Stage::Flushed(trailers.take());
                    let rest = work.scrub.finish();
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    continue;
                }
                Stage::Flushed(trailers) => {
                    return Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx))
                .transpose()
                .map_err(BodyError::Upstream)?
                .map(Frame::into_data)
            {
                Some(Ok(chunk)) => {
                    let scrubbed = match work.feed(chunk) {
                        Ok(scrubbed) => scrubbed,
                        Err(error) => return Poll::Ready(Some(Err(work.broken(error)))),
                    };
                    if !scrubbed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(scrubbed))));
                    }
                }
                Some(Err(other)) => {
                    let mut trailers = other.into_trailers().unwrap_or_default();
                    work.scrub.trailers(&mut trailers);
                    work.stage = Stage::Ended(Some(trailers));
                }
                None => work.stage = Stage::Ended(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.way {
            Way::Unseen => self.body.is_end_stream(),
            Way::Whole(all) => all.is_empty(),
            Way::Streams(work) => matches!(work.stage, Stage::Flushed(None)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.way {
            Way::Unseen => self.body.size_hint(),
            Way::Whole(all) => SizeHint::with_exact(all.len() as u64),
            Way::Streams(_) => SizeHint::default(),
        }
    }
}

impl Work {
    /// Takes a chunk: to the decoder, which gives it in pieces, or straight through the scrub.
    fn feed(&mut self, chunk: Bytes) -> Result<Bytes, Broken> {
        match &mut self.decoder {
            None => self.scrubbed(chunk),
            Some((decoder, _)) => {
                decoder.feed(chunk);
                Ok(Bytes::new())
            }
        }
    }

    /// What may be sent on of these bytes. A gRPC message says how long it is, so nothing in it can be replaced; and who waits for
    /// it gets all of it, for no credential goes on behind its end.
    fn scrubbed(&mut self, data: Bytes) -> Result<Bytes, Broken> {
        let Some(messages) = &mut self.messages else { return Ok(self.scrub.push(data)) };
        let before = self.scrub.found();
        messages.push(&data)?;
        let mut clear = self.scrub.push(data);
        if messages.are_whole() {
            let held = self.scrub.finish();
            if !held.is_empty() {
                clear = [clear, held].concat().into();
            }
        }
        if self.scrub.found() > before { Err(Broken::Credential) } else { Ok(clear) }
    }

    /// Nothing more comes.
    fn broken<E: Error>(&mut self, broken: Broken) -> BodyError<E> {
        (self.decoder, self.stage) = (None, Stage::Flushed(None));
        match broken {
            Broken::Coding(error) => BodyError::Coding(error),
            Broken::Message(compressed) => BodyError::Message(compressed),
            Broken::Credential => BodyError::Credential,
        }
    }

    /// The next piece of what was fed, if there is one.
    fn decoded(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let Some((decoder, room)) = &mut self.decoder else { return Ok(None) };
            let length = match (decoder.read(room)?, &self.stage) {
                (0, Stage::Ended(_)) => decoder.finish(room)?,
                (length, _) => length,
            };
            if length == 0 {
                return Ok(None);
            }
            let data = Bytes::copy_from_slice(&room[..length]);
            let scrubbed = self.scrubbed(data)?;
            if !scrubbed.is_empty() {
                return Ok(Some(scrubbed));
            }
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("scrub", &self.scrub).finish_non_exhaustive()
    }
}
