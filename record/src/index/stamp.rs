//! Whether a file is the one that it was.
//!
//! Enters: a file. Leaves: what the file system says of it, to be compared later. Never: a word on a file that was changed so recently that
//! another change could leave the same times.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Coarser than the times that any file system in use keeps.
const SETTLED: Duration = Duration::from_secs(2);

/// A file as it was. Only root can set the time of its last change, by setting the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that is there. `None`: nothing can be said of it.
    pub(super) fn of(path: &Path) -> Option<Stamp> {
        let file = fs::metadata(path).ok()?;
        let changed = UNIX_EPOCH + Duration::from_secs(file.ctime().try_into().ok()?);
        let age = SystemTime::now().duration_since(changed).ok()?;
        (age > SETTLED).then(|| Stamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}
