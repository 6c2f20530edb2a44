//! The client's handshake, finished with a leaf for the host that the connection is for.
//!
//! Enters: a connection whose first bytes are known. Leaves: bytes in the clear with what was agreed about them.
//! Never: TLS below 1.2, a connection that waits for ever, a tunnel.

use std::sync::Arc;

use config::Destination;
use record::TlsLeg;
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::{Fault, Refusal};
use crate::limit;

/// Finishes the handshake of a client of `destination`.
///
/// # Errors
/// [`Refusal::CaNotTrusted`] where the client does not take the worker's CA, [`Refusal::ClientTls`] for whatever else went wrong.
pub async fn finish<S>(stream: S, leaf: Arc<ServerConfig>, destination: &Destination) -> Result<TlsStream<S>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(limit::HANDSHAKE_WAIT, TlsAcceptor::from(leaf).accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(explain(&error, destination)),
        Err(_) => {
            let reason = format!("it took more than {} s", limit::HANDSHAKE_WAIT.as_secs());
            Err(Refusal::ClientTls(destination.clone(), reason))
        }
    }
}

/// Ends a handshake of which only the client's first message has come, by an alert that says whose fault it is (RFC 8446 section 6.2).
pub async fn refuse<S: AsyncWrite + Unpin>(mut stream: S, refusal: &Refusal) {
    const ACCESS_DENIED: u8 = 49;
    const INTERNAL_ERROR: u8 = 80;
    let alert = match refusal.fault() {
        Fault::Client | Fault::Policy => ACCESS_DENIED,
        Fault::Upstream | Fault::Broker | Fault::Ours => INTERNAL_ERROR,
    };
    // A client that has gone need not be told.
    let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await;
    let _ = stream.shutdown().await;
}

/// What a failed handshake means to the person who has to mend it.
fn explain(error: &std::io::Error, destination: &Destination) -> Refusal {
    use rustls::{AlertDescription as A, Error};
    let destination = destination.clone();
    let alert = match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => *alert,
        Some(error) => return Refusal::ClientTls(destination, error.to_string()),
        None => return Refusal::ClientTls(destination, format!("it broke off: {error}")),
    };
    // The names of RFC 8446 section 6, under which a client's own messages and its manual have them.
    let alert = match alert {
        A::UnknownCA => "unknown_ca",
        A::BadCertificate => "bad_certificate",
        A::UnsupportedCertificate => "unsupported_certificate",
        A::CertificateUnknown => "certificate_unknown",
        A::CertificateExpired => {
            let reason = "the client takes exeat's certificate, made a moment ago, for expired: look at its clock";
            return Refusal::ClientTls(destination, reason.to_owned());
        }
        other => return Refusal::ClientTls(destination, format!("the client ended it with the alert {other:?}")),
    };
    Refusal::CaNotTrusted { destination, alert }
}

/// What was agreed on one leg.
pub fn leg(connection: &CommonState) -> TlsLeg {
    TlsLeg {
        version: connection.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
        cipher: connection.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        group: connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
    }
}
