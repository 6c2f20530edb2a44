//! The client's handshake, finished with a leaf for the host that the connection is for.
//!
//! Enters: a connection whose first bytes are known. Leaves: bytes in the clear with what was agreed about them.
//! Never: TLS below 1.2, a connection that waits for ever, a tunnel.

use std::sync::Arc;

use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limit;
use crate::record::TlsLeg;

/// Finishes the handshake.
///
/// # Errors
/// What went wrong, in words; a client that does not trust the worker's CA is named as the cause.
pub async fn finish<S>(stream: S, leaf: Arc<ServerConfig>) -> Result<TlsStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(limit::HANDSHAKE_WAIT, TlsAcceptor::from(leaf).accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(format!("it took more than {} s", limit::HANDSHAKE_WAIT.as_secs())),
    }
}

/// What a failed handshake means to the person who has to mend it.
fn explain(error: &std::io::Error) -> String {
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown,
        )) => {
            "the client does not trust the worker's CA: it brings its own list of roots (point its own variable, such as \
             SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE or JAVA_TOOL_OPTIONS, at what the sandbox sets there, and \
             do not unset them), or it pins its server, and then it cannot be served"
                .to_owned()
        }
        Some(error) => error.to_string(),
        None => format!("it broke off: {error}"),
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
