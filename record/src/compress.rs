//! A closed segment on its way to its compressed file, a frame at a time.
//!
//! Enters: a plain segment that nobody appends to any more. Leaves: the compressed one in its place, with the same time. Never: a plain one removed whose
//! whole text is not on the disk in the other; what fails leaves it as it was.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, futimens};

use crate::frames::Packer;
use crate::segment::Segment;

/// A segment that is being compressed.
pub(crate) struct Compression {
    plain: PathBuf,
    compressed: PathBuf,
    part: PathBuf,
    from: File,
    to: File,
    packer: Packer,
    read: u64,
}

impl Compression {
    pub fn begin(worker: &Path, number: u64) -> io::Result<Compression> {
        let (plain, compressed) = (Segment::plain(worker, number), Segment::compressed(worker, number));
        let part = compressed.with_extension("zst.part");
        let from = File::open(&plain)?;
        // Its clerk may be at it, and whoever clears up after clerks that were killed.
        from.try_lock().map_err(io::Error::from)?;
        if from.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Of one who was killed over it.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Compression { plain, compressed, part, from, to, packer: Packer::new()?, read: 0 })
    }

    /// One more frame; whether it is done.
    pub fn step(&mut self) -> io::Result<bool> {
        let packed = self.packer.step(&mut self.from, &mut self.to)?;
        self.read += packed as u64;
        if packed > 0 {
            return Ok(false);
        }
        self.finish().map(|()| true)
    }

    fn finish(&mut self) -> io::Result<()> {
        let metadata = self.from.metadata()?;
        let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() };
        futimens(&self.to, &Timestamps { last_access: time, last_modification: time })?;
        self.to.sync_all()?;
        // Whoever goes on appending to a closed segment keeps it as it is.
        if self.from.metadata()?.len() != self.read {
            return Err(io::Error::other("it grew"));
        }
        fs::rename(&self.part, &self.compressed)?;
        File::open(self.plain.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        fs::remove_file(&self.plain)
    }
}

impl Drop for Compression {
    fn drop(&mut self) {
        // After the rename it has no such name any more.
        let _ = fs::remove_file(&self.part);
    }
}

/// Compresses a closed segment.
pub(crate) fn compress(worker: &Path, number: u64) -> io::Result<()> {
    let mut compression = Compression::begin(worker, number)?;
    while !compression.step()? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::segment::DIRECTORY;

    fn worker(text: &[u8]) -> tempfile::TempDir {
        let worker = tempfile::tempdir().unwrap();
        fs::create_dir(worker.path().join(DIRECTORY)).unwrap();
        fs::write(Segment::plain(worker.path(), 1), text).unwrap();
        worker
    }

    fn names(worker: &Path) -> Vec<String> {
        let entries = fs::read_dir(worker.join(DIRECTORY)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_the_same_text_of_the_same_time_for_its_owner_only() {
        let text = b"{\"a\":1}\n".repeat(300_000);
        let worker = worker(&text);
        let file = File::options().write(true).open(Segment::plain(worker.path(), 1)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        file.set_modified(time).unwrap();
        // What one left that was killed over it.
        fs::write(Segment::compressed(worker.path(), 1).with_extension("zst.part"), "half").unwrap();
        compress(worker.path(), 1).unwrap();
        assert_eq!(names(worker.path()), ["000001.jsonl.zst"]);
        let segment = Segment::all(worker.path()).unwrap().remove(0);
        let mut read = Vec::new();
        segment.open(0).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == text);
        let metadata = fs::metadata(segment.path()).unwrap();
        assert_eq!((metadata.modified().unwrap(), metadata.mode() & 0o777), (time, 0o600));
        assert!(metadata.len() < text.len() as u64 / 10);
    }

    #[test]
    fn one_that_still_grows_stays_as_it_is() {
        let worker = worker(b"{}\n");
        let mut compression = Compression::begin(worker.path(), 1).unwrap();
        assert!(!compression.step().unwrap());
        let mut late = OpenOptions::new().append(true).open(Segment::plain(worker.path(), 1)).unwrap();
        assert_eq!(compression.packer.step(&mut compression.from, &mut compression.to).unwrap(), 0);
        late.write_all(b"{}\n").unwrap();
        assert!(compression.finish().is_err());
        drop(compression);
        assert_eq!(names(worker.path()), ["000001.jsonl"]);
        assert_eq!(fs::read(Segment::plain(worker.path(), 1)).unwrap(), b"{}\n{}\n");
    }

    #[test]
    fn only_one_compresses_it_at_a_time() {
        let worker = worker(b"{}\n");
        let mut compression = Compression::begin(worker.path(), 1).unwrap();
        assert!(Compression::begin(worker.path(), 1).is_err());
        while !compression.step().unwrap() {}
        assert!(Compression::begin(worker.path(), 1).is_err());
        assert_eq!(names(worker.path()), ["000001.jsonl.zst"]);
    }

    #[test]
    fn where_there_is_no_room_it_stays_as_it_is() {
        let worker = worker(b"{}\n");
        let mut compression = Compression::begin(worker.path(), 1).unwrap();
        compression.to = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(compression.step().is_err());
        drop(compression);
        assert_eq!(names(worker.path()), ["000001.jsonl"]);
    }
}
