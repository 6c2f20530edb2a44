//! Bodies of answers: whole, or fed piece by piece.
//!
//! Enters: bytes. Leaves: a body that hyper sends as it comes. Never: a piece held back.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{HeaderMap, Response};
use tokio::sync::mpsc;

/// A body fed through a channel.
pub struct Body {
    frames: mpsc::Receiver<Frame<Bytes>>,
    length: Option<u64>,
}

/// The feeding end.
pub struct Feed(mpsc::Sender<Frame<Bytes>>);

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self { length: Some(0), ..Self::fed().1 }
    }

    /// All at once.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let (feed, body) = Self::fed();
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        // The channel is new and has room.
        let _ = feed.0.try_send(Frame::data(bytes));
        Self { length, ..body }
    }

    /// Piece by piece, of unknown length.
    pub fn fed() -> (Feed, Self) {
        let (sender, frames) = mpsc::channel(4);
        (Feed(sender), Self { frames, length: None })
    }
}

impl Feed {
    /// One piece; `false` when nobody takes it any more.
    pub async fn piece(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Frame::data(bytes.into())).await.is_ok()
    }

    /// The trailers, after the last piece.
    pub async fn trailers(&self, trailers: HeaderMap) {
        let _ = self.0.send(Frame::trailers(trailers)).await;
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An answer with this status and body.
pub fn answer(status: u16, content_type: &str, body: Body) -> Response<Body> {
    Response::builder().status(status).header("content-type", content_type).body(body).unwrap()
}

/// An answer in JSON.
pub fn json(status: u16, value: &serde_json::Value) -> Response<Body> {
    answer(status, "application/json", Body::whole(value.to_string()))
}
