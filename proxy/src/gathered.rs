//! A stream in the clear whose reads and writes are of many TLS records at a time.
//!
//! Enters: a stream that gives a record a read, and makes one of each write. Leaves: the same bytes, as many of them at once as are there,
//! so that what passes from task to task, and to the kernel, is few and long. Never: a wait for more where there is something to give; a
//! write that waits for longer than to the next turn, or comes before what has to be in the log by then; a buffer that is kept while nothing passes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::memory::{Memory, Ticket};
use crate::record::Before;
use crate::{limit, turn};

/// Writes from here on are pieces of a body; a shorter one goes at once, if it is the first in its turn.
const PIECE: usize = 8 * 1024;

/// Reads go on as long as there is something to read; where wanted, writes are gathered for a turn.
#[derive(Debug)]
pub struct Gathered<S> {
    stream: S,
    /// What went wrong behind bytes that were given.
    failed: Option<io::Error>,
    /// The step in which it was read last.
    read_in: Option<Instant>,
    /// Where pieces are gathered that are written in one turn.
    pieces: Option<Pieces>,
    /// Where what is read needs room.
    memory: Option<(Arc<Memory>, Option<Ticket>)>,
    before: Before,
}

#[derive(Debug, Default)]
struct Pieces {
    bytes: BytesMut,
    /// The turn in which they should have been flushed.
    put_off: Option<Instant>,
    /// The turn in which a short write went at once.
    went: Option<Instant>,
}

impl Pieces {
    /// Whether a write of so many bytes goes at once.
    fn goes(&mut self, length: usize) -> bool {
        let now = turn::under_way();
        self.bytes.is_empty() && length < PIECE && (now.is_none() || std::mem::replace(&mut self.went, now) != now)
    }
}

impl<S> Gathered<S> {
    /// What `stream` gives, gathered. Its writer sees to long writes by itself.
    pub fn reads(stream: S, before: Before) -> Self {
        Self { stream, failed: None, read_in: None, pieces: None, memory: None, before }
    }

    /// The same, and the pieces that are written in one turn go together: HTTP/2 writes and flushes each frame.
    pub fn both_ways(stream: S, before: Before) -> Self {
        Self { stream, failed: None, read_in: None, pieces: Some(Pieces::default()), memory: None, before }
    }

    /// Reads only while there is room for it.
    pub fn within(mut self, memory: &Arc<Memory>) -> Self {
        self.memory = Some((Arc::clone(memory), None));
        self
    }

