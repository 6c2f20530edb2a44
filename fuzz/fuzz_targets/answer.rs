//! No credential in any spelling is in what comes of an answer's coded body, nor in its trailers, and how it is cut makes no difference; one that is honestly coded
//! comes out as it was before, scrubbed, and so does any other that somebody else can decode, if it comes at all. Of messages nothing is changed.
#![no_main]

mod spelt;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use libfuzzer_sys::fuzz_target;
use proxy::scrub::{BodyError, Scrub};

use spelt::{shows_nearly, shows_rendered, spelt};

/// With what each encoder escapes, long enough for each rendering; and it does not end as the placeholder begins.
const SECRET: &str = "ghs_aF/+1\"2%z<&9=Qw";
const CODINGS: [&str; 6] = ["identity", "gzip", "deflate", "br", "zstd", "x-gzip, identity"];
const TRAILER: HeaderName = HeaderName::from_static("grpc-message");
/// What anybody decodes of a few KiB of input, at most: some times what the proxy does at once.
const LONGEST: usize = 1 << 16;

static SCRUB: LazyLock<Scrub> = LazyLock::new(|| Scrub::new([(SECRET, "exeat_0123456789")]));

/// Pieces, then trailers.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// What comes of an answer, as far as that is looked at, its trailers, and how it ended.
type Came = (Vec<u8>, Option<HeaderMap>, Result<(), BodyError<Infallible>>);

fn came(media: &'static str, coding: &'static str, body: &[u8], cut: usize, trailer: &HeaderValue) -> Came {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    let plan = SCRUB.prepare(&mut parts, false, &Default::default()).expect("a coding that can be read");
    let pieces = body.chunks(cut.max(1)).map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
    let trailers = Frame::trailers(HeaderMap::from_iter([(TRAILER, trailer.clone())]));
    let mut body = plan.wrap(Frames(pieces.chain([trailers]).collect()));
    let (mut out, mut trailers, mut ended) = (Vec::new(), None, Ok(()));
    while out.len() < LONGEST
        && let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()))
    {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => out.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(error) => ended = Err(error),
        }
    }
    assert!(out.len() >= LONGEST || trailers.is_some() == ended.is_ok());
    (out, trailers, ended)
}

fn shows(text: &[u8]) -> bool {
    shows_rendered(text, SECRET)
}

fn scrubbed(text: &[u8]) -> Vec<u8> {
    SCRUB.text(text).map_or_else(|| text.to_vec(), |(text, _)| text)
}

/// What somebody else reads.
fn decoded(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    let (mut text, longest) = (Vec::new(), LONGEST as u64);
    let read = match (coding, body.first()?) {
        ("gzip" | "x-gzip, identity", _) => MultiGzDecoder::new(body).take(longest).read_to_end(&mut text),
        ("deflate", first) if first & 15 == 8 => ZlibDecoder::new(body).take(longest).read_to_end(&mut text),
        ("deflate", _) => DeflateDecoder::new(body).take(longest).read_to_end(&mut text),
        ("identity", _) => body.take(longest).read_to_end(&mut text),
        _ => return None,
    };
    read.ok().filter(|read| *read < LONGEST).map(|_| text)
}

fn coded(coding: &str, text: &[u8]) -> Vec<u8> {
    let (fast, room) = (Compression::fast(), Vec::new());
    let coded = match coding {
        "gzip" => (|| {
            let mut to = GzEncoder::new(room, fast);
            to.write_all(text)?;
            to.finish()
        })(),
        "zlib" => (|| {
            let mut to = ZlibEncoder::new(room, fast);
            to.write_all(text)?;
            to.finish()
        })(),
        _ => (|| {
            let mut to = DeflateEncoder::new(room, fast);
            to.write_all(text)?;
            to.finish()
        })(),
    };
    coded.expect("room")
}

/// Whether these are whole messages, none of them with another flag than 0 and `last`.
fn are_messages(mut text: &[u8], last: u8) -> bool {
    while let Some((&[flag, a, b, c, d], behind)) = text.split_first_chunk::<5>()
        && [0, last].contains(&flag)
    {
        match behind.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize) {
            Some((_, rest)) => text = rest,
            None => return false,
        }
    }
    text.is_empty()
}

// How it is coded and cut, a line with its trailer, and its body.
fuzz_target!(|input: (u8, u8, &[u8])| {
    let (coding, cut, text) = input;
    let line = text.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let (trailer, bytes) = (&text[..line], text.get(line + 1..).unwrap_or_default());
    let (coding, cut) = (CODINGS[usize::from(coding) % CODINGS.len()], usize::from(cut).max(1));
    let Ok(trailer) = HeaderValue::from_bytes(&spelt(trailer, SECRET)) else { return };
    let text = spelt(bytes, SECRET);
    let clear = scrubbed(&text);
    assert!(!shows(&clear) && (clear == text || shows_nearly(&text, SECRET)));

    // Any bytes, as any coding.
    let body = if coding == "identity" { &text[..] } else { bytes };
    let whole = came("text/plain", coding, body, body.len(), &trailer);
    let pieces = came("text/plain", coding, body, cut, &trailer);
    assert!(!shows(&whole.0) && (pieces.0 == whole.0 || !shows(&pieces.0)), "{coding}");
    if whole.0.len().max(pieces.0.len()) < LONGEST {
        assert_eq!(whole.2.is_ok(), pieces.2.is_ok());
    }
    if let Some(trailers) = &whole.1 {
        assert!(!shows(trailers[TRAILER].as_bytes()) && pieces.1.as_ref() == Some(trailers));
        assert_eq!(whole.0, pieces.0);
        if let Some(read) = decoded(coding, body) {
            assert_eq!(whole.0, scrubbed(&read), "{coding}");
        }
    }

    // What was honestly coded.
    for (coding, body) in
        [("gzip", coded("gzip", &text)), ("deflate", coded("zlib", &text)), ("deflate", coded("bare", &text))]
    {
        let (out, trailers, ended) = came("text/plain", coding, &body, cut, &trailer);
        ended.expect("it was honestly coded");
        assert_eq!((&out, trailers), (&clear, whole_trailers(&trailer)), "{coding}");
    }

    // Messages: nothing of them is changed, so one with a credential does not pass.
    for (media, last) in [("application/Grpc", 0), ("application/grpc-web+proto", 0x80), ("application/connect+json", 2)] {
        let (out, _, ended) = came(media, "identity", &text, cut, &trailer);
        assert!(text.starts_with(&out), "{media}");
        if ended.is_ok() {
            assert_eq!(out, text, "{media}");
        }
        assert!(text == clear || !shows(&out), "{media}");
        if are_messages(&text, last) {
            assert_eq!(ended.is_ok(), clear == text, "{media}");
        }
    }
});

fn whole_trailers(trailer: &HeaderValue) -> Option<HeaderMap> {
    let scrubbed = HeaderValue::from_bytes(&scrubbed(trailer.as_bytes())).expect("a value");
    Some(HeaderMap::from_iter([(TRAILER, scrubbed)]))
}
