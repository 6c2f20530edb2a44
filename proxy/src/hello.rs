//! What a connection is, from its first bytes alone.
//!
//! Enters: bytes of a socket, bounded in number and time. Leaves: a [`Hello`] and the bytes that were read for it, to be
//! replayed by [`Prefixed`]. Never: a guess. What is not a well-formed TLS 1.2+ ClientHello, the HTTP/2 preface or the
//! start of an HTTP/1 request line is refused by reason, and nothing is tunnelled.

mod client_hello;
mod prefixed;
mod ssh;

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use config::DnsName;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

pub use prefixed::Prefixed;
pub(crate) use ssh::disconnect as disconnect_ssh;

/// RFC 9113 section 3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest registered method has 17 characters (`BASELINE-CONTROL` and the like).
const LONGEST_METHOD: usize = 24;

/// What a connection turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A TLS ClientHello, whole.
    Tls {
        /// The one name in its server name extension (RFC 6066 section 3).
        server_name: Option<DnsName>,
        /// The protocols it offers, in its order (RFC 7301); empty where the extension is absent.
        alpn: Vec<Vec<u8>>,
        /// Whether it offers TLS 1.2, and not only what came after.
        tls12: bool,
        /// Whether it offers the hybrid key exchange X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem).
        hybrid: bool,
        /// Whether it carries an encrypted ClientHello, real or GREASE: the two cannot be told apart (RFC 9849).
        ech: bool,
    },
    /// The start of an HTTP/1 request line.
    Http1,
    /// HTTP/2 in the clear with prior knowledge.
    Http2Preface,
}

/// Where the reading of first bytes stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// They may become a hello; more are needed.
    Incomplete,
    /// They begin with a whole hello.
    Complete(Hello),
    /// No further byte can make them a hello.
    Refused(Unreadable),
}

/// Why first bytes are no hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Neither TLS nor HTTP.
    #[error("its first bytes are neither TLS nor HTTP, and no rule lets anything else through to it")]
    NotSpoken,
    /// A client of SSH, which can be told why.
    #[error("it is SSH, and no rule lets anything but TLS and HTTP through to it")]
    Ssh,
    /// The compatibility hello of 1995.
    #[error("it is an SSLv2 hello; the client has to speak TLS 1.2 or later")]
    Ssl2,
    /// Below TLS 1.2.
    #[error("the client offers no TLS version from 1.2 on; update it, or the TLS library that it uses")]
    TooOld,
    /// TLS, but not a ClientHello with one reading.
    #[error("its TLS ClientHello is malformed: {0}")]
    Malformed(&'static str),
    /// A server name that is none.
    #[error("the server name (SNI) in its TLS ClientHello {0}")]
    ServerName(&'static str),
    /// More than the bound allows.
    #[error("its hello is longer than {0} bytes")]
    TooLong(usize),
}

/// Why there is no hello.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// What came is none.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The client closed the connection before it had said anything: usual for a port probe.
    #[error("the client closed the connection without a byte")]
    Silent,
    /// The client closed the connection in the middle of its hello.
    #[error("the client closed the connection after {0} bytes of its hello")]
    Cut(usize),
    /// The hello did not arrive in time.
    #[error("the hello was not there in time: {0} bytes of it had come")]
    Late(usize),
    /// The socket failed.
    #[error("the connection failed while its hello was read")]
    Io(#[from] io::Error),
}

/// Reads first bytes. Pure, and monotone: more bytes never change a verdict other than `Incomplete`.
pub fn read(bytes: &[u8]) -> Progress {
    match bytes {
        [] => Progress::Incomplete,
        [client_hello::HANDSHAKE, ..] => client_hello::read(bytes),
        [length, rest @ ..] if length & 0x80 != 0 => ssl2(rest),
        _ => http(bytes),
    }
}

/// Reads from `stream` until its first bytes tell what it is, at most `limit` of them and for `wait` at most.
///
/// # Errors
/// Where they do not come, or are no hello; with the stream, which may take an answer.
pub async fn receive<S>(mut stream: S, limit: usize, wait: Duration) -> Result<(Hello, Prefixed<S>), (HelloError, S)>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = BytesMut::with_capacity(2048);
    match told(&mut stream, &mut bytes, limit, wait).await {
        Ok(hello) => Ok((hello, Prefixed::new(bytes, stream))),
        Err(error) => Err((error, stream)),
    }
}

