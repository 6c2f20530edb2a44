//! One request after the other on one connection, a line per step.
//!
//! Enters: a connection in the clear. Leaves: an answer to each request, streaming, or a refusal that can be read. Never: a byte
//! upstream without permit, record and swap; an answer that was not scrubbed.

mod body;
mod websocket;

use std::convert::Infallible;
use std::sync::Arc;

use broker::Lease;
use config::{CallPermit, Policy};
use http::header::{ALT_SVC, CONNECTION};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use self::body::{Examined, examine};
use crate::connection::Connection;
use crate::error::Refusal;
use crate::record::{CallRecord, CallStart, CredentialUse, Recorded, redact_query};
use crate::request::{Call, strip_hop};
use crate::serve::Worker;
use crate::swap::Plan;
use crate::upstream::{Answer, Body};
use crate::{authorize, limit, respond, scrub};

/// Serves the requests of one connection until either side ends it or the worker stops.
///
/// # Errors
/// What made the connection unreadable as HTTP; no request of it was left without an answer or a record.
pub async fn serve<S>(worker: Arc<Worker>, connection: Connection, stream: S, http2: bool) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stop = worker.stop.clone();
    let connection = Arc::new(connection);
    let service = service_fn(move |request| answer(Arc::clone(&worker), Arc::clone(&connection), request));
    let stream = TokioIo::new(stream);
    // The two builders share no trait; each connection is told once to finish what it has.
    let served = if http2 {
        let mut serving = std::pin::pin!(builder2().serve_connection(stream, service));
        tokio::select! {
            served = serving.as_mut() => served,
            _ = stop.wait_for(|stop| *stop) => { serving.as_mut().graceful_shutdown(); serving.await }
        }
    } else {
        let mut serving = std::pin::pin!(builder1().serve_connection(stream, service).with_upgrades());
        tokio::select! {
            served = serving.as_mut() => served,
            _ = stop.wait_for(|stop| *stop) => { serving.as_mut().graceful_shutdown(); serving.await }
        }
    };
    served.map_err(unreadable).or_else(|refusal| refusal.map_or(Ok(()), Err))
}

fn builder1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limit::HEAD_WAIT)
        .max_buf_size(limit::HEAD_BYTES)
        .max_headers(limit::HEAD_FIELDS);
    builder
}

fn builder2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limit::STREAMS)
        .max_pending_accept_reset_streams(limit::PENDING_RESETS)
        .max_header_list_size(u32::try_from(limit::HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(limit::STREAM_WINDOW)
        .initial_connection_window_size(limit::CONNECTION_WINDOW)
        .keep_alive_interval(limit::HEAD_WAIT)
        .keep_alive_timeout(limit::HEAD_WAIT);
    builder
}

/// A connection that ended in an error: a head that had no reading is a refusal, a client that went away is not.
fn unreadable(error: hyper::Error) -> Option<Refusal> {
    if error.is_parse() {
        Some(Refusal::Malformed(error.to_string()))
    } else if error.is_timeout() {
        // Also how an idle connection ends, which is nobody's fault; a debug line is enough for both.
        tracing::debug!("{}", Refusal::SlowHead(limit::HEAD_WAIT.as_secs()));
        None
    } else {
        tracing::debug!(%error, "a client connection ended");
        None
    }
}

async fn answer(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let told = (request.method().to_string(), request.uri().path().to_owned());
    match call(&worker, &connection, request).await {
        Ok(response) => Ok(response),
        Err(refusal) => {
            worker.refuse(connection.number, connection.destination.to_string(), Some(told), &refusal);
            Ok(refused(&refusal))
        }
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    respond::refuse(refusal).map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

/// The life of a request.
async fn call(
    worker: &Arc<Worker>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    connection.verdict.clone()?;
    let mut call = Call::read(request, connection)?;
    let policy = worker.policy.current();
    let permit = authorize::call(&policy, &call).map_err(|denied| worker.swap.carried_off(&call, denied))?;
    worker.rates.admit(&permit)?;
    let plan = worker.swap.plan(&call, &permit)?;
    let upgrade = call.upgrade.take();
    let body = std::mem::replace(&mut call.body, Incoming::default());
    let (body, examined) = examine(body, &worker.swap, plan.as_ref()).await?;
    let lease = lease(worker, plan.as_ref(), &permit).await?;
    let mut record = CallRecord::start(&worker.log, start(worker, connection, &call, &permit, &policy, lease.as_deref()))?;
    let request = swapped(call, body, &record, plan, lease.as_deref())?;
    let answer = match upgrade {
        Some(_) => worker.upstream.send_alone(&permit, request).await,
        None => worker.upstream.send(&permit, request).await,
    };
    match answer {
        Ok(answer) => passed_on(worker, answer, upgrade, record),
        Err(refusal) => Ok(went_wrong(worker, connection, examined.or(refusal), &mut record)),
    }
}
