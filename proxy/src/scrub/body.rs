//! The body of an answer, scrubbed as it streams.
//!
//! Enters: the upstream's body. Leaves: its data decoded and scrubbed, then its trailers scrubbed. Never: more at once than
//! one buffer; a decoder without room for what it takes, or one that goes on beyond its turn; a wait for more where there is something to give; the rest
//! of a body whose coding is broken.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::ALT_SVC;
use http_body::{Body, Frame, SizeHint};

use super::BodyScrub;
use crate::coding::{Coding, Decoder, Decoders, NoRoom};
use crate::grpc::{Compressed, Messages};
use crate::turn;

/// What is decoded, or looked through, at once: a TLS record's worth.
const ROOM: usize = 16 * 1024;

/// A body without credentials.
#[derive(Debug)]
pub struct ScrubbedBody<B> {
    body: B,
    way: Way,
}

/// How it is sent on.
#[derive(Debug)]
enum Way {
    /// As it is.
    Unseen,
    /// This is all of it, whatever else comes: it was there at once, or there is to be none.
    Whole(Bytes),
    /// As it comes.
    Streams(Box<Work>),
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
    /// It was decoded no further.
    #[error(transparent)]
    Room(NoRoom),
    /// Nothing can be seen in it.
    #[error("the upstream's answer cannot be examined for credentials")]
    Message(#[source] Compressed),
    /// One is in it, and cannot be replaced.
    #[error("the upstream sent a credential in a message of gRPC or Connect, which does not enter the sandbox")]
    Credential,
}

/// The same without the upstream's own errors.
enum Broken {
    Coding(io::Error),
    Room(NoRoom),
    Message(Compressed),
    Credential,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Coding(error)
    }
}

impl From<NoRoom> for Broken {
    fn from(none: NoRoom) -> Self {
        Self::Room(none)
    }
}

impl From<Compressed> for Broken {
    fn from(compressed: Compressed) -> Self {
        Self::Message(compressed)
    }
}

