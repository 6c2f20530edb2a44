//! One placeholder, taken out of a body as it streams.
//!
//! Enters: chunks, however they fall. Leaves: the text without the placeholder, and where it stood. Never: more held back than what
//! may be the beginning of one. It goes byte by byte (Knuth, Morris and Pratt), so that no cut between chunks can matter, but only
//! from where one may begin; what is before that is passed over at once (`outlook`).

use std::collections::VecDeque;

use super::gaps::Gapped;
use super::outlook::{Outlook, Sought};
use super::syntax::{Characters, Syntax};

#[derive(Debug)]
pub(super) struct Finder {
    characters: Characters,
    sought: Sought,
    matching: Matching,
}

/// How much of the placeholder the end of the text matches.
#[derive(Debug)]
struct Matching {
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
        let sought = Sought::new(syntax, wanted);
        let matching = Matching { borders, held: Vec::new(), lengths: VecDeque::new() };
        Self { characters: Characters::new(syntax), sought, matching }
    }

    /// Takes a chunk; gives what is certain.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Gapped {
        let mut gapped = Gapped::with_room(chunk.len());
        let Self { characters, sought, matching } = self;
        let escape = characters.escape();
        let mut outlook = Outlook::new(sought, chunk, escape);
        let mut at = 0;
        while at < chunk.len() {
            // Of escapes in a row each is taken as it comes.
            if matching.lengths.is_empty() && characters.is_whole() && Some(chunk[at]) != escape {
                let begins = outlook.begins(at);
                gapped.text(&chunk[at..begins]);
                characters.skip(&chunk[at..begins]);
                at = begins;
            }
            if at < chunk.len() {
                at += characters.take(&chunk[at..], &mut |stands_for, came| {
                    matching.step(&sought.wanted, stands_for, came, &mut gapped);
                });
            }
        }
        gapped
    }

    /// Gives what was held back.
    pub(super) fn finish(&mut self) -> Gapped {
        let mut gapped = Gapped::default();
        let Self { characters, sought, matching } = self;
        characters.finish(&mut |stands_for, came| matching.step(&sought.wanted, stands_for, came, &mut gapped));
        gapped.text(&std::mem::take(&mut matching.held));
        matching.lengths.clear();
        gapped
    }
}

impl Matching {
    fn step(&mut self, wanted: &[u8], stands_for: Option<u8>, came: &[u8], gapped: &mut Gapped) {
        loop {
            let matched = self.lengths.len();
            if stands_for == Some(wanted[matched]) {
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
        if self.lengths.len() == wanted.len() {
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
    use proptest::prelude::*;

    use super::*;
    use crate::swap::oracle;

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

    /// Pieces that have to do with the placeholder, and such that have not.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[ -~]{0,30}",
            "[\"\\\\%+ &=]{1,4}",
            Just("ab+ab c".to_owned()),
            Just("a abc".to_owned()),
            Just("a+abc".to_owned()),
            Just("\"ab+ab+c\"".to_owned()),
            "ab\\+(ab)?",
            "(%[0-9a-fA-F]{0,2}|%61|%2[bB]|%20){1,3}",
            "\\\\(u00(61|2b|62)|u[0-9a-fg]{0,4}|[\\\\/\"n]){1,3}",
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        /// Chunk by chunk: also what is held back is the same.
        #[test]
        fn a_body_is_read_as_by_one_who_reads_every_byte(
            body in body(),
            cuts in proptest::collection::vec(1_usize..60, 1..5),
            syntax in prop_oneof![Just(Syntax::Json), Just(Syntax::Form), Just(Syntax::Plain)],
            wanted in prop_oneof![Just("ab+ab+c"), Just("ab+"), Just("+abc"), Just("a+abc"), Just("a"), Just("+"), Just("abab"), Just("a\"b"), Just("aa\\")],
        ) {
            let (mut fast, mut slow) = (Finder::new(syntax, wanted), oracle::Finder::new(syntax, wanted));
            let (mut rest, mut cuts) = (&body[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                prop_assert_eq!(fast.push(chunk), slow.push(chunk));
                rest = left;
            }
            prop_assert_eq!(fast.finish(), slow.finish());
        }
    }
}
