//! A body is scrubbed through its content coding, as it streams, within bounds, and its trailers with it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pieces;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use proptest::prelude::*;
use proxy::scrub::{BodyError, Scrub, ScrubbedBody};

use pieces::{PLACEHOLDER, chunks, secrets, shown_pieces, shows_rendered, spelt};

const SECRET: &str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a";
/// `deflate` twice: as its RFC says, and bare.
const CODINGS: [(&str, bool); 6] =
    [("identity", false), ("gzip", false), ("deflate", false), ("deflate", true), ("br", false), ("zstd", false)];

/// Frames, one a poll.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// Each chunk encoded and flushed, as a server does that streams, and the end of the coding.
fn encode(mut encoder: impl EncodeV2, chunks: &[Bytes]) -> Vec<Bytes> {
    let mut out = Vec::new();
    let mut room = vec![0; 1 << 16];
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        let mut input = PartialBuffer::new(&chunk[..]);
        let mut output = WriteBuffer::new_initialized(&mut room);
        while !input.unwritten().is_empty() {
            encoder.encode(&mut input, &mut output).unwrap();
        }
        while !encoder.flush(&mut output).unwrap() {}
        out.push(Bytes::copy_from_slice(output.written()));
    }
    let mut output = WriteBuffer::new_initialized(&mut room);
    while !encoder.finish(&mut output).unwrap() {}
    out.push(Bytes::copy_from_slice(output.written()));
    out
}

fn coded((coding, bare): (&str, bool), chunks: &[Bytes]) -> Vec<Bytes> {
    match coding {
        "gzip" => encode(GzipEncoder::new(Level::Default.into()), chunks),
        "deflate" if bare => encode(DeflateEncoder::new(Level::Default.into()), chunks),
        "deflate" => encode(ZlibEncoder::new(Level::Default.into()), chunks),
        "br" => encode(BrotliEncoder::new(Default::default()), chunks),
        "zstd" => encode(ZstdEncoder::new(3), chunks),
        _ => chunks.to_vec(),
    }
}

fn wrap(secret: &str, coding: &'static str, frames: impl IntoIterator<Item = Frame<Bytes>>) -> ScrubbedBody<Frames> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    let plan = Scrub::new([(secret, PLACEHOLDER)]).prepare(&mut parts, false, &Arc::default()).unwrap();
    plan.wrap(Frames(frames.into_iter().collect()))
}

fn next(body: &mut ScrubbedBody<Frames>) -> Option<Result<Frame<Bytes>, BodyError<Infallible>>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => frame,
        Poll::Pending => panic!("frames are always ready"),
    }
}

fn read(mut body: ScrubbedBody<Frames>) -> Result<Vec<u8>, BodyError<Infallible>> {
    let mut out = Vec::new();
    while let Some(frame) = next(&mut body) {
        out.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    assert!(next(&mut body).is_none());
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_spelling_survives_in_any_coding(
        secret in secrets(),
        pieces in shown_pieces(),
        cuts in proptest::collection::vec(0usize..100, 0..8),
        more_cuts in proptest::collection::vec(0usize..100, 0..8),
        which in 0..CODINGS.len(),
    ) {
        let text = spelt(&pieces, &secret);
        let coding = CODINGS[which];
        let sent = coded(coding, &chunks(&text, &cuts)).concat();
        let frames = chunks(&sent, &more_cuts).into_iter().map(Frame::data);
        let out = read(wrap(&secret, coding.0, frames)).unwrap();
        let plainly = Scrub::new([(secret.as_str(), PLACEHOLDER)]).text(&text).map_or(text, |(text, _)| text);
        prop_assert!(!shows_rendered(&out, &secret));
        prop_assert_eq!(out, plainly);
    }

    #[test]
    fn hostile_codings_end_in_an_error_or_an_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(0usize..100, 0..8),
        which in 0..CODINGS.len(),
    ) {
        let _ = read(wrap(SECRET, CODINGS[which].0, chunks(&bytes, &cuts).into_iter().map(Frame::data)));
    }
}

/// Over HTTP/2 nothing keeps an upstream from sending one, and trailers behind it.
#[test]
fn an_answer_that_has_no_body_has_none_whatever_the_upstream_sends() {
    for (status, to_head) in [(204, false), (304, false), (200, true)] {
        let (mut parts, ()) = http::Response::builder().status(status).body(()).unwrap().into_parts();
        let plan = Scrub::new([(SECRET, PLACEHOLDER)]).prepare(&mut parts, to_head, &Arc::default()).unwrap();
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static(SECRET))]);
        let mut body = plan.wrap(Frames([Frame::data(SECRET.into()), Frame::trailers(trailers)].into()));
        assert!(body.is_end_stream(), "{status}");
        assert!(next(&mut body).is_none(), "{status}");
    }
}

#[test]
fn an_event_arrives_when_it_was_sent() {
    let events = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"].map(|event| Bytes::from_static(event.as_bytes()));
    for coding in CODINGS {
        let mut body = wrap(SECRET, coding.0, coded(coding, &events).into_iter().map(Frame::data));
        for event in &events {
            assert_eq!(next(&mut body).unwrap().unwrap().into_data().unwrap(), event, "{coding:?}");
        }
    }
}

