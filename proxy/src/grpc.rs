//! What of gRPC, gRPC-Web and Connect has to be known to carry them: who speaks them, and where their messages end.
//!
//! Enters: the head of a request or answer, and the bytes behind it. Leaves: whether a message is under way, or is in the query. Never: a message
//! that is compressed, in which anything could hide; what a message says.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;

/// A flag, and the length of what follows.
const HEAD: usize = 5;

/// How the messages of a body are wrapped, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Grpc,
    /// gRPC's PROTOCOL-WEB: the same, and the trailers are a message with the highest bit set.
    Web,
    /// All of that in base64, with padding wherever the sender likes.
    WebText,
    /// A stream of Connect's, whose last message has the second bit set. Its other calls have no messages but their body.
    Connect,
}

/// A body of messages in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`application/grpc-web-text` is base64, which is not looked into; `application/grpc-web` is")]
pub struct InBase64;

/// Whether these are the fields of a gRPC call, or of its answer. gRPC-Web and Connect are other protocols.
pub fn is_spoken(headers: &HeaderMap) -> bool {
    kinds(headers).any(|kind| kind == Kind::Grpc)
}

/// The media type in which a call of gRPC-Web is answered: its own, of those that are known, or what it is a kind of. None where it names several.
pub fn web(headers: &HeaderMap) -> Option<&'static str> {
    const PLAIN: [&str; 3] = ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json"];
    const TEXT: [&str; 2] = ["application/grpc-web-text", "application/grpc-web-text+proto"];
    let mut media = media(headers);
    let (Some(own), None) = (media.next(), media.next()) else { return None };
    let known: &[&str] = match Kind::of(own)? {
        Kind::Web => &PLAIN,
        Kind::WebText => &TEXT,
        Kind::Grpc | Kind::Connect => return None,
    };
    known.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(own)).or(known.first()).copied()
}

/// The messages that the body behind this head consists of, where it does.
///
/// # Errors
/// [`InBase64`].
pub fn messages(headers: &HeaderMap) -> Result<Option<Messages>, InBase64> {
    if kinds(headers).any(|kind| kind == Kind::WebText) {
        return Err(InBase64);
    }
    Ok(kinds(headers).next().map(|kind| Messages { last: kind.last(), ..Messages::default() }))
}

/// Whether this query is a call of Connect by GET, whose message is in it and compressed.
pub fn is_compressed(query: &str) -> bool {
    let pairs = || query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let is = |text: &str, other: &str| percent_decode_str(text).eq(other.bytes());
    let has = |name: &str| pairs().any(|(own, _)| is(own, name));
    let coded = |(name, value): (&str, &str)| is(name, "compression") && !is(value, "") && !is(value, "identity");
    pairs().any(coded) && has("encoding") && has("message")
}

/// Of several media types, or a list of them, a reader may take any.
fn kinds(headers: &HeaderMap) -> impl Iterator<Item = Kind> {
    media(headers).filter_map(Kind::of)
}

/// Without parameters.
fn media(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let types = headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let types = types.flat_map(|value| value.split(|&byte| byte == b','));
    types.map(|value| value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii())
}

impl Kind {
    fn of(media: &[u8]) -> Option<Self> {
        if behind(media, b"application/connect+").is_some() {
            return Some(Self::Connect);
        }
        match behind(media, b"application/grpc")? {
            [] | [b'+', ..] => Some(Self::Grpc),
            rest => behind(rest, b"-web").map(|rest| match behind(rest, b"-text") {
                Some(_) => Self::WebText,
                None => Self::Web,
            }),
        }
    }

    /// The flag of what ends a stream.
    fn last(self) -> Option<u8> {
        match self {
            Self::Grpc | Self::WebText => None,
            Self::Web => Some(0x80),
            Self::Connect => Some(0x02),
        }
    }
}

/// What follows `prefix`, whatever the case of that.
fn behind<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (before, behind) = text.split_at_checked(prefix.len())?;
    before.eq_ignore_ascii_case(prefix).then_some(behind)
}

/// The messages of one direction, as far as where they end.
#[derive(Debug, Default)]
pub struct Messages {
    head: Vec<u8>,
    left: u64,
    /// A flag beside 0 that says nothing of compression.
    last: Option<u8>,
}

/// A compressed message, or one with a flag that nobody has explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of gRPC or Connect is compressed, or has a flag that is not known")]
pub struct Compressed;