struct Work {
    /// Few have one.
    decoding: Option<Box<(Decoder, Box<[u8]>)>>,
    /// What came without a coding, and is still to be looked through.
    plain: Bytes,
    scrub: BodyScrub,
    /// Of gRPC and Connect, whose messages end within the body.
    messages: Option<Messages>,
    /// How much of what the scrub holds is out, as a message ended with it.
    ahead: usize,
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
        let decoding = (coding != Coding::Identity).then(|| Box::new((Decoder::new(coding), vec![0; ROOM].into())));
        let work = Work { decoding, plain: Bytes::new(), scrub, messages, ahead: 0, stage: Stage::Open };
        Self { body, way: Way::Streams(Box::new(work)) }
    }

    /// Whether it has to be decoded.
    pub(crate) fn is_coded(&self) -> bool {
        matches!(&self.way, Way::Streams(work) if work.decoding.is_some())
    }

    /// Waits until there is room to decode it in, and takes it from there from now on.
    ///
    /// # Errors
    /// When there was none in time.
    pub(crate) async fn within(&mut self, decoders: &Arc<Decoders>) -> Result<(), NoRoom> {
        let Way::Streams(work) = &mut self.way else { return Ok(()) };
        let Some(decoding) = &mut work.decoding else { return Ok(()) };
        decoding.0.within(decoders);
        poll_fn(|cx| decoding.0.poll_turn(cx)).await
    }

    /// Scrubs a body of which `take` gives all, so that its length can be told with its head. Its body has nothing more then. One that has
    /// to be decoded, or has messages, is left as it is.
    pub fn settle(&mut self, take: impl FnOnce(&mut B) -> Option<Bytes>) {
        let Way::Streams(work) = &mut self.way else { return };
        let Work { decoding: None, scrub, messages: None, .. } = &mut **work else { return };
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
            Way::Unseen => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                return Poll::Ready(frame.map(|frame| frame.map(without_services).map_err(BodyError::Upstream)));
            }
            Way::Whole(all) => {
                let all = std::mem::take(all);
                return Poll::Ready((!all.is_empty()).then(|| Ok(Frame::data(all))));
            }
            Way::Streams(work) => work,
        };
        loop {
            match ready!(work.poll_piece(cx)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(work.broken(error)))),
            }
            match &mut work.stage {
                Stage::Open => {}
                Stage::Ended(trailers) => {
                    work.stage = Stage::Flushed(trailers.take());
                    match work.rest() {
                        Ok(rest) if rest.is_empty() => continue,
                        Ok(rest) => return Poll::Ready(Some(Ok(Frame::data(rest)))),
                        Err(error) => return Poll::Ready(Some(Err(work.broken(error)))),
                    }
                }
                Stage::Flushed(trailers) => {
                    return Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                work.decoding.iter().for_each(|decoding| decoding.0.rests(cx));
                return Poll::Pending;
            };
            match frame.transpose().map_err(BodyError::Upstream)?.map(Frame::into_data) {
                Some(Ok(chunk)) => work.feed(chunk),
                Some(Err(other)) => {
                    let mut trailers = without_services(other).into_trailers().unwrap_or_default();
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

/// What a head does not say here, trailers do not.
fn without_services(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        trailers.remove(ALT_SVC);
    }
    frame
}

impl Work {
    /// Takes a chunk, once there is nothing left of the one before.
    fn feed(&mut self, chunk: Bytes) {
        match &mut self.decoding {
            None => self.plain = chunk,
            Some(decoding) => decoding.0.feed(chunk),
        }
    }

    /// The next piece of what was fed, if there is one, in its turn.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if self.decoding.is_some() {
            return self.poll_decoded(cx);
        }
        while !self.plain.is_empty() {
            let piece = self.plain.split_to(self.plain.len().min(ROOM));
            let scrubbed = self.scrubbed(piece)?;
            if !scrubbed.is_empty() {
                return Poll::Ready(Ok(Some(scrubbed)));
            }
            ready!(turn::poll_slice(cx));
        }
        Poll::Ready(Ok(None))
    }

    /// What may be sent on of these bytes. A message says how long it is, so nothing in it can be replaced; and who waits for it gets
    /// all of it, though something that is looked for may go on behind its end.
    fn scrubbed(&mut self, data: Bytes) -> Result<Bytes, Broken> {
        let Some(messages) = &mut self.messages else { return Ok(self.scrub.push(data)) };
        let before = self.scrub.found();
        messages.push(&data)?;
        let clear = self.scrub.push(data);
        if self.scrub.found() > before {
            return Err(Broken::Credential);
        }
        let out = self.ahead.min(clear.len());
        self.ahead -= out;
        let clear = clear.slice(out..);
        if !messages.are_whole() {
            return Ok(clear);
        }
        let held = self.scrub.held().ok_or(Broken::Credential)?;
        let out = std::mem::replace(&mut self.ahead, held.len());
        Ok(if out == held.len() { clear } else { [&clear[..], &held[out..]].concat().into() })
    }

    /// What is left at the end.
    fn rest(&mut self) -> Result<Bytes, Broken> {
        if self.messages.is_none() {
            return Ok(self.scrub.finish());
        }
        let rest = self.scrub.held().ok_or(Broken::Credential)?;
        Ok(rest.slice(self.ahead..))
    }

    /// Nothing more comes.
    fn broken<E: Error>(&mut self, broken: Broken) -> BodyError<E> {
        (self.decoding, self.plain, self.stage) = (None, Bytes::new(), Stage::Flushed(None));
        match broken {
            Broken::Coding(error) => BodyError::Coding(error),
            Broken::Room(none) => BodyError::Room(none),
            Broken::Message(compressed) => BodyError::Message(compressed),
            Broken::Credential => BodyError::Credential,
        }
    }

    /// The same, once there is room to decode it in.
    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            let Some(decoding) = &mut self.decoding else { return Poll::Ready(Ok(None)) };
            let (decoder, room) = &mut **decoding;
            ready!(decoder.poll_room(cx))?;
            let data_has_ended = matches!(self.stage, Stage::Ended(_));
            let length = match decoder.read(room)? {
                0 if decoder.is_idle() && data_has_ended => decoder.finish(room)?,
                length => length,
            };
            if length == 0 && decoder.is_idle() {
                return Poll::Ready(Ok(None));
            }
            let data = Bytes::copy_from_slice(&room[..length]);
            let scrubbed = self.scrubbed(data)?;
            if !scrubbed.is_empty() {
                return Poll::Ready(Ok(Some(scrubbed)));
            }
            ready!(turn::poll_slice(cx));
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("scrub", &self.scrub).finish_non_exhaustive()
    }
}
