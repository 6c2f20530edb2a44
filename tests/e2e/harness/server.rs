//! A listening socket on port 0 and the HTTP behind it.
//!
//! Enters: a TLS configuration, or none, and a function that answers. Leaves: an address. Never: a panic that nobody hears of;
//! the one who holds the server hears it when the test ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{NamedGroup, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::RUNTIME;
use super::bodies::Body;

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
/// Answers a request.
pub type Answer = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// A server, until it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    panics: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves HTTPS with `tls`, plain HTTP without.
    pub fn start(tls: Option<Arc<ServerConfig>>, answer: Answer) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, panics) = (Arc::<AtomicUsize>::default(), Arc::default());
        let accepting = RUNTIME.spawn(accept(listener, tls, answer, Arc::clone(&connections), Arc::clone(&panics)));
        Self { address, connections, panics, accepting }
    }

    /// How many TCP connections came, whatever was said on them.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        let panics = self.panics.lock().unwrap();
        assert!(std::thread::panicking() || panics.is_empty(), "a server of the test panicked: {panics:?}");
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    answer: Answer,
    connections: Arc<AtomicUsize>,
    panics: Arc<Mutex<Vec<String>>>,
) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                serving.spawn(connection(stream, tls.clone(), Arc::clone(&answer)));
            }
            Some(ended) = serving.join_next() => {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    panics.lock().unwrap().push(error.to_string());
                }
            }
        }
    }
}

/// What the connection of a request has agreed on, among its extensions.
#[derive(Clone, Copy)]
pub struct Agreed(pub NamedGroup);

/// What ends a connection early is the client's doing, and the tests look at what it did.
async fn connection(stream: TcpStream, tls: Option<Arc<ServerConfig>>, answer: Answer) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, false, None, answer).await };
    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
        let tls = stream.get_ref().1;
        let http2 = tls.alpn_protocol() == Some(b"h2");
        let agreed = tls.negotiated_key_exchange_group().map(|group| Agreed(group.name()));
        serve(stream, http2, agreed, answer).await;
    }
}

async fn serve<S>(stream: S, http2: bool, agreed: Option<Agreed>, answer: Answer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(agreed) = agreed {
            request.extensions_mut().insert(agreed);
        }
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let stream = TokioIo::new(stream);
    let _ = if http2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
    } else {
        http1::Builder::new().serve_connection(stream, service).with_upgrades().await
    };
}
