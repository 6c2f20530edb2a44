//! What the fast scans have to agree with: the same said byte by byte, as it was before there were fast ones.
//!
//! Enters: what they are given. Leaves: what they should find. Never: anything outside of tests.

use std::collections::VecDeque;

use super::gaps::Gapped;
use super::search::{Search, Seen, Spelt};
use super::syntax::Syntax;

/// What a body's watch finds in each of `chunks`, and at the end: an entry, and how it is spelt.
pub(super) fn watched<'a>(search: &Search, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<(usize, Spelt)>> {
    let (mut raw, mut plain, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    let kept = search.longest.saturating_sub(1);
    let look = |window: &mut Vec<u8>| -> Option<Seen> {
        let seen = search.seen(window).next();
        window.drain(..window.len().saturating_sub(kept));
        seen
    };
    let mut found = Vec::new();
    for chunk in chunks {
        raw.extend_from_slice(chunk);
        cut.extend_from_slice(chunk);
        let rest = unescape(&cut, &mut plain);
        cut.drain(..rest);
        found.push(match (look(&mut raw), look(&mut plain)) {
            (None, None) => None,
            (Some(seen), _) => Some((seen.entry, seen.spelt)),
            (None, Some(seen)) => Some((seen.entry, Spelt::Otherwise)),
        });
    }
    plain.append(&mut cut);
    found.push(search.seen(&plain).next().map(|seen| (seen.entry, Spelt::Otherwise)));
    found
}

#[derive(Debug)]
pub(super) struct Finder {
    characters: Characters,
    matching: Matching,
}

/// How much of the placeholder the end of the text matches.
#[derive(Debug)]
struct Matching {
    wanted: Vec<u8>,
    /// For each length of its beginning, how long an end of that is a beginning again.
    borders: Vec<usize>,
    /// The bytes that match, as they came; and how many of them each character took.
    held: Vec<u8>,
    lengths: VecDeque<usize>,
}

impl Finder {
    /// A finder of `wanted`, which is not empty.
    pub(super) fn new(syntax: Syntax, wanted: &str) -> Self {
        let wanted: Vec<u8> = wanted.bytes().map(|byte| syntax.folded(byte)).collect();
        let borders = borders(&wanted);
        let matching = Matching { wanted, borders, held: Vec::new(), lengths: VecDeque::new() };
        Self { characters: Characters::new(syntax), matching }
    }

    /// Takes a chunk; gives what is certain.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Gapped {
        let mut gapped = Gapped::default();
        let Self { characters, matching } = self;
        for &byte in chunk {
            characters.push(byte, &mut |stands_for, came| matching.step(stands_for, came, &mut gapped));
        }
        gapped
    }

    /// Gives what was held back.
    pub(super) fn finish(&mut self) -> Gapped {
        let mut gapped = Gapped::default();
        let Self { characters, matching } = self;
        characters.finish(&mut |stands_for, came| matching.step(stands_for, came, &mut gapped));
        gapped.text(&std::mem::take(&mut matching.held));
        matching.lengths.clear();
        gapped
    }
}

impl Matching {
    fn step(&mut self, stands_for: Option<u8>, came: &[u8], gapped: &mut Gapped) {
        loop {
            let matched = self.lengths.len();
            if stands_for == Some(self.wanted[matched]) {
                self.held.extend_from_slice(came);
                self.lengths.push_back(came.len());
                break;
            }
            if matched == 0 {
                gapped.text(came);
                break;
            }
            let certain = self.lengths.drain(..matched - self.borders[matched - 1]).sum();
            gapped.text(&self.held[..certain]);
            self.held.drain(..certain);
        }
        if self.lengths.len() == self.wanted.len() {
            self.held.clear();
            self.lengths.clear();
            gapped.gap();
        }
    }
}

fn borders(text: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; text.len()];
    let mut border = 0;
    for at in 1..text.len() {
        while border > 0 && text[at] != text[border] {
            border = borders[border - 1];
        }
        border += usize::from(text[at] == text[border]);
        borders[at] = border;
    }
    borders
}

