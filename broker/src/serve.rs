//! A connection from its first byte to the end of its worker; the embedded broker, whose whole life is one connection.
//!
//! Enters: a stream. Leaves: when the peer is gone, however it went, the worker's leases are ended. An embedded broker is
//! a process of its own: it must outlive a Ctrl-C and a `kill` that are meant for the worker, because it is the one that
//! gives back what the worker held.

use std::future::{pending, ready};
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::answer::Connection;
use crate::api::MAX_HEAD;
use crate::broker::Broker;
use crate::control;
use crate::error::Error;
use crate::ledger::Entry;
use crate::settings::Settings;

/// For the request that is under way at shutdown. The longest is the end of a worker, bounded by its slowest issuer.
const LAST_ANSWER: Duration = Duration::from_secs(90);
/// For a sweep that somebody waits for: a first attempt at each, and a few more where an issuer was not there at once.
const SWEEP: Duration = Duration::from_secs(10);

/// Serves one worker and is the whole life of its process: call it in a process that was forked for it, which has no other
/// thread. Returns when the peer's end of `stream` is closed and the worker's leases are ended, with what still stands.
///
/// The process can no longer be traced or dumped by its siblings. SIGINT, SIGTERM and SIGHUP do nothing while the worker
/// lives; afterwards they end the wait for revocations that are still tried. What is the caller's part:
///
/// - nobody but the worker holds the other end of `stream`: neither this process, nor one that is forked later. The worker's
///   end is noticed by that end's closing;
/// - the three signals are blocked or ignored until this is called, or come to nobody;
/// - nobody waits on the process's standard streams once it has `started`, which is called then: it may stay for
///   [`Settings::linger`];
/// - an error is shown, with its hint: the worker only sees that the broker is gone.
pub fn serve_embedded(
    stream: StdUnixStream,
    settings: Settings,
    started: impl FnOnce() -> io::Result<()>,
) -> Result<Vec<Entry>, Error> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
    let left = runtime.block_on(async {
        let signals = Signals::catch().map_err(start)?;
        serve_stream(stream, settings, signals.next(), started).await
    });
    runtime.shutdown_background(); // a secret file on a dead network mount must not keep the process
    left
}

/// Serves one worker on the caller's runtime, with no grip on the process; otherwise as [`serve_embedded`].
pub async fn serve_connection(stream: StdUnixStream, settings: Settings) -> Result<Vec<Entry>, Error> {
    serve_stream(stream, settings, pending(), || Ok(())).await
}

async fn serve_stream(
    stream: StdUnixStream,
    settings: Settings,
    hurry: impl Future<Output = ()>,
    started: impl FnOnce() -> io::Result<()>,
) -> Result<Vec<Entry>, Error> {
    let linger = settings.linger;
    let broker = Broker::start(settings).await?;
    let operators = control::open(&broker).map_err(start)?;
    stream.set_nonblocking(true).map_err(start)?;
    let stream = UnixStream::from_std(stream).map_err(start)?;
    started().map_err(start)?;
    connection(Connection::embedded(Arc::clone(&broker)), stream, pending(), Duration::MAX).await;
    // Somebody waits for the worker, who has its last answer, and nobody for this process. Where both have one core, the worker first.
    std::thread::yield_now();
    let left = tokio::select! {
        left = settle(&broker, linger) => left,
        () = hurry => broker.ledger.kept(),
    };
    drop(operators);
    broker.ledger.finish();
    Ok(left)
}

/// Revokes what brokers that are gone left, and is no broker otherwise. Returns what still stands after one attempt each.
pub async fn sweep(settings: Settings) -> Result<Vec<Entry>, Error> {
    let broker = Broker::start(settings).await?;
    let left = settle(&broker, SWEEP).await;
    broker.ledger.finish();
    Ok(left)
}

/// Waits for the revocations that are still tried, at most this long. What stands then is in the answer.
pub(crate) async fn settle(broker: &Broker, linger: Duration) -> Vec<Entry> {
    let _ = timeout(linger, broker.ledger.settled()).await;
    broker.ledger.kept()
}

/// Serves a connection until its end, or until `shutdown`, and ends its worker. One that is no worker by the end of
/// `patience` is closed.
pub(crate) async fn connection(
    connection: Connection,
    stream: UnixStream,
    shutdown: impl Future<Output = ()> + Send + 'static,
    patience: Duration,
) {
    let connection = Arc::new(connection);
    // Tasks of their own: the worker is ended also when its connection's task panics, and when nobody waits for this.
    let whole = tokio::spawn(async move {
        if let Err(error) = tokio::spawn(http(Arc::clone(&connection), stream, shutdown, patience)).await {
            tracing::error!(%error, "a connection broke off");
        }
        connection.end().await;
    });
    if let Err(error) = whole.await {
        tracing::error!(%error, "the end of a worker broke off");
    }
}

async fn http(connection: Arc<Connection>, stream: UnixStream, shutdown: impl Future<Output = ()>, patience: Duration) {
    let mut http = pin!(
        http1::Builder::new()
            // It would run between requests, too, and a worker may need no lease for hours. A slow head keeps only its
            // sender's connection, and connections are bounded.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service_fn(|request| connection.answer(request)))
    );
    let never_a_worker = async {
        sleep(patience).await;
        if connection.is_registered() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        _ = &mut http => return, // whatever ended it, it is over
        () = shutdown => {}
        () = never_a_worker => {}
    }
    http.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER, http).await;
}

/// The signals by which people and machines end a process.
struct Signals([Signal; 3]);

impl Signals {
    fn catch() -> io::Result<Signals> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Signals([interrupt?, terminate?, hangup?]))
    }

    /// Waits for the first signal after this future is first polled. Those from before were for the worker.
    async fn next(mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        for signal in [&mut *interrupt, &mut *terminate, &mut *hangup] {
            tokio::select! { biased; _ = signal.recv() => {}, () = ready(()) => {} }
        }
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
    }
}

fn start(error: impl Into<io::Error>) -> Error {
    Error::Start(Box::new(error.into()))
}
