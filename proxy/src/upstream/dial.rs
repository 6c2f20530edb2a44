//! A TCP connection to an address that was checked.
//!
//! Enters: the addresses that may be dialled, in their order. Leaves: a stream to the first that answers. Never: another
//! address, a second lookup, a wait without an end.

use std::net::SocketAddr;

use config::Destination;
use tokio::net::TcpStream;

use crate::error::Refusal;
use crate::limit;

/// Tries one address after the other.
pub(super) async fn any_of(
    destination: &Destination,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), Refusal> {
    let mut last = ("it has no address".to_owned(), false);
    for &address in addresses {
        last = match tokio::time::timeout(limit::CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Answers are forwarded as they come; waiting to fill a segment only adds latency.
                let _ = stream.set_nodelay(true);
                return Ok((stream, address));
            }
            Ok(Err(error)) => (format!("{address}: {error}"), false),
            Err(_) => (format!("{address}: no connection within {} s", limit::CONNECT_WAIT.as_secs()), true),
        };
    }
    Err(Refusal::Unreachable { destination: destination.clone(), reason: last.0, timed_out: last.1 })
}
