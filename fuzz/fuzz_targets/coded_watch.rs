//! A coded body is judged alike however it is cut; what is honestly coded and has a placeholder never passes, nor what somebody finds one in who
//! reads chunks as they may be read; of what is not, no more comes out than the bounds allow.
#![no_main]

use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use config::{Destination, Grant, Placeholder, Places};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::exchange::CodedWatch;
use proxy::swap::{Head, Swap};

const PLACEHOLDER: &str = "ghs_fuzz0Z";
const CODINGS: [&str; 8] =
    ["gzip", "deflate", "br", "zstd", "aws-chunked", "gzip, br", "aws-chunked, gzip", "identity"];

static SWAP: LazyLock<Swap> = LazyLock::new(|| {
    let to = vec!["api.example.com".parse().expect("a pattern")];
    let grant = Grant::new("fuzz".parse().expect("a name"), to, Places::default(), None);
    Swap::new(vec![(grant, Placeholder::from_value(PLACEHOLDER.into()))])
});

fn passes<'a>(coding: &'static str, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
    let to: Destination = "www.example.com:443".parse().expect("a destination");
    let head = Head { destination: &to, permitted: None, path: "/", query: None, headers: &headers };
    let Ok(mut watch) = CodedWatch::new(&head, &SWAP) else { return false };
    for piece in pieces {
        if watch.push(&Bytes::copy_from_slice(piece)).is_err() {
            return false;
        }
    }
    watch.finish().is_ok()
}

/// In chunks of this size.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(size) {
        write!(framed, "{:x};chunk-signature=ab\r\n", chunk.len()).expect("room");
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// The data in chunks to a reader that takes any end of a line, blanks and signs around a size, and whatever is behind it.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = body.iter().position(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(&body[..end]).trim().to_ascii_lowercase();
        let digits = line.trim_start_matches('+').trim_start_matches("0x");
        let digits = digits.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).unwrap_or(0).min(body.len() - end - 1);
        let (chunk, rest) = body[end + 1..].split_at(size);
        data.extend_from_slice(chunk);
        body = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")).unwrap_or(rest);
        if size == 0 {
            break;
        }
    }
    data
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("room");
    encoder.finish().expect("room")
}

fn shows(text: &[u8]) -> bool {
    text.windows(PLACEHOLDER.len()).any(|window| window.eq_ignore_ascii_case(PLACEHOLDER.as_bytes()))
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (coding, cut, bytes) = input;
    let coding = CODINGS[usize::from(coding) % CODINGS.len()];
    let cut = usize::from(cut).min(bytes.len());
    let whole = passes(coding, std::iter::once(bytes));
    assert_eq!(whole, passes(coding, [&bytes[..cut], &bytes[cut..]].into_iter()));

    let text = bytes.split(|&b| b == b'$').collect::<Vec<_>>().join(PLACEHOLDER.as_bytes());
    let has = shows(&text);
    if shows(&unchunked(&text)) {
        assert!(!passes("aws-chunked", text.chunks(cut.max(1))));
    }
    for (coding, body) in [
        ("gzip", gzipped(&text)),
        ("aws-chunked", chunked(&text, cut.max(1))),
        ("gzip, aws-chunked", chunked(&gzipped(&text), cut.max(1))),
    ] {
        let passed = passes(coding, body.chunks(cut.max(1)));
        assert!(!(passed && has), "{coding}");
    }
});
