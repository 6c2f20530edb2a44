//! The content codings (RFC 9110 section 8.4.1) that can be read.
//!
//! Enters: header fields and coded bytes. Leaves: decoded bytes, as many at a time as the caller has room for, as soon as
//! they can be had; for answers and for requests alike, in room that is counted. Never: a window larger than the coding's RFC allows, more than one
//! coding, a guess; more work in a step than a piece of what is coded, or a window of brotli's, makes.

pub(crate) mod aws_chunked;
mod brotli;
mod codec;
mod room;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::codec::Codec;
pub(crate) use self::codec::{BEGINNING, is_either};
use self::room::Place;
pub use self::room::{Decoders, NoRoom};
use crate::grpc::InBase64;

/// How gRPC and Connect name the coding of each message: what is accepted, and what is used.
const OF_MESSAGES: [[HeaderName; 2]; 2] = [
    [HeaderName::from_static("grpc-accept-encoding"), HeaderName::from_static("grpc-encoding")],
    [HeaderName::from_static("connect-accept-encoding"), HeaderName::from_static("connect-content-encoding")],
];
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// What a body takes beside its decoder: what is decoded at once, and places.
const BEGUN: usize = 32 << 10;
/// So much of what is coded is decoded at once: some five heads of brotli's, each with hundreds of codes.
const PIECE: usize = 8 << 10;

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

    pub(crate) fn messages(base64: InBase64) -> Self {
        Self(format!("as messages in base64 ({base64})"))
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
    for [accepted, used] in OF_MESSAGES {
        // Where nothing is said to be accepted, a server takes it that what is used is.
        if headers.contains_key(&accepted) || headers.contains_key(&used) {
            headers.insert(accepted, HeaderValue::from_static("identity"));
        }
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

/// Decodes one body.
pub(crate) struct Decoder {
    coding: Coding,
    codec: Arc<Held>,
    input: Bytes,
    /// Whether the coding has, and what was fed with it.
    ended: bool,
    idle: bool,
    /// None where nobody counts.
    place: Option<Place>,
}

/// A codec while it has its room.
#[derive(Default)]
struct Held(Mutex<Slot>, Mutex<Option<Waker>>);

#[derive(Default)]
enum Slot {
    /// Its first byte is not there yet, which tells zlib from bare deflate.
    #[default]
    Empty,
    Codec(Codec),
    /// Somebody else has its room.
    Ended,
}

impl Decoder {
    pub(crate) fn new(coding: Coding) -> Self {
        Self { coding, codec: Arc::default(), input: Bytes::new(), ended: false, idle: true, place: None }
    }

    /// The same, which takes its room from there.
    pub(crate) fn within(&mut self, decoders: &Arc<Decoders>) {
        self.place = Some(decoders.place(Arc::<Held>::clone(&self.codec)));
    }

    /// Waits for what it takes before its first byte is there.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoRoom>> {
        self.place.as_mut().map_or(Poll::Ready(Ok(())), |place| place.poll(BEGUN, cx))
    }

    /// Waits for room for the next [`Decoder::read`].
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoRoom>> {
        let Some(place) = &mut self.place else { return Poll::Ready(Ok(())) };
        let may_take = match (&*lock(&self.codec.0), self.input.first()) {
            (Slot::Ended, _) => return Poll::Ready(Err(NoRoom::Rested)),
            (Slot::Codec(codec), Some(_)) => codec.may_take(),
            (Slot::Empty, Some(&first)) => Codec::begins_with(self.coding, first),
            (_, None) => 0,
        };
        let came = place.poll(BEGUN + may_take, cx);
        if came.is_pending() {
            self.codec.wakes(cx);
        }
        came
    }

    /// Nothing comes for now. Whoever asks is woken should its room be taken.
    pub(crate) fn rests(&self, cx: &Context<'_>) {
        if self.place.is_some() {
            self.codec.wakes(cx);
        }
    }

    /// Whether nothing is left of what was fed. Something is only where it goes on behind its coding's end.
    pub(crate) fn is_used_up(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether the next chunk is needed.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }

    /// Takes a chunk. The one before has to be used up.
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        (self.input, self.idle) = (chunk, false);
    }

    /// Decodes a piece into `room`. 0 does not say that there is no more: [`Decoder::is_idle`] does.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut slot = lock(&self.codec.0);
        if let (Slot::Empty, Some(&first)) = (&*slot, self.input.first()) {
            *slot = Slot::Codec(Codec::new(self.coding, first)?);
        }
        let codec = match &mut *slot {
            Slot::Codec(codec) => codec,
            Slot::Empty => {
                self.idle = true;
                return Ok(0);
            }
            Slot::Ended => return Err(io::Error::other(NoRoom::Rested)),
        };
        let mut output = WriteBuffer::new_initialized(room);
        if self.ended && (self.input.is_empty() || !matches!(self.coding, Coding::Gzip | Coding::Zstd)) {
            self.idle = true;
        } else if self.input.is_empty() {
            codec.decodes.flush(&mut output)?;
            self.idle = output.written_len() == 0;
        } else {
            // gzip and zstd bodies may consist of several, one after the other.
            if std::mem::take(&mut self.ended) {
                codec.decodes.reinit()?;
            }
            let mut input = PartialBuffer::new(&self.input[..self.input.len().min(PIECE)]);
            self.ended = codec.decodes.decode(&mut input, &mut output)?;
            let used = input.written_len();
            if used == 0 && output.written_len() == 0 && !self.ended {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the coded body makes no progress"));
            }
            self.input.advance(used);
        }
        let written = output.written_len();
        codec.decoded = codec.decoded.saturating_add(written);
        let takes = codec.takes();
        drop(slot);
        self.place.iter_mut().for_each(|place| place.settle(written, BEGUN + takes));
        Ok(written)
    }

    /// After the last chunk and the last [`Decoder::read`]: what is still to come into `room`, 0 when that was all.
    ///
    /// # Errors
    /// When the body breaks off before its coding ends. One without a single byte does not.
    pub(crate) fn finish(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut slot = lock(&self.codec.0);
        let codec = match &mut *slot {
            Slot::Codec(codec) if !self.ended => codec,
            Slot::Ended => return Err(io::Error::other(NoRoom::Rested)),
            _ => return Ok(0),
        };
        let mut output = WriteBuffer::new_initialized(room);
        self.ended = codec.decodes.finish(&mut output)?;
        match output.written_len() {
            0 if !self.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            written => Ok(written),
        }
    }
}

impl Held {
    fn wakes(&self, cx: &Context<'_>) {
        *lock(&self.1) = Some(cx.waker().clone());
    }
}

impl room::Held for Held {
    fn end(&self) {
        *lock(&self.0) = Slot::Ended;
        lock(&self.1).take().into_iter().for_each(Waker::wake);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held(..)")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            assert_eq!(headers.len(), 1);
        }
    }

    #[test]
    fn no_message_is_asked_for_that_is_compressed() {
        let of_messages = OF_MESSAGES;
        for name in of_messages.as_flattened() {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("gzip"))]);
            accept(&mut headers);
            let accepted = &of_messages.iter().find(|names| names.contains(name)).unwrap()[0];
            assert_eq!(headers.get_all(accepted).iter().collect::<Vec<_>>(), ["identity"], "{name}");
        }
    }
}
