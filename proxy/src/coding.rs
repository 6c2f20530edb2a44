//! The content codings (RFC 9110 section 8.4.1) that can be read.
//!
//! Enters: header fields and coded bytes. Leaves: decoded bytes, as many at a time as the caller has room for, as soon as
//! they can be had; for answers and for requests alike. Never: a window larger than the coding's RFC allows, more than one
//! coding, a guess.

pub(crate) mod aws_chunked;

use std::io;

use bytes::{Buf, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// RFC 9659: 8 MiB.
const ZSTD_WINDOW: u32 = 23;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952, also called `x-gzip`.
    Gzip,
    /// RFC 1950; and bare RFC 1951, which some servers send under the name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// A body that cannot be examined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its body comes {0}; what can be read is one of gzip, deflate, br and zstd, of a whole body")]
pub struct UnreadableCoding(String);

impl UnreadableCoding {
    pub(crate) fn part() -> Self {
        Self("as a part (206) of a coded body".to_owned())
    }
}

/// The coding that an answer's head announces. Some stores repeat the `aws-chunked` of the upload there, whose framing they have taken off.
pub(crate) fn of(headers: &HeaderMap) -> Result<Coding, UnreadableCoding> {
    let names = headers.get_all(CONTENT_ENCODING).iter().flat_map(members);
    one_of(names.filter(|name| name != "aws-chunked"))
}

/// The coding that a request's head announces, and whether it lies in `aws-chunked`. That is outermost wherever the list has it:
/// SDKs write it first or last.
pub(crate) fn of_request(headers: &HeaderMap) -> Result<(Coding, bool), UnreadableCoding> {
    let mut names: Vec<String> = headers.get_all(CONTENT_ENCODING).iter().flat_map(members).collect();
    let is = |name: Option<&String>| name.is_some_and(|name| name == "aws-chunked");
    let unsaid = headers.get_all(CONTENT_SHA256).iter().any(|value| value.as_bytes().starts_with(b"STREAMING-"));
    let chunked = if is(names.last()) {
        names.pop().is_some()
    } else if is(names.first()) {
        names.drain(..1).next().is_some()
    } else {
        // Servers go by this field alone.
        unsaid
    };
    Ok((one_of(names.into_iter())?, chunked))
}

fn one_of(names: impl Iterator<Item = String>) -> Result<Coding, UnreadableCoding> {
    let mut coding = Coding::Identity;
    for name in names {
        let next =
            named(&name).ok_or_else(|| UnreadableCoding(format!("in the coding `{}`", name.escape_default())))?;
        match (coding, next) {
            (_, Coding::Identity) => {}
            (Coding::Identity, next) => coding = next,
            _ => return Err(UnreadableCoding("in several codings, one over the other".to_owned())),
        }
    }
    Ok(coding)
}

/// Lets a request accept only codings that can be read. Without the field a server may use any (RFC 9110 section 12.5.3).
pub fn accept(headers: &mut HeaderMap) {
    let members: Vec<String> = headers.get_all(ACCEPT_ENCODING).iter().flat_map(members).collect();
    let known = |member: &&String| member.split(';').next().is_some_and(|name| named(name.trim()).is_some());
    let kept: Vec<&str> = members.iter().filter(known).map(String::as_str).collect();
    let kept = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    // gRPC has codings of its own, for each message.
    if headers.contains_key(GRPC_ACCEPT_ENCODING) {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::try_from(kept).unwrap_or(HeaderValue::from_static("identity")));
}

/// The members of a list, lower case. What is not text matches no coding.
fn members(value: &HeaderValue) -> Vec<String> {
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    text.split(',').map(|member| member.trim().to_owned()).filter(|member| !member.is_empty()).collect()
}

fn named(name: &str) -> Option<Coding> {
    Some(match name {
        "identity" => Coding::Identity,
        "gzip" | "x-gzip" => Coding::Gzip,
        "deflate" => Coding::Deflate,
        "br" => Coding::Brotli,
        "zstd" => Coding::Zstd,
        _ => return None,
    })
}

impl Coding {
    /// What its decoder takes for what it may have to look back at, at most.
    pub(crate) fn window(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip | Self::Deflate => 64 << 10,
            Self::Brotli => 16 << 20,
            Self::Zstd => 1 << ZSTD_WINDOW,
        }
    }
}

/// Decodes one body.
pub(crate) struct Decoder {
    coding: Coding,
    /// Made when the first byte is there, which tells zlib from bare deflate.
    codec: Option<Box<dyn DecodeV2 + Send + Sync>>,
    input: Bytes,
    ended: bool,
}

impl Decoder {
    pub(crate) fn new(coding: Coding) -> Self {
        Self { coding, codec: None, input: Bytes::new(), ended: false }
    }

    /// Whether nothing is left of what was fed. Something is only where it goes on behind its coding's end.
    pub(crate) fn is_used_up(&self) -> bool {
        self.input.is_empty()
    }

