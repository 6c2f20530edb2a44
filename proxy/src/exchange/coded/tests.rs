//! Codings that hide a placeholder, and those that hide nothing.

use config::{Destination, Grant, Placeholder, Places};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::*;

const PLACEHOLDER: &str = "exeat_Zq3vB8nK1xW5cT7yL0pR4sD9fG2hJ6mA";

/// What becomes of a coded body, in pieces of this size; and how many of them passed.
fn passed(coding: &'static str, body: &[u8], cut: usize) -> (usize, Result<(), Refusal>) {
    behind(&HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]), body, cut)
}

fn behind(headers: &HeaderMap, body: &[u8], cut: usize) -> (usize, Result<(), Refusal>) {
    let grant = Grant::new("api".parse().unwrap(), vec!["a.example".parse().unwrap()], Places::default(), None);
    let swap = Swap::new(vec![(grant, Placeholder::from_value(PLACEHOLDER.into()))]);
    let destination = Destination::parse_authority("b.example", 443).unwrap();
    let head = Head { destination: &destination, permitted: None, path: "/", query: None, headers };
    let mut watch = match CodedWatch::new(&head, &swap, None) {
        Ok(watch) => watch,
        Err(refusal) => return (0, Err(refusal)),
    };
    for (index, piece) in body.chunks(cut).enumerate() {
        if let Err(refusal) = watch.push(&Bytes::copy_from_slice(piece)) {
            return (index, Err(refusal));
        }
    }
    (body.len().div_ceil(cut), watch.finish())
}

#[test]
fn messages_that_may_be_compressed_are_in_no_coding_besides() {
    // A stored block of bare deflate, or an uncompressed one of brotli, begins with what reads as the head of an uncompressed message.
    for kind in ["application/grpc", "application/grpc-web+proto", "application/connect+json"] {
        for coding in ["br", "deflate", "gzip", "zstd", "aws-chunked"] {
            let head =
                [(CONTENT_TYPE, HeaderValue::from_static(kind)), (CONTENT_ENCODING, HeaderValue::from_static(coding))];
            let (_, result) = behind(&HeaderMap::from_iter(head), &[0, 8, 0x10, 0, 0, 1], 10);
            let told = result.unwrap_err().to_string();
            assert!(told.contains("without `Content-Encoding`"), "{kind} in {coding}: {told}");
        }
    }
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    use compression_codecs::brotli::params::EncoderParams;
    use compression_codecs::core::Level;
    use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
    use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
    let mut encoder: Box<dyn EncodeV2> = match coding {
        "gzip" => Box::new(GzipEncoder::new(Level::Fastest.into())),
        "deflate" => Box::new(ZlibEncoder::new(Level::Fastest.into())),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Fastest))),
        _ => Box::new(ZstdEncoder::new(3)),
    };
    let mut room = vec![0; 2 * body.len() + 1024];
    let mut output = WriteBuffer::new_initialized(&mut room);
    let mut input = PartialBuffer::new(body);
    while input.written_len() < body.len() {
        encoder.encode(&mut input, &mut output).unwrap();
    }
    while !encoder.finish(&mut output).unwrap() {}
    let length = output.written_len();
    room.truncate(length);
    room
}

#[test]
fn what_becomes_more_than_it_may_is_refused_with_the_rest_unsent() {
    let free = usize::try_from(limit::DECODED_FREE).unwrap();
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let honest = coded(coding, &vec![b'x'; free]);
        assert!(matches!(passed(coding, &honest, 64).1, Ok(())), "{coding}");
        let bomb = coded(coding, &[&vec![b'x'; 2 * free], PLACEHOLDER.as_bytes()].concat());
        let (pieces, refused) = passed(coding, &bomb, 64);
        assert!(matches!(refused, Err(Refusal::UnexaminedBody(_))), "{coding}: {refused:?}");
        assert!(pieces < bomb.len().div_ceil(64), "{coding}: its end has passed");
    }
}

#[test]
fn what_is_long_and_honest_passes_and_is_looked_through_to_its_end() {
    let mut noise = 1u32;
    let mut random = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    let text: Vec<u8> = random.by_ref().take(9 << 20).collect();
    assert!(matches!(passed("zstd", &coded("zstd", &text), 16 * 1024).1, Ok(())));
    let with = coded("zstd", &[&text, PLACEHOLDER.as_bytes()].concat());
    assert!(matches!(passed("zstd", &with, 16 * 1024).1, Err(Refusal::Misdirected(_))));
}

#[test]
fn the_lines_of_aws_chunked_are_bounded_and_looked_at() {
    let chunk = |line: &str| format!("1;x={line}\r\na\r\n0\r\n\r\n");
    assert!(matches!(passed("aws-chunked", chunk("y").as_bytes(), 5).1, Ok(())));
    let long = chunk(&"y".repeat(limit::CHUNK_LINE));
    assert!(matches!(passed("aws-chunked", long.as_bytes(), 5).1, Err(Refusal::UnexaminedBody(_))));
    assert!(matches!(passed("aws-chunked", chunk(PLACEHOLDER).as_bytes(), 5).1, Err(Refusal::Misdirected(_))));
}

