//! A connection that is carried unread, where its rule says so.
//!
//! Enters: a connection whose destination's rule has `tls = "passthrough"` (a client that pins its server) or `tls = "tcp"` (a
//! protocol that is neither TLS nor HTTP), and the permit for it. Leaves: the same bytes at the checked address, and a record of
//! start and end. Never: a credential; a placeholder that can be seen; a byte upstream before the start is in the log; a tunnel
//! that outlives its rule.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::{Policy, TlsMode, TunnelPermit};
use record::TunnelStart;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::connection::Accepted;
use crate::error::Refusal;
use crate::leave::Leave;
use crate::limit;
use crate::record::{CallRecord, Sent};
use crate::serve::Worker;
use crate::swap::{Misdirected, Swap};
use crate::terminate;

/// Carries bytes both ways until both sides are done, neither says a thing for too long, its time is over, the rule is gone or
/// the worker stops.
///
/// # Errors
/// What kept it from being begun, or a placeholder that was carried; the caller records it. What else came after its start is in
/// the record's end.
pub async fn carry<S>(
    worker: &Arc<Worker>,
    mut stream: S,
    accepted: &Accepted,
    (policy, permit): (Arc<Policy>, TunnelPermit),
) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let permit = Arc::new(permit);
    let sent = Sent::default();
    if accepted.account.waits() {
        accepted.account.turn(&worker.stop).await;
    }
    let mut record = match begin(worker, accepted, &permit, &sent) {
        Ok(record) => record,
        Err(refusal) => {
            tell(&mut stream, permit.mode(), &refusal).await;
            return Err(refusal);
        }
    };
    let leave = Leave::new(worker, accepted.seat.busy(), policy, None, again(&permit));
    let dialled = tokio::select! {
        biased;
        refusal = leave.clone().withdrawn() => Err(refusal),
        dialled = worker.upstream.dial(permit.route()) => dialled,
    };
    let (upstream, reached) = match dialled {
        Ok(dialled) => dialled,
        Err(refusal) => {
            tell(&mut stream, permit.mode(), &refusal).await;
            record.not_opened(refusal.to_string());
            return Ok(());
        }
    };
    record.dialled(&reached);
    let flow = Flow::new(sent);
    let ended = between(&worker.swap, leave, &flow, stream, upstream).await;
    record.received(flow.received.load(Ordering::Relaxed));
    match ended {
        Ok(()) => record.done(),
        Err(Ended::Because(reason)) => record.broken(reason),
        Err(Ended::Cut(refusal)) => record.cut(refusal.to_string()),
        Err(Ended::Misdirected(misdirected)) => {
            record.broken(misdirected.to_string());
            return Err(misdirected.into());
        }
    }
    Ok(())
}

/// Everything that has to be so before anything is dialled.
fn begin(worker: &Worker, accepted: &Accepted, permit: &TunnelPermit, sent: &Sent) -> Result<CallRecord, Refusal> {
    worker.goes_on()?;
    worker.swap.host(&accepted.destination)?;
    worker.rates.admit(permit.rule(), permit.rate())?;
    let start = TunnelStart {
        call: worker.next_call(),
        connection: accepted.account.number,
        to: accepted.destination.to_string(),
        tls: permit.mode().as_str().to_owned(),
        rule: permit.rule().to_string(),
        policy: permit.policy().to_owned(),
    };
    CallRecord::start_tunnel(&accepted.account, start, sent.clone())
}

/// A client of TLS that trusts nobody but its server can still read an alert (RFC 8446 section 6.2). Of raw TCP nothing is known
/// that it could read.
async fn tell<S: AsyncWrite + Unpin>(stream: &mut S, mode: TlsMode, refusal: &Refusal) {
    if mode == TlsMode::Passthrough {
        terminate::refuse(stream, refusal).await;
    }
}

/// Why it did not end by itself.
enum Ended {
    Because(String),
    Cut(Refusal),
    Misdirected(Misdirected),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Because(format!("it broke off: {error}"))
    }
}

async fn between<A, B>(swap: &Swap, leave: Leave, flow: &Flow, client: A, upstream: B) -> Result<(), Ended>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let both = async {
        tokio::try_join!(outward(from_client, to_upstream, flow, swap), inward(from_upstream, to_client, flow))
    };
    let because = |reason: String| Err(Ended::Because(reason));
    tokio::select! {
        both = both => both.map(drop),
        () = flow.idle() => because(format!("no byte either way for {} s", limit::TUNNEL_IDLE.as_secs())),
        () = tokio::time::sleep(limit::TUNNEL_LIFE) => because(format!("it was open for {} s", limit::TUNNEL_LIFE.as_secs())),
        refusal = leave.withdrawn() => Err(Ended::Cut(refusal)),
    }
}

/// What a later policy is asked: to open the same tunnel.
fn again(permit: &Arc<TunnelPermit>) -> impl Fn(&Policy) -> Result<(), Refusal> + Send + Sync + 'static {
    let permit = Arc::clone(permit);
    move |policy| {
        let destination = permit.route().destination();
        let now = policy.connect(destination).map_err(Refusal::Denied)?.tunnel();
        let same = now.is_some_and(|now| now.goes_as(&permit));
        if same { Ok(()) } else { Err(Refusal::NoLongerUnread(destination.clone())) }
    }
}

/// What has passed, and when last.
struct Flow {
    sent: Sent,
    received: AtomicU64,
    begun: Instant,
    /// Milliseconds from the beginning.
    last: AtomicU64,
}

impl Flow {
    fn new(sent: Sent) -> Self {
        let (received, last) = Default::default();
        Self { sent, received, begun: Instant::now(), last }
    }

    fn passed(&self) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    /// Ends once nothing has passed for too long.
    async fn idle(&self) {
        loop {
            let until = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit::TUNNEL_IDLE;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// From the client, to its end, which is passed on. A placeholder that is not inside TLS is seen here, and goes no further.
async fn outward<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, flow: &Flow, swap: &Swap) -> Result<(), Ended>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let mut watch = swap.stream();
    let mut buffer = vec![0; limit::TUNNEL_BUFFER];
    loop {
        let piece = match from.read(&mut buffer).await? {
            0 => break,
            length => &buffer[..length],
        };
        flow.passed();
        if !swap.is_empty() {
            watch.push(piece).map_err(Ended::Misdirected)?;
        }
        to.write_all(piece).await?;
        to.flush().await?;
        flow.sent.bytes(piece.len());
    }
    Ok(to.shutdown().await?)
}

/// From the upstream, to its end, which is passed on.
async fn inward<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, flow: &Flow) -> Result<(), Ended>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let mut buffer = vec![0; limit::TUNNEL_BUFFER];
    loop {
        let piece = match from.read(&mut buffer).await? {
            0 => return Ok(to.shutdown().await?),
            length => &buffer[..length],
        };
        flow.passed();
        to.write_all(piece).await?;
        to.flush().await?;
        flow.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_for_too_long_is_let_go_and_a_byte_starts_the_wait_anew() {
        let flow = Flow::new(Sent::default());
        let begun = Instant::now();
        let later = async {
            tokio::time::sleep(limit::TUNNEL_IDLE / 2).await;
            flow.passed();
            std::future::pending::<()>().await;
        };
        tokio::select! { () = flow.idle() => {}, () = later => {} }
        assert_eq!(begun.elapsed().as_secs(), (limit::TUNNEL_IDLE / 2 + limit::TUNNEL_IDLE).as_secs());
    }
}
