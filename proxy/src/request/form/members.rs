//! The names of a JSON object's own members: what some frameworks take for a form.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a name that overrides, once its colon is there. Never: more kept than such
//! a name can have; a name within a value, which is nobody's parameter.

use memchr::memchr2;
use wide::u8x16;

use super::super::overriding::{LONGEST, PARAMETERS, overridden};
use crate::error::Refusal;

/// Where in the text it is. Of what is no JSON, of which nobody takes a parameter, it reads what it may.
#[derive(Debug, Default)]
pub(super) struct Members {
    at: At,
    /// In how many objects and arrays.
    depth: usize,
    /// The string that is being read, or was last, as far as it can be a name that matters.
    name: Vec<u8>,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Between,
    Within,
    /// Behind a backslash.
    Escaped,
    /// Behind `\u`, with so many of its digits.
    Digits(u8, u32),
    /// Behind a string that matters if it is a name: a colon makes it one.
    Behind,
}

/// What is looked at outside of strings.
const STRUCTURE: [bool; 256] = {
    let mut structure = [false; 256];
    let mut index = 0;
    while index < 5 {
        structure[b"\"{}[]"[index] as usize] = true;
        index += 1;
    }
    structure
};

/// So many bytes are skimmed at once: a bit each.
const BLOCK: usize = 64;
/// The bit of the last one.
const LAST: u64 = 1 << (BLOCK - 1);
/// Bits that all brackets have, and few others.
const BRACKETS: u8 = 0b0101_1001;
/// Bits that all have by which a name that matters begins, as it is or escaped, and few others.
const BEGINNINGS: u8 = 0b0101_1000;

impl Members {
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let (blocks, rest) = piece.as_chunks::<BLOCK>();
        blocks.iter().try_for_each(|block| self.skim(block))?;
        self.read(rest)
    }

    /// Reads 64 bytes for where strings, objects and arrays begin and end, if no name that matters can begin in them or is under way: byte by
    /// byte, otherwise. The idea of a bit for each byte is Langdale's and Lemire's ("Parsing gigabytes of JSON per second", 2019).
    fn skim(&mut self, block: &[u8; BLOCK]) -> Result<(), Refusal> {
        let (open, escaped) = match self.at {
            At::Between => (0, 0),
            At::Within if self.cannot_matter() || self.name.is_empty() => (u64::MAX, 0),
            At::Escaped if self.cannot_matter() => (u64::MAX, 1),
            _ => return self.read(block),
        };
        let text = Block::of(block);
        let backslashes = text.bits(0, b'\\');
        let (escaped, hangs) = escaped_by(backslashes, escaped);
        let quotes = text.bits(0, b'"') & !escaped;
        // Bit by bit, whether so far there was an odd number of quotation marks.
        let within = [1, 2, 4, 8, 16, 32].iter().fold(quotes, |bits, by| bits ^ bits << by) ^ open;
        if backslashes & !within != 0 {
            return self.read(block);
        }
        let brackets = text.bits(!BRACKETS, u8::MAX) & !within;
        let opening = quotes & within;
        let begins = opening << 1 | u64::from(open != 0 && !self.cannot_matter());
        let mut looked_at = brackets | begins & text.bits(!BEGINNINGS, u8::MAX);
        let mut depth = self.depth;
        while looked_at != 0 {
            let first = looked_at & looked_at.wrapping_neg();
            let at = first.trailing_zeros() as usize;
            let byte = block[at];
            if begins & first != 0 {
                if depth == 1 && may_begin(byte, block.get(at + 1)) {
                    return self.read(block);
                }
            // One bit tells both kinds of brackets from each other, as a letter's case.
            } else if byte | 0x20 == b'{' {
                depth += 1;
            } else if byte | 0x20 == b'}' {
                depth = depth.saturating_sub(1);
            }
            looked_at ^= first;
        }
        self.depth = depth;
        self.at = match within & LAST {
            0 => At::Between,
            _ if hangs => At::Escaped,
            _ => At::Within,
        };
        if opening & LAST != 0 {
            self.name.clear();
        } else if within & LAST != 0 && !self.cannot_matter() {
            // Whatever it begins with: it is none that matters, or longer than one.
            self.name.clear();
            self.name.push(0);
        }
        Ok(())
    }

    /// Whether the string that is being read is no name that matters, whatever comes of it.
    fn cannot_matter(&self) -> bool {
        let begun = |first: &u8| !may_begin(*first, self.name.get(1));
        self.depth != 1 || self.name.len() > LONGEST || self.name.first().is_some_and(begun)
    }

    fn read(&mut self, mut rest: &[u8]) -> Result<(), Refusal> {
        while let Some((&byte, behind)) = rest.split_first() {
            rest = match self.at {
                At::Between => self.between(rest),
                At::Within => self.within(rest),
                _ => self.byte(byte).map(|()| behind)?,
            };
        }
        Ok(())
    }

    /// Goes on to the next string, or to where an object or array begins or ends; leaves what is behind that.
    fn between<'r>(&mut self, rest: &'r [u8]) -> &'r [u8] {
        let Some(next) = rest.iter().position(|&byte| STRUCTURE[usize::from(byte)]) else { return &[] };
        match rest[next] {
            b'"' => {
                self.name.clear();
                self.at = At::Within;
            }
            b'{' | b'[' => self.depth += 1,
            _ => self.depth = self.depth.saturating_sub(1),
        }
        &rest[next + 1..]
    }

    /// Goes on to the string's end, or to a backslash in it; leaves what is behind that.
    fn within<'r>(&mut self, rest: &'r [u8]) -> &'r [u8] {
        let (text, behind) = rest.split_at(memchr2(b'"', b'\\', rest).unwrap_or(rest.len()));
        self.keep(text);
        let Some((&byte, behind)) = behind.split_first() else { return behind };
        self.at = match byte {
            b'\\' => At::Escaped,
            _ if self.overriding().is_some() => At::Behind,
            _ => At::Between,
        };
        behind
    }

    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        match (&self.at, byte) {
            (At::Escaped, b'u') if self.cannot_matter() => self.at = At::Within,
            (At::Escaped, b'u') => self.at = At::Digits(0, 0),
            (At::Escaped, byte) => {
                // What stands for a control character is in none of the names.
                self.keep(&[if b"bfnrt".contains(&byte) { b'\n' } else { byte }]);
                self.at = At::Within;
            }
            // It is no escape then, and whoever takes it for one ends the string here.
            (At::Digits(..), b'"' | b'\\') => {
                self.keep(&[0xff]);
                self.at = At::Within;
                self.within(&[byte]);
            }
            (&At::Digits(count, value), byte) => self.digit(count, value, byte),
            (At::Behind, b':') => return self.overriding().map_or(Ok(()), |name| Err(overridden("its JSON", name))),
            (At::Behind, b' ' | b'\t' | b'\r' | b'\n') => {}
            _ => {
                self.at = At::Between;
                self.between(&[byte]);
            }
        }
        Ok(())
    }

    fn digit(&mut self, count: u8, value: u32, byte: u8) {
        let value = value << 4 | char::from(byte).to_digit(16).unwrap_or(0xf);
        self.at = At::Digits(count + 1, value);
        if count == 3 {
            self.keep(&[u8::try_from(value).unwrap_or(0xff)]);
            self.at = At::Within;
        }
    }

    /// Keeps what is read of a string that can be a name that matters, and one byte more of one that is too long.
    fn keep(&mut self, text: &[u8]) {
        if !self.cannot_matter() {
            let room = (LONGEST + 1).saturating_sub(self.name.len());
            self.name.extend_from_slice(&text[..text.len().min(room)]);
        }
    }

    /// The name that the string is, if that matters.
    fn overriding(&self) -> Option<&'static str> {
        let is = |name: &&str| self.depth == 1 && self.name.eq_ignore_ascii_case(name.as_bytes());
        PARAMETERS.into_iter().find(is)
    }
}

