//! Syslog over TLS (RFC 5424 in the frames of RFC 5425).
//!
//! Enters: a batch. Leaves: its records on a connection of its own, which is closed in turn by both sides. Never: a batch called delivered
//! because it was written.
//!
//! Syslog has no acknowledgement. What there is, is the end of TLS: when we have said that nothing more comes (`close_notify`), a receiver
//! that has read so far says so in its turn. So each batch has a connection, and counts once the receiver has said its end behind ours; what
//! breaks before is sent again, whole. That a receiver closes without a word may also be the end of its process, or of something in
//! between that has read ahead of it; it counts only where log.toml says that this receiver never says more.

mod message;

use std::io;
use std::time::Duration;

use broker::outbound::Outbound;
use config::{Destination, Host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::batch::Batch;
use super::receiver::Untaken;
use crate::report::chain;

/// A receiver reads a MiB in a moment; one that is slow may have this long.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// How long a receiver may need to read what it was sent, and to close.
const CLOSE_WAIT: Duration = Duration::from_secs(15);
/// What the system of a receiver that closed too early has to say comes within a round trip.
const LATE_WORD: Duration = Duration::from_millis(500);
/// A receiver of syslog says nothing; what it says nevertheless is read and forgotten, up to here.
const MOST_SAID: usize = 64 * 1024;

const NO_WORD: &str = "it closed without a word (TLS close_notify); if it never says one, as rsyslog on GnuTLS does not, write \
                       `silent_end = true` in log.toml";

/// A receiver.
pub struct Syslog {
    outbound: Outbound,
    address: Destination,
    silent_end: bool,
    hostname: String,
}

impl Syslog {
    /// The one at this address, which may close without saying its end.
    pub fn new(outbound: Outbound, address: Destination, silent_end: bool) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { outbound, address, silent_end, hostname }
    }

    /// Sends a batch, and sees that it was read.
    ///
    /// # Errors
    /// When nobody knows that it was.
    pub async fn send(&self, batch: &Batch) -> Result<(), Untaken> {
        let frames = message::frames(batch, &self.hostname);
        if frames.is_empty() {
            return Ok(());
        }
        let host = match self.address.host() {
            Host::Name(name) => name.to_string(),
            Host::Address(address) => address.to_string(),
        };
        let connected = self.outbound.connect(&host, self.address.port()).await;
        let mut stream = connected.map_err(|error| Untaken::because(chain(&error)))?;
        let write = async {
            stream.write_all(&frames).await?;
            // `close_notify`, and the end of the TCP stream.
            stream.shutdown().await
        };
        match timeout(WRITE_WAIT, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Untaken::because(format!("the connection broke: {error}"))),
            Err(_) => return Err(Untaken::because(format!("it did not read it within {} s", WRITE_WAIT.as_secs()))),
        }
        match timeout(CLOSE_WAIT, closed(&mut stream, self.silent_end)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(Untaken::because(format!("it did not close well, and may not have read it: {error}")))
            }
            Err(_) => Err(Untaken::because(format!("it did not close within {} s", CLOSE_WAIT.as_secs()))),
        }
    }
}

/// Waits for the other side's end.
async fn closed(stream: &mut TlsStream<TcpStream>, silent_end: bool) -> io::Result<()> {
    let mut said = 0;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            // It said that it is at its end.
            Ok(0) => return Ok(()),
            Ok(more) => said += more,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && silent_end => {
                tokio::time::sleep(LATE_WORD).await;
                return stream.get_ref().0.take_error()?.map_or(Ok(()), Err);
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(io::Error::other(NO_WORD)),
            Err(error) => return Err(error),
        }
        if said > MOST_SAID {
            return Err(io::Error::other("it talks without an end"));
        }
    }
}
