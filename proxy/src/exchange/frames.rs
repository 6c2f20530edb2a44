//! The frames of a client's HTTP/2 connection, counted.
//!
//! Enters: the bytes both ways, which pass unchanged. Leaves: word that the client sends more frames that carry nothing (settings,
//! pings, resets, window updates, priorities) than any honest one; and how many of its requests nobody was given to answer. Never:
//! such a flood taken for longer; an end that the client cannot hear of.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::limit;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// The flag of the last frame of a head.
const END_HEADERS: u8 = 4;

/// The head of a frame (RFC 9113 section 4.1).
const HEAD: usize = 9;
/// Before the first one.
const PREFACE: usize = 24;

/// A stream whose reader's frames are counted.
pub struct Counted<S> {
    stream: S,
    frames: Frames,
    allowance: Allowance,
    seen: Arc<Seen>,
    /// Reads nothing more.
    over: bool,
    /// Until when, and over how many more bytes.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

/// What there was to see, for whoever serves the connection.
#[derive(Debug, Default)]
pub struct Seen {
    flood: Notify,
    /// Whether its client was told of that.
    told: AtomicBool,
    /// Heads of requests that have come whole.
    heads: AtomicU64,
    /// Requests that were given to somebody.
    taken: AtomicU64,
}

impl Seen {
    /// Ends when a flood has begun.
    pub async fn flood(&self) {
        self.flood.notified().await;
    }

    /// The client is told that the connection ends; to the reader it ends here.
    pub fn end(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// A request was taken up.
    pub(super) fn taken_up(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were not, once the connection has ended.
    pub(super) fn not_taken_up(&self) -> u64 {
        self.heads.load(Ordering::Relaxed).saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

impl<S> Counted<S> {
    /// The same stream, counted, and what there is to see of it.
    pub fn new(stream: S) -> (Self, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        let (frames, allowance) = (Frames::default(), Allowance::new(Instant::now()));
        (Self { stream, frames, allowance, seen: Arc::clone(&seen), over: false, lingering: None }, seen)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.over {
            let told = self.seen.told.load(Ordering::Relaxed);
            return if told { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let Passed { idle, heads, whole } = self.frames.push(&buffer.filled()[before..]);
        if heads > 0 {
            self.seen.heads.fetch_add(heads, Ordering::Relaxed);
        }
        if idle > 0 && !self.allowance.take(idle, Instant::now()) {
            self.over = true;
            self.seen.flood.notify_one();
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
    /// The stream that was opened last: its head is a request's, any further one on it is what stands behind a body.
    last: u32,
    /// Whether the head of a request is coming.
    opening: bool,
    /// Whether it is whole with the frame that is coming.
    closing: bool,
}

/// What there was in some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passed {
    /// Frames that began and carry nothing.
    idle: u64,
    /// Heads of requests that are whole.
    heads: u64,
    /// How many of the bytes belong to frames that are whole.
    whole: usize,
}

impl Frames {
    /// Takes the next bytes.
    fn push(&mut self, mut bytes: &[u8]) -> Passed {
        let (length, mut passed) = (bytes.len(), Passed::default());
        let preface = length.min(PREFACE - self.preface);
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            let within = bytes.len().min(self.left);
            self.left -= within;
            bytes = &bytes[within..];
            if self.left == 0 && self.head.is_empty() {
                self.frame_ends(&mut passed, length - bytes.len());
            }
            let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
            self.head.extend_from_slice(head);
            bytes = rest;
            if let &[a, b, c, kind, flags, s, t, r, m] = &self.head[..] {
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                passed.idle += u64::from(![DATA, HEADERS, CONTINUATION].contains(&kind));
                self.frame_begins(kind, flags, u32::from_be_bytes([s & 0x7f, t, r, m]));
                self.head.clear();
                if self.left == 0 {
                    self.frame_ends(&mut passed, length - bytes.len());
                }
            }
        }
        passed
    }

    fn frame_begins(&mut self, kind: u8, flags: u8, stream: u32) {
        if kind == HEADERS {
            self.opening = stream > self.last;
            self.last = self.last.max(stream);
        }
        self.closing = self.opening && [HEADERS, CONTINUATION].contains(&kind) && flags & END_HEADERS != 0;
    }

    fn frame_ends(&mut self, passed: &mut Passed, whole: usize) {
        passed.whole = whole;
        if std::mem::take(&mut self.closing) {
            self.opening = false;
            passed.heads += 1;
        }
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
                let Passed { idle, whole, .. } = frames.push(piece);
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
    fn heads_of_requests_are_counted_once_each_and_only_whole() {
        let on = |kind, flags, stream: u8, length: u8| {
            [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], &vec![b'x'; usize::from(length)]].concat()
        };
        let preface = vec![b'P'; PREFACE];
        let request = on(HEADERS, END_HEADERS, 1, 9);
        let trailers = on(HEADERS, END_HEADERS, 1, 3);
        let begun = on(HEADERS, 0, 3, 5);
        let goes_on = on(CONTINUATION, 0, 3, 0);
        let ends = on(CONTINUATION, END_HEADERS, 3, 7);
        let second_trailers = [on(HEADERS, 0, 3, 1), on(CONTINUATION, END_HEADERS, 3, 1)].concat();
        let bytes = [&preface, &request, &on(DATA, 0, 1, 8), &trailers, &begun, &goes_on, &ends, &second_trailers];
        for size in [1, 2, 10, 1000] {
            let (mut frames, mut heads) = (Frames::default(), Vec::new());
            for (number, frame) in bytes.iter().enumerate() {
                let found: u64 = frame.chunks(size).map(|piece| frames.push(piece).heads).sum();
                heads.extend(std::iter::repeat_n(number, usize::try_from(found).unwrap()));
            }
            assert_eq!(heads, [1, 6], "the first whole, the second with its last frame");
        }
        let mut frames = Frames::default();
        assert_eq!(frames.push(&[&preface[..], &request[..request.len() - 1]].concat()).heads, 0);
        assert_eq!(frames.push(b"x").heads, 1);
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