/// Reads the characters of one body.
#[derive(Debug)]
pub(super) struct Characters {
    syntax: Syntax,
    /// Within a string of JSON.
    inside: bool,
    /// The beginning of an escape.
    cut: Vec<u8>,
}

impl Characters {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, inside: false, cut: Vec::new() }
    }

    /// Takes a byte; gives `each` character that is whole with it, as what it stands for and as it came.
    pub(super) fn push(&mut self, byte: u8, each: &mut impl FnMut(Option<u8>, &[u8])) {
        match (self.syntax, &self.cut[..]) {
            (Syntax::Plain, _) => each(Some(byte), &[byte]),
            (Syntax::Form, []) if byte == b'%' => self.cut.push(byte),
            (Syntax::Form, []) => each(Some(self.syntax.folded(byte)), &[byte]),
            (Syntax::Form, _) => {
                self.cut.push(byte);
                self.percent(each);
            }
            (Syntax::Json, []) if self.inside && byte == b'\\' => self.cut.push(byte),
            (Syntax::Json, []) => {
                let stands_for = (self.inside && byte != b'"').then_some(byte);
                self.inside ^= byte == b'"';
                each(stands_for, &[byte]);
            }
            (Syntax::Json, [_]) if byte == b'u' => self.cut.push(byte),
            (Syntax::Json, [_]) => {
                self.cut.clear();
                each(Some(byte).filter(|byte| b"\"\\/".contains(byte)), &[b'\\', byte]);
            }
            (Syntax::Json, _) if byte.is_ascii_hexdigit() => {
                self.cut.push(byte);
                if self.cut.len() == 6 {
                    each(value(&self.cut[2..]).and_then(|value| u8::try_from(value).ok()), &self.cut);
                    self.cut.clear();
                }
            }
            (Syntax::Json, _) => {
                self.finish(each);
                self.push(byte, each);
            }
        }
    }

    /// Gives what was the beginning of an escape and is none.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(Option<u8>, &[u8])) {
        let cut = std::mem::take(&mut self.cut);
        match self.syntax {
            Syntax::Form => cut.iter().for_each(|&byte| each(Some(self.syntax.folded(byte)), &[byte])),
            Syntax::Plain => {}
            Syntax::Json if cut.is_empty() => {}
            Syntax::Json => each(None, &cut),
        }
    }

    /// After another byte of `%XX`.
    fn percent(&mut self, each: &mut impl FnMut(Option<u8>, &[u8])) {
        match (value(&self.cut[1..]), self.cut.len()) {
            (Some(value), 3) => {
                each(u8::try_from(value).ok().map(|byte| self.syntax.folded(byte)), &self.cut);
                self.cut.clear();
            }
            (Some(_), _) => {}
            (None, _) => {
                let cut = std::mem::take(&mut self.cut);
                each(Some(cut[0]), &cut[..1]);
                cut[1..].iter().for_each(|&byte| self.push(byte, each));
            }
        }
    }
}

fn value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Undoes percent-encoding and the escapes of JSON strings, once; where the last escape may be cut short, says where it
/// begins.
pub(super) fn unescape(text: &[u8], plain: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let (value, length) = match rest {
            [b'%', a, b, ..] => (hex(&[*a, *b]), 3),
            [b'\\', b'u', a, b, c, d, ..] => (hex(&[*a, *b, *c, *d]), 6),
            // Not `\\`: of several, as JSON within JSON has them, the last one counts.
            [b'\\', c @ (b'/' | b'"'), ..] => (Some(u32::from(*c)), 2),
            [b'%'] | [b'%', _] | [b'\\'] => return at,
            [b'\\', b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => return at,
            _ => (None, 1),
        };
        // Placeholders are ASCII; what else an escape stands for needs only not be taken for one.
        match value.map(u8::try_from) {
            Some(Ok(value)) => plain.push(value),
            Some(Err(_)) => plain.push(b'?'),
            None => plain.push(byte),
        }
        at += if value.is_some() { length } else { 1 };
    }
    at
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
