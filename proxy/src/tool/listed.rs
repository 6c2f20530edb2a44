//! An answer that may have lists in it, cut down as it passes.
//!
//! Enters: the answer's head and its scrubbed body. Leaves: the same with the lists cut down, event by event where it is a
//! stream. Never: more kept than the bound; a length that is no longer true; a form of answer that a client may read and this
//! does not.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};

use super::answer::json_rpc;
use super::events::write_data;
use super::posted::essence;
use super::room::{Place, Room};
use super::{Events, Listing, Objection};
use crate::limit;
use crate::upstream::BoxError;

/// A body that is cut down.
pub(crate) struct Listed<B> {
    body: B,
    form: Form,
    _place: Place,
}

enum Form {
    /// One message, cut down; gone once it was passed on.
    Message(Option<Bytes>),
    Events(Box<Streamed>),
    /// The same, while a chunk of it is cut down.
    Cutting(Pin<Box<dyn Future<Output = CutChunk> + Send>>),
    /// What could not be read, and nobody was there to be told.
    Broken(String),
    /// The same, and those who waited were told.
    Told,
    /// Has nothing that a client would take for a list.
    Other,
}

/// The stream behind a chunk, what passes of that, and whether it could be read.
type CutChunk = (Box<Streamed>, Vec<u8>, Result<(), String>);

struct Streamed {
    listing: Listing,
    events: Events,
    stopped: Arc<OnceLock<String>>,
}

impl Listing {
    /// Cuts down the answer's body. Where an event of a stream cannot be read, those who wait for an answer are told, and the
    /// stream ends; `stopped` is where it is said why. Where nobody waits, it breaks.
    ///
    /// # Errors
    /// When the answer cannot be read.
    pub(crate) async fn over<B>(
        self,
        room: &Room,
        parts: &mut http::response::Parts,
        body: B,
        stopped: Arc<OnceLock<String>>,
    ) -> Result<Listed<B>, Objection>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let other = |body| Listed { body, form: Form::Other, _place: Place::default() };
        if body.is_end_stream() || parts.status == StatusCode::NO_CONTENT {
            return Ok(other(body));
        }
        let unasked = parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
        let essence = essence(&parts.headers).unwrap_or_default();
        if !matches!(essence.as_str(), "application/json" | "text/event-stream") {
            // SDKs look at how the type begins, or not at all where the call went well.
            let read = parts.headers.get_all(CONTENT_TYPE).iter().any(|value| {
                let value = value.as_bytes().to_ascii_lowercase();
                value.starts_with(b"application/json") || value.starts_with(b"text/event-stream")
            });
            if read || (parts.status.is_success() && parts.status != StatusCode::ACCEPTED) {
                return Err(self.objection("it comes neither as JSON nor as an event stream"));
            }
            return Ok(other(body));
        }
        if unasked {
            return Err(self.objection("it comes in a content coding, though none was asked for"));
        }
        let late = |_| self.objection(&format!("it was not whole within {} s", limit::LISTING_WAIT.as_secs()));
        let place = tokio::time::timeout(limit::LISTING_WAIT, room.listing()).await.map_err(late)?;
        parts.headers.remove(CONTENT_LENGTH);
        if essence == "text/event-stream" {
            let streamed = Box::new(Streamed { listing: self, events: Events::default(), stopped });
            return Ok(Listed { body, form: Form::Events(streamed), _place: place });
        }
        let mut body = body;
        let whole = Limited::new(&mut body, limit::LISTING).collect();
        let whole = tokio::time::timeout(limit::LISTING_WAIT, whole).await.map_err(late)?;
        let whole = whole.map_err(|error| {
            self.objection(&format!("it is longer than {} bytes, or broke off ({error})", limit::LISTING))
        })?;
        let whole = whole.to_bytes();
        let cut = if whole.is_empty() { Ok(None) } else { self.cut(&whole).await };
        let cut = cut.map_err(|what| self.objection(&what))?;
        Ok(Listed { body, form: Form::Message(Some(cut.map_or(whole, Bytes::from))), _place: place })
    }
}

impl Streamed {
    /// What comes of a chunk.
    async fn cut(mut self: Box<Self>, bytes: Bytes) -> CutChunk {
        let mut passed = Vec::new();
        let read = self.events.push(&bytes, &self.listing, &mut passed).await;
        (self, passed, read)
    }

    /// The end of a stream that cannot be read on.
    fn stop(self: Box<Self>, what: &str, passed: &mut Vec<u8>) -> Form {
        let objection = self.listing.objection(what);
        if objection.why.waiting.ids.is_empty() {
            return Form::Broken(objection.to_string());
        }
        let _ = self.stopped.set(objection.to_string());
        write_data(&json_rpc(&objection).to_string(), passed);
        passed.push(b'\n');
        Form::Told
    }
}

impl<B> Body for Listed<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match &mut self.form {
                Form::Message(message) => return Poll::Ready(message.take().map(|bytes| Ok(Frame::data(bytes)))),
                Form::Broken(what) => return Poll::Ready(Some(Err(std::mem::take(what).into()))),
                Form::Told => return Poll::Ready(None),
                Form::Cutting(cutting) => {
                    let (streamed, mut passed, read) = ready!(cutting.as_mut().poll(cx));
                    self.form = match read {
                        Ok(()) => Form::Events(streamed),
                        Err(what) => streamed.stop(&what, &mut passed),
                    };
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(passed.into()))));
                    }
                    continue;
                }
                Form::Events(_) | Form::Other => {}
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose().map_err(Into::into)?;
            let Some(bytes) = frame.as_ref().and_then(Frame::data_ref) else {
                // An event that was cut short is none (HTML, section 9.2.6).
                return Poll::Ready(frame.map(Ok));
            };
            match std::mem::replace(&mut self.form, Form::Other) {
                Form::Events(streamed) => self.form = Form::Cutting(Box::pin(streamed.cut(bytes.clone()))),
                _ => return Poll::Ready(frame.map(Ok)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.form {
            Form::Message(message) => message.is_none(),
            Form::Broken(_) | Form::Cutting(_) => false,
            Form::Told => true,
            Form::Events(_) | Form::Other => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.form {
            Form::Message(message) => SizeHint::with_exact(message.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Form::Other => self.body.size_hint(),
            Form::Told => SizeHint::with_exact(0),
            Form::Events(_) | Form::Cutting(_) | Form::Broken(_) => SizeHint::default(),
        }
    }
}
