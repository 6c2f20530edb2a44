//! Names by number and numbers by name, in little room.
//!
//! Enters: names, each of which is given the next number, or that of a name that is no longer used. Leaves: the one for the other, and which
//! was used longest ago. Never: one number for two names; an allocation for each name. Which number is an address is not known here.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// No number.
const NONE: u32 = u32::MAX;
/// Letters of names that are gone may take so much before all are moved together.
const LEAST_WASTE: usize = 64 * 1024;
/// Room that is asked for at once: what is not written to takes none, and what has room is not moved as it grows.
const NAMES: usize = 1 << 17;
const LETTERS: usize = 32 * NAMES;

/// Numbered names, in the order of their latest use.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    by_name: HashTable<u32>,
    hasher: RandomState,
    /// Each row's name behind its length, which is a byte.
    letters: Vec<u8>,
    /// How many of them are of names that are gone.
    waste: usize,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Row {
    letters_at: u32,
    stamp: u32,
    older: u32,
    newer: u32,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            rows: Vec::new(),
            by_name: HashTable::new(),
            hasher: RandomState::new(),
            letters: Vec::new(),
            waste: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// How many names there are: the numbers below that.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.by_name.find(hash, |&number| self.name(number) == Some(name)).copied()
    }

    pub(super) fn name(&self, number: u32) -> Option<&str> {
        let row = self.rows.get(number as usize)?;
        std::str::from_utf8(letters(&self.letters, row.letters_at)).ok()
    }

    /// What its users keep of a name.
    pub(super) fn stamp(&mut self, number: u32) -> Option<&mut u32> {
        self.rows.get_mut(number as usize).map(|row| &mut row.stamp)
    }

    /// Which name was used longest ago, and its stamp.
    pub(super) fn oldest(&self) -> Option<(u32, u32)> {
        self.rows.get(self.oldest as usize).map(|row| (self.oldest, row.stamp))
    }

    /// Gives the next number to `name`, which has none and is no longer than 255 bytes.
    pub(super) fn add(&mut self, name: &str, stamp: u32) -> Option<u32> {
        if self.rows.is_empty() {
            self.rows.reserve_exact(NAMES);
            self.letters.reserve_exact(LETTERS);
        }
        let number = u32::try_from(self.rows.len()).ok().filter(|number| *number != NONE)?;
        let letters_at = self.write(name)?;
        self.rows.push(Row { letters_at, stamp, older: NONE, newer: NONE });
        self.enter(number, name);
        self.append(number);
        Some(number)
    }

    /// Gives a number to `name`, which has none, that stood for another so far.
    pub(super) fn hand_on(&mut self, number: u32, name: &str, stamp: u32) -> Option<()> {
        let hash = self.hasher.hash_one(self.name(number)?);
        if let Ok(entry) = self.by_name.find_entry(hash, |&found| found == number) {
            entry.remove();
        }
        self.waste += 1 + letters(&self.letters, self.rows.get(number as usize)?.letters_at).len();
        let letters_at = self.write(name)?;
        let row = self.rows.get_mut(number as usize)?;
        (row.letters_at, row.stamp) = (letters_at, stamp);
        self.enter(number, name);
        self.used(number);
        if self.waste > LEAST_WASTE.max(self.letters.len() / 8) {
            self.gather();
        }
        Some(())
    }

    /// Takes note that a name is used.
    pub(super) fn used(&mut self, number: u32) {
        let Some(row) = self.rows.get(number as usize) else { return };
        if number != self.newest {
            let (older, newer) = (row.older, row.newer);
            self.join(older, newer);
            self.append(number);
        }
    }

    fn append(&mut self, number: u32) {
        self.join(self.newest, number);
        self.join(number, NONE);
    }

    /// Makes the one follow on the other.
    fn join(&mut self, older: u32, newer: u32) {
        match self.rows.get_mut(older as usize) {
            Some(row) => row.newer = newer,
            None => self.oldest = newer,
        }
        match self.rows.get_mut(newer as usize) {
            Some(row) => row.older = older,
            None => self.newest = older,
        }
    }

    fn enter(&mut self, number: u32, name: &str) {
        let Self { rows, by_name, hasher, letters: all, .. } = self;
        let hash_of = |number: &u32| {
            let name = rows.get(*number as usize).map_or(&[][..], |row| letters(all, row.letters_at));
            hasher.hash_one(std::str::from_utf8(name).unwrap_or_default())
        };
        by_name.insert_unique(hasher.hash_one(name), number, hash_of);
    }

    /// Where the name was put.
    fn write(&mut self, name: &str) -> Option<u32> {
        let at = u32::try_from(self.letters.len()).ok()?;
        self.letters.push(u8::try_from(name.len()).ok()?);
        self.letters.extend_from_slice(name.as_bytes());
        Some(at)
    }

    /// Moves all names together.
    fn gather(&mut self) {
        let mut gathered = Vec::with_capacity(LETTERS.max(self.letters.len() - self.waste));
        for row in &mut self.rows {
            let name = letters(&self.letters, row.letters_at);
            row.letters_at = u32::try_from(gathered.len()).unwrap_or(NONE);
            gathered.push(u8::try_from(name.len()).unwrap_or_default());
            gathered.extend_from_slice(name);
        }
        (self.letters, self.waste) = (gathered, 0);
    }
}

