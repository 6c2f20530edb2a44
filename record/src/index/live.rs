//! The calls of a log as it grows.
//!
//! Enters: what was open when one began, and lines as they come. Leaves: from time to time, a sheet of what is over. Never: more in memory than
//! what is open, and what came since.

use std::path::Path;

use super::sheet::{Sheet, Writer};
use crate::read::{ReadError, Text};

/// What is open, and what came since it was asked last.
#[derive(Debug, Default)]
pub struct Live(Writer);

impl Live {
    /// Takes on what is open in a sheet.
    pub fn open(&mut self, sheet: &Sheet) {
        self.0.adopt(sheet);
    }

    /// One more line of the log of this worker. Leaves whether it is its last.
    ///
    /// # Errors
    /// When it is no record.
    pub fn take(&mut self, worker: &Path, text: &Text) -> Result<bool, ReadError> {
        let wrong = |why: String| ReadError::Record { worker: worker.to_owned(), at: text.at, why };
        self.0.take(&text.bytes, text.at).map_err(|error| wrong(error.to_string()))
    }

    /// What is over.
    pub fn over(&mut self) -> Sheet {
        let mut sheet = std::mem::take(&mut self.0).sheet();
        self.0.adopt(&sheet);
        sheet.keep_over();
        sheet
    }
}
