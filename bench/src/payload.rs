//! A body of any length that is never there as a whole.
//!
//! Enters: a text and a length. Leaves: the text over and over, up to that length. Never: a copy of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A piece of JSON such as an API would say, over and over.
const TEXT: &str =
    "{\"id\":4711,\"name\":\"release-42\",\"draft\":false,\"body\":\"Fixes three bugs.\",\"tags\":[\"a\",\"b\"]}\n";
/// What goes at once.
pub const PIECE: usize = 1024 * 1024;

/// What is left of a body.
#[derive(Debug, Default)]
pub struct Payload {
    text: Bytes,
    left: u64,
}

/// The text of one piece.
pub fn text() -> Bytes {
    TEXT.bytes().cycle().take(PIECE).collect::<Vec<u8>>().into()
}

impl Payload {
    /// `length` bytes of `text`.
    pub fn new(text: Bytes, length: u64) -> Self {
        Self { text, left: length }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.text.len());
        self.left -= length as u64;
        let piece = self.text.slice(..length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
