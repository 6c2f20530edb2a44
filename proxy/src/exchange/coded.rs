//! A request's body seen through its content coding.
//!
//! Enters: the chunks as the client sends them, and the head that says how they are coded. Leaves: nothing, or the refusal that
//! ends the request. Never: the rest of a body that cannot be read, or that becomes more than it could honestly be; a byte that is only looked at
//! decoded: a decoder skips names, comments and frames that hold nothing; a decoder without room for what it takes, or one that goes on beyond its turn.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::coding::aws_chunked::{AwsChunks, Piece};
use crate::coding::{self, Coding, Decoder, Decoders, NoRoom};
use crate::error::Refusal;
use crate::grpc::{self, Messages};
use crate::request::FormWatch;
use crate::sabotage::{Wall, lacks};
use crate::swap::{BodyWatch, Head, Swap};
use crate::{limit, turn};

/// What is decoded at once.
const ROOM: usize = 16 * 1024;

/// Finds placeholders, and names by which a form has its call taken for another, in a body that may be coded.
pub struct CodedWatch {
    watch: BodyWatch,
    /// What else is looked for in it.
    form: Option<FormWatch>,
    /// Whether there is nothing to look for.
    nothing: bool,
    decoding: Option<Decoding>,
    /// The framing around it, and a watch over the lines in that.
    chunks: Option<(AwsChunks, BodyWatch)>,
    /// Of gRPC and Connect, in which each may be coded.
    messages: Option<Messages>,
}

struct Decoding {
    decoder: Decoder,
    /// What comes when that has decoded what it has.
    ahead: VecDeque<Bytes>,
    room: Box<[u8]>,
    /// Over the coded bytes as they are.
    around: BodyWatch,
    coded: u64,
    plain: u64,
    coding: Coding,
    /// The bytes by which it could be another coding as well.
    begins: Vec<u8>,
}

impl CodedWatch {
    /// A watch over the body behind `head`. A worker without placeholders has nothing to look for but in a `form`.
    ///
    /// # Errors
    /// [`Refusal::UnexaminedBody`] for a coding that cannot be read, or several, or one around messages that may be compressed themselves.
    pub fn new(head: &Head<'_>, swap: &Swap, form: Option<FormWatch>) -> Result<Self, Refusal> {
        let nothing = form.is_none() && (swap.is_empty() || lacks(Wall::Watch));
        let coding = if nothing { Ok((Coding::Identity, false)) } else { coding::of_request(head.headers) };
        let (coding, chunked) = coding.map_err(|error| Refusal::UnexaminedBody(error.to_string()))?;
        let decoding = match coding {
            Coding::Identity => None,
            coding => {
                let room = vec![0; ROOM].into();
                let (decoder, ahead, around) = (Decoder::new(coding), VecDeque::new(), swap.body(head));
                Some(Decoding { decoder, ahead, room, around, coded: 0, plain: 0, coding, begins: Vec::new() })
            }
        };
        let messages = if nothing { Ok(None) } else { grpc::messages(head.headers) };
        let messages = messages.map_err(|base64| Refusal::UnexaminedBody(base64.to_string()))?;
        if messages.is_some() && (chunked || decoding.is_some()) {
            // One reader takes the messages as they come, another undoes the coding first: a message of the one is within a message of the other.
            let why = "its messages are in a content coding besides: send gRPC and Connect without `Content-Encoding`";
            return Err(Refusal::UnexaminedBody(why.to_owned()));
        }
        let chunks = chunked.then(|| (AwsChunks::default(), swap.body(head)));
        Ok(Self { watch: swap.body(head), form, nothing, decoding, chunks, messages })
    }

    /// Waits until there is room for its decoder, and takes it from there from now on.
    ///
    /// # Errors
    /// [`Refusal::UnexaminedBody`] where there was none in time.
    pub(super) async fn within(&mut self, decoders: &Arc<Decoders>) -> Result<(), Refusal> {
        let Some(decoding) = &mut self.decoding else { return Ok(()) };
        decoding.decoder.within(decoders);
        poll_fn(|cx| decoding.decoder.poll_turn(cx)).await.map_err(no_room)
    }

