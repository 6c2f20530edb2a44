//! The process that the demo calls: real HTTPS on loopback, and an ear for datagrams.
//!
//! Enters: the client that the issuer knows, and TLS. Leaves: addresses, and at the end everything that arrived. Never: a
//! process that outlives the demo; it ends with the connection over which it reports.

use std::convert::Infallible;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use sandbox::ChildProcess;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::api::{Role, State};
use super::seen::Seen;
use crate::report::{FAILED, Report};

/// Nothing that the script sends is nearly as long.
const LONGEST_BODY: usize = 64 * 1024;
/// A datagram to oneself arrives at once, or never.
const TO_ONESELF: Duration = Duration::from_millis(200);
/// The report is a few kilobytes over a socketpair.
const REPORT: Duration = Duration::from_secs(5);

/// Who the issuer gives access tokens to.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    /// Made for this run. Only the broker and the issuer read it.
    pub(super) secret: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.id)
    }
}

impl Client {
    pub(super) fn generate() -> Result<Self, Report> {
        Ok(Self { id: "exeat-demo".to_owned(), secret: random("secret_")? })
    }
}

/// 192 random bits after a prefix.
pub(super) fn random(prefix: &str) -> Result<String, Report> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| Report::new("the system has no randomness"))?;
    Ok(bytes.iter().fold(prefix.to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// The process, and where it listens.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) api: SocketAddr,
    pub(super) issuer: SocketAddr,
    pub(super) datagrams: SocketAddr,
    line: UnixStream,
    process: ChildProcess,
}

struct Listeners {
    api: TcpListener,
    issuer: TcpListener,
    datagrams: UdpSocket,
}

impl Listeners {
    fn open() -> io::Result<Self> {
        let loopback = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Self { api: loopback()?, issuer: loopback()?, datagrams: ear()? })
    }
}

impl Server {
    /// Listens, then forks. The caller has one thread.
    pub(super) fn start(client: Client, tls: Arc<ServerConfig>) -> Result<Self, Report> {
        let listeners = Listeners::open().map_err(|error| {
            Report::new(format!("the demo's server cannot listen on 127.0.0.1: {error}"))
                .hint("the loopback device has to be up: ip link set lo up")
        })?;
        let (api, issuer) = (listeners.api.local_addr()?, listeners.issuer.local_addr()?);
        let datagrams = listeners.datagrams.local_addr()?;
        let (line, theirs) = UnixStream::pair()?;
        // Memory is the child's own after the fork: each side takes its end out of its copy, and closes the other.
        let mut once = Some((line, theirs, listeners, tls, client));
        let process = sandbox::fork_process(|| match once.take() {
            Some((ours, theirs, listeners, tls, client)) => {
                drop(ours);
                serve(theirs, listeners, tls, client).map_or(FAILED, |()| 0)
            }
            None => FAILED,
        })?;
        let (line, ..) = once.take().ok_or_else(|| Report::new("the connection to the demo's server is gone"))?;
        Ok(Self { api, issuer, datagrams, line, process })
    }

    /// Ends it, and takes its report.
    pub(super) fn finish(mut self) -> Result<Seen, Report> {
        self.line.shutdown(Shutdown::Write)?;
        self.line.set_read_timeout(Some(REPORT))?;
        let mut report = Vec::new();
        self.line.read_to_end(&mut report)?;
        let code = self.process.wait()?;
        serde_json::from_slice(&report)
            .map_err(|error| Report::new(format!("the demo's server ended with code {code} and no report: {error}")))
    }
}

/// A datagram socket on the address that this machine would send from, where that works, otherwise on loopback. What it hears is
/// tried: an ear that is deaf would prove nothing.
fn ear() -> io::Result<UdpSocket> {
    match outward_address().and_then(listen_for_datagrams) {
        Ok(socket) => Ok(socket),
        Err(_offline) => listen_for_datagrams(Ipv4Addr::LOCALHOST.into()),
    }
}

/// Connecting a datagram socket chooses a source address and sends nothing. 192.0.2.1 is nobody's (RFC 5737).
fn outward_address() -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}

fn listen_for_datagrams(address: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_read_timeout(Some(TO_ONESELF))?;
    UdpSocket::bind((address, 0))?.send_to(b"control", socket.local_addr()?)?;
    socket.recv(&mut [0; 16])?;
    Ok(socket)
}

/// The whole life of the process.
fn serve(line: UnixStream, listeners: Listeners, tls: Arc<ServerConfig>, client: Client) -> Result<(), Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        line.set_nonblocking(true)?;
        let mut line = tokio::net::UnixStream::from_std(line)?;
        let state = Arc::new(Mutex::new(State::new(client)));
        let acceptor = TlsAcceptor::from(tls);
        for (listener, role) in [(listeners.api, Role::Api), (listeners.issuer, Role::Issuer)] {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(accept(listener, role, acceptor.clone(), Arc::clone(&state)));
        }
        listeners.datagrams.set_nonblocking(true)?;
        tokio::spawn(hear(tokio::net::UdpSocket::from_std(listeners.datagrams)?, Arc::clone(&state)));
        // The demo shuts its side down when it wants the report, and so does the kernel when the demo is gone.
        let _nothing = line.read(&mut [0]).await?;
        let report = serde_json::to_vec(&state.lock().unwrap_or_else(PoisonError::into_inner).seen)?;
        line.write_all(&report).await?;
        Ok(())
    })
}

async fn accept(listener: tokio::net::TcpListener, role: Role, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        // An answer that waits for an acknowledgement would be 40 ms of the demo's own in a log that shows exeat's.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            // A client that fails here hears of it itself.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(role, request, Arc::clone(&state)));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    role: Role,
    request: hyper::Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<hyper::Response<http_body_util::Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Ok(state.lock().unwrap_or_else(PoisonError::into_inner).answer(role, &head, &body))
}

async fn hear(socket: tokio::net::UdpSocket, state: Arc<Mutex<State>>) {
    let mut datagram = [0; 2048];
    while let Ok(length) = socket.recv(&mut datagram).await {
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        state.lock().unwrap_or_else(PoisonError::into_inner).seen.datagrams.push(text);
    }
}
