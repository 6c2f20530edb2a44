//! A stream whose first bytes were read ahead, and later ones as well where many come.
//!
//! Enters: those bytes and the stream. Leaves: the same stream as if nobody had looked. Never: a byte lost or doubled; a buffer that is
//! kept while nothing comes.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::limit;

/// If a read got as much, more is likely to be there.
const RECORD: usize = 16 * 1024;

/// Reads give the bytes read ahead first; writes go straight to the stream.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: BytesMut,
    stream: S,
    /// Whether it reads ahead.
    ahead: bool,
    /// Whether more is likely to be there: the last read got all that it had room for, or a lot.
    more: bool,
}

impl<S> Prefixed<S> {
    /// `stream`, with `prefix` put back before it.
    pub fn new(prefix: impl Into<BytesMut>, stream: S) -> Self {
        Self { prefix: prefix.into(), stream, ahead: false, more: false }
    }

    /// The same, which takes more at once from the stream below than it is asked for, as long as that has more: who reads it asks for
    /// one TLS record at a time, and a call of the kernel costs as much as to copy one.
    pub fn reading_ahead(mut self) -> Self {
        self.ahead = true;
        self
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { prefix, stream, ahead, more } = &mut *self;
        if prefix.is_empty() {
            if !*more || buffer.remaining() >= limit::READ_AHEAD {
                let room = buffer.remaining();
                let read = Pin::new(stream).poll_read(cx, buffer);
                *more = *ahead && room > 0 && buffer.remaining() == 0;
                return read;
            }
            prefix.reserve(limit::READ_AHEAD);
            let read = pin!(stream.read_buf(prefix)).poll(cx);
            *more = matches!(read, Poll::Ready(Ok(length)) if length >= RECORD);
            if prefix.is_empty() {
                *prefix = BytesMut::new();
            }
            ready!(read)?;
        }
        let taken = prefix.len().min(buffer.remaining());
        buffer.put_slice(&prefix[..taken]);
        prefix.advance(taken);
        if prefix.is_empty() && !*more {
            // Gives its memory back, which an idle connection would keep.
            *prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// All that comes, in reads with room for so much, and the largest prefix seen meanwhile.
    async fn read(mut stream: Prefixed<tokio::io::DuplexStream>, room: usize) -> (Vec<u8>, usize) {
        let (mut all, mut largest) = (Vec::new(), 0);
        let mut buffer = vec![0; room];
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            largest = largest.max(stream.prefix.capacity());
            if length == 0 {
                assert_eq!(stream.prefix.capacity(), 0, "a buffer is kept");
                return (all, largest);
            }
            all.extend_from_slice(&buffer[..length]);
        }
    }

    #[tokio::test]
    async fn whatever_is_read_ahead_comes_once_and_in_order_and_no_buffer_is_left() {
        let sent: Vec<u8> = (0..1_000_003u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
        for (ahead, room) in [(true, 18_000), (true, 1), (true, 200_000), (false, 18_000)] {
            let (mut theirs, ours) = tokio::io::duplex(256 * 1024);
            let length = if room == 1 { 50_000 } else { sent.len() };
            let ours = Prefixed::new(&sent[..5], ours);
            let ours = if ahead { ours.reading_ahead() } else { ours };
            let write = async {
                for piece in sent[5..length].chunks(70_001) {
                    theirs.write_all(piece).await.unwrap();
                }
                drop(theirs);
            };
            let ((), (came, largest)) = tokio::join!(write, read(ours, room));
            assert!(came == sent[..length], "{room}");
            let does = ahead && room < limit::READ_AHEAD;
            assert_eq!(largest > limit::READ_AHEAD / 2, does, "{room}: {largest}");
        }
    }
}
