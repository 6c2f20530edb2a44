//! A way by a proxy that has to be asked: `CONNECT`, RFC 9110 section 9.3.6.
//!
//! Enters: the proxy's address, a name, a port. Leaves: a stream that leads there. Never: a byte read that comes after the answer's head:
//! whoever is asked says nothing before the client does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::Error;

/// Where the proxy is, in the driver's environment; without it, a driver goes straight.
pub const VARIABLE: &str = "BENCH_THROUGH";
/// An answer to `CONNECT` is a line and little more.
const HEAD: usize = 4096;

/// Where [`VARIABLE`] says.
pub fn proxy() -> Result<Option<SocketAddr>, Error> {
    match std::env::var(VARIABLE) {
        Ok(text) => Ok(Some(text.parse().map_err(|_| Error::new(format!("{VARIABLE} is no address: `{text}`")))?)),
        Err(_) => Ok(None),
    }
}

/// Asks `proxy` for a way to `name`.
pub async fn connect(proxy: SocketAddr, name: &str, port: u16) -> Result<TcpStream, Error> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
            return Err(Error::new("the proxy's answer to CONNECT has no end"));
        }
    }
    match head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5)) {
        Some(b" 200") => Ok(stream),
        _ => Err(Error::new(format!("CONNECT: {}", String::from_utf8_lossy(&head)))),
    }
}