#[test]
fn what_a_decoder_skips_is_looked_at_wherever_it_is_cut() {
    let name = PLACEHOLDER.as_bytes();
    let length = u8::try_from(name.len()).unwrap();
    let gzip = |flags: u8, before: &[u8], behind: &[u8]| {
        let head = [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3], before, name, behind].concat();
        [head, coded("gzip", b"x")[10..].to_vec()].concat()
    };
    // A frame that is skipped, of RFC 8878; a metablock of metadata, of RFC 7932.
    let zstd = [&[0x50, 0x2a, 0x4d, 0x18, length, 0, 0, 0], name, &coded("zstd", b"x")].concat();
    let brotli = [&[0x2c | (length - 1) << 7, (length - 1) >> 1], name, &[3]].concat();
    for (coding, body) in [
        ("gzip", gzip(8, b"", b"\0")),
        ("gzip", gzip(16, b"", b"\0")),
        ("gzip", gzip(4, &[length, 0], b"")),
        ("gzip", [coded("gzip", b"x"), gzip(8, b"", b"\0")].concat()),
        ("zstd", zstd),
        ("br", brotli),
    ] {
        for cut in [1, 7, body.len()] {
            let (_, refused) = passed(coding, &body, cut);
            assert!(matches!(refused, Err(Refusal::Misdirected(_))), "{coding} {cut}: {refused:?}");
            let other: Vec<u8> = body.iter().map(|byte| if *byte == b'Z' { b'Y' } else { *byte }).collect();
            assert!(matches!(passed(coding, &other, cut).1, Ok(())), "{coding} {cut}");
        }
    }
}

#[test]
fn a_body_that_is_zlib_and_bare_deflate_is_refused() {
    // Bare: a stored block of a byte, then what zlib has in a stored block of its own.
    let bare = coded("deflate", &[&[b'x'; 64], PLACEHOLDER.as_bytes()].concat());
    let mut within = [&[0, 0, 0xff, 0xff][..], &bare[2..]].concat();
    within.resize(0xfffe, 0);
    let zlib = |second: u8| [&[0x78, second, 0, 0xfe, 0xff, 1, 0], &within[..], &[1, 0, 0, 0xff, 0xff]].concat();
    let ends = |mut body: Vec<u8>| {
        let sum = within.iter().fold((1u32, 0u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        body.extend((sum.1 << 16 | sum.0).to_be_bytes());
        body
    };
    for cut in [1, 3, 5, 1 << 20] {
        let (_, refused) = passed("deflate", &ends(zlib(1)), cut);
        assert!(matches!(refused, Err(Refusal::UnexaminedBody(_))), "{cut}: {refused:?}");
        // The same, and not a length and its complement.
        let (_, passes) = passed("deflate", &ends(zlib(0x5e)), cut);
        assert!(matches!(passes, Ok(())), "{cut}: {passes:?}");
    }
}

#[test]
fn no_message_is_compressed_whoever_wraps_it() {
    let message =
        |flag: u8, text: &[u8]| [&[flag][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
    let compressed = coded("gzip", PLACEHOLDER.as_bytes());
    for (kind, last) in
        [("application/GRPC", None), ("application/grpc-web+proto", Some(0x80)), ("application/connect+json", Some(2))]
    {
        let passes = |body: &[u8], cut| {
            behind(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]), body, cut).1
        };
        let end = last.map_or(vec![], |last| message(last, b"{}"));
        for cut in [1, 5, 99] {
            let honest = [message(0, b"abc"), message(0, b""), end.clone()].concat();
            assert!(matches!(passes(&honest, cut), Ok(())), "{kind} {cut}");
            for flag in [1, 0x81, 3, 0x40] {
                let refused = passes(&[message(0, b"abc"), message(flag, &compressed)].concat(), cut);
                assert!(matches!(refused, Err(Refusal::UnexaminedBody(_))), "{kind} {cut} {flag}: {refused:?}");
            }
            let bare = passes(&message(0, PLACEHOLDER.as_bytes()), cut);
            assert!(matches!(bare, Err(Refusal::Misdirected(_))), "{kind} {cut}: {bare:?}");
        }
    }
    let text = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc-web-text"))]);
    assert!(matches!(behind(&text, b"AAAA", 1), (0, Err(Refusal::UnexaminedBody(_)))));
}

#[test]
fn several_codings_and_unknown_ones_are_refused_before_a_byte() {
    for coding in ["gzip, br", "br, br", "compress", "aws-chunked, gzip, br"] {
        assert!(matches!(passed(coding, b"x", 1), (0, Err(Refusal::UnexaminedBody(_)))), "{coding}");
    }
}
