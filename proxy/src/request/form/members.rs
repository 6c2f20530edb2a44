//! The names of a JSON object's own members: what some frameworks take for a form.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a name that overrides, once its colon is there. Never: more kept than such
//! a name can have; a name within a value, which is nobody's parameter.

use std::sync::LazyLock;

use aho_corasick::packed::{Builder, Searcher};
use memchr::memchr2;

use super::super::overriding::{LONGEST, PARAMETERS, overridden};
use super::in_any_case;
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

/// What one of is in every spelling of a name that overrides, whatever is escaped in it: `meth` in some case, or an escape that it is broken by.
/// Two, since of all that one looks for at once it knows the first bytes only that the shortest has.
static TELLING: LazyLock<Option<[Searcher; 2]>> = LazyLock::new(|| {
    let escapes = [b'u', b'e', b'E', b'T', b'h', b'H'].map(|escaped| [b'\\', escaped]);
    Some([in_any_case(*b"meth")?, Builder::new().extend(escapes).build()?])
});

/// Whether a name that overrides can be in it. Where the processor has nothing to search many bytes at a time with, one always can.
fn tells(piece: &[u8]) -> bool {
    let Some(telling) = &*TELLING else { return true };
    telling.iter().any(|telling| telling.find(piece).is_some())
}

impl Members {
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        // Where a piece has nothing that tells, a name that matters begins before it, or ends behind it.
        while let Some((byte, behind)) = piece.split_at_checked(1).filter(|_| !matches!(self.at, At::Between)) {
            piece =
                if matches!(self.at, At::Within) { self.within(piece) } else { self.read(byte).map(|()| behind)? };
        }
        let blocks = piece.as_chunks::<BLOCK>().0;
        // What is at its end is read, as it may be the beginning of a name.
        let (skimmed, rest) = match blocks.len().checked_sub(1) {
            Some(all_but_one) if all_but_one > 0 && !tells(piece) => piece.split_at(all_but_one * BLOCK),
            _ => (&[][..], piece),
        };
        skimmed.as_chunks::<BLOCK>().0.iter().try_for_each(|block| self.skim(block))?;
        self.read(rest)
    }

    /// Reads 64 bytes for where strings, objects and arrays begin and end, and for no name.
    fn skim(&mut self, block: &[u8; BLOCK]) -> Result<(), Refusal> {
        let within = match self.at {
            At::Between => 0,
            At::Within => u64::MAX,
            _ => return self.read(block),
        };
        if bits(block, |byte| byte == b'\\') != 0 {
            return self.read(block);
        }
        // Bit by bit, whether so far there was an odd number of quotation marks.
        let odd = [1, 2, 4, 8, 16, 32].iter().fold(bits(block, |byte| byte == b'"'), |bits, by| bits ^ bits << by);
        let within = odd ^ within;
        // In both kinds of brackets one bit tells a case from the other, and another bit which opens.
        let mut brackets = bits(block, |byte| matches!(byte & !0x20, b'[' | b']')) & !within;
        while brackets != 0 {
            let opens = block[brackets.trailing_zeros() as usize] & 2 != 0;
            self.depth = if opens { self.depth + 1 } else { self.depth.saturating_sub(1) };
            brackets &= brackets - 1;
        }
        self.at = At::Between;
        if within >> (BLOCK - 1) == 1 {
            self.at = At::Within;
            // Whatever it begins with: it is none that matters, or longer than one.
            self.name.resize(LONGEST + 1, 0);
        }
        Ok(())
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
            (At::Escaped, b'u') => self.at = At::Digits(0, 0),
            (At::Escaped, byte) => {
                // What stands for a control character is in none of the names.
                self.keep(&[if b"bfnrt".contains(&byte) { b'\n' } else { byte }]);
                self.at = At::Within;
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
        if self.depth == 1 {
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

/// A bit for each byte, the first one's is the lowest.
#[inline]
fn bits(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let each = block.map(|byte| u8::from(is(byte)));
    // The lowest bits of eight bytes, moved next to each other.
    let eight = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    each.as_chunks::<8>().0.iter().rev().fold(0, |bits, bytes| bits << 8 | eight(bytes))
}

#[cfg(test)]
mod tests;
