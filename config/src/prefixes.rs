//! Which path patterns can match at all, by the segments that they begin with.
//!
//! Enters: patterns with a number each, then a decoded path. Leaves: the numbers of those whose literal first segments the path has, in
//! runs that ascend. Never: an answer; a run may have others by chance, and each pattern is still to be asked.

use crate::glob::PathGlob;

/// Asking so few patterns one by one is cheaper than finding out which to ask.
const FEW: usize = 12;

/// Patterns by what they begin with.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// A hash of the first segments, and a number; sorted, and each pair once. That hashes are equal means nothing.
    entries: Box<[(u32, u32)]>,
    /// The most segments that any of them begins with.
    deepest: usize,
}

impl Prefixes {
    /// Of these patterns, where there are more than a few; `None` instead of a pattern matches every path.
    pub(crate) fn of_many<'a>(patterns: impl Iterator<Item = (u32, Option<&'a PathGlob>)> + Clone) -> Option<Self> {
        patterns.clone().nth(FEW)?;
        let mut deepest = 0;
        let mut entries: Vec<(u32, u32)> = Vec::new();
        for (number, pattern) in patterns {
            let mut hash = Segments::default();
            for (i, segment) in pattern.into_iter().flat_map(PathGlob::literals).enumerate() {
                hash.add(segment);
                deepest = deepest.max(i + 1);
            }
            entries.push((hash.so_far(), number));
        }
        entries.sort_unstable();
        entries.dedup();
        Some(Self { entries: entries.into(), deepest })
    }

    /// The numbers of the patterns that can match a decoded path, in a run for each count of first segments.
    pub(crate) fn of<'a>(&'a self, decoded: &'a str) -> impl Iterator<Item = impl Iterator<Item = u32> + 'a> {
        let segments = decoded.strip_prefix('/').unwrap_or(decoded).split('/').take(self.deepest);
        let mut hash = Segments::default();
        let hashes = segments.map(move |segment| {
            hash.add(segment);
            hash.so_far()
        });
        std::iter::once(Segments::default().so_far()).chain(hashes).map(|hash| {
            let from = self.entries.partition_point(|(own, _)| *own < hash);
            self.entries[from..].iter().take_while(move |(own, _)| *own == hash).map(|(_, number)| *number)
        })
    }
}

/// A hash of segments, one after the other: a product for every eight bytes (Fibonacci hashing). Whoever chooses a path can have it fall
/// together with a pattern's; that costs one question more.
#[derive(Clone, Copy, Default)]
struct Segments(u64);

impl Segments {
    fn add(&mut self, segment: &str) {
        for chunk in segment.as_bytes().chunks(8) {
            let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
        self.mix(segment.len() as u64);
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// The upper half, which every bit has had a part in.
    fn so_far(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn some_path(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(select(segments), 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
    }

    proptest! {
        #[test]
        fn every_pattern_that_matches_is_asked(
            globs in prop::collection::vec(some_path(&["a", "b", "ab", "*", "a*", "**"]), FEW + 1..20),
            paths in prop::collection::vec(some_path(&["a", "b", "ab", "abc"]), 8),
        ) {
            let globs: Vec<PathGlob> = globs.iter().map(|glob| glob.parse().unwrap()).collect();
            let prefixes = Prefixes::of_many((0..).zip(globs.iter().map(Some))).unwrap();
            for path in paths {
                let asked: Vec<Vec<u32>> = prefixes.of(&path).map(Iterator::collect).collect();
                prop_assert!(asked.iter().all(|run| run.is_sorted()));
                for (number, _) in (0..).zip(&globs).filter(|(_, glob)| glob.matches(&path)) {
                    prop_assert!(asked.iter().flatten().any(|one| *one == number), "{path}: {:?}", globs[number as usize]);
                }
            }
        }
    }

    #[test]
    fn what_begins_otherwise_is_not_asked() {
        let globs: Vec<PathGlob> = (0..100).map(|i| format!("/repos/r{i}/**").parse().unwrap()).collect();
        let prefixes = Prefixes::of_many((0..).zip(globs.iter().map(Some))).unwrap();
        let asked = |path: &str| prefixes.of(path).flatten().collect::<Vec<u32>>();
        assert_eq!((asked("/repos/r7/x/y"), asked("/repos/r700/x"), asked("/")), (vec![7], vec![], vec![]));
    }
}
