//! Finding placeholders, however they are spelt.
//!
//! Enters: any bytes. Leaves: whose placeholders are in them. Never: a judgement.

use aho_corasick::{AhoCorasick, MatchKind};
use config::{Grant, Placeholder};

use crate::spelling::{alignments, percent_encoded};

/// `%252565` and the like: nobody who means well nests deeper.
const NESTED: usize = 3;

pub(super) struct Search {
    pub(super) grants: Vec<(Grant, Placeholder)>,
    /// In any case: names of hosts and of header fields arrive in lower case.
    spellings: AhoCorasick,
    of: Vec<(Vec<u8>, Seen)>,
    pub(super) longest: usize,
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
        let longest = of.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
        // Of equal spellings the first counts.
        let mut builder = AhoCorasick::builder();
        let builder = builder.match_kind(MatchKind::LeftmostFirst).ascii_case_insensitive(true);
        let spellings = builder.build(of.iter().map(|(text, _)| text));
        Self { grants, spellings: spellings.expect("a worker's placeholders take less than 2 GiB"), of, longest }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> (String, usize) {
        let mut plain = Vec::new();
        let rest = unescape(text.as_bytes(), &mut plain);
        (String::from_utf8(plain).unwrap(), text.len() - rest)
    }

    #[test]
    fn escapes_are_undone_and_cut_ones_wait() {
        let whole = |text: &str| (text.to_owned(), 0);
        assert_eq!(plain("a%62c\\u0064\\/\\\"e"), whole("abcd/\"e"));
        assert_eq!(plain("\\\\\\u0067"), whole("\\\\g"));
        assert_eq!(plain("100%, 5%x \\n \\u12g \\u20ac"), whole("100%, 5%x \\n \\u12g ?"));
        for (text, waits) in [("a%", 1), ("a%6", 2), ("a\\", 1), ("a\\u", 2), ("a\\u006", 5)] {
            assert_eq!(plain(text), ("a".to_owned(), waits), "{text}");
        }
    }
}
