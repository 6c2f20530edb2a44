//! What a broker's notary keeps: the last checkpoint of each log, and the roll.
//!
//! Enters: its directory. Leaves: which workers there were, and what was signed for each last. Never: an entry of the roll behind one that
//! is not what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Fault, Finding};
use crate::hash::Hash;
use crate::note::{self, VerifierKey};
use crate::roll::{self, Entry};

/// The file with its keys.
const VERIFIER: &str = "verifier";

/// What there is of a notary.
#[derive(Debug, Default)]
pub struct Notary {
    directory: Option<PathBuf>,
    /// Agents by worker.
    roll: BTreeMap<String, String>,
    counts: BTreeSet<String>,
    /// What is wrong with the roll.
    pub findings: Vec<Finding>,
}

impl Notary {
    /// The one that keeps this directory. Without the directory there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(directory: &Path, keys: &[VerifierKey]) -> io::Result<Notary> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Notary::default()),
            entries => entries?,
        };
        let mut notary = Notary { directory: Some(directory.to_owned()), ..Notary::default() };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != VERIFIER && name != roll::FILE_NAME && !name.ends_with(".new") {
                notary.counts.insert(name);
            }
        }
        // After the checkpoints: a worker is put on the roll before it has one.
        match fs::read(directory.join(roll::FILE_NAME)) {
            Ok(bytes) => notary.read_roll(&String::from_utf8_lossy(&bytes), keys),
            Err(error) if error.kind() == io::ErrorKind::NotFound && notary.counts.is_empty() => {}
            Err(error) => notary.broken(format!("the roll of workers cannot be read: {error}")),
        }
        Ok(notary)
    }

    /// The keys that lie there, which are worth as much as the directory is.
    ///
    /// # Errors
    /// When there is none, or what is there is none.
    pub fn keys(directory: &Path) -> io::Result<Vec<VerifierKey>> {
        let text = fs::read_to_string(directory.join(VERIFIER))?;
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        text.lines().map(|line| line.parse().map_err(invalid)).collect()
    }

    fn read_roll(&mut self, text: &str, keys: &[VerifierKey]) {
        let mut prev = Hash::NONE;
        for (note, number) in note::split(text).zip(1u64..) {
            let entry = match note::open(note, keys) {
                Ok((text, _)) => text.parse::<Entry>().map_err(|error| error.to_string()),
                Err(unsigned) => Err(unsigned.to_string()),
            };
            let entry = match entry {
                Ok(entry) if entry.number == number && entry.prev == prev => entry,
                Ok(_) => {
                    return self.broken(format!("entry {number} of the roll does not follow from the one before it"));
                }
                Err(why) => return self.broken(format!("entry {number} of the roll: {why}")),
            };
            prev = entry.hash();
            self.roll.insert(entry.worker, entry.agent);
        }
    }

    fn broken(&mut self, says: String) {
        self.findings.push(Finding { fault: Fault::RollBroken, says, record: None, at: None });
    }

    /// Whether there is one at all.
    pub fn is_there(&self) -> bool {
        self.directory.is_some()
    }

    /// Every worker that it knows of.
    pub fn workers(&self) -> BTreeSet<&str> {
        self.roll.keys().chain(&self.counts).map(String::as_str).collect()
    }

    /// How many are on the roll.
    pub fn on_roll(&self) -> usize {
        self.roll.len()
    }

    /// The agent of a worker on the roll.
    pub fn agent(&self, worker: &str) -> Option<&str> {
        self.roll.get(worker).map(String::as_str)
    }

    /// Whether a worker for whom something is signed is missing on the roll, where that can be told.
    pub(super) fn misses(&self, worker: &str) -> bool {
        self.is_there() && self.findings.is_empty() && !self.roll.contains_key(worker)
    }

    /// The last checkpoint that it signed for a worker.
    pub(super) fn count(&self, worker: &str) -> io::Result<Option<String>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        match fs::read_to_string(directory.join(worker)) {
            // It has one as soon as it is on the roll.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.roll.contains_key(worker) => Ok(None),
            found => found.map(Some),
        }
    }
}
