//! One request to an issuer, or to who else is told something, and its answer.
//!
//! Enters: an [`Endpoint`] and a [`Message`]. Leaves: status and body. The connection is HTTPS,
//! verified against the system's roots and those that the credential adds; plain HTTP goes to a loopback address only.
//! It shows a client certificate to
//! nobody but whom it was given for. It never follows a redirect, never sends a cookie, never reuses a connection, and never waits or reads without bound.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::ClientCertificate;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// Name look-up, TCP and TLS: an issuer that needs longer is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole exchange. Below the 20 s that a call waits for its lease.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Issuers answer with a few KiB; a proxy's error page may be longer.
const MAX_BODY: usize = 1024 * 1024;
/// A head of an answer, and how many fields it may have.
const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 128;
/// Exchanges at a time, for each credential: a thousand workers that end together must not open a thousand connections,
/// and one slow issuer must not take another's turn.
const MAX_EXCHANGES: usize = 16;

/// An address to which a secret may be sent: HTTPS, or HTTP to a loopback address; no userinfo, no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: bool,
    authority: String,
    target: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.target)
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
        let authority = uri.authority().ok_or("it has no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) => false,
            Some("http") => return Err("plain http goes to a loopback address only"),
            _ => return Err("its scheme is not https"),
        };
        if authority.as_str().contains('@') || url.contains('#') {
            return Err("it has a user name or a fragment");
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Endpoint { host, port, tls, authority: authority.to_string(), target })
    }
}

/// What is sent to an endpoint.
pub struct Message {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    /// A request without a body, for an answer in JSON.
    pub fn new(method: Method) -> Message {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Message { method, headers, body: Bytes::new() }
    }

    /// A form, posted.
    pub(crate) fn form(form: Bytes) -> Message {
        Message::new(Method::POST).with_body("application/x-www-form-urlencoded", form)
    }

    /// A body of this kind.
    pub fn with_body(self, kind: &'static str, body: Bytes) -> Message {
        Message { body, ..self }.with(CONTENT_TYPE, HeaderValue::from_static(kind))
    }

    /// A header, in the place of any of this name.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Message {
        self.headers.insert(name, value);
        self
    }

    /// Who asks, if it is shown in a header.
    pub(crate) fn authorized(self, value: Option<HeaderValue>) -> Message {
        match value {
            Some(value) => self.with(AUTHORIZATION, value),
            None => self,
        }
    }
}

/// What an endpoint answered.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// The whole of its body.
    pub body: Zeroizing<Vec<u8>>,
}

/// The way out to one issuer.
pub struct Outbound {
    tls: TlsConnector,
    exchanges: Semaphore,
}

/// The system's roots. A machine without any still reaches an issuer whose roots the credential names.
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's roots cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

impl Outbound {
    /// Trusts the `system`'s roots and those in the PEM files `extra`.
    pub(crate) fn new(system: &RootCertStore, extra: &[PathBuf]) -> Result<Outbound, RootsError> {
        Outbound::showing(system, extra, None, &[b"http/1.1"])
    }

