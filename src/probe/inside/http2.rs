//! HTTP/2 frame by frame (RFC 9113), well-formed or not.
//!
//! Enters: what requests shall say; the bytes of an answer. Leaves: bytes; of an answer, what became of each stream. Never: a library that would
//! mend a request.

use std::collections::BTreeMap;
use std::fmt;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What stands for `:status: 400` and the like where the block begins (RFC 7541 appendix A).
const STATUS_400: u8 = 0x8c;

/// What a client says first: no settings.
pub(super) fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// A request's pseudo-headers, as they should be.
pub(super) fn pseudo<'a>(
    method: &'a str,
    scheme: &'a str,
    authority: &'a str,
    target: &'a str,
) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", scheme), (":authority", authority), (":path", target)]
}

/// Fields of a head or behind a body.
pub(super) fn headers(stream: u32, fields: &[(&str, &str)], last: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | if last { END_STREAM } else { 0 }, stream, &block(fields))
}

/// The head of a request without a body in two frames, the second of which goes on where the first ends.
pub(super) fn in_two(stream: u32, fields: &[(&str, &str)]) -> [Vec<u8>; 2] {
    let block = block(fields);
    let (first, second) = block.split_at(block.len() / 2);
    [frame(HEADERS, END_STREAM, stream, first), frame(CONTINUATION, END_HEADERS, stream, second)]
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal field without indexing and a literal name (RFC 7541 section 6.2.2).
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A piece of a body.
pub(super) fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
    frame(DATA, if last { END_STREAM } else { 0 }, stream, bytes)
}

/// A whole connection of one request without a body.
pub(super) fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    [preface(), headers(1, fields, true)].concat()
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

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = payload.len().to_be_bytes()[5..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// What came back on one stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) data: Vec<u8>,
    /// The error that it was reset with; none of it counts that follows an answer which is whole.
    reset: Option<u32>,
    /// Whether a head came, and whether that was a bare 400.
    head: bool,
    bare: bool,
    pub(super) ended: bool,
}

/// What came back on one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) streams: BTreeMap<u32, Stream>,
    /// The error that the connection was ended with.
    goaway: Option<u32>,
}

impl Streams {
    /// Reads frames, if that is what they are: a server begins with its settings.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        if !(bytes.starts_with(b"\0") && bytes.get(3) == Some(&SETTINGS)) {
            return None;
        }
        let mut read = Self::default();
        while let Some((head, rest)) = bytes.split_at_checked(9) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some((payload, behind)) = rest.split_at_checked(length) else { break };
            read.frame(head, payload);
            bytes = behind;
        }
        Some(read)
    }

    fn frame(&mut self, head: &[u8], payload: &[u8]) {
        let number = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, u32::from_be_bytes);
        let (kind, flags, stream) = (head[3], head[4], number(&head[5..]));
        if kind == GOAWAY {
            self.goaway = payload.get(4..).map(number);
        }
        if ![DATA, HEADERS, RESET].contains(&kind) {
            return;
        }
        let stream = self.streams.entry(stream).or_default();
        match kind {
            DATA => stream.data.extend_from_slice(payload),
            HEADERS if !stream.head => (stream.head, stream.bare) = (true, payload.first() == Some(&STATUS_400)),
            RESET if !stream.ended => (stream.reset, stream.ended) = (Some(number(payload)), true),
            _ => {}
        }
        stream.ended |= flags & END_STREAM != 0;
    }

    /// Whether nothing more is to come for so many requests.
    pub(super) fn are_over(&self, requests: usize) -> bool {
        self.goaway.is_some_and(|code| code != 0)
            || self.streams.values().filter(|stream| stream.ended).count() >= requests
    }

    /// Whether every request was refused in the protocol's own words, or in such a way as `says_no` tells.
    pub(super) fn are_refused(&self, says_no: impl Fn(&[u8]) -> bool) -> bool {
        let refused = |stream: &Stream| match (&stream.data[..], stream.reset) {
            ([], Some(code)) => code != 0 && !stream.head,
            ([], None) => stream.bare,
            (data, _) => says_no(data),
        };
        let ended = self.goaway.is_some_and(|code| code != 0);
        self.streams.values().all(refused) && (ended || !self.streams.is_empty())
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HTTP/2")?;
        for stream in self.streams.values().filter(|stream| stream.data.is_empty()) {
            match stream.reset {
                Some(code) => write!(f, ", reset ({code})")?,
                None if stream.bare => f.write_str(", 400")?,
                None => f.write_str(", a head alone")?,
            }
        }
        self.goaway.map_or(Ok(()), |code| write!(f, ", ended ({code})"))
    }
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
    fn a_refusal_is_told_from_an_answer() {
        let settings = frame(SETTINGS, 0, 0, &[]);
        let answered = |frames: &[Vec<u8>]| Streams::read(&[&settings[..], &frames.concat()].concat()).unwrap();
        let no = |data: &[u8]| data == b"no";
        let head = |status: u8, flags: u8| frame(HEADERS, END_HEADERS | flags, 1, &[status]);
        for refusal in [
            vec![frame(RESET, 0, 1, &1_u32.to_be_bytes())],
            vec![head(STATUS_400, END_STREAM)],
            vec![frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1])],
            vec![head(0x48, 0), data(1, b"n", false), data(1, b"o", true)],
        ] {
            assert!(answered(&refusal).are_refused(no), "{refusal:?}");
            assert!(answered(&refusal).are_over(1), "{refusal:?}");
        }
        for other in [
            vec![],
            vec![head(0x88, END_STREAM)],
            vec![head(0x88, 0), data(1, b"yes", true)],
            vec![head(0x48, 0), data(1, b"no", true), headers(3, &[], false), data(3, b"yes", true)],
            vec![head(0x88, 0), frame(RESET, 0, 1, &8_u32.to_be_bytes())],
        ] {
            assert!(!answered(&other).are_refused(no), "{other:?}");
        }
        assert!(Streams::read(b"HTTP/1.1 200 OK\r\n").is_none());
    }
}
