//! From a permit to the answer of the one upstream it names.
//!
//! Enters: a [`CallPermit`] and the request as it shall be sent. Leaves: the answer's head and streaming body, with the address
//! and TLS it came over. Never: a destination that is not in the permit, an address that was not checked, a peer that did not
//! prove its name, the worker's own CA among the roots.

mod pool;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use config::{CallPermit, Destination, Host, Scheme};
use http::header::{CONNECTION, HOST, HeaderValue, TE};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::pool::{Key, Pool};
use crate::error::Refusal;
use crate::record::TlsLeg;
use crate::{limit, resolve, terminate};

/// What goes wrong inside a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way, of whatever kind.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// The upstream side of one worker: roots, session cache, connections.
#[derive(Debug)]
pub struct Upstream {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    pool: Arc<Pool>,
}

/// An answer's head, and its body as it comes.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response<Incoming>,
    /// Who gave it.
    pub peer: Arc<Peer>,
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// The address that was dialled.
    pub address: SocketAddr,
    /// What was agreed; none for plain HTTP.
    pub tls: Option<TlsLeg>,
}

/// The roots for upstream TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A file of `[upstream] roots` cannot be read or holds no certificate.
    #[error("cannot read certificates from `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has no roots, and the policy adds none.
    #[error("this system has no trusted root certificates, and the policy adds none: install ca-certificates")]
    None,
    /// rustls did not take the configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// One connection that can carry a request.
#[derive(Debug)]
enum Link {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A link with the peer it leads to.
#[derive(Debug)]
struct Open {
    link: Link,
    peer: Arc<Peer>,
}

/// How a request did not get an answer.
enum Failure {
    /// Not a byte of it was sent: it may be tried on another connection.
    Unsent(Box<Request<Body>>),
    /// The upstream may have seen it.
    Failed(Refusal),
}

impl Upstream {
    /// An upstream side that trusts the system's roots and those in `extra_roots` (PEM files).
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn new(extra_roots: &[PathBuf]) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for path in extra_roots {
            add_file(&mut roots, path)?;
        }
        if roots.is_empty() {
            return Err(RootsError::None);
        }
        let roots = Arc::new(roots);
        Ok(Self {
            any: client(&roots, &[b"h2", b"http/1.1"])?,
            http1: client(&roots, &[b"http/1.1"])?,
            pool: Arc::default(),
        })
    }

    /// Sends `request` where `permit` says and waits for the head of the answer.
    ///
    /// # Errors
    /// A refusal with [`Fault::Upstream`](crate::error::Fault::Upstream), or [`Refusal::ForbiddenAddress`].
    pub async fn send(&self, permit: &CallPermit, mut request: Request<Body>) -> Result<Answer, Refusal> {
        let key = Key::of(permit);
        while let Some(open) = self.pool.take(&key) {
            match self.over(&key, open, request).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Unsent(unsent)) => request = *unsent,
                Err(Failure::Failed(refusal)) => return Err(refusal),
            }
        }
        let open = connect(permit, &self.any).await?;
        self.over(&key, open, request).await.map_err(|failure| failure.final_for(permit.destination()))
    }

    /// Sends a request that wants to leave HTTP, on a connection of its own that speaks HTTP/1.1.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send_alone(&self, permit: &CallPermit, request: Request<Body>) -> Result<Answer, Refusal> {
        let open = connect(permit, &self.http1).await?;
        let (peer, mut link) = (open.peer, open.link);
        let sent = link.send(permit.destination(), permit.scheme(), request).await;
        let response = sent.map_err(|failure| failure.final_for(permit.destination()))?;
        Ok(Answer { response, peer })
    }

    async fn over(&self, key: &Key, open: Open, request: Request<Body>) -> Result<Answer, Failure> {
        let Open { mut link, peer } = open;
        if let Link::Http2(shared) = &link {
            self.pool.put(key, Open { link: Link::Http2(shared.clone()), peer: Arc::clone(&peer) });
        }
        let response = link.send(&key.destination, key.scheme, request).await?;
        if let Link::Http1(sender) = link {
            self.pool.put_when_ready(key, sender, Arc::clone(&peer));
        }
        Ok(Answer { response, peer })
    }
}

impl Failure {
    fn final_for(self, destination: &Destination) -> Refusal {
        match self {
            Self::Failed(refusal) => refusal,
            Self::Unsent(_) => Refusal::UpstreamAnswer {
                destination: destination.clone(),
                reason: "it closed the connection before the request".to_owned(),
            },
        }
    }
}

