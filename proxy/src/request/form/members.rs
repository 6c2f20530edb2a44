//! The names of a JSON object's own members: what some frameworks take for a form.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a name that overrides, once its colon is there. Never: more kept than such
//! a name can have; a name within a value, which is nobody's parameter.

use memchr::memchr2;

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

impl Members {
    pub fn push(&mut self, mut rest: &[u8]) -> Result<(), Refusal> {
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