    /// Takes a chunk. The one before has to be used up.
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        self.input = chunk;
    }

    /// Decodes into `room`; 0 when the next chunk is needed.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(first) = self.input.first().copied().or(self.codec.as_ref().map(|_| 0)) else { return Ok(0) };
        let codec = match &mut self.codec {
            Some(codec) => codec,
            none => none.insert(codec(self.coding, first)?),
        };
        let mut output = WriteBuffer::new_initialized(room);
        while output.written_len() == 0 {
            if self.ended {
                // gzip and zstd bodies may consist of several, one after the other.
                if self.input.is_empty() || !matches!(self.coding, Coding::Gzip | Coding::Zstd) {
                    return Ok(0);
                }
                codec.reinit()?;
                self.ended = false;
            }
            if self.input.is_empty() {
                codec.flush(&mut output)?;
                break;
            }
            let mut input = PartialBuffer::new(&self.input[..]);
            self.ended = codec.decode(&mut input, &mut output)?;
            let used = input.written_len();
            if used == 0 && output.written_len() == 0 && !self.ended {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the coded body makes no progress"));
            }
            self.input.advance(used);
        }
        Ok(output.written_len())
    }

    /// After the last chunk and the last [`Decoder::read`]: what is still to come into `room`, 0 when that was all.
    ///
    /// # Errors
    /// When the body breaks off before its coding ends. One without a single byte does not.
    pub(crate) fn finish(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(codec) = self.codec.as_mut().filter(|_| !self.ended) else { return Ok(0) };
        let mut output = WriteBuffer::new_initialized(room);
        self.ended = codec.finish(&mut output)?;
        match output.written_len() {
            0 if !self.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            written => Ok(written),
        }
    }
}

fn codec(coding: Coding, first: u8) -> io::Result<Box<dyn DecodeV2 + Send + Sync>> {
    Ok(match coding {
        Coding::Gzip => Box::new(GzipDecoder::new()),
        // RFC 1950's first byte names method 8; as bare deflate it would be a stored block with its padding set.
        Coding::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new()),
        Coding::Deflate => Box::new(DeflateDecoder::new()),
        // The large-window variant of brotli is no content coding and would take up to 1 GiB.
        Coding::Brotli if first & 0x7f == 0x11 => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the brotli window is larger than RFC 7932 allows"));
        }
        Coding::Brotli => Box::new(BrotliDecoder::new()),
        Coding::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW)])),
        Coding::Identity => return Err(io::ErrorKind::Unsupported.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(values: &[&'static str]) -> Result<Coding, UnreadableCoding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        of(&headers)
    }

    #[test]
    fn one_known_coding_can_be_read_and_no_other() {
        assert_eq!(coded(&[]), Ok(Coding::Identity));
        assert_eq!(coded(&["identity", "X-GZip, identity"]), Ok(Coding::Gzip));
        assert_eq!(coded(&["aws-chunked"]), Ok(Coding::Identity), "as some stores repeat it");
        assert_eq!(coded(&["br"]), Ok(Coding::Brotli));
        for values in [&["gzip, br"][..], &["gzip", "gzip"], &["compress"], &["dcb"], &["gzip;q=1"]] {
            assert!(coded(values).is_err(), "{values:?}");
        }
    }

    #[test]
    fn aws_chunked_lies_around_one_other_coding_at_most() {
        let of = |value| of_request(&HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(value))])).ok();
        assert_eq!(of("aws-chunked"), Some((Coding::Identity, true)));
        assert_eq!(of("AWS-Chunked,gzip"), Some((Coding::Gzip, true)));
        assert_eq!(of("gzip, aws-chunked"), Some((Coding::Gzip, true)));
        assert_eq!(of("gzip"), Some((Coding::Gzip, false)));
        for value in ["gzip, aws-chunked, br", "aws-chunked, aws-chunked", "gzip, br, aws-chunked"] {
            assert_eq!(of(value), None, "{value}");
        }
    }

    #[test]
    fn a_body_that_is_said_to_come_in_chunks_is_read_so() {
        let of = |said: &'static str| {
            let value = HeaderValue::from_static(said);
            of_request(&HeaderMap::from_iter([(CONTENT_SHA256, value)])).ok()
        };
        assert_eq!(of("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), Some((Coding::Identity, true)));
        assert_eq!(of("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), Some((Coding::Identity, true)));
        assert_eq!(of("UNSIGNED-PAYLOAD"), Some((Coding::Identity, false)));
        // Of two, a server may go by either.
        let two = ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"].map(HeaderValue::from_static);
        let mut headers = HeaderMap::new();
        two.into_iter().for_each(|value| _ = headers.append(CONTENT_SHA256, value));
        assert_eq!(of_request(&headers).ok(), Some((Coding::Identity, true)));
    }

    #[test]
    fn a_request_accepts_only_what_can_be_read() {
        for (asked, kept) in [
            (None, "identity"),
            (Some("gzip, deflate, br, zstd, dcb"), "gzip, deflate, br, zstd"),
            (Some("GZIP;q=0.5 , *;q=0.1"), "gzip;q=0.5"),
            (Some("*"), "identity"),
            (Some("compress"), "identity"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(asked));
            }
            accept(&mut headers);
            assert_eq!(headers[ACCEPT_ENCODING], kept);
        }
    }
}
