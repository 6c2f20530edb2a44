//! A WebSocket (RFC 6455, over HTTP/2 RFC 8441), after the upstream has agreed and not before.
//!
//! Enters: both raw connections, and the record of the call. Leaves: bytes both ways until either side ends, counted. Never: a
//! placeholder to the upstream or a credential to the client: either of the two ends the connection, and of a credential not even its
//! beginning has passed. Messages pass as they are, but for those of text in which placeholders may be swapped. Compression, which
//! would hide both, is not negotiated.

mod frames;
mod inward;
mod outward;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use broker::Lease;
use config::Destination;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

pub use self::frames::{Frames, NoFrame, Part};
use self::inward::Inward;
use self::outward::Outward;
use crate::error::Refusal;
use crate::leave::Leave;
use crate::memory::Wait;
use crate::record::CallRecord;
use crate::scrub::Scrub;
use crate::seats::Seat;
use crate::swap::{Messages, Misdirected};
use crate::{limit, turn};

/// One read: a typical message whole.
const PIECE: usize = 16 * 1024;

/// Why one direction ended.
enum End {
    Closed,
    Broke(String),
    Cut(Refusal),
    Misdirected(Misdirected),
}

/// What one direction does.
enum Wrote {
    /// It has begun to write.
    Begun,
    /// It has written so many bytes; whether all so far end with a frame.
    Bytes(usize, bool),
}

/// Looks at a part of one direction's frames, and adds what may be sent on.
type Look = Box<dyn FnMut(&Part, &mut Vec<u8>) -> Result<(), End> + Send>;

/// A WebSocket that a client asks for.
pub(super) struct Asked {
    pub(super) client: OnUpgrade,
    /// What may be in what the client sends.
    pub(super) messages: Box<Messages>,
    /// The credential for it, where one may be.
    pub(super) lease: Option<Arc<Lease>>,
    /// The place of its connection, and where that goes.
    pub(super) seat: Arc<Seat>,
    pub(super) to: Destination,
    /// What is held of it while its client does not read.
    pub(super) unread: Wait,
}

/// Makes an upstream's agreement (101) one that the client understands: over HTTP/2 it is a plain 200, and no key was agreed on
/// (RFC 8441 section 5).
pub(super) fn agree_with(version: Version, parts: &mut Parts) {
    if version == Version::HTTP_2 {
        parts.status = StatusCode::OK;
        for name in [SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS] {
            parts.headers.remove(name);
        }
    } else {
        upgrade(&mut parts.headers);
    }
}

/// Makes a head one of an upgrade on the next hop, without extensions: asked for, and agreed to.
pub(super) fn upgrade(headers: &mut HeaderMap) {
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Waits for both upgrades and carries bytes until one side ends. What was carried off is returned, to be recorded as an alert.
pub(super) async fn carry(
    Asked { client, messages, lease, seat, to, unread }: Asked,
    upstream: OnUpgrade,
    scrub: Scrub,
    (leave, mut record): (Leave, CallRecord),
) -> Option<Misdirected> {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            record.broken(error.to_string());
            return None;
        }
    };
    // Nothing has come that it could read.
    unread.over();
    let (client_in, mut client_out) = split(TokioIo::<Upgraded>::new(client));
    let (upstream_in, mut upstream_out) = split(TokioIo::<Upgraded>::new(upstream));
    let (sent, received, whole) = (record.sent(), AtomicU64::new(0), AtomicBool::new(true));
    let mut outward = Outward::new(*messages, lease, record.sent());
    let mut inward = Inward::new(&scrub);
    let out: Look = Box::new(move |part, out| outward.push(part, out));
    let up = copy(client_in, &mut upstream_out, (Frames::new(true), out), |wrote| {
        if let Wrote::Bytes(bytes, _) = wrote {
            sent.bytes(bytes);
        }
    });
    let back: Look = Box::new(move |part, out| inward.push(part, out));
    let down = copy(upstream_in, &mut client_out, (Frames::new(false), back), |wrote| match wrote {
        Wrote::Begun => {
            whole.store(false, Ordering::Relaxed);
            unread.again();
        }
        Wrote::Bytes(bytes, is_whole) => {
            whole.store(is_whole, Ordering::Relaxed);
            received.fetch_add(bytes as u64, Ordering::Relaxed);
            unread.over();
        }
    });
    // Either side's end is the end of both: a WebSocket closes with a frame first, there is nothing left to say.
    let end = tokio::select! {
        end = up => end,
        end = down => end,
        refusal = leave.withdrawn() => End::Cut(refusal),
        left = seat.ended() => left.refusal(&to).map_or(End::Closed, End::Cut),
    };
    record.received(received.load(Ordering::Relaxed));
    match end {
        End::Closed => record.done(),
        End::Broke(reason) => record.broken(reason),
        End::Cut(refusal) => record.cut(refusal.to_string()),
        End::Misdirected(misdirected) => {
            record.broken(misdirected.to_string());
            // Within a frame there is no place for another.
            if whole.load(Ordering::Relaxed) {
                tell(&mut client_out, &misdirected).await;
            }
            return Some(misdirected);
        }
    }
    None
}

/// Closes towards the client and says why, as far as it still listens.
async fn tell(client: &mut (impl AsyncWrite + Unpin), misdirected: &Misdirected) {
    let close = frames::close(&misdirected.to_string());
    let telling = async {
        client.write_all(&close).await?;
        client.shutdown().await
    };
    let _ = tokio::time::timeout(limit::CLOSE_WAIT, telling).await;
}

async fn copy(
    from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    look: (Frames, Look),
    count: impl Fn(Wrote),
) -> End {
    match passing(from, to, look, count).await {
        Ok(()) => End::Closed,
        Err(end) => end,
    }
}

/// Carries one direction. `count` is told what it does.
async fn passing(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    (mut frames, mut look): (Frames, Look),
    count: impl Fn(Wrote),
) -> Result<(), End> {
    let broke = |error: std::io::Error| End::Broke(error.to_string());
    let mut piece = vec![0; PIECE];
    let mut out = Vec::new();
    loop {
        let read = match tokio::time::timeout(limit::BODY_IDLE, from.read(&mut piece)).await {
            Ok(Ok(0)) => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Ok(read) => read.map_err(broke)?,
            Err(_) => return Err(End::Broke(format!("no byte for {} s", limit::BODY_IDLE.as_secs()))),
        };
        let no_frame = |_| End::Broke("what was sent is not a WebSocket frame".to_owned());
        for part in frames.push(&piece[..read]).map_err(no_frame)? {
            look(&part, &mut out)?;
            turn::slice().await;
        }
        if !out.is_empty() {
            count(Wrote::Begun);
            to.write_all(&out).await.map_err(broke)?;
            to.flush().await.map_err(broke)?;
            count(Wrote::Bytes(out.len(), frames.is_between()));
            out.clear();
        }
    }
}
