//! Requests down to the byte: HTTP/1.1 from a template, HTTP/2 frame by frame.
//!
//! Enters: what a request shall say, well-formed or not. Leaves: its bytes, and an answer. Never: a library that would mend it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::super::brief::{Brief, Call};
use super::super::evidence::MARK;
use super::super::finding::Outcome;
use super::answer::{self, Answer};
use super::resolver;
use super::tls::{self, Hello};

/// An attempt at a call that only what is wrong with the attempt speaks against. Where the policy allows none, the refusal would be for want of
/// a rule, however it was read.
pub(super) fn allowed(brief: &Brief, attempt: impl FnOnce(&Call) -> Outcome) -> Outcome {
    let none = || Outcome::not_applicable("no rule allows an ordinary call, so anything is refused for want of one");
    brief.allowed.as_ref().map_or_else(none, attempt)
}

/// A call that no rule allows.
pub(super) fn unlisted(brief: &Brief) -> Call {
    Call { host: brief.unlisted.clone(), port: brief.port, method: "GET".to_owned(), path: "/".to_owned() }
}

impl Call {
    /// As in `Host`.
    pub(super) fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// As in `Host` on a connection without TLS.
    pub(super) fn in_the_clear(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Path and query, with the mark by which the attempt would be found in the log.
    pub(super) fn target(&self, id: &str) -> String {
        format!("{}?{MARK}={id}", self.path)
    }

    /// A well-formed request.
    pub(super) fn request(&self, id: &str) -> String {
        self.request_to(&self.authority(), id)
    }

    /// The same with something else in `Host`.
    pub(super) fn request_to(&self, host: &str, id: &str) -> String {
        let (method, target) = (&self.method, self.target(id));
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    }

    /// Where its name leads, as the name server says.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(IpAddr::V4(resolver::address_of(&self.host)?), self.port))
    }

    /// Says something over TLS where the call goes, by its name.
    pub(super) fn say(&self, bytes: &[u8]) -> io::Result<Answer> {
        tls::exchange(&Hello { to: self.address()?, server_name: Some(&self.host), http2: false }, bytes)
    }

    /// The same over HTTP/2.
    pub(super) fn say_http2(&self, bytes: &[u8]) -> io::Result<Answer> {
        tls::exchange(&Hello { to: self.address()?, server_name: Some(&self.host), http2: true }, bytes)
    }

    /// The same in the clear.
    pub(super) fn say_plainly(&self, bytes: &[u8]) -> io::Result<Answer> {
        answer::plain(self.address()?, bytes)
    }
}

/// A request with a body; without a mark, where a query would be one more thing that is wrong with it.
pub(super) fn post(call: &Call, id: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let (method, authority) = (&call.method, call.authority());
    let target = if id.is_empty() { call.path.clone() } else { call.target(id) };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{length}{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// Fills a template: `@METHOD@`, `@TARGET@` and `@HOST@` of the call, `@OTHER@` for another host.
pub(super) fn filled(template: &str, call: &Call, id: &str, other: &str) -> String {
    template
        .replace("@METHOD@", &call.method)
        .replace("@TARGET@", &call.target(id))
        .replace("@HOST@", &call.authority())
        .replace("@OTHER@", other)
}

/// One HTTP/2 request (RFC 9113) from the preface on: no settings, one HEADERS frame, which ends the stream.
pub(super) fn http2(scheme: &str, authority: &str, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_STREAM_AND_HEADERS: u8 = 0x05;
    let mut block = Vec::new();
    let pseudo = [(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", target)];
    for (name, value) in pseudo.iter().chain(fields) {
        // A literal field without indexing and a literal name (RFC 7541 section 6.2.2).
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    frame(&mut bytes, HEADERS, END_STREAM_AND_HEADERS, 1, &block);
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(to: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 127;
    let mut rest = match length.checked_sub(PREFIX) {
        None => return to.push(length.to_le_bytes()[0]),
        Some(rest) => rest,
    };
    to.push(127);
    while rest >= 128 {
        to.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    to.push(rest.to_le_bytes()[0]);
}

fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    to.extend_from_slice(&payload.len().to_be_bytes()[5..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_prefix_of_seven_bits() {
        for (number, bytes) in [(10, &[10][..]), (126, &[126]), (127, &[127, 0]), (255, &[127, 128, 1])] {
            let mut written = Vec::new();
            length(&mut written, number);
            assert_eq!(written, bytes, "{number}");
        }
    }

    #[test]
    fn a_template_is_filled() {
        let call = Call { host: "a.example".into(), port: 8443, method: "PUT".into(), path: "/x".into() };
        let request = filled("@METHOD@ @TARGET@ @HOST@ @OTHER@", &call, "framing/a", "b.example");
        assert_eq!(request, "PUT /x?probe=framing/a a.example:8443 b.example");
    }
}
