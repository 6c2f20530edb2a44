//! Client and upstream: what is at both ends of a worker, in a process that is not counted.
//!
//! Enters: orders, a line each, `http1`, `http2`, `streams` or `handshake` and how often. Leaves: `done` for each, or why not. Never: an answer that
//! counts where the credential did not get to the upstream, or got back.

use std::convert::Infallible;
use std::io::stdin;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{Failure, say};

/// Spoken to in HTTP/1.1.
pub const HTTP1: &str = "h1.budget.example";
/// In HTTP/2.
pub const HTTP2: &str = "h2.budget.example";
/// What the broker has and the client must not.
pub const CREDENTIAL: &str = "budget-3f9Kq27TzXw8Lr5VbNcY1uHs";
/// Of one order: far over what a worker under callgrind needs.
const WAIT: Duration = Duration::from_secs(120);
/// Of every answer.
const LENGTH: usize = 1024;
/// Requests at once on one connection.
const STREAMS: u32 = 100;

/// Where the upstream listens.
#[derive(Serialize, Deserialize)]
pub struct Upstream {
    pub http1: SocketAddr,
    pub http2: SocketAddr,
}

/// What the client has to know of its worker.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub placeholder: String,
    pub ca: String,
    pub names: SocketAddr,
}

/// Serves, and does as it is told, until standard input ends.
pub fn run(room: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listeners = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let addresses = Upstream { http1: listeners.0.local_addr()?, http2: listeners.1.local_addr()? };
        let (http1, http2) = upstream(room)?;
        tokio::spawn(accept(listeners.0, http1));
        tokio::spawn(accept(listeners.1, http2));
        say(&mut std::io::stdout(), &serde_json::to_string(&addresses)?);
        let Some(told) = next().await? else { return Ok(()) };
        let mut client = Client::new(serde_json::from_str(&told)?).await?;
        while let Some(order) = next().await? {
            let done = match tokio::time::timeout(WAIT, client.done(&order)).await {
                Ok(Ok(())) => "done".to_owned(),
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => "it took too long".to_owned(),
            };
            say(&mut std::io::stdout(), &done);
        }
        Ok(())
    })
}

/// The next line, without keeping the others from their work.
async fn next() -> Result<Option<String>, Failure> {
    let line = tokio::task::spawn_blocking(|| stdin().lines().next().transpose());
    Ok(line.await??)
}

