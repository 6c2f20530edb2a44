//! The files of a log: its segments, in order.
//!
//! Enters: a worker's directory. Leaves: what there is of its log, the oldest first; a segment, open for reading, as plain text. Never: a
//! file that is not a segment's by its name.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::frames::Frames;

/// Where a worker's directory has the segments.
pub const DIRECTORY: &str = "calls";
/// What the file of a segment ends in that is written, or could be.
const PLAIN: &str = "jsonl";
/// What it ends in once it is closed and compressed.
const COMPRESSED: &str = "jsonl.zst";
/// As much of a segment as is read at a time.
const BUFFER: usize = 128 * 1024;

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    number: u64,
    compressed: bool,
    path: PathBuf,
}

impl Segment {
    /// All segments of the log in this worker's directory. There is none where there is no log.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn all(worker: &Path) -> io::Result<Vec<Segment>> {
        let entries = match fs::read_dir(worker.join(DIRECTORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut segments = Vec::new();
        for entry in entries {
            segments.extend(Segment::of_path(entry?.path()));
        }
        segments.sort();
        // While a segment is being compressed, both are there; the plain one comes first and is whole.
        segments.dedup_by_key(|segment| segment.number);
        Ok(segments)
    }

    fn of_path(path: PathBuf) -> Option<Segment> {
        let name = path.file_name()?.to_str()?;
        let (digits, ending) = name.split_once('.')?;
        let compressed = match ending {
            PLAIN => false,
            COMPRESSED => true,
            _ => return None,
        };
        // A number has one name: another file with it would stand in its place, or before the first.
        let number = digits.parse().ok().filter(|number| *number >= 1)?;
        (name == format!("{number:06}.{ending}")).then_some(Segment { number, compressed, path })
    }

    /// The file in which the segment of this number is written.
    pub fn plain(worker: &Path, number: u64) -> PathBuf {
        worker.join(DIRECTORY).join(format!("{number:06}.{PLAIN}"))
    }

    /// The file that it becomes when it is compressed.
    pub fn compressed(worker: &Path, number: u64) -> PathBuf {
        worker.join(DIRECTORY).join(format!("{number:06}.{COMPRESSED}"))
    }

    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is compressed, and hence closed.
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its lines, from this byte of the plain text on: the same byte, whether it is compressed or not.
    ///
    /// # Errors
    /// When it is not there (any more) or cannot be read.
    pub(crate) fn open(&self, offset: u64) -> io::Result<Box<dyn BufRead + Send>> {
        if !self.compressed {
            match File::open(&self.path) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(offset))?;
                    return Ok(Box::new(BufReader::with_capacity(BUFFER, file)));
                }
                // It was compressed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let file = if self.compressed { self.path.clone() } else { self.path.with_extension(COMPRESSED) };
        Ok(Box::new(Frames::open(File::open(file)?, offset)?))
    }

    /// Whether there is anything in it: the file of the next segment is made before the one in use is full.
    pub(crate) fn has_begun(&self) -> bool {
        // One that is gone meanwhile was compressed, or removed: both come after its end.
        self.compressed || fs::metadata(&self.path).map_or(true, |metadata| metadata.len() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::compress;

    #[test]
    fn a_log_has_its_segments_in_order_and_nothing_else() {
        let worker = tempfile::tempdir().unwrap();
        assert_eq!(Segment::all(worker.path()).unwrap(), []);
        fs::create_dir(worker.path().join(DIRECTORY)).unwrap();
        for name in ["000010.jsonl", "000002.jsonl.zst", "000002.jsonl", "000001.jsonl.zst", "1234567.jsonl"] {
            File::create(worker.path().join(DIRECTORY).join(name)).unwrap();
        }
        for name in ["2.jsonl", "000003.jsonl.zst.part", "+00004.jsonl", "000005", ".000006.jsonl", "000007.json"] {
            File::create(worker.path().join(DIRECTORY).join(name)).unwrap();
        }
        for name in ["000000.jsonl", "000000.jsonl.zst", "0000001.jsonl", "0000010.jsonl.zst", "01234567.jsonl"] {
            File::create(worker.path().join(DIRECTORY).join(name)).unwrap();
        }
        let found = Segment::all(worker.path()).unwrap();
        let found: Vec<_> = found.iter().map(|segment| (segment.number(), segment.is_compressed())).collect();
        assert_eq!(found, [(1, true), (2, false), (10, false), (1_234_567, false)]);
    }

    #[test]
    fn a_segment_that_is_compressed_meanwhile_is_read_all_the_same() {
        let worker = tempfile::tempdir().unwrap();
        fs::create_dir(worker.path().join(DIRECTORY)).unwrap();
        let plain = Segment::plain(worker.path(), 1);
        fs::write(&plain, "one\ntwo\n").unwrap();
        let segment = Segment::all(worker.path()).unwrap().remove(0);
        let read = |offset| {
            let mut text = String::new();
            segment.open(offset).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!((read(0).as_str(), read(4).as_str(), read(8).as_str()), ("one\ntwo\n", "two\n", ""));
        compress(worker.path(), 1).unwrap();
        assert_eq!((read(0).as_str(), read(4).as_str(), read(8).as_str()), ("one\ntwo\n", "two\n", ""));
    }
}