    /// The same, with the certificate that whoever asks is shown, and the protocols to be spoken inside TLS.
    ///
    /// # Errors
    /// When a file of roots cannot be used.
    pub fn showing(
        system: &RootCertStore,
        extra: &[PathBuf],
        client: Option<&ClientCertificate>,
        protocols: &[&[u8]],
    ) -> Result<Outbound, RootsError> {
        let mut roots = system.clone();
        for path in extra {
            add_roots(&mut roots, path).map_err(|source| RootsError { path: path.clone(), source })?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| RootsError { path: PathBuf::new(), source: error.into() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if let Some(client) = client {
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(client.certified())));
        }
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Outbound { tls: TlsConnector::from(Arc::new(config)), exchanges: Semaphore::new(MAX_EXCHANGES) })
    }

    /// Sends a message and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn send(&self, endpoint: &Endpoint, message: Message) -> Result<Answer, OutboundError> {
        let exchange = async {
            let _turn = self.exchanges.acquire().await.map_err(|_| OutboundError::TooSlow)?;
            if endpoint.tls {
                let stream = self.connect(&endpoint.host, endpoint.port).await?;
                exchange(stream, endpoint, message).await
            } else {
                let stream = in_time(connect(&endpoint.host, endpoint.port)).await?;
                exchange(stream, endpoint, message).await
            }
        };
        timeout(EXCHANGE_TIMEOUT, exchange).await.unwrap_or(Err(OutboundError::TooSlow))
    }

    /// A connection over TLS to whom `host` (a name, or an address without brackets) belongs.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, OutboundError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| OutboundError::NotAHost)?;
        in_time(async { self.tls.connect(name, connect(host, port).await?).await.map_err(OutboundError::Tls) }).await
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, OutboundError> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn in_time<T>(connect: impl Future<Output = Result<T, OutboundError>>) -> Result<T, OutboundError> {
    timeout(CONNECT_TIMEOUT, connect).await.unwrap_or(Err(OutboundError::NoConnection))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    endpoint: &Endpoint,
    Message { method, headers, body }: Message,
) -> Result<Answer, OutboundError> {
    let mut request = Request::builder()
        .method(method)
        .uri(&endpoint.target)
        .header(HOST, &endpoint.authority)
        .body(Full::new(body))
        .map_err(|_| OutboundError::NotAHost)?;
    request.headers_mut().extend(headers);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(OutboundError::Http)?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(OutboundError::Http)?;
    let (head, mut incoming) = response.into_parts();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(frame) = incoming.frame().await {
        let bytes = frame.map_err(OutboundError::Http)?.into_data().unwrap_or_default();
        if body.len() + bytes.len() > MAX_BODY {
            return Err(OutboundError::TooLong);
        }
        body.extend_from_slice(&bytes);
    }
    drop(connection);
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// The connection's task ends with the exchange, also when that is cancelled.
struct AbortOnDrop(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    match roots.len() > before {
        true => Ok(()),
        false => Err("it holds no certificate".into()),
    }
}

/// Roots that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot take the roots in `{}`", path.display())]
pub struct RootsError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why there is no answer from an issuer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Nothing that could be connected to.
    #[error("its host is not a name or address")]
    NotAHost,
    /// No connection.
    #[error("no connection")]
    Connect(#[from] io::Error),
    /// None in time.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    NoConnection,
    /// Whoever answers does not prove who it is, or does not take who we are.
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    /// What came is no answer.
    #[error("the answer is broken")]
    Http(#[source] hyper::Error),
    /// It takes too long.
    #[error("no whole answer within {} s", EXCHANGE_TIMEOUT.as_secs())]
    TooSlow,
    /// It is too much.
    #[error("the answer is longer than {MAX_BODY} bytes")]
    TooLong,
}

impl OutboundError {
    /// Whether the issuer may have had the request.
    pub(crate) fn may_have_arrived(&self) -> bool {
        match self {
            OutboundError::NotAHost | OutboundError::Connect(_) | OutboundError::NoConnection => false,
            OutboundError::Tls(_) => false,
            OutboundError::Http(_) | OutboundError::TooSlow | OutboundError::TooLong => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let plain: Endpoint = "http://[::1]:8080/t?x=1".parse().unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.tls, plain.target.as_str()), ("::1", 8080, false, "/t?x=1"));
        let https: Endpoint = "https://login.example".parse().unwrap();
        assert_eq!(
            (https.port, https.target.as_str(), https.to_string().as_str()),
            (443, "/", "https://login.example/")
        );
        for bad in [
            "http://login.example/t",
            "http://localhost/t",
            "https://user@login.example/t",
            "https://h/t#x",
            "ftp://h/t",
            "/t",
            "",
            "https://",
            "http://127.0.0.1.example/t",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