    /// Waits until all that was fed is looked through, a turn after the other.
    ///
    /// # Errors
    /// As [`CodedWatch::step`]; where there is no room to decode it in.
    pub(super) fn poll_seen(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        while let Some(decoding) = &mut self.decoding {
            ready!(decoding.decoder.poll_room(cx)).map_err(no_room)?;
            if self.step()? {
                break;
            }
            ready!(turn::poll_slice(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing comes for now. Whoever asks is woken should its decoder have to go.
    pub(super) fn rests(&self, cx: &Context<'_>) {
        self.decoding.iter().for_each(|decoding| decoding.decoder.rests(cx));
    }

    /// Examines the next chunk. Nothing of it may go upstream before.
    ///
    /// # Errors
    /// As `feed` and `step`.
    pub fn push(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        self.feed(chunk)?;
        while !self.step()? {}
        Ok(())
    }

    /// Takes the next chunk. Nothing of it may go upstream before [`CodedWatch::step`] says that this was all.
    ///
    /// # Errors
    /// For a placeholder that can be seen as it is, and where its framing is broken.
    pub(super) fn feed(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        if self.nothing {
            return Ok(());
        }
        if let Some(messages) = &mut self.messages {
            messages.push(chunk).map_err(|compressed| Refusal::UnexaminedBody(compressed.to_string()))?;
        }
        let Some((chunks, lines)) = &mut self.chunks else { return self.take(chunk) };
        let pieces = chunks.push(chunk.clone()).map_err(|unframed| Refusal::UnexaminedBody(unframed.to_string()))?;
        for piece in &pieces {
            if let Piece::Line(line) = piece {
                lines.push(line)?;
                lines.push(b"\n")?;
            }
        }
        pieces.iter().try_for_each(|piece| match piece {
            Piece::Data(data) => self.take(data),
            Piece::Line(_) => Ok(()),
        })
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        let Some(decoding) = &mut self.decoding else { return look(chunk, &mut self.watch, &mut self.form) };
        decoding.around.push(chunk)?;
        decoding.begins.extend(chunk.iter().take(coding::BEGINNING - decoding.begins.len()));
        if coding::is_either(decoding.coding, &decoding.begins) {
            let why = "its body is `deflate` in both its forms (RFC 1950, and bare RFC 1951), which differ";
            return Err(Refusal::UnexaminedBody(why.to_owned()));
        }
        decoding.coded += chunk.len() as u64;
        decoding.ahead.push_back(chunk.clone());
        Ok(())
    }

    /// Looks through a piece of what was fed. Whether that was all.
    ///
    /// # Errors
    /// For a placeholder, and where the coding is broken or hides too much.
    fn step(&mut self) -> Result<bool, Refusal> {
        let Some(Decoding { decoder, ahead, room, .. }) = &mut self.decoding else { return Ok(true) };
        if decoder.is_idle() {
            let Some(chunk) = ahead.pop_front() else { return Ok(true) };
            decoder.feed(chunk);
        }
        let length = decoder.read(room).map_err(|error| broken(&error))?;
        if decoder.is_idle() && !decoder.is_used_up() {
            return Err(Refusal::UnexaminedBody("there is more behind the end of its content coding".to_owned()));
        }
        let (watch, form) = (&mut self.watch, &mut self.form);
        self.decoding.as_mut().map_or(Ok(()), |decoding| decoding.look(length, watch, form))?;
        Ok(false)
    }

    /// Examines what is left at the end.
    ///
    /// # Errors
    /// As [`CodedWatch::push`]; also for a coding that breaks off.
    pub fn finish(mut self) -> Result<(), Refusal> {
        if let Some((chunks, lines)) = &mut self.chunks {
            chunks.finish().map_err(|unframed| Refusal::UnexaminedBody(unframed.to_string()))?;
            lines.finish()?;
        }
        if let Some(decoding) = &mut self.decoding {
            decoding.around.finish()?;
            loop {
                let length = decoding.decoder.finish(&mut decoding.room).map_err(|error| broken(&error))?;
                if length == 0 {
                    break;
                }
                decoding.look(length, &mut self.watch, &mut self.form)?;
            }
        }
        self.form.as_mut().map_or(Ok(()), FormWatch::finish)?;
        Ok(self.watch.finish()?)
    }
}

/// Looks through what is not coded, or no longer.
fn look(plain: &[u8], watch: &mut BodyWatch, form: &mut Option<FormWatch>) -> Result<(), Refusal> {
    watch.push(plain)?;
    form.as_mut().map_or(Ok(()), |form| form.push(plain))
}

impl Decoding {
    fn look(&mut self, length: usize, watch: &mut BodyWatch, form: &mut Option<FormWatch>) -> Result<(), Refusal> {
        self.plain += length as u64;
        if self.plain > limit::DECODED_FREE.max(self.coded.saturating_mul(limit::DECODED_RATIO)) {
            let ratio = limit::DECODED_RATIO;
            return Err(Refusal::UnexaminedBody(format!("decoded, its body is more than {ratio} times as long")));
        }
        look(&self.room[..length], watch, form)
    }
}

fn no_room(none: NoRoom) -> Refusal {
    Refusal::UnexaminedBody(none.to_string())
}

fn broken(error: &std::io::Error) -> Refusal {
    Refusal::UnexaminedBody(format!("its body is not what its `Content-Encoding` says: {error}"))
}

#[cfg(test)]
mod tests {
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
                let head = [
                    (CONTENT_TYPE, HeaderValue::from_static(kind)),
                    (CONTENT_ENCODING, HeaderValue::from_static(coding)),
                ];
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
        for (kind, last) in [
            ("application/GRPC", None),
            ("application/grpc-web+proto", Some(0x80)),
            ("application/connect+json", Some(2)),
        ] {
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
}
