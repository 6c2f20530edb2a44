//! The hash of a line, which binds what comes after it.
//!
//! Enters: bytes. Leaves: 32 bytes, as text in lower-case hexadecimal. Never: a hash of a line that could be one of two hashes (RFC 6962,
//! section 2.1: what is a leaf begins with 0, what is a node with 1).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a leaf of the tree begins with.
pub(crate) const LEAF: u8 = 0;

/// SHA-256 of something.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first line has in the place of a predecessor's hash.
    pub const NONE: Hash = Hash([0; 32]);

    /// Of a line, without its newline, as a leaf of a Merkle tree.
    pub fn of_line(line: &[u8]) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(&[LEAF]);
        context.update(line);
        Hash::from(context.finish())
    }

    /// Of anything that is no line, or has what a leaf begins with before it.
    pub(crate) fn of(bytes: &[u8]) -> Hash {
        Hash::from(digest(&SHA256, bytes))
    }

    /// Of two halves of a Merkle tree.
    pub(crate) fn of_halves(left: Hash, right: Hash) -> Hash {
        let mut both = [1; 65];
        both[1..33].copy_from_slice(&left.0);
        both[33..].copy_from_slice(&right.0);
        Hash::from(digest(&SHA256, &both))
    }

    /// Of nothing at all: the root of an empty tree.
    pub(crate) fn of_nothing() -> Hash {
        Hash::of(b"")
    }

    /// As it is written.
    pub(crate) fn to_hex(self) -> [u8; 64] {
        hex(&self.0)
    }

    /// As bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Hash {
        Hash(bytes)
    }
}

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Hash {
        let mut bytes = [0; 32];
        // SHA-256 has as many.
        bytes.copy_from_slice(digest.as_ref());
        Hash(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digits are text.
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 digits of lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in hexadecimal")]
pub struct NotAHash;

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Hash, NotAHash> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| NotAHash)?;
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(NotAHash),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Hash(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// As digits, all at once: a table would be asked for each by itself.
fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_of_a_line_is_what_other_tools_say_it_is() {
        // printf '\0abc' | sha256sum
        let told = "609f6e36d2405585188d5cfd761f407c7cc46a7d3f314c88270469dde315fcd1";
        assert_eq!(Hash::of_line(b"abc").to_string(), told);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 32]) {
            prop_assert_eq!(Hash(bytes).to_string().parse(), Ok(Hash(bytes)));
        }

        #[test]
        fn what_is_read_has_one_spelling(text in "[0-9a-fA-F]{62,66}|.{0,70}") {
            if let Ok(hash) = text.parse::<Hash>() {
                prop_assert_eq!(hash.to_string(), text);
            }
        }
    }
}