    fn took(&self, bytes: usize) {
        self.memory.iter().for_each(|(memory, _)| memory.took(bytes));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        // Who reads on and on gives nobody a turn: hyper takes what comes without an end (1xx heads, frames that it skips) in one step. The first
        // read of a step asks no clock.
        let step = turn::under_way();
        if std::mem::replace(&mut self.read_in, step) == step {
            ready!(turn::poll_slice(cx));
        }
        if let Some((memory, ticket)) = &mut self.memory {
            ready!(memory.poll_upstream(ticket, cx));
        }
        let before = buffer.filled().len();
        loop {
            let so_far = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) => {
                    let now = buffer.filled().len();
                    if now == so_far || buffer.remaining() == 0 || now - before >= limit::GATHERED {
                        self.took(now - before);
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending if so_far == before => return Poll::Pending,
                Poll::Ready(Err(error)) if so_far == before => return Poll::Ready(Err(error)),
                // Whoever asks once more hears of it then, as does the waker.
                Poll::Pending => {
                    self.took(so_far - before);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes what was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(Pieces { bytes, put_off, .. }) = &mut self.pieces else { return Poll::Ready(Ok(())) };
        if !bytes.is_empty() {
            self.before.write()?;
        }
        while !bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(written);
        }
        (*bytes, *put_off) = (BytesMut::new(), None);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.pieces.as_mut().is_none_or(|pieces| pieces.goes(length)) {
            self.before.write()?;
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        if self.pieces.as_ref().is_some_and(|pieces| pieces.bytes.len() >= limit::GATHERED) {
            ready!(turn::poll_slice(cx));
            ready!(self.poll_drain(cx))?;
        }
        let Some(Pieces { bytes, .. }) = &mut self.pieces else { return Poll::Ready(Ok(0)) };
        bytes.reserve(limit::GATHERED.saturating_sub(bytes.len()));
        let mut taken = 0;
        for slice in slices {
            let fits = slice.len().min(limit::GATHERED - bytes.len());
            bytes.extend_from_slice(&slice[..fits]);
            taken += fits;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(Pieces { bytes, put_off, .. }) = &mut self.pieces
            && !bytes.is_empty()
            && let Some(now) = turn::under_way()
            && put_off.is_none_or(|put_off| put_off == now)
        {
            // More may be written in this turn. If not, the next one flushes.
            *put_off = Some(now);
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::path::PathBuf;
    use std::sync::Arc;

    use jiff::Timestamp;
    use record::{CallLog, Event, NameAsked};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::turn::Turns;

    fn before() -> Before {
        let directory = tempfile::tempdir().unwrap();
        Before::client(&Arc::new(CallLog::create(directory.path()).unwrap()))
    }

    /// Gives a piece a read, then an error; notes how long each write was.
    #[derive(Default)]
    struct Pieced {
        pieces: VecDeque<Vec<u8>>,
        written: Vec<u8>,
        writes: Vec<usize>,
    }

    impl AsyncRead for Pieced {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(mut piece) = self.pieces.pop_front() else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            let taken = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..taken]);
            if taken < piece.len() {
                self.pieces.push_front(piece.split_off(taken));
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieced {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            // A full socket takes a part.
            let taken = bytes.len().min(50_000);
            self.written.extend_from_slice(&bytes[..taken]);
            self.writes.push(taken);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_there_comes_at_once_and_an_error_behind_it_is_not_lost() {
        let pieces = [vec![b'a'; 16_384], vec![b'b'; 16_384], vec![b'c'; 10]].into();
        let mut gathered = Gathered::reads(Pieced { pieces, ..Pieced::default() }, before());
        let mut room = [0; 40_000];
        assert_eq!(gathered.read(&mut room).await.unwrap(), 2 * 16_384 + 10);
        assert_eq!(gathered.read(&mut room).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    /// Writes and flushes these frames, then reports what came out of it.
    async fn framed(mut gathered: Gathered<Pieced>, frames: Vec<Vec<u8>>) -> Pieced {
        for frame in frames {
            gathered.write_all(&frame).await.unwrap();
            gathered.flush().await.unwrap();
        }
        gathered.shutdown().await.unwrap();
        gathered.stream
    }

    fn frames() -> Vec<Vec<u8>> {
        (0..40u8).map(|number| vec![number; if number % 8 == 7 { 9 } else { 16_393 }]).collect()
    }

    #[tokio::test]
    async fn frames_of_one_turn_go_together_in_order_and_without_a_turn_each_by_itself() {
        let frames = frames();
        let share = Turns::new(|| {}).share();
        let together = share.run(framed(Gathered::both_ways(Pieced::default(), before()), frames.clone())).await;
        assert_eq!(together.written, frames.concat());
        assert!(together.writes.len() < frames.len() / 2, "{:?}", together.writes);
        let alone = framed(Gathered::both_ways(Pieced::default(), before()), frames.clone()).await;
        assert_eq!(alone.written, frames.concat());
        assert_eq!(alone.writes.len(), frames.len());
    }

    #[tokio::test]
    async fn of_short_writes_the_first_of_a_turn_goes_at_once_and_the_others_together() {
        let answers: Vec<_> = (0..40u8).map(|number| vec![number; 1033]).collect();
        let share = Turns::new(|| {}).share();
        let together = share.run(framed(Gathered::both_ways(Pieced::default(), before()), answers.clone())).await;
        assert_eq!(together.written, answers.concat());
        assert_eq!(together.writes, [1033, 39 * 1033]);
    }

    #[tokio::test]
    async fn whoever_reads_without_end_reads_for_one_turn() {
        /// Gives as much as is asked for.
        struct Endless;
        impl AsyncRead for Endless {
            fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                let room = buffer.remaining();
                buffer.put_slice(&vec![b'x'; room]);
                Poll::Ready(Ok(()))
            }
        }
        let share = Turns::new(|| {}).share();
        let steps = share.run(async {
            let mut gathered = Gathered::reads(Endless, before());
            let (mut steps, mut reads) = (0, 0);
            let mut room = vec![0; 8 * 1024];
            std::future::poll_fn(|cx| {
                steps += 1;
                while reads < 100_000 {
                    ready!(Pin::new(&mut gathered).poll_read(cx, &mut ReadBuf::new(&mut room)))?;
                    reads += 1;
                }
                Poll::Ready(io::Result::Ok(()))
            })
            .await
            .unwrap();
            steps
        });
        assert!(steps.await > 10, "a turn takes a fraction of a millisecond");
    }

    #[tokio::test]
    async fn what_was_put_off_goes_in_the_next_turn_though_nobody_writes_more() {
        let share = Turns::new(|| {}).share();
        let written = share
            .run(async {
                let mut gathered = Gathered::both_ways(Pieced::default(), before());
                gathered.write_all(&[b'x'; 16_393]).await.unwrap();
                gathered.flush().await.unwrap();
                let before = gathered.stream.written.len();
                // As a connection that is woken does, and does nothing else.
                tokio::task::yield_now().await;
                gathered.flush().await.unwrap();
                (before, gathered.stream.written.len())
            })
            .await;
        assert_eq!(written, (0, 16_393));
    }

    /// A stream to which nothing may be written before the log has a line.
    struct Behind(PathBuf);

    impl AsyncWrite for Behind {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            assert!(std::fs::read_to_string(&self.0).unwrap().ends_with('\n'), "{} bytes came first", bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn noted(log: &CallLog) {
        log.note(Timestamp::UNIX_EPOCH, Event::NameAsked(NameAsked { name: "a".into(), kind: "A".into() })).unwrap();
    }

    #[tokio::test]
    async fn no_byte_comes_before_what_was_noted_until_then_however_it_is_gathered() {
        let make: [fn(Behind, Before) -> Gathered<Behind>; 2] = [Gathered::reads, Gathered::both_ways];
        for (make, length) in make.into_iter().flat_map(|make| [(make, 100), (make, PIECE)]) {
            let directory = tempfile::tempdir().unwrap();
            let log = Arc::new(CallLog::create(directory.path()).unwrap());
            let mut gathered = make(Behind(log.path().to_owned()), Before::upstream(&log));
            let share = Turns::new(|| {}).share();
            share
                .run(async move {
                    noted(&log);
                    gathered.write_all(&vec![b'x'; length]).await.unwrap();
                    gathered.shutdown().await.unwrap();
                })
                .await;
        }
    }
}
