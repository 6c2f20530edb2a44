//! A client's HTTP/1.1 connection, and what is left of it while it rests.
//!
//! Enters: a stream in the clear, and who answers its requests. Leaves: answers. When nothing has come for a while, hyper is taken down with its two
//! buffers of 8 KiB, and set up anew for what comes then. Never: a byte lost or given twice; a rest in the middle of a request or an answer; more
//! than `HEAD_WAIT` for a head, from when it began to be waited for, or from its first byte after a rest.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::serving::told_to_stop;
use crate::aside::Aside;
use crate::error::Refusal;
use crate::limit;
use crate::upstream::Body;

/// What hyper does, as far as it shows.
#[derive(Debug, Default)]
struct Shown {
    /// It waits for the head of a request: what came before has been read, and answered.
    waits: AtomicBool,
    /// It has begun to, and nobody has taken note of that.
    begun: AtomicBool,
    /// Since then something has come.
    came: AtomicBool,
    /// Something was written that has not been flushed.
    unflushed: AtomicBool,
}

/// Why hyper does not go on.
enum Stop {
    /// The connection is over.
    Over(hyper::Result<()>),
    /// Nothing has come for a while.
    Rest,
    /// No head has come in time.
    Late,
}

/// Serves the requests of one connection until either side ends it, no request comes or the worker stops.
///
/// # Errors
/// hyper's.
pub(super) async fn serve<S, V>(stream: S, service: V, mut stop: watch::Receiver<bool>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Unpin,
{
    let shown = Arc::new(Shown::default());
    let mut stopped = Aside::new(async move { told_to_stop(&mut stop).await });
    let mut stopping = false;
    let mut sleep = std::pin::pin!(tokio::time::sleep(limit::REST));
    let mut served = (Watched { stream, first: Bytes::new(), failed: None, shown: Arc::clone(&shown) }, service);
    loop {
        let (stream, service) = served;
        let mut serving = Box::new(builder(&shown).serve_connection(TokioIo::new(stream), service).with_upgrades());
        let mut since = Instant::now();
        let stop = poll_fn(|cx| {
            if let Poll::Ready(served) = Pin::new(&mut *serving).poll(cx) {
                return Poll::Ready(Some(Stop::Over(served)));
            }
            if stopping || Pin::new(&mut stopped).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if !shown.waits.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            if shown.begun.swap(false, Ordering::Relaxed) {
                since = Instant::now();
                // If it is over before that, it is set once more then.
                if sleep.is_elapsed() || sleep.deadline() > since + limit::REST {
                    sleep.as_mut().reset(since + limit::REST);
                }
            }
            while sleep.as_mut().poll(cx).is_ready() {
                let waited = since.elapsed();
                let next = match waited {
                    _ if waited >= limit::HEAD_WAIT => return Poll::Ready(Some(Stop::Late)),
                    _ if waited < limit::REST => limit::REST,
                    _ if shown.is_at_rest() => return Poll::Ready(Some(Stop::Rest)),
                    _ => limit::HEAD_WAIT,
                };
                sleep.as_mut().reset(since + next);
            }
            Poll::Pending
        });
        match stop.await {
            Some(Stop::Over(served)) => return served,
            Some(Stop::Late) => return late(),
            Some(Stop::Rest) => {}
            None => {
                Pin::new(&mut *serving).graceful_shutdown();
                return serving.await;
            }
        }
        let Some(parts) = serving.into_parts() else { return Ok(()) };
        let mut stream = parts.io.into_inner();
        // What has nothing in it has its buffer all the same.
        stream.first = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
        sleep.as_mut().reset(since + limit::HEAD_WAIT);
        let more = poll_fn(|cx| {
            if stream.poll_more(cx).is_ready() {
                return Poll::Ready(true);
            }
            stopping = Pin::new(&mut stopped).poll(cx).is_ready();
            if stopping { Poll::Ready(true) } else { sleep.as_mut().poll(cx).map(|()| false) }
        });
        if !more.await {
            return late();
        }
        served = (stream, parts.service);
    }
}

/// How an idle connection ends, too, which is nobody's fault.
fn late() -> hyper::Result<()> {
    tracing::debug!("{}", Refusal::SlowHead(limit::HEAD_WAIT.as_secs()));
    Ok(())
}

fn builder(shown: &Arc<Shown>) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(Clock(Arc::clone(shown))).header_read_timeout(limit::HEAD_WAIT).max_buf_size(limit::HEAD_BYTES);
    builder
}

impl Shown {
    /// Whether it waits for a head, has nothing of it and nothing to do before.
    fn is_at_rest(&self) -> bool {
        let [waits, came, unflushed] =
            [&self.waits, &self.came, &self.unflushed].map(|flag| flag.load(Ordering::Relaxed));
        waits && !came && !unflushed
    }
}

/// hyper sets a clock when it begins to wait for a head, and lets go of it with the head.
struct Clock(Arc<Shown>);

impl Timer for Clock {
    fn sleep(&self, _: std::time::Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(std::time::Instant::now())
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.0.came.store(false, Ordering::Relaxed);
        self.0.begun.store(true, Ordering::Relaxed);
        self.0.waits.store(true, Ordering::Relaxed);
        Box::pin(Wait(Arc::clone(&self.0)))
    }
}

/// One wait for a head. How long it is whoever serves the connection sees to.
struct Wait(Arc<Shown>);

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Wait {}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.waits.store(false, Ordering::Relaxed);
    }
}

/// A stream whose reader and writer is watched.
struct Watched<S> {
    stream: S,
    /// What came before hyper was there.
    first: Bytes,
    /// And what went wrong then.
    failed: Option<io::Error>,
    shown: Arc<Shown>,
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Waits until there is something for hyper to do. What it had begun to read is.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.first.is_empty() {
            // A typical head, whole.
            let mut room = [0; 4096];
            let mut buffer = ReadBuf::new(&mut room);
            self.failed = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).err();
            self.first = Bytes::copy_from_slice(buffer.filled());
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let taken = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first[..taken]);
            self.first.advance(taken);
            if self.first.is_empty() {
                self.first = Bytes::new();
            }
        } else if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        } else {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        }
        self.shown.came.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shown.unflushed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.shown.unflushed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.shown.unflushed.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was wrong in a head has been told: its bytes are for nobody any more.
        self.shown.came.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
