//! A sheet as it is kept in a file, with what it was made of.
//!
//! Enters: a sheet; later, bytes that were a file. Leaves: the bytes; the sheet, where not one bit of them is another. Never: a panic over
//! what is in a file, nor a sheet of another version.
//!
//! Eight bytes that name the version; how long the head is, in four; its SHA-256; the head; the sheet, whose length and SHA-256 are in the head.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sheet::Sheet;
use super::stamp::Stamp;
use crate::hash::Hash;

/// Another number for any change to what is written: an index of before is made anew.
const VERSION: &[u8; 8] = b"exeatix2";
/// A head is some numbers and two names.
const LONGEST_HEAD: u32 = 64 * 1024;

/// What a sheet was made of, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The worker's directory, by its name.
    pub(super) worker: String,
    /// The number of the segment.
    pub(super) segment: u64,
    /// So many bytes of its text are in the sheet.
    pub(super) length: u64,
    /// The SHA-256 of these.
    pub(super) text: [u8; 32],
    /// The segment's file, when that was seen last, if it had settled.
    pub(super) stamp: Option<Stamp>,
    /// The times of the first and the last entry, if there is any.
    pub(super) span: Option<(i64, i64)>,
    /// Whether it ends calls of earlier segments.
    pub(super) late: bool,
    sheet_length: u64,
    sheet: [u8; 32],
}

/// What is kept.
pub(super) struct Kept {
    pub(super) head: Head,
    file: File,
}

impl Kept {
    /// Opens it and reads its head. `None`: there is none, or not one that is whole.
    pub(super) fn open(path: &Path) -> Option<Kept> {
        let mut file = File::open(path).ok()?;
        let head = read_head(&mut file)?;
        Some(Kept { head, file })
    }

    /// Reads the sheet.
    pub(super) fn sheet(&mut self) -> Option<Sheet> {
        let mut bytes = Vec::new();
        // A head that is whole says how long the sheet is; what is not is not read.
        let length = self.file.metadata().ok()?.len();
        let expected = self.head.sheet_length;
        bytes.try_reserve_exact(usize::try_from(expected.min(length)).ok()?).ok()?;
        (&mut self.file).take(expected).read_to_end(&mut bytes).ok()?;
        sheet(&self.head, &bytes)
    }
}

/// Reads a whole file.
pub fn parse(mut bytes: &[u8]) -> Option<(Head, Sheet)> {
    let head = read_head(&mut bytes)?;
    let sheet = sheet(&head, bytes)?;
    Some((head, sheet))
}

fn sheet(head: &Head, bytes: &[u8]) -> Option<Sheet> {
    let whole = bytes.len() as u64 == head.sheet_length && *Hash::of(bytes).as_bytes() == head.sheet;
    whole.then(|| postcard::from_bytes(bytes).ok()).flatten()
}

fn read_head(file: &mut impl Read) -> Option<Head> {
    let (mut version, mut length, mut hash) = ([0; 8], [0; 4], [0; 32]);
    file.read_exact(&mut version).ok()?;
    file.read_exact(&mut length).ok()?;
    file.read_exact(&mut hash).ok()?;
    let length = u32::from_le_bytes(length);
    if version != *VERSION || length > LONGEST_HEAD {
        return None;
    }
    let mut head = vec![0; length as usize];
    file.read_exact(&mut head).ok()?;
    (*Hash::of(&head).as_bytes() == hash).then(|| postcard::from_bytes(&head).ok()).flatten()
}

impl Head {
    /// Of a sheet that was made of so much of a segment.
    pub(super) fn new(worker: String, segment: u64, length: u64, text: Hash, stamp: Option<Stamp>) -> Head {
        let (span, late, sheet_length, sheet) = (None, false, 0, [0; 32]);
        Head { worker, segment, length, text: *text.as_bytes(), stamp, span, late, sheet_length, sheet }
    }

    /// Notes what is in the sheet.
    pub(super) fn note(&mut self, sheet: &Sheet) {
        let times = || sheet.entries().iter().map(|entry| entry.time);
        self.span = times().min().zip(times().max());
        self.late = sheet.has_late();
    }
}

/// Writes head and sheet.
pub(super) fn write(out: &mut impl Write, head: &Head, sheet: &Sheet) -> io::Result<()> {
    let sheet = postcard::to_stdvec(sheet).map_err(io::Error::other)?;
    let head = Head { sheet_length: sheet.len() as u64, sheet: *Hash::of(&sheet).as_bytes(), ..head.clone() };
    let head = postcard::to_stdvec(&head).map_err(io::Error::other)?;
    let length = u32::try_from(head.len()).map_err(io::Error::other)?;
    out.write_all(VERSION)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(Hash::of(&head).as_bytes())?;
    out.write_all(&head)?;
    out.write_all(&sheet)
}
