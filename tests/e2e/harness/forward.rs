//! The proxy of a house: it connects to where it is asked to, or answers as it likes.
//!
//! Enters: CONNECT requests. Leaves: bytes both ways, and the heads of the requests. Never: a connection to another place than
//! the test's own.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::RUNTIME;

type Heads = Arc<Mutex<Vec<String>>>;

/// The proxy, until it is dropped.
pub struct Forward {
    address: String,
    heads: Heads,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Connects every request to `dial`, whatever it names.
    pub fn to(dial: &str) -> Self {
        Self::start(Some(dial.to_owned()), b"HTTP/1.1 200 Connection established\r\n\r\n")
    }

    /// Answers every request so, and closes.
    pub fn answering(answer: &'static [u8]) -> Self {
        Self::start(None, answer)
    }

    fn start(dial: Option<String>, answer: &'static [u8]) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Heads::default();
        let accepting = RUNTIME.spawn(accept(listener, Arc::clone(&heads), dial, answer));
        Self { address, heads, accepting }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, heads: Heads, dial: Option<String>, answer: &'static [u8]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let (heads, dial) = (Arc::clone(&heads), dial.clone());
        tokio::spawn(async move {
            let mut head = Vec::new();
            // Not a byte more: what follows is not the proxy's.
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            heads.lock().unwrap().push(String::from_utf8(head).unwrap());
            let upstream = match dial {
                Some(dial) => Some(TcpStream::connect(dial).await.unwrap()),
                None => None,
            };
            // A client that goes away in the middle is what some tests are about.
            let _ = stream.write_all(answer).await;
            if let Some(mut upstream) = upstream {
                let _ = copy_bidirectional(&mut stream, &mut upstream).await;
            }
        });
    }
}
