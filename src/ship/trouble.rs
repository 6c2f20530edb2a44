//! What stands in the way of a receiver, on the disk, for whoever asks.
//!
//! Enters: failures, and their end. Leaves: a file as long as there is a failure. Never: a secret; an error of exeat's has none.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const FILE: &str = "trouble.json";
const DRAFT: &str = "trouble.json.new";

/// A receiver that takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// When it was tried last.
    pub last: Timestamp,
    /// How often.
    pub attempts: u64,
    /// Why not, the last time.
    pub error: String,
}

impl Trouble {
    /// What there is for the receiver with this directory.
    pub fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(FILE)).ok()?).ok()
    }

    /// One more attempt failed.
    pub fn again(before: Option<Self>, error: String) -> Self {
        let now = Timestamp::now();
        let (since, attempts) = before.map_or((now, 0), |before| (before.since, before.attempts));
        Self { since, last: now, attempts: attempts + 1, error }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::write(directory.join(DRAFT), serde_json::to_vec(self)?)?;
        fs::rename(directory.join(DRAFT), directory.join(FILE))
    }

    /// It is over.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn end(directory: &Path) -> io::Result<()> {
        match fs::remove_file(directory.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}
