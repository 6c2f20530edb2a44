//! The names of `application/x-www-form-urlencoded`.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a name that overrides, once it has ended. Never: more kept than such a name
//! can have.

use memchr::memchr2;
use percent_encoding::percent_decode;

use super::super::overriding::LONGEST;
use super::refused;
use crate::error::Refusal;

/// `name=value` pairs that `&` separates, for some also `;`.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// How the name begins that is being read, without blanks before it, and with one at most for those in a row; as far as it can
    /// still be one that matters.
    name: Vec<u8>,
    /// Of an escape: the percent sign, and a digit.
    escape: Vec<u8>,
    /// Nothing behind matters, up to the next name.
    passes: bool,
}

impl Pairs {
    pub fn push(&mut self, mut rest: &[u8]) -> Result<(), Refusal> {
        while !rest.is_empty() {
            if self.passes {
                let Some(next) = memchr2(b'&', b';', rest) else { return Ok(()) };
                (rest, *self) = (&rest[next + 1..], Self::default());
                continue;
            }
            let byte = rest[0];
            rest = &rest[1..];
            match byte {
                b'=' | b'&' | b';' => {
                    self.judge()?;
                    *self = Self { passes: byte == b'=', ..Self::default() };
                }
                byte => self.raw(byte)?,
            }
        }
        Ok(())
    }

    /// A byte of a name as it is written.
    fn raw(&mut self, byte: u8) -> Result<(), Refusal> {
        if byte == b'%' || !self.escape.is_empty() {
            if byte == b'%' || !byte.is_ascii_hexdigit() {
                // What was no escape stands for itself.
                std::mem::take(&mut self.escape).into_iter().try_for_each(|byte| self.decoded(byte))?;
            }
            if byte == b'%' || !self.escape.is_empty() {
                self.escape.push(byte);
                if self.escape.len() == 3 {
                    let escape = std::mem::take(&mut self.escape);
                    percent_decode(&escape).try_for_each(|byte| self.decoded(byte))?;
                }
                return Ok(());
            }
        }
        self.decoded(if byte == b'+' { b' ' } else { byte })
    }

    fn decoded(&mut self, byte: u8) -> Result<(), Refusal> {
        let blank = byte.is_ascii_whitespace();
        if blank && self.name.last().is_none_or(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if matches!(byte, b'\0' | b'[' | b'.') {
            self.name_overrides()?;
        }
        self.name.push(byte);
        self.passes = self.name.len() > LONGEST + usize::from(blank);
        Ok(())
    }

    /// The end of a name.
    pub fn judge(&mut self) -> Result<(), Refusal> {
        std::mem::take(&mut self.escape).into_iter().try_for_each(|byte| self.decoded(byte))?;
        self.name_overrides()
    }

    fn name_overrides(&self) -> Result<(), Refusal> {
        refused(&String::from_utf8_lossy(&self.name))
    }
}
