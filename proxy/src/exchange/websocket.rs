//! A WebSocket (RFC 6455), after the upstream has said 101 and not before.
//!
//! Enters: both raw connections, and the record of the call. Leaves: bytes both ways until either side ends, counted. Never: a
//! placeholder to the upstream or a credential to the client. Messages are not rewritten, which would mean framing them anew;
//! either of the two ends the connection, and of a credential not even its beginning has passed. Compression, which would hide
//! them, is not negotiated.

mod frames;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use self::frames::Frames;
use crate::error::Refusal;
use crate::leave::Leave;
use crate::limit;
use crate::record::CallRecord;
use crate::scrub::Scrub;
use crate::swap::{BodyWatch, Misdirected};

/// One read: a typical message whole.
const PIECE: usize = 16 * 1024;

/// What may be the beginning of a credential is held back; this much of one is too short to tell, and passes with the message
/// that it ends. Otherwise a message that happens to end like a credential begins would wait for the next.
const TELLING: u64 = 8;
/// Held back at most, until it is clear what it is.
const HELD: usize = 1024 * 1024;

/// What may be done with what came.
enum Pass {
    Now,
    /// More has to come before that is clear.
    Later,
}

/// Why one direction ended.
enum End {
    Closed,
    Broke(String),
    Cut(Refusal),
    Misdirected(Misdirected),
}

/// Looks at the payload of one direction, and is told whether a message ends with it.
type Look = Box<dyn FnMut(&[u8], bool) -> Result<Pass, End> + Send>;

/// Asks for the upgrade again on the next hop, without extensions.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    agree(headers);
}

/// The two fields that make a head one of an upgrade.
pub(super) fn agree(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Waits for both upgrades and carries bytes until one side ends. What was carried off is returned, to be recorded as an alert.
pub(super) async fn carry(
    client: OnUpgrade,
    upstream: OnUpgrade,
    (watch, scrub): (BodyWatch, Scrub),
    (leave, mut record): (Leave, CallRecord),
) -> Option<Misdirected> {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            record.broken(error.to_string());
            return None;
        }
    };
    let (client_in, client_out) = split(TokioIo::<Upgraded>::new(client));
    let (upstream_in, upstream_out) = split(TokioIo::<Upgraded>::new(upstream));
    let (sent, received) = (record.sent(), AtomicU64::new(0));
    let up = copy(client_in, upstream_out, placeholders(watch), |bytes| sent.bytes(bytes));
    let down = copy(upstream_in, client_out, credentials(&scrub), |bytes| {
        received.fetch_add(bytes as u64, Ordering::Relaxed);
    });
    // Either side's end is the end of both: a WebSocket closes with a frame first, there is nothing left to say.
    let end = tokio::select! {
        end = up => end,
        end = down => end,
        refusal = leave.withdrawn() => End::Cut(refusal),
    };
    record.received(received.load(Ordering::Relaxed));
    match end {
        End::Closed => record.done(),
        End::Broke(reason) => record.broken(reason),
        End::Cut(refusal) => record.cut(refusal.to_string()),
        End::Misdirected(misdirected) => {
            record.broken(misdirected.to_string());
            return Some(misdirected);
        }
    }
    None
}

fn placeholders(mut watch: BodyWatch) -> Look {
    Box::new(move |payload, _| watch.push(payload).map(|()| Pass::Now).map_err(End::Misdirected))
}

fn credentials(scrub: &Scrub) -> Look {
    let count = Arc::new(AtomicU64::new(0));
    let mut body = scrub.body(Arc::clone(&count));
    let mut held = 0;
    Box::new(move |payload, message_ends| {
        let clear = body.push(Bytes::copy_from_slice(payload));
        if count.load(Ordering::Relaxed) > 0 {
            let reason = "the upstream sent a credential, which does not enter the sandbox";
            return Err(End::Broke(reason.to_owned()));
        }
        // Nothing was replaced, so what did not come out is what is held.
        held = held + payload.len() as u64 - clear.len() as u64;
        Ok(if held == 0 || message_ends && held < TELLING { Pass::Now } else { Pass::Later })
    })
}

async fn copy(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, look: Look, count: impl Fn(usize)) -> End {
    match passing(from, to, look, count).await {
        Ok(()) => End::Closed,
        Err(end) => end,
    }
}

async fn passing(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: Look,
    count: impl Fn(usize),
) -> Result<(), End> {
    let broke = |error: std::io::Error| End::Broke(error.to_string());
    let mut frames = Frames::default();
    let mut piece = vec![0; PIECE];
    let mut waiting = Vec::new();
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
        let payload = frames.push(&piece[..read]).map_err(no_frame)?;
        waiting.extend_from_slice(&piece[..read]);
        match look(&payload, frames.between_messages())? {
            Pass::Now => {
                to.write_all(&waiting).await.map_err(broke)?;
                to.flush().await.map_err(broke)?;
                count(waiting.len());
                waiting.clear();
            }
            Pass::Later if waiting.len() > HELD => {
                return Err(End::Broke("what the upstream sends looks like a credential without end".to_owned()));
            }
            Pass::Later => {}
        }
    }
}