impl Link {
    async fn send(
        &mut self,
        destination: &Destination,
        scheme: Scheme,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let request = match self {
            Self::Http1(_) => for_http1(request, destination, scheme),
            Self::Http2(_) => for_http2(request, destination, scheme),
        }
        .map_err(|error| Failure::Failed(Refusal::Malformed(error.to_string())))?;
        let failed =
            |reason: String| Failure::Failed(Refusal::UpstreamAnswer { destination: destination.clone(), reason });
        let sending = async {
            match self {
                Self::Http1(sender) => sender.try_send_request(request).await,
                Self::Http2(sender) => sender.try_send_request(request).await,
            }
        };
        match tokio::time::timeout(limit::ANSWER_WAIT, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(request) => Failure::Unsent(Box::new(request)),
                None => failed(describe(error.error())),
            }),
            Err(_) => Err(failed(format!("no answer within {} s", limit::ANSWER_WAIT.as_secs()))),
        }
    }
}

/// An error with its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The authority as a server expects it: without the scheme's own port.
fn authority(destination: &Destination, scheme: Scheme) -> String {
    let text = destination.to_string();
    let default = format!(":{}", scheme.default_port());
    text.strip_suffix(&default).map_or_else(|| text.clone(), str::to_owned)
}

/// Origin form with one `Host` (RFC 9112 section 3.2.1).
fn for_http1(mut request: Request<Body>, to: &Destination, scheme: Scheme) -> Result<Request<Body>, http::Error> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = Uri::builder().path_and_query(path).build()?;
    *request.version_mut() = http::Version::HTTP_11;
    if request.headers().contains_key(TE) {
        request.headers_mut().append(CONNECTION, HeaderValue::from_static("te"));
    }
    let host = HeaderValue::from_str(&authority(to, scheme))?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

/// All four pseudo-header fields and no `Host` (RFC 9113 section 8.3.1).
fn for_http2(mut request: Request<Body>, to: &Destination, scheme: Scheme) -> Result<Request<Body>, http::Error> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() =
        Uri::builder().scheme(scheme.as_str()).authority(authority(to, scheme)).path_and_query(path).build()?;
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().remove(HOST);
    Ok(request)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    let failed = |reason: String| RootsError::File { path: path.to_owned(), reason };
    let mut found = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        found += 1;
    }
    if found == 0 { Err(failed("no certificate in it".to_owned())) } else { Ok(()) }
}

fn client(roots: &Arc<RootCertStore>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(client))
}

/// Resolves, checks, dials the checked address, verifies.
async fn connect(permit: &CallPermit, tls: &Arc<ClientConfig>) -> Result<Open, Refusal> {
    let addresses = resolve::addresses(permit).await?;
    let (stream, address) = dial(permit.destination(), &addresses).await?;
    if permit.scheme() == Scheme::Http {
        return Ok(Open { link: http1(stream, permit).await?, peer: Arc::new(Peer { address, tls: None }) });
    }
    let failed = |reason: String| Refusal::UpstreamTls { destination: permit.destination().clone(), reason };
    let name = match permit.destination().host() {
        Host::Name(name) => {
            ServerName::try_from(name.as_str().to_owned()).map_err(|error| failed(error.to_string()))?
        }
        Host::Address(address) => ServerName::from(*address),
    };
    let handshake = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    let stream = match tokio::time::timeout(limit::UPSTREAM_HANDSHAKE_WAIT, handshake).await {
        Ok(done) => done.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no handshake within {} s", limit::UPSTREAM_HANDSHAKE_WAIT.as_secs()))),
    };
    let leg = terminate::leg(stream.get_ref().1);
    let link = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(stream, permit).await?,
        _ => http1(stream, permit).await?,
    };
    Ok(Open { link, peer: Arc::new(Peer { address, tls: Some(leg) }) })
}

async fn dial(destination: &Destination, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Refusal> {
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

fn no_http(permit: &CallPermit) -> impl Fn(hyper::Error) -> Refusal {
    |error| Refusal::UpstreamAnswer { destination: permit.destination().clone(), reason: describe(&error) }
}

async fn http1<S>(stream: S, permit: &CallPermit) -> Result<Link, Refusal>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(limit::HEAD_FIELDS).max_buf_size(limit::ANSWER_HEAD_BYTES);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(no_http(permit))?;
    tokio::spawn(connection.with_upgrades());
    Ok(Link::Http1(sender))
}

async fn http2<S>(stream: S, permit: &CallPermit) -> Result<Link, Refusal>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limit::ANSWER_HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(limit::STREAM_WINDOW)
        .initial_connection_window_size(limit::CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(no_http(permit))?;
    tokio::spawn(connection);
    Ok(Link::Http2(sender))
}
