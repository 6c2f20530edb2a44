//! The names of parts in `multipart/form-data`.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a field that gives a part a name that overrides, once that has ended. Never:
//! more kept than one such field, nor one unread that is longer than the bound; an opinion about where parts begin.

use percent_encoding::percent_decode;

use super::refused;
use crate::error::Refusal;
use crate::limit;

/// The parts, told by the fields that name them. Where parts begin servers see in different ways, so such a field is read wherever it
/// stands.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// How much of a field's name has come.
    matched: usize,
    /// The field that names a part, from its name on, while it comes.
    field: Option<Vec<u8>>,
}

/// The fields that parts are named by; to Rack by the second, too. Their first letter comes nowhere else in them, so that a search
/// never steps back.
const COMMON: &[u8] = b"content-";
const NAMING: [&[u8]; 2] = [b"disposition", b"id"];

impl Parts {
    pub fn push(&mut self, mut rest: &[u8]) -> Result<(), Refusal> {
        while !rest.is_empty() {
            if self.field.is_some() {
                rest = self.read(rest)?;
                continue;
            }
            if self.matched == 0 {
                let next = rest.iter().position(|byte| byte.eq_ignore_ascii_case(&COMMON[0]));
                let Some(next) = next else { return Ok(()) };
                rest = &rest[next..];
            }
            let byte = rest[0].to_ascii_lowercase();
            self.matched = if byte == COMMON[self.matched] { self.matched + 1 } else { usize::from(byte == COMMON[0]) };
            if self.matched == COMMON.len() {
                *self = Self { matched: 0, field: Some(Vec::new()) };
            }
            rest = &rest[1..];
        }
        Ok(())
    }

    /// Reads on in a field, up to its end; a line that begins with a blank goes on with it.
    fn read<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let Some(field) = &mut self.field else { return Ok(rest) };
        for (index, &byte) in rest.iter().enumerate() {
            let goes_on = |last: u8| b" \t".contains(&byte) || (last == b'\r' && byte == b'\n');
            if field.last().is_some_and(|&last| b"\r\n".contains(&last) && !goes_on(last)) {
                self.judge()?;
                *self = Self::default();
                return Ok(&rest[index..]);
            }
            if field.len() == limit::PART_FIELD {
                let bound = limit::PART_FIELD;
                let what = format!("a field that names a part of the form is longer than {bound} bytes");
                return Err(Refusal::Malformed(what));
            }
            field.push(byte);
            if !is_naming(field) {
                *self = Self::default();
                return Ok(&rest[index..]);
            }
        }
        Ok(&[])
    }

    /// Looks at a field, or at what has come of one when the body ends.
    pub fn judge(&self) -> Result<(), Refusal> {
        let field = self.field.as_deref().unwrap_or_default();
        let Some(colon) = field.iter().position(|&byte| byte == b':') else { return Ok(()) };
        let text = String::from_utf8_lossy(&field[colon + 1..]).to_ascii_lowercase().replace('\\', "");
        refused(text.trim_matches(|c: char| c.is_ascii_whitespace() || "<>\"'".contains(c)))?;
        for (place, word) in text.match_indices("name") {
            let within = text[..place].ends_with(|before: char| before.is_ascii_alphanumeric());
            let Some((more, value)) = text[place + word.len()..].split_once('=') else { continue };
            if within || !more.chars().all(|c| c == '*' || c.is_ascii_digit() || c.is_ascii_whitespace()) {
                continue;
            }
            let value = value.trim_ascii_start();
            // Of RFC 2231 and RFC 2047, and of no client that sends forms.
            if more.contains(|c: char| c.is_ascii_digit()) || value.trim_start_matches('"').starts_with("=?") {
                let what = "the name of a part of the form comes in pieces, or as an encoded word".to_owned();
                return Err(Refusal::Malformed(what));
            }
            let value = value.split([';', ',', '\r', '\n']).next().unwrap_or_default();
            let value = match value.rsplit_once('\'') {
                Some((_, value)) if more.contains('*') => value,
                _ => value.trim_start_matches(['"', '\'']),
            };
            let name = value.split(['"', '\'']).next().unwrap_or_default();
            refused(&percent_decode(name.as_bytes()).decode_utf8_lossy())?;
        }
        Ok(())
    }
}

/// Whether what came behind [`COMMON`] is, or may become, the name of a field that names a part.
fn is_naming(field: &[u8]) -> bool {
    NAMING.iter().any(|name| {
        let (begins, behind) = field.split_at(field.len().min(name.len()));
        let blanks = behind.iter().take_while(|byte| b" \t".contains(byte)).count();
        name[..begins.len()].eq_ignore_ascii_case(begins) && behind.get(blanks).is_none_or(|&byte| byte == b':')
    })
}
