//! A walk over directories of the machine by their names alone.
//!
//! For: `expand` and `secrets`. In: where to begin, and a judgement for each name. Out: what that collects; the directories that could not be
//! listed. Never: a symbolic link followed, a file looked at beyond what its directory says of it, or a walk without an end.

use crate::error::{Error, Step};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, openat2, statat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A tree with more is no project; a million names are looked through in half a second.
const MOST_NAMES: u64 = 1_000_000;
/// A file system that is slower than this (one behind a network, say) holds up every start.
const LONGEST: Duration = Duration::from_secs(10);
/// Who says that nothing is to be looked for has a large tree, and a start takes a hundredth of a second.
const FEW_NAMES: u64 = 200_000;
const BRIEFLY: Duration = Duration::from_millis(250);
/// What one system call lists: some thousand names.
const LISTED_AT_ONCE: usize = 64 * 1024;

/// What may still be looked at.
pub(crate) struct Budget {
    names: u64,
    most: u64,
    until: Instant,
    buffer: Vec<MaybeUninit<u8>>,
}

/// One name of a directory.
pub(crate) struct Entry<'a> {
    pub directory: &'a Path,
    pub name: &'a OsStr,
    pub kind: FileType,
    pub inode: u64,
}

impl Entry<'_> {
    pub fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }
}

impl Budget {
    pub fn new() -> Self {
        Self { names: 0, most: MOST_NAMES, until: Instant::now() + LONGEST, buffer: Vec::new() }
    }

    /// For what is looked for without having been asked for.
    pub fn brief() -> Self {
        Self { most: FEW_NAMES, until: Instant::now() + BRIEFLY, ..Self::new() }
    }

    /// How many names were looked at.
    pub fn spent(&self) -> u64 {
        self.names
    }

    fn spend(&mut self, at: &Path, names: u64) -> Result<(), Error> {
        self.names += names;
        let failed = |tried| Step::Plan.failed(tried).on(at.display());
        if self.names > self.most {
            return Err(failed("look through more than a million names, the last of them in"));
        }
        if Instant::now() > self.until {
            return Err(failed("look through what is shown within ten seconds; the last of it was"));
        }
        Ok(())
    }
}

/// Judges everything below `start`, a directory without symbolic links in its path. `judge` says of a directory what to know in it, or
/// `None` to leave it out. Returns the directories that could not be listed though they can be entered.
pub(crate) fn walk<T>(
    start: PathBuf,
    known: T,
    budget: &mut Budget,
    mut judge: impl FnMut(&T, &Entry<'_>) -> Option<T>,
) -> Result<Vec<PathBuf>, Error> {
    let mut closed = Vec::new();
    let mut open = vec![(start, known)];
    budget.buffer.resize(LISTED_AT_ONCE, MaybeUninit::uninit());
    while let Some((directory, known)) = open.pop() {
        let listed = match open_directory(&directory) {
            Ok(listed) => listed,
            // It has just gone, or is something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(Errno::ACCESS | Errno::PERM) => {
                // Its owner can open it again: so may a command of the same user.
                let enterable = rustix::fs::access(&directory, rustix::fs::Access::EXEC_OK).is_ok();
                let ours =
                    rustix::fs::lstat(&directory).is_ok_and(|it| it.st_uid == rustix::process::geteuid().as_raw());
                if enterable || ours {
                    closed.push(directory);
                }
                continue;
            }
            Err(errno) => return Err(failed(&directory, errno)),
        };
        let mut names = 0;
        let mut entries = RawDir::new(&listed, &mut budget.buffer[..]);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break, // it has just gone
                Err(errno) => return Err(failed(&directory, errno)),
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            names += 1;
            let kind = match entry.file_type() {
                // Not every file system says it here.
                FileType::Unknown => statat(&listed, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode)),
                kind => kind,
            };
            let entry = Entry { directory: &directory, name, kind, inode: entry.ino() };
            if let (Some(known), FileType::Directory) = (judge(&known, &entry), kind) {
                open.push((entry.path(), known));
            }
        }
        budget.spend(&directory, names)?;
    }
    Ok(closed)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

fn failed(directory: &Path, errno: Errno) -> Error {
    let error = Step::Plan.failed("look through").on(directory.display()).because(errno);
    match errno {
        Errno::NAMETOOLONG => error.hint_at("no path leads so deep; take the directories there away"),
        _ => error,
    }
}
