//! The HTTP of one connection from the sandbox.
//!
//! Enters: a stream in the clear. Leaves: its requests, one by one or as many as HTTP/2 allows at once, each to be answered. Never: a head
//! or a flood without bound, or a connection that goes on with new requests once the worker stops.

use std::error::Error as _;
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::answer;
use super::frames::{Counted, Seen};
use super::resting;
use crate::aside::Aside;
use crate::connection::Connection;
use crate::error::Refusal;
use crate::gathered::Gathered;
use crate::limit;
use crate::record::{Account, Before};
use crate::serve::Worker;
use crate::turn::{InTurn, Share};

/// Serves the requests of one connection until either side ends it or the worker stops.
///
/// # Errors
/// What made the connection unreadable as HTTP; no request of it was left without an answer or a record. Or that some were not taken up.
pub async fn serve<S>(worker: Arc<Worker>, connection: Connection, stream: S, http2: bool) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stop = worker.stop.clone();
    let connection = Arc::new(connection);
    let (before, account) = (Before::client(&worker.log), Arc::clone(&connection.account));
    let share = Arc::clone(&connection.share);
    // hyper keeps room for an answer in each connection: for a pointer, as what makes it is some ten KiB large.
    let answer = move |request| Box::pin(answer(Arc::clone(&worker), Arc::clone(&connection), request));
    // The two builders share no trait; each connection is told once to finish what it has.
    if !http2 {
        let served = resting::serve(Gathered::reads(stream, before), service_fn(answer), stop).await;
        let wrong = served.err().and_then(|error| unreadable(&error));
        return wrong.or_else(|| not_awaited(&account)).map_or(Ok(()), Err);
    }
    let (stream, seen) = Counted::new(Gathered::both_ways(stream, before));
    let taking = Arc::clone(&seen);
    let service = service_fn(move |request| {
        taking.taken_up();
        answer(request)
    });
    // In a place of its own: over HTTP/1.1 there would be room for it too.
    let mut serving = Box::pin(builder2(share).serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = Aside::new(told_to_stop(&mut stop)) => { serving.as_mut().graceful_shutdown(); serving.await }
        () = Aside::new(seen.flood()) => {
            serving.as_mut().graceful_shutdown();
            seen.end();
            // A client that does not even read is not waited for.
            let _ = tokio::time::timeout(limit::LINGER_WAIT * 2, serving).await;
            return Err(Refusal::Flood("too many settings, pings, resets or window updates".to_owned()));
        }
    };
    let wrong = served.err().and_then(|error| unreadable(&error));
    wrong.or_else(|| not_taken_up(&seen)).or_else(|| not_awaited(&account)).map_or(Ok(()), Err)
}

/// Requests whose client went away while they waited for their turn.
fn not_awaited(account: &Account) -> Option<Refusal> {
    let gone = account.gone();
    let what =
        format!("{gone} of its connection's were not taken up: the call log was behind, and its client did not wait");
    (gone > 0).then_some(Refusal::Malformed(what))
}

/// Requests that the library answered by itself, or reset: nobody has heard of them otherwise.
fn not_taken_up(seen: &Seen) -> Option<Refusal> {
    let (number, most, streams) = (seen.not_taken_up(), limit::HEAD_BYTES / 1024, limit::STREAMS);
    (number > 0).then(|| {
        Refusal::Malformed(format!(
            "{number} of its connection's were not taken up: a head of more than {most} KiB, one that breaks a rule of HTTP/2, more than \
             {streams} at once, or a client that did not wait"
        ))
    })
}

/// Ends when the worker stops, or is gone.
pub(super) async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn builder2(share: Arc<Share>) -> http2::Builder<InTurn> {
    let mut builder = http2::Builder::new(InTurn(share));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limit::STREAMS)
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(limit::PENDING_RESETS)
        .max_local_error_reset_streams(limit::RULE_RESETS)
        .max_header_list_size(u32::try_from(limit::HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(limit::STREAM_WINDOW)
        .initial_connection_window_size(limit::CONNECTION_WINDOW)
        .max_frame_size(limit::FRAME)
        .keep_alive_interval(limit::HEAD_WAIT)
        .keep_alive_timeout(limit::HEAD_WAIT);
    builder
}

/// A connection that ended in an error: a head that had no reading is a refusal, a client that went away is not.
fn unreadable(error: &hyper::Error) -> Option<Refusal> {
    let sent_away =
        error.source().and_then(|source| source.downcast_ref::<h2::Error>()).filter(|error| error.is_library());
    if error.is_parse() {
        Some(Refusal::Malformed(error.to_string()))
    } else if let Some(error) = sent_away.filter(|error| error.is_go_away()) {
        let calm = error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        Some(if calm { Refusal::Flood(error.to_string()) } else { Refusal::Malformed(error.to_string()) })
    } else if error.is_timeout() {
        // Also how an idle connection ends, which is nobody's fault; a debug line is enough for both.
        tracing::debug!("{}", Refusal::SlowHead(limit::HEAD_WAIT.as_secs()));
        None
    } else {
        tracing::debug!(%error, "a client connection ended");
        None
    }
}
