//! Who permitted what to whom, for later.
//!
//! Enters: each decision, before it is in force. Leaves: a line of JSON at the end of a file that is its owner's alone. Never: a decision
//! that is in force and not in the file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::Approval;

/// In the directory of all ledgers, for all brokers there: a line is written at once, behind all others.
const FILE: &str = "approvals.jsonl";

/// The file, if the broker has a place on disk.
pub(super) struct Journal(Option<PathBuf>);

impl Journal {
    pub(super) fn new(directory: Option<PathBuf>) -> Journal {
        Journal(directory.map(|directory| directory.join(FILE)))
    }

    /// Adds a line.
    pub(super) fn add(&self, approval: &Approval) -> io::Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut line = serde_json::to_vec(approval)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
        file.write_all(&line)?;
        file.sync_data()
    }
}
