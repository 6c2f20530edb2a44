//! The Merkle tree over the lines of a log (RFC 6962, section 2.1), as far as its root needs it.
//!
//! Enters: the hash of each line, in order. Leaves: the root over those so far, at any time. Never: more memory than a hash for each
//! doubling of the log.

use crate::hash::Hash;

/// A tree that grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// The roots of the whole subtrees of which it consists, the largest first: one for each bit that is set in `size`.
    peaks: Vec<Hash>,
}

impl Tree {
    /// One that begins with what another had. `None`: there are not as many peaks as so many lines have.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Tree> {
        // No log has more lines, and whoever counts on from here never counts too far.
        let is_possible = size <= u64::MAX / 2 && size.count_ones() as usize == peaks.len();
        is_possible.then_some(Tree { size, peaks })
    }

    /// How many lines it is over.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it consists of: enough to go on from here without the lines.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// One more line.
    pub fn push(&mut self, line: Hash) {
        let mut peak = line;
        // Each two subtrees of the same size become one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = Hash::of_halves(left, peak);
            }
        }
        self.peaks.push(peak);
        self.size += 1;
    }

    /// The root over all lines so far.
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.peaks.iter().rev().copied();
        let Some(last) = smallest_first.next() else { return Hash::of_nothing() };
        smallest_first.fold(last, |right, left| Hash::of_halves(left, right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the RFC defines it: split at the largest power of two below the size.
    fn by_definition(lines: &[Hash]) -> Hash {
        match lines {
            [] => Hash::of_nothing(),
            [line] => *line,
            lines => {
                let (left, right) = lines.split_at(lines.len().next_power_of_two() / 2);
                Hash::of_halves(by_definition(left), by_definition(right))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_of_the_definition_at_every_size() {
        let lines: Vec<Hash> = (0..200u8).map(|n| Hash::of_line(&[n])).collect();
        let mut tree = Tree::default();
        for size in 0..=lines.len() {
            assert_eq!(tree.root(), by_definition(&lines[..size]), "{size}");
            assert_eq!(Tree::from_peaks(tree.size(), tree.peaks().to_vec()).as_ref(), Some(&tree));
            if let Some(line) = lines.get(size) {
                tree.push(*line);
            }
        }
        assert_eq!(Tree::from_peaks(3, vec![lines[0]]), None);
    }

    #[test]
    fn the_root_is_that_of_the_published_vectors() {
        // The test vectors of the implementation of Certificate Transparency that RFC 6962 came with.
        let entries: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let mut tree = Tree::default();
        entries.iter().for_each(|entry| tree.push(Hash::of_line(entry)));
        assert_eq!(tree.root().to_string(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }
}
