//! The names of a JSON object's own members: what some frameworks take for a form.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a name that overrides, once its colon is there. Never: more kept than such
//! a name can have; a name within a value, which is nobody's parameter.

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
    /// Behind a string: a colon makes it a name.
    Behind,
}

impl Members {
    pub fn push(&mut self, mut rest: &[u8]) -> Result<(), Refusal> {
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            match (&self.at, byte) {
                (At::Within, b'"') => self.at = At::Behind,
                (At::Within, b'\\') => self.at = At::Escaped,
                (At::Within, byte) => {
                    self.keep(byte);
                    if !self.matters() {
                        let next = rest.iter().position(|&byte| byte == b'"' || byte == b'\\');
                        rest = &rest[next.unwrap_or(rest.len())..];
                    }
                }
                (At::Escaped, b'u') => self.at = At::Digits(0, 0),
                (At::Escaped, byte) => self.escaped(byte),
                (&At::Digits(count, value), byte) => self.digit(count, value, byte),
                (At::Behind, b':') => self.judge()?,
                (At::Behind, b' ' | b'\t' | b'\r' | b'\n') => {}
                (At::Behind | At::Between, byte) => self.between(byte),
            }
        }
        Ok(())
    }

    fn between(&mut self, byte: u8) {
        self.at = At::Between;
        match byte {
            b'"' => {
                self.name.clear();
                self.at = At::Within;
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn escaped(&mut self, byte: u8) {
        // What stands for a control character is in none of the names.
        self.keep(if b"bfnrt".contains(&byte) { b'\n' } else { byte });
        self.at = At::Within;
    }

    fn digit(&mut self, count: u8, value: u32, byte: u8) {
        let value = value << 4 | char::from(byte).to_digit(16).unwrap_or(0xf);
        self.at = At::Digits(count + 1, value);
        if count == 3 {
            self.keep(u8::try_from(value).unwrap_or(0xff));
            self.at = At::Within;
        }
    }

    /// Whether the string that is read can be a name that does.
    fn matters(&self) -> bool {
        self.depth == 1 && self.name.len() <= LONGEST
    }

    fn keep(&mut self, byte: u8) {
        if self.matters() {
            self.name.push(byte);
        }
    }

    fn judge(&mut self) -> Result<(), Refusal> {
        self.at = At::Between;
        let is = |name: &&&str| self.depth == 1 && self.name.eq_ignore_ascii_case(name.as_bytes());
        PARAMETERS.iter().find(is).map_or(Ok(()), |name| Err(overridden("its JSON", name)))
    }
}
