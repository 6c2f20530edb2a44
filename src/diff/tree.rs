//! Directories that a hostile process wrote, or still writes: entered one by one, by what is held of the last one.
//!
//! Enters: a directory held open, a name in it. Leaves: what is there. Never: a link followed, or a file opened that would block.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, chmodat, fstat, openat, openat2, readlinkat, statat,
    unlinkat,
};
use rustix::io::Errno;

use crate::layers::{Identity, Layer};

/// Deeper than any project; each level is a descriptor, of which a process has a thousand.
pub(super) const DEEPEST: usize = 200;

/// What there is at a name.
pub(super) struct Found {
    pub(super) kind: FileType,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) device: u64,
}

impl Found {
    fn of(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            device: stat.st_rdev,
        }
    }

    /// Overlayfs's mark of what was deleted.
    pub(super) fn is_whiteout(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.device == 0
    }
}

/// Opens a directory by its path, which is not hostile.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    directory(CWD, path)
}

/// Opens a layer's directory. Its path had no link in it when the worker began: one that is there now was put there since, and so was another directory, perhaps
/// by what the worker ran: it may write above a directory that stays as it is.
pub(super) fn stayed(Layer { tree, was, .. }: &Layer) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = match openat2(CWD, tree, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Err(Errno::LOOP) => {
            return Err(io::Error::other("a link is on the way to it that was not there when the worker began"));
        }
        opened => File::from(opened?),
    };
    match was {
        Some(was) if *was != Identity::of(&open.metadata()?) => {
            Err(io::Error::other("it is another directory than when the worker began; put that one back in its place"))
        }
        _ => Ok(open.into()),
    }
}

/// Opens a directory by its name in another.
pub(super) fn directory(within: impl AsFd, name: impl AsRef<Path>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(within, name.as_ref(), flags, Mode::empty())?)
}

/// Opens a regular file.
pub(super) fn file(within: impl AsFd, name: &OsStr) -> io::Result<File> {
    // A pipe would block, were it not for this; then it is found to be none of what is asked for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(within, name, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file any more")),
    }
}

/// What is at a name; `None`: nothing.
pub(super) fn find(within: impl AsFd, name: &OsStr) -> io::Result<Option<Found>> {
    match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Found::of(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Where a link leads.
pub(super) fn link(within: impl AsFd, name: &OsStr) -> io::Result<PathBuf> {
    let target = readlinkat(within, name, Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

/// The names in a directory, in order.
pub(super) fn names(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Opens the directory that holds `path`, which has no `..`, below an open one.
pub(super) fn parent(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut at = root.try_clone()?;
    for name in path.parent().into_iter().flat_map(Path::components) {
        at = directory(&at, name.as_os_str())?;
    }
    Ok(at)
}

/// Removes a directory and all in it, however deep and whatever its modes. Nobody writes to it any more.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it is no directory's entry"));
    };
    remove_in(&open(above)?, name)
}

/// The same by its name in an open directory, or a file.
pub(super) fn remove_in(above: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match find(above, name)? {
        None => return Ok(()),
        Some(found) if found.kind != FileType::Directory => return Ok(unlinkat(above, name, AtFlags::empty())?),
        Some(_) => {}
    }
    let top = opened(above, name)?;
    let mut moved = 0;
    empty(&top, &top, 0, &mut moved)?;
    // What was too deep has been moved to the top, and what is too deep in that will be.
    while let Some(next) = names(&top)?.first() {
        remove_below(&top, next, 1, (&top, &mut moved))?;
    }
    Ok(unlinkat(above, name, AtFlags::REMOVEDIR)?)
}

/// Opens a directory of one's own whose mode may keep its owner out.
fn opened(within: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let place =
        openat(within, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if fstat(&place)?.st_mode & 0o700 != 0o700 {
        // By what is held: by its name, a link could have come in its place.
        chmodat(CWD, format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU, AtFlags::empty())?;
    }
    directory(&place, ".")
}

fn empty(directory: &OwnedFd, top: &OwnedFd, depth: usize, moved: &mut u64) -> io::Result<()> {
    names(directory)?.iter().try_for_each(|below| remove_below(directory, below, depth + 1, (top, moved)))
}

fn remove_below(within: &OwnedFd, name: &OsStr, depth: usize, (top, moved): (&OwnedFd, &mut u64)) -> io::Result<()> {
    if find(within, name)?.is_none_or(|found| found.kind != FileType::Directory) {
        return Ok(unlinkat(within, name, AtFlags::empty())?);
    }
    let open = opened(within, name)?;
    if depth > DEEPEST {
        *moved += 1;
        return Ok(rustix::fs::renameat(within, name, top, format!("too-deep-{moved}"))?);
    }
    empty(&open, top, depth, moved)?;
    Ok(unlinkat(within, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_is_deep_closed_or_elsewhere_is_removed_or_left() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, top) = (directory.path().join("outside"), directory.path().join("top"));
        fs::create_dir_all(outside.join("kept")).unwrap();
        fs::create_dir_all(top.join("closed/in")).unwrap();
        fs::set_permissions(top.join("closed/in"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink(&outside, top.join("link")).unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", 3 * DEEPEST + 7).collect();
        fs::create_dir_all(top.join(&deep)).unwrap();
        fs::write(top.join(&deep).join("file"), "").unwrap();
        remove(&top).unwrap();
        assert!(!top.exists() && outside.join("kept").exists());
    }

    #[test]
    fn a_link_is_no_directory_and_a_pipe_no_file() {
        let directory = tempfile::tempdir().unwrap();
        symlink("/usr", directory.path().join("link")).unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let directory = fs::canonicalize(directory.path()).unwrap();
        let open = open(&directory).unwrap();
        assert!(super::directory(&open, "link").is_err() && parent(&open, Path::new("link/bin/sh")).is_err());
        assert!(file(&open, OsStr::new("pipe")).is_err() && file(&open, OsStr::new("link")).is_err());
        assert_eq!(link(&open, OsStr::new("link")).unwrap(), Path::new("/usr"));
        let other = Identity::of(&fs::metadata("/usr").unwrap());
        let own = Identity::of(&fs::metadata(&directory).unwrap());
        for (tree, was, expected) in [
            (directory.clone(), Some(own), true),
            (directory.clone(), None, true),
            (directory.clone(), Some(other), false),
            (directory.join("link/bin"), None, false),
        ] {
            assert_eq!(stayed(&Layer { tree, was, upper: PathBuf::new() }).is_ok(), expected, "{was:?}");
        }
    }
}
