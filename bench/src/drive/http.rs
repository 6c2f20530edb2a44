//! A client as plain as can be: one connection, one request, the body read to its end.
//!
//! Enters: an address, a name, a path. Leaves: a link that requests can be made on, or nothing but the time it took. Never: a
//! resumed session, a second try, an answer other than 200 with the whole body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::identity::provider;
use crate::job::Protocol;
use crate::payload::{self, Payload};

use super::through;

/// Of anything that is waited for: far over what a loaded machine needs.
const WAIT: Duration = Duration::from_secs(10);
/// Bytes a second of a body, at the least.
const SLOWEST: u64 = 32 << 20;
/// Where the sandbox has the placeholder; outside it is the credential itself.
pub const VARIABLE: &str = "BENCH_CREDENTIAL";
/// As long as a credential, for the agent that has none.
const NONE: &str = "no-credential-of-any-worker.";

/// What all connections share.
pub struct Client {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    authorization: String,
    text: Bytes,
    through: Option<SocketAddr>,
}

impl Client {
    /// Trusts what `SSL_CERT_FILE` says, as any other client in the sandbox.
    pub fn new() -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(std::env::var("SSL_CERT_FILE")?)? {
            // A system's bundle may hold one that rustls does not take; what is missed shows in the first handshake.
            let _ = roots.add(certificate?);
        }
        let roots = Arc::new(roots);
        let credential = std::env::var(VARIABLE).unwrap_or_else(|_| NONE.to_owned());
        Ok(Self {
            http1: configuration(&roots, b"http/1.1")?,
            http2: configuration(&roots, b"h2")?,
            authorization: format!("Bearer {credential}"),
            text: payload::text(),
            through: through::proxy()?,
        })
    }

    /// TCP and TLS.
    async fn secured(&self, to: SocketAddr, name: &str, protocol: Protocol) -> Result<TlsStream<TcpStream>, Error> {
        let configuration = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        let name = ServerName::try_from(name.to_owned())?;
        let stream = match self.through {
            Some(proxy) => through::connect(proxy, &name.to_str(), to.port()).await?,
            None => TcpStream::connect(to).await?,
        };
        stream.set_nodelay(true)?;
        Ok(TlsConnector::from(Arc::clone(configuration)).connect(name, stream).await?)
    }

    /// A connection that stands.
    pub async fn open(&self, to: SocketAddr, name: &str, protocol: Protocol) -> Result<Link, Error> {
        within("a connection", async {
            let stream = self.secured(to, name, protocol).await?;
            if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(Error::new("the other side does not speak HTTP/2"));
            }
            let stream = TokioIo::new(stream);
            Ok(match protocol {
                Protocol::Http1 => {
                    let (sender, connection) = http1::handshake(stream).await?;
                    tokio::task::spawn_local(connection);
                    Link::Http1(sender)
                }
                Protocol::Http2 => {
                    let mut builder = http2::Builder::new(TokioExecutor::new());
                    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
                    let (sender, connection) = builder.handshake(stream).await?;
                    tokio::task::spawn_local(connection);
                    Link::Http2(sender)
                }
            })
        })
        .await
    }

    /// A stream in the clear, after the handshake: nothing was said on it.
    pub async fn plain(&self, to: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>, Error> {
        within("a connection", self.secured(to, name, Protocol::Http1)).await
    }

    /// One request with an answer of any length and coding, read to its end or its breaking off; `piece` is told of each piece.
    pub async fn swallow(
        &self,
        sender: &mut http1::SendRequest<Payload>,
        (name, path): (&str, &str),
        piece: impl Fn(usize),
    ) -> Result<(), Error> {
        let request = Request::get(path).header("host", name).header("authorization", &self.authorization);
        let mut body = sender.send_request(request.body(Payload::default())?).await?.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            piece(frame.data_ref().map_or(0, Bytes::len));
        }
        Ok(())
    }

    /// A handshake and an orderly end; when this returns, the other side has seen both.
    pub async fn shake_hands(&self, to: SocketAddr, name: &str) -> Result<(), Error> {
        within("a handshake", async {
            let mut stream = self.secured(to, name, Protocol::Http1).await?;
            stream.shutdown().await?;
            match stream.read(&mut [0]).await? {
                0 => Ok(()),
                _ => Err(Error::new("an answer to nothing")),
            }
        })
        .await
    }

    /// One request, answered whole.
    pub async fn ask(&self, link: &mut Link, name: &str, path: &str) -> Result<(), Error> {
        self.call(link, name, path, Method::GET).await
    }

    /// One request with as many bytes as its path says, taken whole.
    pub async fn send(&self, link: &mut Link, name: &str, path: &str) -> Result<(), Error> {
        self.call(link, name, path, Method::POST).await
    }

    async fn call(&self, link: &mut Link, name: &str, path: &str, method: Method) -> Result<(), Error> {
        let length = path.rsplit('/').next().and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
        let wait = WAIT + Duration::from_secs(length / SLOWEST);
        let sends = method == Method::POST;
        let body = if sends { Payload::new(self.text.clone(), length) } else { Payload::default() };
        let called = async {
            let uri = match link {
                Link::Http1(_) => path.to_owned(),
                Link::Http2(_) => format!("https://{name}{path}"),
            };
            let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
            let request = request.header("authorization", &self.authorization).header("accept", "application/json");
            let response = match link {
                Link::Http1(sender) => sender.send_request(request.header("host", name).body(body)?).await?,
                Link::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request.version(Version::HTTP_2).body(body)?).await?
                }
            };
            let status = response.status();
            let (mut body, mut read) = (response.into_body(), 0);
            let mut first = None;
            while let Some(frame) = body.frame().await {
                if let Ok(bytes) = frame?.into_data() {
                    read += bytes.len() as u64;
                    first.get_or_insert(bytes);
                }
            }
            let first = first.unwrap_or_default();
            let whole = if sends { *first == *length.to_string().as_bytes() } else { read == length };
            if status != StatusCode::OK || !whole {
                return Err(Error::new(format!("{status} with {read} bytes: {}", String::from_utf8_lossy(&first))));
            }
            if let Link::Http1(sender) = link {
                sender.ready().await?;
            }
            Ok(())
        };
        within_of("a request", wait, called).await
    }
}

/// A connection that requests can be made on.
pub enum Link {
    /// One at a time.
    Http1(http1::SendRequest<Payload>),
    /// Many at once.
    Http2(http2::SendRequest<Payload>),
}

impl Link {
    /// The same connection for another stream; none where there are no streams.
    pub fn another(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }
}

fn configuration(roots: &Arc<RootCertStore>, protocol: &[u8]) -> Result<Arc<ClientConfig>, Error> {
    let mut configuration = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    configuration.alpn_protocols = vec![protocol.to_vec()];
    configuration.resumption = Resumption::disabled();
    Ok(Arc::new(configuration))
}

async fn within<T>(what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    within_of(what, WAIT, work).await
}

async fn within_of<T>(what: &str, wait: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(wait, work).await {
        Ok(done) => done.map_err(|error| error.during(what)),
        Err(_) => Err(Error::new(format!("{what} took more than {} s", wait.as_secs()))),
    }
}
