//! A WebSocket (RFC 6455), after the upstream has said 101 and not before.
//!
//! Enters: both raw connections, and the record of the call. Leaves: bytes both ways until either side ends, counted. Never: a
//! placeholder to the upstream or a credential to the client. Messages are not rewritten, which would mean framing them anew;
//! either of the two ends the connection. Compression, which would hide them, is not negotiated.

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
use crate::limit;
use crate::record::CallRecord;
use crate::scrub::Scrub;
use crate::swap::Swap;

/// One read: a typical message whole.
const PIECE: usize = 16 * 1024;

/// Looks at the payload of one direction; an error ends the connection and says why.
type Look = Box<dyn FnMut(&[u8]) -> Result<(), String> + Send>;

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

/// Waits for both upgrades and carries bytes until one side ends.
pub(super) async fn carry(
    client: OnUpgrade,
    upstream: OnUpgrade,
    (swap, scrub): (Swap, Scrub),
    sent: Arc<AtomicU64>,
    mut record: CallRecord,
) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => return record.broken(error.to_string()),
    };
    let (client_in, client_out) = split(TokioIo::<Upgraded>::new(client));
    let (upstream_in, upstream_out) = split(TokioIo::<Upgraded>::new(upstream));
    let received = AtomicU64::new(0);
    let up = copy(client_in, upstream_out, placeholders(&swap), &sent);
    let down = copy(upstream_in, client_out, credentials(&scrub), &received);
    // Either side's end is the end of both: a WebSocket closes with a frame first, there is nothing left to say.
    let outcome = tokio::select! { outcome = up => outcome, outcome = down => outcome };
    record.received(received.load(Ordering::Relaxed));
    match outcome {
        Ok(()) => record.done(),
        Err(reason) => record.broken(reason),
    }
}

fn placeholders(swap: &Swap) -> Look {
    let mut watch = swap.body();
    Box::new(move |payload| watch.push(payload).map_err(|misdirected| misdirected.to_string()))
}

fn credentials(scrub: &Scrub) -> Look {
    let count = Arc::new(AtomicU64::new(0));
    let mut body = scrub.body(Arc::clone(&count));
    Box::new(move |payload| {
        body.push(Bytes::copy_from_slice(payload));
        match count.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err("the upstream sent a credential, which does not enter the sandbox".to_owned()),
        }
    })
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: Look,
    count: &AtomicU64,
) -> Result<(), String> {
    let mut frames = Frames::default();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match tokio::time::timeout(limit::BODY_IDLE, from.read(&mut piece)).await {
            Ok(Ok(0)) => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Ok(read) => read.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("no byte for {} s", limit::BODY_IDLE.as_secs())),
        };
        let payload = frames.push(&piece[..read]).map_err(|_| "what was sent is not a WebSocket frame".to_owned())?;
        look(&payload)?;
        to.write_all(&piece[..read]).await.map_err(|error| error.to_string())?;
        to.flush().await.map_err(|error| error.to_string())?;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}