/// The name that begins there.
fn letters(all: &[u8], at: u32) -> &[u8] {
    let Some((length, rest)) = all.get(at as usize..).and_then(<[u8]>::split_first) else { return &[] };
    rest.get(..usize::from(*length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The names from the one that was used longest ago on.
    fn in_order(table: &Table) -> Vec<u32> {
        let newer = |number: &u32| table.rows.get(*number as usize).map(|row| row.newer);
        std::iter::successors(Some(table.oldest), newer).filter(|number| *number != NONE).collect()
    }

    proptest! {
        #[test]
        fn it_says_what_a_map_and_a_list_say(steps in proptest::collection::vec((0u8..3, 0u32..40), 1..200)) {
            let mut table = Table::new();
            let (mut names, mut order) = (HashMap::new(), Vec::<u32>::new());
            for (now, (step, which)) in (1..).zip(steps) {
                let name = format!("{}.example", "n".repeat(which as usize * 6));
                match (step, names.get(&name).copied()) {
                    (0, None) => {
                        let number = table.add(&name, now).unwrap();
                        prop_assert_eq!(number as usize, names.len());
                        names.insert(name, number);
                        order.push(number);
                    }
                    (1, None) if !order.is_empty() => {
                        let number = order.remove(0);
                        prop_assert_eq!(table.oldest().map(|(number, _)| number), Some(number));
                        table.hand_on(number, &name, now).unwrap();
                        names.retain(|_, other| *other != number);
                        names.insert(name, number);
                        order.push(number);
                    }
                    (_, Some(number)) => {
                        table.used(number);
                        order.retain(|other| *other != number);
                        order.push(number);
                    }
                    _ => {}
                }
                if now % 7 == 0 {
                    table.gather();
                }
                prop_assert_eq!(&in_order(&table), &order);
            }
            prop_assert_eq!((table.len(), table.by_name.len()), (names.len(), names.len()));
            for (name, number) in names {
                prop_assert_eq!(table.number(&name), Some(number));
                prop_assert_eq!(table.name(number), Some(&*name));
            }
        }
    }

    #[test]
    fn names_that_are_gone_take_no_room_for_ever() {
        let mut table = Table::new();
        table.add("first.example", 0).unwrap();
        for n in 0..100_000 {
            table.hand_on(0, &format!("n{n}.example"), n).unwrap();
        }
        assert!(table.letters.len() < 2 * LEAST_WASTE, "{}", table.letters.len());
        assert_eq!((table.name(0), table.number("n7.example")), (Some("n99999.example"), None));
    }
}
