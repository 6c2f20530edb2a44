//! The client's handshake, finished with a leaf for the host that the connection is for.
//!
//! Enters: a connection whose first bytes are known. Leaves: bytes in the clear with what was agreed about them.
//! Never: TLS below 1.2, a connection that waits for ever, a tunnel.

use std::sync::Arc;
use std::time::Duration;

use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::Refusal;
use crate::limit;
use crate::record::TlsLeg;

/// Finishes the handshake.
///
/// # Errors
/// [`Refusal::NotHttp`] when it fails; a client that does not trust the worker's CA is named as the cause.
pub async fn finish<S>(stream: S, leaf: Arc<ServerConfig>) -> Result<TlsStream<S>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    within(limit::HANDSHAKE_WAIT, TlsAcceptor::from(leaf).accept(stream)).await
}

async fn within<S>(
    wait: Duration,
    handshake: impl Future<Output = std::io::Result<TlsStream<S>>>,
) -> Result<TlsStream<S>, Refusal> {
    match tokio::time::timeout(wait, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Refusal::NotHttp(explain(&error))),
        Err(_) => Err(Refusal::NotHttp(format!("the TLS handshake took more than {} s", wait.as_secs()))),
    }
}

/// What a failed handshake means to the person who has to mend it.
fn explain(error: &std::io::Error) -> String {
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown,
        )) => {
            "the client does not trust the worker's CA: it brings its own list of roots, or pins its server".to_owned()
        }
        Some(error) => format!("the TLS handshake failed: {error}"),
        None => format!("the TLS handshake broke off: {error}"),
    }
}

/// What was agreed on one leg.
pub fn leg(connection: &CommonState) -> TlsLeg {
    TlsLeg {
        version: connection.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
        cipher: connection.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
    }
}
