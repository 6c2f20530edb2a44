//! One placeholder, taken out of a body as it streams.
//!
//! Enters: chunks, however they fall. Leaves: the text without the placeholder, and where it stood. Never: more held back than what
//! may be the beginning of one. It goes byte by byte (Knuth, Morris and Pratt), so that no cut between chunks can matter.

use std::collections::VecDeque;

use super::gaps::Gapped;
use super::syntax::{Characters, Syntax};

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
    pub(super) fn push(&mut self, mut chunk: &[u8]) -> Gapped {
        let mut gapped = Gapped::default();
        let Self { characters, matching } = self;
        while let Some(&byte) = chunk.first() {
            let plain = if matching.lengths.is_empty() { characters.plain(chunk, matching.wanted[0]) } else { 0 };
            if plain > 0 {
                gapped.text(&chunk[..plain]);
                chunk = &chunk[plain..];
                continue;
            }
            characters.push(byte, &mut |stands_for, came| matching.step(stands_for, came, &mut gapped));
            chunk = &chunk[1..];
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

#[cfg(test)]
mod tests {
    use super::*;

    fn swapped(syntax: Syntax, wanted: &str, text: &str, cut: usize) -> String {
        let mut finder = Finder::new(syntax, wanted);
        let mut all = Gapped::default();
        text.as_bytes().chunks(cut).for_each(|chunk| all.append(&finder.push(chunk)));
        all.append(&finder.finish());
        String::from_utf8(all.filled(b"<>").to_vec()).unwrap()
    }

    #[test]
    fn a_placeholder_that_begins_within_one_that_is_none_is_found() {
        for cut in [1, 2, 3, 100] {
            assert_eq!(swapped(Syntax::Form, "aab", "aaab=aaaab&aa", cut), "a<>=aa<>&aa");
            assert_eq!(swapped(Syntax::Form, "abab", "ababab%61b%61b", cut), "<><>%61b");
            assert_eq!(
                swapped(Syntax::Json, "abac", "[\"ab\\u0061bac\",abac,\"abac\\u\"]", cut),
                "[\"ab<>\",abac,\"<>\\u\"]"
            );
        }
    }
}
