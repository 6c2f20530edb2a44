//! A coded body is judged alike however it is cut; what is honestly coded and has a placeholder never passes, nor what somebody finds one in who
//! reads chunks as they may be read, `deflate` in either of its forms, or messages of gRPC and Connect; of what is not, no more comes out than the
//! bounds allow.
#![no_main]

mod spelt;

use std::io::{Read, Write};
use std::sync::LazyLock;

use bytes::Bytes;
use config::{Destination, Grant, Placeholder, Places};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proxy::exchange::CodedWatch;
use proxy::swap::{Head, Swap};

use spelt::spelt;

const PLACEHOLDER: &str = "ghs_fuzz0Z";
const CODINGS: [&str; 8] =
    ["gzip", "deflate", "br", "zstd", "aws-chunked", "gzip, br", "aws-chunked, gzip", "identity"];
/// Whose messages may be compressed one by one.
const KINDS: [&str; 4] =
    ["application/grpc", "application/GRPC-Web+proto", "application/connect+json", "application/grpc-web-text"];

static SWAP: LazyLock<Swap> = LazyLock::new(|| {
    let to = vec!["api.example.com".parse().expect("a pattern")];
    let grant = Grant::new("fuzz".parse().expect("a name"), to, Places::default(), None);
    Swap::new(vec![(grant, Placeholder::from_value(PLACEHOLDER.into()))])
});

fn passes<'a>(coding: &'static str, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    watched(HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]), pieces)
}

fn watched<'a>(headers: HeaderMap, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let to: Destination = "www.example.com:443".parse().expect("a destination");
    let head = Head { destination: &to, permitted: None, path: "/", query: None, headers: &headers };
    let Ok(mut watch) = CodedWatch::new(&head, &SWAP, None) else { return false };
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

/// What a server reads of messages that decompresses those which say so.
fn messages(mut body: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some((&[flag, a, b, c, d], behind)) = body.split_first_chunk::<5>() {
        let (text, rest) = behind.split_at((u32::from_be_bytes([a, b, c, d]) as usize).min(behind.len()));
        read.extend(if flag & 1 == 1 { inflated(GzDecoder::new(text)) } else { text.to_vec() });
        read.push(b' ');
        body = rest;
    }
    read
}

/// So much of it as can be read, up to 1 MiB.
fn inflated(from: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = from.take(1 << 20).read_to_end(&mut text);
    text
}

/// In any spelling, or in another case.
fn shows(text: &[u8]) -> bool {
    let cased = text.windows(PLACEHOLDER.len()).any(|window| window.eq_ignore_ascii_case(PLACEHOLDER.as_bytes()));
    cased || spelt::shows(text, PLACEHOLDER)
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (coding, cut, bytes) = input;
    let coding = CODINGS[usize::from(coding) % CODINGS.len()];
    let cut = usize::from(cut).min(bytes.len());
    let whole = passes(coding, std::iter::once(bytes));
    assert_eq!(whole, passes(coding, [&bytes[..cut], &bytes[cut..]].into_iter()));

    // By either reading of `deflate`.
    if coding == "deflate" && whole {
        assert!(!shows(&inflated(DeflateDecoder::new(bytes))) && !shows(&inflated(ZlibDecoder::new(bytes))));
    }

    let text = spelt(bytes, PLACEHOLDER);
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

    for kind in KINDS {
        let headers = || HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let compressed = gzipped(&text);
        let length = u32::try_from(compressed.len()).expect("a short text").to_be_bytes();
        let one = [&[1][..], &length, &compressed].concat();
        assert!(!watched(headers(), one.chunks(cut.max(1))), "{kind}");
        let passed = watched(headers(), text.chunks(cut.max(1)));
        assert!(!(passed && shows(&messages(&text))), "{kind}");
    }
});