/// Whether a name that matters can begin so, escaped or not. The second byte is not there yet, or lies in another block.
fn may_begin(first: u8, second: Option<&u8>) -> bool {
    match first {
        b'_' => second.is_none_or(|second| b"mMhH\\".contains(second)),
        b'x' | b'X' => second.is_none_or(|second| b"-\\".contains(second)),
        _ => first == b'\\',
    }
}

/// 64 bytes, as the processor takes them.
struct Block([u8x16; BLOCK / 16]);

impl Block {
    #[inline]
    fn of(bytes: &[u8; BLOCK]) -> Self {
        let (parts, _) = bytes.as_chunks::<16>();
        Self(std::array::from_fn(|part| u8x16::new(parts[part])))
    }

    /// A bit for each byte that is `byte` once these bits are set; the first byte's is the lowest.
    #[inline]
    fn bits(&self, set: u8, byte: u8) -> u64 {
        let is = |bytes: u8x16| (bytes | u8x16::splat(set)).simd_eq(u8x16::splat(byte));
        self.0.iter().rev().fold(0, |bits, &bytes| bits << 16 | u64::from(is(bytes).to_bitmask()))
    }
}

/// Which bytes a backslash is before that is not behind one itself, and whether the byte behind them is such a one, too.
#[inline]
fn escaped_by(backslashes: u64, mut escaped: u64) -> (u64, bool) {
    let mut left = backslashes & !escaped;
    while left != 0 {
        let first = left & left.wrapping_neg();
        if first << 1 == 0 {
            return (escaped, true);
        }
        escaped |= first << 1;
        left &= !(first | first << 1);
    }
    (escaped, false)
}

#[cfg(test)]
mod tests;
