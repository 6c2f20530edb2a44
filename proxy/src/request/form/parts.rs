//! The names of parts in `multipart/form-data`.
//!
//! Enters: the body, in pieces. Leaves: nothing, or the refusal of a field that gives a part a name that overrides, once that has ended. Never:
//! more kept than one such field, nor one unread that is longer than the bound; an opinion about where parts begin.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use percent_encoding::percent_decode;

use super::{in_any_case, refused};
use crate::error::Refusal;
use crate::limit;

/// The parts, told by the fields that name them. Where parts begin servers see in different ways, so such a field is read at the beginning of any
/// line.
#[derive(Debug)]
pub(super) struct Parts {
    /// How much of a field's name has come, where it can be one.
    matched: Option<usize>,
    /// The field that names a part, from its name on, while it comes.
    field: Option<Field>,
}

#[derive(Debug, Default)]
struct Field {
    text: Vec<u8>,
    /// Its colon has come.
    named: bool,
}

/// The fields that parts are named by; to Rack by the second, too.
const COMMON: &[u8] = b"content-";
const NAMING: [&[u8]; 2] = [b"disposition", b"id"];
/// More than a part has whose field anybody reads.
const NAMES: usize = 16;
/// A name in percent, with what is around it, is not as long.
const VALUE: usize = 512;

impl Default for Parts {
    fn default() -> Self {
        Self { matched: Some(0), field: None }
    }
}

impl Parts {
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        // What began before it.
        while !piece.is_empty() && (self.field.is_some() || self.matched.is_some_and(|matched| matched > 0)) {
            piece = self.step(piece)?;
        }
        if !tells(piece) {
            // Then nothing begins and ends within, and of its lines the last one matters.
            piece = &piece[piece.iter().rposition(|byte| !is_text(byte)).unwrap_or(0)..];
        }
        while !piece.is_empty() {
            piece = self.step(piece)?;
        }
        Ok(())
    }

    /// Reads on for a byte, or for a field; leaves what is behind that.
    fn step<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let Some((byte, mut behind)) = rest.split_first() else { return Ok(rest) };
        if self.field.is_some() {
            return self.read(rest);
        }
        match self.matched {
            // What is no text divides lines to somebody.
            _ if !is_text(byte) => self.matched = Some(0),
            Some(matched) if byte.eq_ignore_ascii_case(&COMMON[matched]) => self.matched = Some(matched + 1),
            // Folded, where no field is before it.
            Some(0) if *byte == b' ' => {}
            Some(_) => self.matched = None,
            None => behind = &behind[behind.iter().position(|byte| !is_text(byte)).unwrap_or(behind.len())..],
        }
        if self.matched == Some(COMMON.len()) {
            *self = Self { matched: None, field: Some(Field::default()) };
        }
        Ok(behind)
    }

    /// Reads on in a field, up to its end; a line that begins with a blank goes on with it.
    fn read<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let Some(field) = &mut self.field else { return Ok(rest) };
        for (index, &byte) in rest.iter().enumerate() {
            let goes_on = |last: u8| b" \t".contains(&byte) || (last == b'\r' && byte == b'\n');
            if field.text.last().is_some_and(|&last| b"\r\n".contains(&last) && !goes_on(last)) {
                self.judge()?;
                *self = Self::default();
                return Ok(&rest[index..]);
            }
            if field.text.len() == limit::PART_FIELD {
                let bound = limit::PART_FIELD;
                let what = format!("a field that names a part of the form is longer than {bound} bytes");
                return Err(Refusal::Malformed(what));
            }
            field.text.push(byte);
            if !field.named {
                if !is_naming(&field.text) {
                    *self = Self { matched: None, field: None };
                    return Ok(&rest[index..]);
                }
                field.named = byte == b':';
            }
        }
        Ok(&[])
    }

    /// Looks at a field, or at what has come of one when the body ends.
    pub fn judge(&self) -> Result<(), Refusal> {
        let Some(Field { text, named: true }) = &self.field else { return Ok(()) };
        let value = text.split(|&byte| byte == b':').next().map_or(0, |name| name.len() + 1);
        let text = String::from_utf8_lossy(&text[value..]).to_ascii_lowercase().replace('\\', "");
        refused(text.trim_matches(|c: char| c.is_ascii_whitespace() || "<>\"'".contains(c)))?;
        let (mut behind, mut names) = (0, 0);
        for (place, _) in text.match_indices('=') {
            let before = &text[behind..place];
            behind = place + 1;
            let ends = |c: char| c == '*' || c.is_ascii_digit() || c.is_ascii_whitespace();
            let word = before.trim_end_matches(ends);
            let more = &before[word.len()..];
            let within = |name: &str| name.ends_with(|c: char| c.is_ascii_alphanumeric());
            if word.strip_suffix("name").is_some_and(|name| !within(name)) {
                names += 1;
                if names > NAMES {
                    return Err(in_pieces());
                }
                judge_value(more, &text[behind..])?;
            }
        }
        Ok(())
    }
}

/// Whether it can be within a line.
fn is_text(byte: &u8) -> bool {
    (b' '..=b'~').contains(byte)
}

/// Whether a field that names a part can begin in it, and be known as one there.
fn tells(piece: &[u8]) -> bool {
    static TELLING: LazyLock<Option<Searcher>> = LazyLock::new(|| in_any_case(*b"cont"));
    TELLING.as_ref().is_none_or(|telling| telling.find(piece).is_some())
}

/// What is between a parameter's name and the sign of equality, and what is behind that.
fn judge_value(more: &str, value: &str) -> Result<(), Refusal> {
    let value = value.trim_ascii_start();
    let value = value.char_indices().nth(VALUE).map_or(value, |(end, _)| &value[..end]);
    // Of RFC 2231 and RFC 2047, and of no client that sends forms.
    if more.contains(|c: char| c.is_ascii_digit()) || value.trim_start_matches('"').starts_with("=?") {
        return Err(in_pieces());
    }
    let value = value.split([';', ',', '\r', '\n']).next().unwrap_or_default();
    // What is behind a charset and a language that are as long is not seen.
    if more.contains('*') && value.len() >= VALUE {
        return Err(in_pieces());
    }
    let value = match (more.contains('*'), value.rsplit_once('\'')) {
        (true, Some((_, value))) => value,
        _ => value.trim_start_matches(['"', '\'']),
    };
    let name = value.split(['"', '\'']).next().unwrap_or_default();
    refused(&percent_decode(name.as_bytes()).decode_utf8_lossy())
}

fn in_pieces() -> Refusal {
    Refusal::Malformed("the name of a part of the form comes in pieces, or as an encoded word".to_owned())
}

/// Whether what came behind [`COMMON`] is, or may become, the name of a field that names a part, by its last byte.
fn is_naming(field: &[u8]) -> bool {
    NAMING.iter().any(|name| {
        let (begins, behind) = field.split_at(field.len().min(name.len()));
        name[..begins.len()].eq_ignore_ascii_case(begins) && behind.last().is_none_or(|byte| b" \t:".contains(byte))
    })
}

#[cfg(test)]
mod tests;
