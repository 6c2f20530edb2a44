//! The server at the other end: HTTPS, HTTP/1.1 on one port and both versions on another, and what stands behind a server of somebody
//! else's; one thread.
//!
//! Enters: `GET /open/BYTES`, and `GET /guarded/BYTES` which demands the credential; `POST` with as many bytes. Leaves: as many bytes of
//! text, or of a `POST` their number. Never: an answer that looks like success where the credential did not arrive.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::identity::Identity;
use crate::payload::{self, PIECE, Payload};

/// What the broker has and the sandbox must not.
pub const CREDENTIAL: &str = "bench-3f9Kq27TzXw8Lr5VbNcY1uHs";
/// The largest body.
const LARGEST: u64 = 1 << 30;
/// Where a gigabyte is to be had that is a megabyte until it is decoded.
pub const BOMB: &str = "/bomb";

/// Where it listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Addresses {
    /// Offers HTTP/1.1 only.
    pub http1: SocketAddr,
    /// Offers HTTP/2 and HTTP/1.1.
    pub both: SocketAddr,
}

/// What it says of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Listens {
    /// For whoever goes there.
    pub addresses: Addresses,
    /// For a server that has done with TLS: HTTP/1.1, as it is.
    pub plain: SocketAddr,
}

/// Serves until standard input ends.
pub fn run(authority: &Path) -> Result<(), Error> {
    let identity = Identity::generate()?;
    std::fs::write(authority, &identity.authority)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let served = Rc::new(Served { text: payload::text(), bomb: OnceCell::new() });
        let one = TcpListener::bind("127.0.0.1:0").await?;
        let both = TcpListener::bind("127.0.0.1:0").await?;
        let plain = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = Addresses { http1: one.local_addr()?, both: both.local_addr()? };
        let listens = Listens { addresses, plain: plain.local_addr()? };
        let tls = |versions: &[&[u8]]| identity.configuration(versions).map(|tls| Some(TlsAcceptor::from(tls)));
        tokio::task::spawn_local(accept(one, tls(&[b"http/1.1"])?, Rc::clone(&served)));
        tokio::task::spawn_local(accept(both, tls(&[b"h2", b"http/1.1"])?, Rc::clone(&served)));
        tokio::task::spawn_local(accept(plain, None, served));
        crate::say(&serde_json::to_string(&listens)?)
    })?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let _ = tasks.block_on(&runtime, end);
    Ok(())
}

/// What there is to be had.
struct Served {
    text: Bytes,
    /// Made when it is first asked for.
    bomb: OnceCell<Bytes>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, served: Rc<Served>) {
    // Only what this benchmark started connects, and it ends with standard input.
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, served) = (tls.clone(), Rc::clone(&served));
        tokio::task::spawn_local(async move {
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return serve(stream, false, served).await };
            let Ok(stream) = tls.accept(stream).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, http2, served).await;
        });
    }
}

/// How a connection ends is its client's business: a client that did not get its answer reports that.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, http2: bool, served: Rc<Served>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let served = Rc::clone(&served);
        async move {
            let mut answer = answer(&request, &served);
            if request.method() == Method::POST && answer.status() == StatusCode::OK {
                let received = receive(request.into_body()).await.to_string();
                *answer.body_mut() = Payload::new(received.clone().into(), received.len() as u64);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = TokioIo::new(stream);
    if http2 {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let _ = builder.serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).await;
    }
}

/// How many bytes come.
async fn receive(mut body: Incoming) -> u64 {
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
    received
}

fn answer(request: &Request<Incoming>, served: &Served) -> Response<Payload> {
    let refused = |status| {
        let mut response = Response::new(Payload::default());
        *response.status_mut() = status;
        response
    };
    if request.uri().path() == BOMB {
        let bomb = served.bomb.get_or_init(bomb).clone();
        let length = bomb.len() as u64;
        let mut response = Response::new(Payload::new(bomb, length));
        response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
        return response;
    }
    let (guarded, length) = match request.uri().path().strip_prefix("/open/") {
        Some(length) => (false, Some(length)),
        None => (true, request.uri().path().strip_prefix("/guarded/")),
    };
    let Some(length) = length.and_then(|length| length.parse::<u64>().ok()).filter(|&length| length <= LARGEST) else {
        return refused(StatusCode::NOT_FOUND);
    };
    let carried = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if guarded && carried.strip_prefix("Bearer ") != Some(CREDENTIAL) {
        return refused(StatusCode::UNAUTHORIZED);
    }
    let mut response = Response::new(Payload::new(served.text.clone(), length));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// A gigabyte of nothing, compressed. Zeros are written to memory that is there.
fn bomb() -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; PIECE];
    for _ in 0..1024 {
        let _ = encoder.write_all(&zeros);
    }
    encoder.finish().unwrap_or_default().into()
}

/// Tasks of hyper's, on the one thread that there is.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async {
            task.await;
        });
    }
}
