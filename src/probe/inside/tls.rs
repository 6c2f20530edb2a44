//! A TLS client that says what an attacker would, and talks to nobody but exeat.
//!
//! Enters: an address, a server name or none, and bytes. Leaves: the answer. Never: a byte of a request to a peer whose certificate is
//! not of a worker's authority: with the wall down that would be a real server.

use std::io::{self, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::answer::{Answer, PATIENCE, Timed};
use super::http2::Streams;

/// The name of a worker's authority, which stands in every leaf it makes.
const AUTHORITY: &[u8] = b"exeat worker CA";

/// What a handshake fails with that reached somebody else.
const NOT_EXEAT: &str = "not of a worker's authority";

/// A connection whose handshake is over.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// How a connection begins.
pub(super) struct Hello<'a> {
    pub(super) to: SocketAddr,
    /// SNI; `None` sends none.
    pub(super) server_name: Option<&'a str>,
    /// How many requests are made over HTTP/2; none: HTTP/1.1 is spoken.
    pub(super) http2: usize,
}

/// Between two pieces, so that each of them arrives by itself.
pub(super) const PAUSE: Duration = Duration::from_millis(40);

/// Says something over TLS, and listens.
pub(super) fn exchange(hello: &Hello<'_>, bytes: &[u8]) -> io::Result<Answer> {
    in_pieces(hello, &[bytes])
}

/// The same, one piece after the other.
pub(super) fn in_pieces(hello: &Hello<'_>, pieces: &[&[u8]]) -> io::Result<Answer> {
    let mut stream = match open(hello)? {
        Ok(stream) => stream,
        Err(another) => return Ok(another),
    };
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            std::thread::sleep(PAUSE);
        }
        // It may have answered before it closed.
        if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
            break;
        }
    }
    match hello.http2 {
        0 => Answer::read(&mut stream, PATIENCE),
        // A server begins with its settings, which say nothing of how soon more will come.
        requests => Answer::read_until(&mut stream, PATIENCE, |bytes| {
            Streams::read(bytes).is_some_and(|read| read.are_over(requests))
        }),
    }
}

/// A connection to exeat, or what stands for the answer of somebody else.
pub(super) fn open(hello: &Hello<'_>) -> io::Result<Result<Stream, Answer>> {
    let stream = TcpStream::connect_timeout(&hello.to, PATIENCE)?;
    // Otherwise a request waits for the handshake's last piece to be acknowledged, which takes forty milliseconds.
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let name = match hello.server_name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(Error::other)?,
        None => ServerName::IpAddress(hello.to.ip().into()),
    };
    let connection = ClientConnection::new(Arc::new(client(hello)?), name).map_err(Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        match stream.conn.complete_io(&mut stream.sock) {
            Ok(_) => {}
            // An alert, or no more bytes: refused before anything could be said.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::new(io::ErrorKind::ConnectionReset, "closed during the TLS handshake"));
            }
            Err(error) if is_another(&error) => return Ok(Err(Answer::of("a certificate that is not exeat's"))),
            Err(error) => return Err(refusal(error)),
        }
    }
    Ok(Ok(stream))
}

fn is_another(error: &Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::General(said)) if said == NOT_EXEAT)
}

/// A TLS alert of the other side is a refusal like a reset; all else is told as it is.
fn refusal(error: Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::new(io::ErrorKind::ConnectionReset, format!("TLS alert {alert:?}"))
        }
        _ => error,
    }
}

impl<S: Timed + Read + Write> Timed for StreamOwned<ClientConnection, S> {
    fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.sock.wait_at_most(patience)
    }
}

fn client(hello: &Hello<'_>) -> io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OfExeat(provider)))
        .with_no_client_auth();
    client.enable_sni = hello.server_name.is_some();
    client.alpn_protocols = vec![if hello.http2 > 0 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(client)
}

/// Any name, any date, but a worker's authority: an attacker does not care, and nobody else is talked to.
#[derive(Debug)]
struct OfExeat(Arc<CryptoProvider>);

impl ServerCertVerifier for OfExeat {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if leaf.windows(AUTHORITY.len()).any(|window| window == AUTHORITY) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(NOT_EXEAT.to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
