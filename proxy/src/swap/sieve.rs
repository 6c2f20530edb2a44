//! Whether there is any placeholder at all in a text, asked of every byte of every body.
//!
//! Enters: text in lower case. Leaves: whether a spelling is in it. Never: which one, or where; that is asked only of what did not pass.

use aho_corasick::AhoCorasick;
use aho_corasick::packed::{Builder, Searcher};

/// As many patterns as one pass looks for without slowing down much: beyond, its fingerprints begin to hit by chance.
const TOGETHER: usize = 32;

#[derive(Debug)]
pub(super) enum Sieve {
    /// Sixteen or more bytes at a time.
    Packed(Vec<Searcher>),
    /// A byte at a time, where the processor has nothing for that.
    Plain(AhoCorasick),
}

impl Sieve {
    /// A sieve of `spellings`; `exact` finds the same in any case.
    pub(super) fn new<'a>(spellings: impl Iterator<Item = &'a [u8]>, exact: &AhoCorasick) -> Self {
        let mut folded: Vec<Vec<u8>> = spellings.map(<[u8]>::to_ascii_lowercase).collect();
        folded.sort_unstable();
        folded.dedup();
        let searchers = folded.chunks(TOGETHER).map(|some| Builder::new().extend(some).build());
        searchers.collect::<Option<_>>().map_or_else(|| Self::Plain(exact.clone()), Self::Packed)
    }

    /// Whether a spelling is in `text`, which is in lower case.
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Packed(searchers) => searchers.iter().any(|searcher| searcher.find(text).is_some()),
            Self::Plain(exact) => exact.is_match(text),
        }
    }
}
