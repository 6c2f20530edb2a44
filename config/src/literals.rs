//! Which path patterns can match at all, by the segments in them that stand for themselves.
//!
//! Enters: patterns with a number each, then a decoded path. Leaves: the numbers of those whose literal segments the path has where they
//! have them, in runs that ascend. Never: an answer; a run may have others by chance, and each pattern is still to be asked.

use crate::glob::PathGlob;

/// Asking so few patterns one by one is cheaper than finding out which to ask.
const FEW: usize = 12;
/// What a pattern has behind so many segments is not looked at: a bit for each.
const PLACES: usize = 32;

/// Patterns by their literal segments.
#[derive(Clone, Debug)]
pub(crate) struct Literals {
    /// In which places patterns have literal segments: few sets, as people write patterns.
    shapes: Box<[u32]>,
    /// A hash of places and segments, and a number; sorted, and each pair once. That hashes are equal means nothing.
    entries: Box<[(u32, u32)]>,
}

impl Literals {
    /// Of these patterns, where there are more than a few; `None` instead of a pattern matches every path.
    pub(crate) fn of_many<'a>(patterns: impl Iterator<Item = (u32, Option<&'a PathGlob>)> + Clone) -> Option<Self> {
        patterns.clone().nth(FEW)?;
        let mut shapes = Vec::new();
        let mut entries: Vec<(u32, u32)> = Vec::new();
        for (number, pattern) in patterns {
            let mut shape = 0;
            let mut segments = [0; PLACES];
            for (place, segment) in
                pattern.into_iter().flat_map(PathGlob::literals).filter(|(place, _)| *place < PLACES)
            {
                shape |= 1 << place;
                segments[place] = hash_of(segment);
            }
            shapes.push(shape);
            entries.push((hash_in(shape, &segments), number));
        }
        shapes.sort_unstable();
        shapes.dedup();
        entries.sort_unstable();
        entries.dedup();
        Some(Self { shapes: shapes.into(), entries: entries.into() })
    }

    /// The numbers of the patterns that can match a decoded path, in a run for each set of places.
    pub(crate) fn of<'a>(&'a self, decoded: &'a str) -> impl Iterator<Item = impl Iterator<Item = u32> + 'a> {
        let deepest =
            self.shapes.iter().fold(0, |all, shape| all | shape).checked_ilog2().map_or(0, |last| last as usize + 1);
        let mut segments = [0; PLACES];
        let mut count = 0;
        for segment in decoded.strip_prefix('/').unwrap_or(decoded).split('/').take(deepest) {
            segments[count] = hash_of(segment);
            count += 1;
        }
        // A path that has no such place has nothing in it.
        let shapes = self.shapes.iter().filter(move |shape| u64::from(**shape) < 1 << count);
        shapes.map(move |shape| {
            let hash = hash_in(*shape, &segments);
            let from = self.entries.partition_point(|(own, _)| *own < hash);
            self.entries[from..].iter().take_while(move |(own, _)| *own == hash).map(|(_, number)| *number)
        })
    }
}

/// A product for every eight bytes (Fibonacci hashing). Whoever chooses a path can have it fall together with a pattern's; that costs one
/// question more.
fn hash_of(segment: &str) -> u64 {
    let words = segment.as_bytes().chunks(8);
    words.fold(segment.len() as u64, |hash, bytes| {
        mixed(hash, bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    })
}

/// Of the segments in these places. The upper half, which every bit has had a part in.
fn hash_in(shape: u32, segments: &[u64; PLACES]) -> u32 {
    let mut hash = mixed(0, u64::from(shape));
    let mut left = shape;
    while left != 0 {
        hash = mixed(hash, segments[left.trailing_zeros() as usize]);
        left &= left - 1;
    }
    (hash >> 32) as u32
}

fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn some_path(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(select(segments), 0..6).prop_map(|segments| format!("/{}", segments.join("/")))
    }

    proptest! {
        #[test]
        fn every_pattern_that_matches_is_asked(
            globs in prop::collection::vec(some_path(&["a", "b", "ab", "*", "a*", "**"]), FEW + 1..20),
            paths in prop::collection::vec(some_path(&["a", "b", "ab", "abc"]), 8),
        ) {
            let globs: Vec<PathGlob> = globs.iter().map(|glob| glob.parse().unwrap()).collect();
            let literals = Literals::of_many((0..).zip(globs.iter().map(Some))).unwrap();
            for path in paths {
                let asked: Vec<Vec<u32>> = literals.of(&path).map(Iterator::collect).collect();
                prop_assert!(asked.iter().all(|run| run.is_sorted()));
                for (number, _) in (0..).zip(&globs).filter(|(_, glob)| glob.matches(&path)) {
                    prop_assert!(asked.iter().flatten().any(|one| *one == number), "{path}: {:?}", globs[number as usize]);
                }
            }
        }
    }

    #[test]
    fn what_has_other_segments_is_not_asked() {
        let text = |i: u32| if i.is_multiple_of(2) { format!("/repos/r{i}/**") } else { format!("/repos/*/r{i}") };
        let globs: Vec<PathGlob> = (0..100).map(|i| text(i).parse().unwrap()).collect();
        let literals = Literals::of_many((0..).zip(globs.iter().map(Some))).unwrap();
        let asked = |path: &str| literals.of(path).flatten().collect::<Vec<u32>>();
        assert_eq!((asked("/repos/r8/x/y"), asked("/repos/r800/x"), asked("/")), (vec![8], vec![], vec![]));
        assert_eq!((asked("/repos/x/r7"), asked("/repos/r8/r7"), asked("/x/x/r7")), (vec![7], vec![8, 7], vec![]));
    }
}
