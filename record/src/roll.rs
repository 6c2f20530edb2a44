//! The roll of a broker: every worker whose log it signs for, in order, so that a log that is gone altogether is missed.
//!
//! Enters: a worker that begins, and the entry before it. Leaves: the text of its entry, which the broker signs, and back. Never: an
//! entry that could stand elsewhere: each has its number and the hash of the one before.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;

/// The name of the file of a notary that has the roll: signed notes, one after the other.
pub const FILE_NAME: &str = "roll";

/// One worker on the roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose roll: `DOMAIN/roll`.
    pub origin: String,
    /// Its number, from 1.
    pub number: u64,
    /// The hash of the text of the entry before.
    pub prev: Hash,
    /// The worker.
    pub worker: String,
    /// Its agent.
    pub agent: String,
}

impl Entry {
    /// What the next entry has as `prev`.
    pub fn hash(&self) -> Hash {
        Hash::of_line(self.to_string().as_bytes())
    }
}

/// Where a roll says it comes from.
pub fn origin(domain: &str) -> String {
    format!("{domain}/roll")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, number, prev, worker, agent } = self;
        write!(f, "{origin}\n{number}\n{prev}\n{worker} {agent}\n")
    }
}

/// Not an entry of a roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entry of a roll: an origin, a number, a hash, a worker and its agent")]
pub struct NotAnEntry;

impl FromStr for Entry {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Entry, NotAnEntry> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(NotAnEntry);
        let (origin, number, prev) = (line()?, line()?, line()?);
        let (worker, agent) = line()?.split_once(' ').ok_or(NotAnEntry)?;
        let number = number.parse().map_err(|_| NotAnEntry)?;
        let prev = prev.parse().map_err(|_| NotAnEntry)?;
        let [origin, worker, agent] = [origin, worker, agent].map(str::to_owned);
        let entry = Entry { origin, number, prev, worker, agent };
        if entry.to_string() == text { Ok(entry) } else { Err(NotAnEntry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_one_spelling() {
        let entry = Entry {
            origin: origin("exeat.example"),
            number: 7,
            prev: Hash::of_line(b"x"),
            worker: "w".to_owned(),
            agent: "bot".to_owned(),
        };
        let text = entry.to_string();
        assert_eq!(text.parse(), Ok(entry));
        for bad in [
            text.replace("\n7\n", "\n07\n"),
            text.replace("w bot", "w"),
            format!("{text}x\n"),
            text.replace("exeat.example/roll", ""),
        ] {
            assert_eq!(bad.parse::<Entry>(), Err(NotAnEntry), "{bad}");
        }
    }
}
