//! A client's socket.
//!
//! Enters: what the client sends, and what is for it. Leaves: the same bytes; and word of a client that does not read, whatever speaks to it: TLS,
//! HTTP, a WebSocket or a tunnel. Never: a read while there is no room for what comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Memory, Ticket, Wait};
use crate::seats::Seat;

/// The socket of the client of a seat.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    seat: Arc<Seat>,
    memory: Arc<Memory>,
    ticket: Option<Ticket>,
    /// While it takes no more.
    full: Option<Wait>,
}

impl Socket {
    pub fn new(stream: TcpStream, seat: Arc<Seat>, memory: Arc<Memory>) -> Self {
        Self { stream, seat, memory, ticket: None, full: None }
    }

    /// Takes note of what became of a write.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.full = None;
        } else if self.full.is_none() {
            self.full = Some(self.memory.wait(&self.seat));
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, memory, ticket, .. } = &mut *self;
        ready!(memory.poll_client(ticket, cx));
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        memory.took(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
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
