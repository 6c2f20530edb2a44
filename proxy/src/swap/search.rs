//! Finding placeholders, however they are spelt.
//!
//! Enters: any bytes. Leaves: whose placeholders are in them. Never: a judgement.

use aho_corasick::{AhoCorasick, MatchKind};
use config::{Grant, Placeholder};

use super::sieve::Sieve;
use super::unescape::unescape;
use crate::spelling::{alignments, percent_encoded};

/// `%252565` and the like: nobody who means well nests deeper.
const NESTED: usize = 3;

pub(super) struct Search {
    pub(super) grants: Vec<(Grant, Placeholder)>,
    /// In any case: names of hosts and of header fields arrive in lower case.
    spellings: AhoCorasick,
    /// The same of what was given, and nothing else.
    given: AhoCorasick,
    of: Vec<(Vec<u8>, Seen)>,
    /// Nothing shorter has one in it: what is escaped is longer.
    shortest: usize,
    pub(super) longest: usize,
    pub(super) sieve: Sieve,
}

/// Whose placeholder, and how it is spelt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) entry: usize,
    pub(super) spelt: Spelt,
}

/// How a placeholder is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelt {
    /// As it was given.
    Plain,
    /// Percent-encoded as a query demands, where that differs.
    Percent,
    /// In any other way.
    Otherwise,
}

impl Search {
    pub(super) fn new(grants: Vec<(Grant, Placeholder)>) -> Self {
        let mut of = Vec::new();
        for (entry, (_, placeholder)) in grants.iter().enumerate().filter(|(_, (_, text))| !text.value().is_empty()) {
            let text = placeholder.value().as_bytes();
            let mut add = |text: Vec<u8>, spelt| of.push((text, Seen { entry, spelt }));
            add(text.to_vec(), Spelt::Plain);
            add(percent_encoded(text).to_vec(), Spelt::Percent);
            alignments().for_each(|base64| add(base64.inner(text).to_vec(), Spelt::Otherwise));
        }
        let lengths = || of.iter().map(|(text, _)| text.len());
        let (shortest, longest) = (lengths().min().unwrap_or(usize::MAX), lengths().max().unwrap_or(0));
        // Of equal spellings the first counts.
        let mut builder = AhoCorasick::builder();
        let builder = builder.match_kind(MatchKind::LeftmostFirst).ascii_case_insensitive(true);
        let spellings = builder.build(of.iter().map(|(text, _)| text));
        let spellings = spellings.expect("a worker's placeholders take less than 2 GiB");
        let given = of.iter().filter(|(_, seen)| seen.spelt == Spelt::Plain).map(|(text, _)| text);
        let given = AhoCorasick::builder().ascii_case_insensitive(true).build(given);
        let given = given.expect("they take less than all their spellings");
        let sieve = Sieve::new(of.iter().map(|(text, _)| &text[..]), &spellings);
        Self { grants, spellings, given, of, shortest, longest, sieve }
    }

    /// The placeholders in `text`, as given, percent-encoded whole, or in base64.
    pub(super) fn seen<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Seen> + 'a {
        self.spellings.find_iter(text).map(|hit| match &self.of[hit.pattern()] {
            (spelling, seen) if *spelling == text[hit.range()] => *seen,
            (_, seen) => Seen { spelt: Spelt::Otherwise, ..*seen },
        })
    }

    /// The same, and those that show only when escapes are undone.
    pub(super) fn all(&self, text: &[u8]) -> Vec<Seen> {
        if text.len() < self.shortest {
            return Vec::new();
        }
        let mut found: Vec<Seen> = self.seen(text).collect();
        if !text.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
            return found;
        }
        let mut view = self.without_seen(text);
        for _ in 0..NESTED {
            let mut plain = Vec::with_capacity(view.len());
            let rest = unescape(&view, &mut plain);
            plain.extend_from_slice(&view[rest..]);
            if plain == view {
                break;
            }
            found.extend(self.seen(&plain).map(|seen| Seen { spelt: Spelt::Otherwise, ..seen }));
            view = plain;
        }
        found
    }

    /// The placeholders that stand in `text`, which is base64 with a meaning of its own, as they were given.
    pub(super) fn as_given(&self, text: &[u8]) -> Vec<Seen> {
        let whose = |hit: aho_corasick::Match| {
            let is_it = |(_, of): &(Grant, Placeholder)| of.value().as_bytes().eq_ignore_ascii_case(&text[hit.range()]);
            self.grants.iter().position(is_it)
        };
        let found = self.given.find_iter(text).filter_map(whose);
        found.map(|entry| Seen { entry, spelt: Spelt::Otherwise }).collect()
    }

    /// `text` without what is seen in it, so that the views behind its escapes show only what else there is.
    fn without_seen(&self, text: &[u8]) -> Vec<u8> {
        let mut rest = Vec::with_capacity(text.len());
        self.spellings.replace_all_with_bytes(text, &mut rest, |_, _, rest| {
            rest.push(b' ');
            true
        });
        rest
    }

    /// `text` with the names of credentials in the place of their placeholders.
    pub(super) fn redact(&self, text: &str) -> String {
        if text.len() < self.shortest {
            return text.to_owned();
        }
        let name = |seen: Seen| self.grants[seen.entry].0.credential();
        let mut shown = String::with_capacity(text.len());
        self.spellings.replace_all_with(text, &mut shown, |hit, _, shown| {
            shown.push_str(&format!("‹{}›", name(self.of[hit.pattern()].1)));
            true
        });
        match self.all(shown.as_bytes()).first() {
            None => shown,
            Some(&seen) => format!("‹{}, escaped›", name(seen)),
        }
    }
}
