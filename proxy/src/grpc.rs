//! What of gRPC has to be known to carry it: who speaks it, and where its messages end.
//!
//! Enters: the head of a request or answer, and the bytes behind it. Leaves: whether a message is under way. Never: a message that
//! is compressed, in which anything could hide; what a message says.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// A flag, and the length of what follows.
const HEAD: usize = 5;

/// Whether these are the fields of a gRPC call, or of its answer. `application/grpc-web` is another protocol.
pub fn is_spoken(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    matches!(kind.strip_prefix(b"application/grpc"), Some([] | [b'+' | b';', ..]))
}

/// The messages of one direction, as far as where they end.
#[derive(Debug, Default)]
pub struct Messages {
    head: Vec<u8>,
    left: u64,
}

/// A compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a gRPC message is compressed")]
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
            // At once: of a credential that goes on behind a message's end, the next byte would be the flag, and none has a zero.
            if self.head.first().is_some_and(|flag| *flag != 0) {
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

    #[test]
    fn grpc_is_told_by_its_media_type() {
        let of =
            |kind: &'static str| is_spoken(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]));
        assert!(["application/grpc", "application/grpc+proto", "application/grpc;x=y"].into_iter().all(of));
        assert!(!["application/grpc-web", "application/json", "", "application/grp"].into_iter().any(of));
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
