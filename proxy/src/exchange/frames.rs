//! The frames of a client's HTTP/2 connection, counted.
//!
//! Enters: the bytes both ways, which pass unchanged. Leaves: word that the client sends more frames that carry nothing (settings,
//! pings, resets, window updates, priorities) than any honest one. Never: such a flood taken for longer; an end that the client
//! cannot hear of.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::limit;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// The head of a frame (RFC 9113 section 4.1).
const HEAD: usize = 9;
/// Before the first one.
const PREFACE: usize = 24;

/// A stream whose reader's frames are counted.
pub(super) struct Counted<S> {
    stream: S,
    frames: Frames,
    allowance: Allowance,
    flood: Arc<Flood>,
    /// Reads nothing more.
    over: bool,
    /// Until when, and over how many more bytes.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

/// Tells of a flood, and is told when its connection was.
#[derive(Debug, Default)]
pub(super) struct Flood {
    begun: Notify,
    told: std::sync::atomic::AtomicBool,
}

impl Flood {
    /// Ends when one has begun.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// The client is told that the connection ends; to the reader it ends here.
    pub(super) fn end(&self) {
        self.told.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Flood>) {
        let flood = Arc::<Flood>::default();
        let (frames, allowance) = (Frames::default(), Allowance::new(Instant::now()));
        (Self { stream, frames, allowance, flood: Arc::clone(&flood), over: false, lingering: None }, flood)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.over {
            let told = self.flood.told.load(std::sync::atomic::Ordering::Relaxed);
            return if told { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let (idle, whole) = self.frames.push(&buffer.filled()[before..]);
        if idle > 0 && !self.allowance.take(idle, Instant::now()) {
            self.over = true;
            self.flood.begun.notify_one();
            // A stream that ends within a frame is an error, after which no GOAWAY is sent.
            buffer.set_filled(before + whole);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.allowance.give(written);
        Poll::Ready(Ok(written))
    }

    /// A refusal and the reset behind it in one piece is more than some clients (curl 7.88) read to its end.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        self.allowance.give(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A socket that is closed while bytes wait to be read resets its connection, and what was said last is lost with it: so what
    /// still comes is read, for a while, and thrown away.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.lingering = Some((Box::pin(tokio::time::sleep(limit::LINGER_WAIT)), limit::LINGER_BYTES));
        }
        let Self { stream, lingering: Some((until, left)), .. } = &mut *self else { return Poll::Ready(Ok(())) };
        let mut room = [0; 4096];
        while *left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *left = left.saturating_sub(buffer.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Where one frame ends and the next begins.
#[derive(Debug, Default)]
struct Frames {
    preface: usize,
    head: Vec<u8>,
    left: usize,
}

impl Frames {
    /// Takes the next bytes: how many frames began in them that carry nothing, and how many of the bytes belong to frames that are
    /// whole with them.
    fn push(&mut self, mut bytes: &[u8]) -> (u64, usize) {
        let (length, mut idle, mut whole) = (bytes.len(), 0, 0);
        let preface = length.min(PREFACE - self.preface);
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            let within = bytes.len().min(self.left);
            self.left -= within;
            bytes = &bytes[within..];
            if self.left == 0 && self.head.is_empty() {
                whole = length - bytes.len();
            }
            let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
            self.head.extend_from_slice(head);
            bytes = rest;
            if let &[a, b, c, kind, ..] = &self.head[..]
                && self.head.len() == HEAD
            {
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                idle += u64::from(![DATA, HEADERS, CONTINUATION].contains(&kind));
                self.head.clear();
                if self.left == 0 {
                    whole = length - bytes.len();
                }
            }
        }
        (idle, whole)
    }
}

/// How many more frames that carry nothing are taken: some at once, some as time goes on, some for what is sent to the client.
#[derive(Debug)]
struct Allowance {
    /// In bytes sent, which are the finest of the three.
    bytes: u64,
    at: Instant,
}

impl Allowance {
    const FULL: u64 = limit::IDLE_FRAMES * limit::BYTES_FOR_IDLE_FRAME;

    fn new(now: Instant) -> Self {
        Self { bytes: Self::FULL, at: now }
    }

    fn give(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64).min(Self::FULL);
    }

    fn take(&mut self, frames: u64, now: Instant) -> bool {
        let passed = u64::try_from((now - self.at).as_millis()).unwrap_or(u64::MAX);
        self.at = now;
        let each_second = limit::IDLE_FRAMES_EACH_SECOND * limit::BYTES_FOR_IDLE_FRAME;
        self.bytes = self.bytes.saturating_add(passed.saturating_mul(each_second) / 1000).min(Self::FULL);
        let left = self.bytes.checked_sub(frames * limit::BYTES_FOR_IDLE_FRAME);
        self.bytes = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, 0, 0, 0, 0, 0][..], &vec![b'x'; usize::from(length)]].concat()
    }

    proptest! {
        #[test]
        fn frames_are_counted_however_the_pieces_fall(
            sent in proptest::collection::vec((0_u8..16, 0_u8..40), 0..20),
            size in 1_usize..50,
        ) {
            let mut bytes = vec![b'P'; PREFACE];
            sent.iter().for_each(|&(kind, length)| bytes.extend(frame(kind, length)));
            let mut frames = Frames::default();
            let mut ends = vec![PREFACE];
            sent.iter().for_each(|&(_, length)| ends.push(ends[ends.len() - 1] + HEAD + usize::from(length)));
            let (mut counted, mut at) = (0, 0);
            for piece in bytes.chunks(size) {
                let (idle, whole) = frames.push(piece);
                prop_assert!(whole == 0 || ends.contains(&(at + whole)), "{} of {:?}", at + whole, ends);
                at += piece.len();
                prop_assert!(whole == piece.len() || !ends[1..].contains(&at));
                counted += idle;
            }
            let idle = sent.iter().filter(|(kind, _)| ![DATA, HEADERS, CONTINUATION].contains(kind)).count();
            prop_assert_eq!(counted, idle as u64);
        }
    }

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_time_and_with_what_is_sent() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        assert!(allowance.take(limit::IDLE_FRAMES, begun));
        assert!(!allowance.take(1, begun));
        assert!(allowance.take(limit::IDLE_FRAMES_EACH_SECOND, begun + Duration::from_secs(1)));
        assert!(!allowance.take(1, begun + Duration::from_secs(1)));
        allowance.give(usize::try_from(limit::BYTES_FOR_IDLE_FRAME).unwrap());
        assert!(allowance.take(1, begun + Duration::from_secs(1)));
        // A ping's answer does not pay for the next ping.
        const { assert!(limit::BYTES_FOR_IDLE_FRAME > 17) };
    }
}