impl Messages {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Compressed`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Compressed> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let within = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= within as u64;
                bytes = &bytes[within..];
                continue;
            }
            let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
            self.head.extend_from_slice(head);
            bytes = rest;
            // At once: the other four would be sent on before they are all there.
            if self.head.first().is_some_and(|&flag| flag != 0 && Some(flag) != self.last) {
                return Err(Compressed);
            }
            if let &[_, a, b, c, d] = &self.head[..] {
                self.left = u64::from(u32::from_be_bytes([a, b, c, d]));
                self.head.clear();
            }
        }
        Ok(())
    }

    /// Whether every message so far is whole.
    pub fn are_whole(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(kinds: &[&'static str]) -> HeaderMap {
        kinds.iter().map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))).collect()
    }

    #[test]
    fn grpc_is_told_by_its_media_type() {
        let of = |kind| is_spoken(&head(&[kind]));
        assert!(["application/grpc", "Application/GRPC+proto", "application/grpc ;x=y"].into_iter().all(of));
        assert!(!["application/grpc-web", "application/json", "", "application/grp"].into_iter().any(of));
    }

    #[test]
    fn a_call_of_grpc_web_is_answered_in_its_own_type() {
        for (kinds, answered) in [
            (&["application/grpc-web"][..], Some("application/grpc-web")),
            (&["Application/GRPC-Web+proto ;x=y"], Some("application/grpc-web+proto")),
            (&["application/grpc-web+thrift"], Some("application/grpc-web")),
            (&["application/grpc-web-text+proto"], Some("application/grpc-web-text+proto")),
            (&["application/grpc-web-text-base64"], Some("application/grpc-web-text")),
            (&["application/grpc-web, application/json"], None),
            (&["application/json", "application/grpc-web"], None),
            (&["application/grpc"], None),
            (&["application/connect+proto"], None),
            (&[], None),
        ] {
            assert_eq!(web(&head(kinds)), answered, "{kinds:?}");
        }
    }

    #[test]
    fn a_message_may_be_the_last_and_not_be_compressed() {
        let flags = |kinds: &[&'static str]| {
            let passes = |flag: &u8| messages(&head(kinds)).unwrap().unwrap().push(&[*flag]).is_ok();
            (0..=255).filter(passes).collect::<Vec<u8>>()
        };
        for (kind, passes) in [
            ("application/grpc", &[0][..]),
            ("application/GRPC+json; charset=utf-8", &[0]),
            ("application/grpc-web", &[0, 0x80]),
            ("Application/grpc-Web+proto", &[0, 0x80]),
            ("application/connect+json", &[0, 2]),
            ("application/Connect+proto;x=y", &[0, 2]),
            ("text/plain, application/connect+proto", &[0, 2]),
        ] {
            assert_eq!(flags(&[kind]), passes, "{kind}");
        }
        assert_eq!(flags(&["text/plain", "application/grpc"]), [0]);
        for kind in ["application/json", "application/connect", "application/grpcurl", "application/proto", ""] {
            assert!(messages(&head(&[kind])).unwrap().is_none(), "{kind}");
        }
    }

    #[test]
    fn what_is_in_base64_is_not_read() {
        for kind in ["application/grpc-web-text", "application/GRPC-web-text+proto", "application/grpc-web-text-base64"]
        {
            assert_eq!(messages(&head(&["text/plain", kind])).unwrap_err(), InBase64, "{kind}");
        }
    }

    #[test]
    fn a_call_by_get_is_compressed_if_it_says_so() {
        for query in [
            "connect=v1&encoding=proto&compression=gzip&base64=1&message=AAAA",
            "message=&encoding=json&c%6Fmpression=br",
            "compression=identity&compression=zstd&message=x&encoding=json",
        ] {
            assert!(is_compressed(query), "{query}");
        }
        for query in [
            "",
            "message=%7B%7D&encoding=json&connect=v1",
            "message=%7B%7D&encoding=json&compression=identity",
            "message=%7B%7D&encoding=json&compression=",
            "compression=gzip",
            "message=hello&compression=gzip",
        ] {
            assert!(!is_compressed(query), "{query}");
        }
    }

    proptest! {
        #[test]
        fn messages_end_where_they_say_however_the_pieces_fall(
            lengths in proptest::collection::vec(0_usize..40, 0..8),
            cuts in proptest::collection::vec(0_usize..1000, 0..8),
        ) {
            let (mut stream, mut ends) = (Vec::new(), vec![0]);
            for length in lengths {
                stream.extend([&[0][..], &u32::try_from(length).unwrap().to_be_bytes(), &vec![7; length]].concat());
                ends.push(stream.len());
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            let mut messages = Messages::default();
            for pair in cuts.windows(2) {
                prop_assert_eq!(messages.push(&stream[pair[0]..pair[1]]), Ok(()));
                prop_assert_eq!(messages.are_whole(), ends.contains(&pair[1]));
            }
            prop_assert_eq!(messages.push(&[1]), Err(Compressed));
        }
    }
}