/// What rustls serves with, for either version; the authority goes to a file.
fn upstream(room: &Path) -> Result<(TlsAcceptor, TlsAcceptor), Failure> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(room.join("upstream.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec![HTTP1.to_owned(), HTTP2.to_owned()])?.signed_by(&key, &issuer)?;
    let acceptor = |protocol: &[u8]| -> Result<TlsAcceptor, Failure> {
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut configuration = builder.with_single_cert(vec![leaf.der().clone()], key)?;
        configuration.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(configuration).into())
    };
    Ok((acceptor(b"http/1.1")?, acceptor(b"h2")?))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = tls.accept(stream).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let (stream, service) = (TokioIo::new(stream), service_fn(answer));
            // How a connection ends is the worker's business.
            if http2 {
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service)
                    .await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let carried = request.headers().get("authorization").is_some_and(|value| value == &format!("Bearer {CREDENTIAL}"));
    let body: Vec<u8> =
        b"{\"id\":4711,\"name\":\"release-42\",\"draft\":false}\n".iter().copied().cycle().take(LENGTH).collect();
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    if !carried {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    Ok(response)
}

struct Client {
    told: Told,
    http1: (TlsConnector, SocketAddr, Option<http1::SendRequest<Empty<Bytes>>>),
    http2: (TlsConnector, SocketAddr, Option<http2::SendRequest<Empty<Bytes>>>),
}

impl Client {
    async fn new(told: Told) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(told.ca.as_bytes())?)?;
        let connector = |protocol: &[u8]| -> Result<TlsConnector, Failure> {
            let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots.clone());
            let mut configuration = builder.with_no_client_auth();
            configuration.alpn_protocols = vec![protocol.to_vec()];
            configuration.resumption = Resumption::disabled();
            Ok(Arc::new(configuration).into())
        };
        let (one, two) = (address(told.names, HTTP1).await?, address(told.names, HTTP2).await?);
        let (http1, http2) = (connector(b"http/1.1")?, connector(b"h2")?);
        Ok(Self { told, http1: (http1, one, None), http2: (http2, two, None) })
    }

    async fn done(&mut self, order: &str) -> Result<(), Failure> {
        let (what, times) = order.split_once(' ').ok_or("no order")?;
        let times = times.parse::<u32>()?;
        if what == "streams" {
            return self.ask_at_once(times).await;
        }
        for _ in 0..times {
            match what {
                "http1" => self.ask_http1().await?,
                "http2" => self.ask_http2().await?,
                "handshake" => self.shake_hands().await?,
                _ => return Err("no such order".into()),
            }
        }
        Ok(())
    }

    fn request(&self, uri: &str) -> http::request::Builder {
        request(&self.told.placeholder, uri)
    }

    async fn ask_http1(&mut self) -> Result<(), Failure> {
        let request = self.request("/repos/acme/widgets/releases/latest?page=2").header("host", HTTP1);
        let (connector, address, link) = &mut self.http1;
        if link.is_none() {
            let (sender, connection) =
                http1::handshake(TokioIo::new(secured(connector, *address, HTTP1).await?)).await?;
            tokio::spawn(connection);
            *link = Some(sender);
        }
        let sender = link.as_mut().ok_or("no connection")?;
        sender.ready().await?;
        whole(sender.send_request(request.body(Empty::new())?).await?).await
    }

    /// So many requests, a hundred at a time on one connection.
    async fn ask_at_once(&mut self, times: u32) -> Result<(), Failure> {
        self.ask_http2().await?;
        let sender = self.http2.2.as_ref().ok_or("no connection")?;
        let mut asking = JoinSet::new();
        for number in 0..STREAMS {
            let (mut sender, placeholder) = (sender.clone(), self.told.placeholder.clone());
            asking.spawn(async move {
                for _ in (1 + number..times).step_by(STREAMS as usize) {
                    let request = request(&placeholder, &http2_uri());
                    sender.ready().await?;
                    whole(sender.send_request(request.body(Empty::new())?).await?).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(asked) = asking.join_next().await {
            asked??;
        }
        Ok(())
    }

    async fn ask_http2(&mut self) -> Result<(), Failure> {
        let request = self.request(&http2_uri());
        let (connector, address, link) = &mut self.http2;
        if link.is_none() {
            let stream = TokioIo::new(secured(connector, *address, HTTP2).await?);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            *link = Some(sender);
        }
        let sender = link.as_mut().ok_or("no connection")?;
        sender.ready().await?;
        whole(sender.send_request(request.body(Empty::new())?).await?).await
    }

    /// And an orderly end; when this returns, the other side has seen both.
    async fn shake_hands(&self) -> Result<(), Failure> {
        let (connector, address, _) = &self.http1;
        let mut stream = secured(connector, *address, HTTP1).await?;
        stream.shutdown().await?;
        match stream.read(&mut [0]).await? {
            0 => Ok(()),
            _ => Err("an answer to nothing".into()),
        }
    }
}

fn http2_uri() -> String {
    format!("https://{HTTP2}/repos/acme/widgets/releases/latest?page=2")
}

fn request(placeholder: &str, uri: &str) -> http::request::Builder {
    let request = Request::get(uri).header("authorization", format!("Bearer {placeholder}"));
    request.header("accept", "application/json").header("user-agent", "budget/1.0")
}

async fn secured(
    connector: &TlsConnector,
    to: SocketAddr,
    name: &'static str,
) -> Result<TlsStream<TcpStream>, Failure> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from(name)?, stream).await?)
}

async fn whole(response: Response<Incoming>) -> Result<(), Failure> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    match status == StatusCode::OK && body.len() == LENGTH {
        true => Ok(()),
        false => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
    }
}

/// What the worker's name server says, in an answer of one record, whose last four bytes are the address (RFC 1035, section 4.1).
async fn address(server: SocketAddr, name: &str) -> Result<SocketAddr, Failure> {
    let mut query = vec![0x47, 0x11, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(&query, server).await?;
    let mut reply = [0; 512];
    let length = tokio::time::timeout(WAIT, socket.recv(&mut reply)).await??;
    match reply[..length].last_chunk::<4>() {
        Some(&octets) if length > query.len() && reply[7] == 1 => Ok((Ipv4Addr::from(octets), 443).into()),
        _ => Err(format!("`{name}` has no address").into()),
    }
}
