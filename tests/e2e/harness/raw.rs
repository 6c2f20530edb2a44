//! An HTTP/1.1 upstream that keeps the very bytes it received.
//!
//! Enters: what exeat lets out. Leaves: each connection's bytes, as they were inside TLS where it speaks that. Never: a library between the bytes and
//! the test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::RUNTIME;
use super::authority::Authority;
use super::strict;

type Connections = Arc<Mutex<Vec<Vec<u8>>>>;

/// What is said to each whole request: byte for byte, after these waits.
type Said = &'static [(Duration, &'static [u8])];

/// The server.
pub struct RawUpstream {
    dial: String,
    connections: Connections,
    accepting: JoinHandle<()>,
}

impl RawUpstream {
    /// Answers each whole request with `answer`, byte for byte.
    pub fn start(answer: &'static [u8]) -> Self {
        Self::saying(Vec::leak(vec![(Duration::ZERO, answer)]))
    }

    /// The same, with waits.
    pub fn saying(said: Said) -> Self {
        let names = ["*.example.com", "*.example.org", "127.0.0.1"];
        Self::serve(Some(Authority::trusted().identity(&names).configuration(&["http/1.1"])), said)
    }

    /// The same as [`RawUpstream::start`] with this side of TLS.
    pub fn with(tls: Arc<ServerConfig>, answer: &'static [u8]) -> Self {
        Self::serve(Some(tls), Vec::leak(vec![(Duration::ZERO, answer)]))
    }

    /// The same without TLS.
    pub fn plain(answer: &'static [u8]) -> Self {
        Self::serve(None, Vec::leak(vec![(Duration::ZERO, answer)]))
    }

    fn serve(tls: Option<Arc<ServerConfig>>, said: Said) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let dial = listener.local_addr().unwrap().to_string();
        let connections = Connections::default();
        let accepting = RUNTIME.spawn(accept(listener, tls, Arc::clone(&connections), said));
        Self { dial, connections, accepting }
    }

    /// For a rule's `dial`.
    pub fn dial(&self) -> String {
        self.dial.clone()
    }

    /// What came, connection by connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.connections.lock().unwrap().clone()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, connections: Connections, said: Said) {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, connections) = (acceptor.clone(), Arc::clone(&connections));
        tokio::spawn(async move {
            match acceptor {
                None => keep(stream, connections, said).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        keep(stream, connections, said).await;
                    }
                }
            }
        });
    }
}

async fn keep(mut stream: impl AsyncRead + AsyncWrite + Unpin, connections: Connections, said: Said) {
    let index = {
        let mut connections = connections.lock().unwrap();
        connections.push(Vec::new());
        connections.len() - 1
    };
    let (mut buffer, mut answered) = (vec![0; 16 * 1024], 0);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let mut whole = 0;
        {
            let mut connections = connections.lock().unwrap();
            connections[index].extend_from_slice(&buffer[..length]);
            // What has no reading gets no answer; the test sees the bytes.
            while let Ok(Some((_, length))) = strict::one(&connections[index][answered..]) {
                answered += length;
                whole += 1;
            }
        }
        for (wait, piece) in (0..whole).flat_map(|_| said) {
            tokio::time::sleep(*wait).await;
            let _ = stream.write_all(piece).await;
            let _ = stream.flush().await;
        }
    }
}