#[test]
fn a_bomb_comes_in_pieces_of_one_buffer() {
    let mebibyte = [Bytes::from(vec![b'0'; 1 << 20])];
    for coding in &CODINGS[1..] {
        let mut body = wrap(SECRET, coding.0, [Frame::data(coded(*coding, &mebibyte).concat().into())]);
        let mut total = 0;
        while let Some(frame) = next(&mut body) {
            let length = frame.unwrap().into_data().unwrap().len();
            assert!(length <= 16 * 1024 + 200, "{coding:?}: {length}");
            total += length;
        }
        assert_eq!(total, 1 << 20, "{coding:?}");
    }
}

#[test]
fn windows_beyond_the_rfc_are_refused() {
    let text = [Bytes::from_static(b"small")];
    for (log, readable) in [(23, true), (24, false), (27, false)] {
        let sent = encode(ZstdEncoder::new_with_params(3, &[CParameter::window_log(log)]), &text);
        assert_eq!(read(wrap(SECRET, "zstd", sent.into_iter().map(Frame::data))).is_ok(), readable, "{log}");
    }
    // WBITS of the large-window variant.
    let large = Frame::data(Bytes::from_static(&[0x11, 0x1e, 0, 0]));
    assert!(matches!(read(wrap(SECRET, "br", [large])), Err(BodyError::Coding(_))));
}

#[test]
fn a_body_that_breaks_off_is_an_error_and_one_of_several_members_is_whole() {
    let text = [Bytes::from_static(b"one and a half")];
    for coding in &CODINGS[1..] {
        let sent: Bytes = coded(*coding, &text).concat().into();
        let cut = sent.slice(..sent.len() - 1);
        assert!(matches!(read(wrap(SECRET, coding.0, [Frame::data(cut)])), Err(BodyError::Coding(_))), "{coding:?}");
        assert_eq!(read(wrap(SECRET, coding.0, [])).unwrap(), b"", "{coding:?}");
        if matches!(coding.0, "gzip" | "zstd") {
            let frames = [sent.clone(), sent].map(Frame::data);
            assert_eq!(read(wrap(SECRET, coding.0, frames)).unwrap(), b"one and a halfone and a half");
        }
    }
}

#[test]
fn a_credential_held_at_the_end_comes_before_the_trailers_and_not_within_them() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-seen", HeaderValue::from_static("Bearer ghs_16C7e42F292c6912E7710c838347Ae178B4a"));
    for coding in CODINGS {
        let data = coded(coding, &[Bytes::from_static(b"ends in ghs_16C7")]).into_iter().map(Frame::data);
        let mut body = wrap(SECRET, coding.0, data.chain([Frame::trailers(trailers.clone())]));
        let mut out = Vec::new();
        let seen = loop {
            match next(&mut body).unwrap().unwrap().into_data() {
                Ok(data) => out.extend_from_slice(&data),
                Err(other) => break other.into_trailers().unwrap(),
            }
        };
        assert_eq!(out, b"ends in ghs_16C7", "{coding:?}");
        assert_eq!(seen["x-seen"], format!("Bearer {PLACEHOLDER}"));
        assert!(next(&mut body).is_none());
        assert!(body.is_end_stream());
    }
}

#[test]
fn a_credential_that_goes_on_behind_a_messages_end_ends_the_body_and_its_beginning_does_not_wait() {
    let message = |text: &[u8]| [&[0][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
    // In UTF-16 what follows begins with a zero, as a message does.
    let wide: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (first, rest) = (message(&wide[..20]), &wide[20..]);
    for kind in ["application/grpc", "application/grpc-web", "application/connect+proto"] {
        for cut in [1, 7, 99] {
            let pieces =
                first.chunks(cut).chain(rest.chunks(cut)).map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            let plan = Scrub::new([(SECRET, PLACEHOLDER)]).prepare(&mut parts, false, &Arc::default()).unwrap();
            let mut body = plan.wrap(Frames(pieces.collect()));
            let mut out = Vec::new();
            while out.len() < first.len() {
                out.extend(next(&mut body).unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(out, first, "{kind} {cut}");
            let ended = std::iter::from_fn(|| next(&mut body)).find_map(Result::err);
            assert!(matches!(ended, Some(BodyError::Credential)), "{kind} {cut}: {ended:?}");
        }
    }
}

#[test]
fn nothing_comes_behind_what_breaks_a_body_off() {
    // A message that may be compressed, and as much behind its head as is looked through in several pieces.
    let chunk = [&[1, 0, 1, 0, 0][..], &[b'x'; 1 << 16]].concat();
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let plan = Scrub::new([(SECRET, PLACEHOLDER)]).prepare(&mut parts, false, &Arc::default()).unwrap();
    let mut body = plan.wrap(Frames([Frame::data(Bytes::from(chunk))].into()));
    assert!(matches!(next(&mut body), Some(Err(BodyError::Message(_)))));
    assert!(next(&mut body).is_none(), "the rest of the chunk");
}