async fn told<S>(stream: &mut S, bytes: &mut BytesMut, limit: usize, wait: Duration) -> Result<Hello, HelloError>
where
    S: AsyncRead + Unpin,
{
    let deadline = Instant::now() + wait;
    loop {
        match read(bytes) {
            Progress::Complete(hello) => return Ok(hello),
            Progress::Refused(reason) => return Err(reason.into()),
            Progress::Incomplete if bytes.len() >= limit => return Err(Unreadable::TooLong(limit).into()),
            Progress::Incomplete => {}
        }
        let room = limit - bytes.len();
        match timeout_at(deadline, stream.take(room as u64).read_buf(bytes)).await {
            Err(_) => return Err(HelloError::Late(bytes.len())),
            Ok(Ok(0)) if bytes.is_empty() => return Err(HelloError::Silent),
            Ok(Ok(0)) => return Err(HelloError::Cut(bytes.len())),
            Ok(read) => read?,
        };
    }
}

/// A two-byte length with the high bit set, then message type 1.
fn ssl2(rest: &[u8]) -> Progress {
    match rest {
        [_, 1, ..] => Progress::Refused(Unreadable::Ssl2),
        [_, _, ..] => Progress::Refused(Unreadable::NotSpoken),
        _ => Progress::Incomplete,
    }
}

/// `METHOD SP`: upper case as every registered method is, so that `SSH-2.0-OpenSSH_9.2 Debian` is none.
fn http(bytes: &[u8]) -> Progress {
    if bytes.starts_with(b"PRI ") || bytes == b"PRI" {
        return match () {
            () if bytes.starts_with(H2_PREFACE) => Progress::Complete(Hello::Http2Preface),
            () if H2_PREFACE.starts_with(bytes) => Progress::Incomplete,
            () => Progress::Refused(Unreadable::NotSpoken),
        };
    }
    let letters = bytes.iter().take_while(|&&b| b.is_ascii_uppercase() || b == b'-' || b == b'_').count();
    match bytes.get(letters) {
        _ if letters > LONGEST_METHOD => Progress::Refused(Unreadable::NotSpoken),
        None => Progress::Incomplete,
        Some(b' ') if letters > 0 => Progress::Complete(Hello::Http1),
        Some(_) if ssh::begins(bytes) => Progress::Refused(Unreadable::Ssh),
        Some(_) => Progress::Refused(Unreadable::NotSpoken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_by_its_method() {
        for request in
            ["GET / HTTP/1.1\r\n", "M-SEARCH * HTTP/1.1\r\n", "CONNECT a.example:443 HTTP/1.1\r\n", "PRIX / "]
        {
            assert_eq!(read(request.as_bytes()), Progress::Complete(Hello::Http1), "{request}");
        }
        assert_eq!(read(H2_PREFACE), Progress::Complete(Hello::Http2Preface));
        for cut in 0..H2_PREFACE.len() {
            assert_eq!(read(&H2_PREFACE[..cut]), Progress::Incomplete, "{cut}");
        }
    }

    #[test]
    fn what_is_neither_tls_nor_http_is_refused() {
        let banners: [&[u8]; 8] = [
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"\r\nGET / HTTP/1.1\r\n",
            b" GET / HTTP/1.1\r\n",
            b"get / HTTP/1.1\r\n",
            b"GET\t/ HTTP/1.1\r\n",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"PRI * HTTP/1.1\r\n\r\n",
            b"\xff\xff\xff",
        ];
        for bytes in banners {
            assert_eq!(read(bytes), Progress::Refused(Unreadable::NotSpoken), "{bytes:?}");
        }
        assert_eq!(read(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"), Progress::Refused(Unreadable::Ssh));
        assert_eq!(read(b"SSH-"), Progress::Incomplete);
        assert_eq!(read(b"\x80\x2e\x01\x03\x01\x00"), Progress::Refused(Unreadable::Ssl2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hello_is_bounded_in_time_and_bytes_and_may_break_off() {
        let wait = Duration::from_secs(10);
        assert!(matches!(receive(&b""[..], 100, wait).await, Err((HelloError::Silent, _))));
        assert!(matches!(receive(&b"GE"[..], 100, wait).await, Err((HelloError::Cut(2), _))));
        let long = receive(&b"GET / HTTP/1.1"[..], 3, wait).await;
        assert!(matches!(long, Err((HelloError::Unreadable(Unreadable::TooLong(3)), _))), "{long:?}");
        let (ours, mut theirs) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"PO").await.unwrap();
        assert!(matches!(receive(ours, 100, wait).await, Err((HelloError::Late(2), _))));
    }

    #[tokio::test]
    async fn what_was_read_is_replayed() {
        let (hello, mut stream) = receive(&b"GET / HTTP/1.1\r\n\r\n"[..], 8, Duration::from_secs(1)).await.unwrap();
        assert_eq!((hello, *stream.get_ref()), (Hello::Http1, &b"TP/1.1\r\n\r\n"[..]));
        let mut whole = String::new();
        stream.read_to_string(&mut whole).await.unwrap();
        assert_eq!(whole, "GET / HTTP/1.1\r\n\r\n");
    }
}
