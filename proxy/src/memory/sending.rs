//! A request's body, and its client where it is read whole before any of it goes on.
//!
//! Enters: the body as the client sends it. Leaves: the same; and word of a client that has said how little it will send and has not sent the rest. Never: that
//! word for a body that streams, of which nothing is held, or for one that a rule has read whole, which has a bound of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Memory, Wait};
use crate::limit;
use crate::seats::Seat;

/// The body of a request on the connection of a seat.
pub(crate) struct Sending<B> {
    body: B,
    seat: Arc<Seat>,
    memory: Arc<Memory>,
    /// Whether it is held until it is whole.
    held: bool,
    rest: Option<Wait>,
}

impl<B: Body> Sending<B> {
    pub fn new(body: B, seat: &Arc<Seat>, memory: &Arc<Memory>) -> Self {
        // Of one that streams there is less and less to come.
        let held = body.size_hint().upper().is_some_and(|length| length <= limit::EXAMINED_BODY);
        Self { body, seat: Arc::clone(seat), memory: Arc::clone(memory), held, rest: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sending<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.rest = None;
        } else if self.rest.is_none() && self.held {
            self.rest = Some(self.memory.wait(&self.seat));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
