//! What a worker changed, put into the directory itself.
//!
//! Enters: changes, their layer, the directory, when the worker began. Leaves: the directory as it was inside; or, where the machine changed one of the
//! same files meanwhile, nothing at all. Never: a write through a link, wherever it came from; a file half written under its name.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, openat, renameat, statat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::change::{Change, Kind, What};
use super::export::copy_data;
use super::{Told, shown, tree};
use crate::layers::Layer;
use crate::report::Report;

/// What a file's name begins with until it is whole.
const DRAFT: &str = ".exeat-apply-";
/// More are not listed.
const MOST_TOLD: usize = 10;

/// What stands against it: paths that changed on the machine since the worker began. To be asked for all layers before one is applied.
pub(super) fn conflicts(layer: &Layer, told: &Told, since: Timestamp) -> Result<Vec<String>, Report> {
    let root = tree::stayed(layer)?;
    let mut conflicts = Vec::new();
    for Change { what, path, .. } in &told.changes {
        let (Some(name), Ok(parent)) = (path.file_name(), tree::parent(&root, path)) else { continue };
        if *what != What::Added && changed_since(&parent, name, since, 0)? {
            conflicts.push(shown(path));
        }
    }
    Ok(conflicts)
}

/// Refuses, with the first of them.
pub(super) fn refused(conflicts: &[String]) -> Report {
    let first = conflicts.iter().take(MOST_TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    let count = conflicts.len();
    Report::new(format!("nothing was applied: {count} of the changed paths changed on the machine, too: {first}"))
        .hint("`--export DIR` or `--patch` gives the changes to be merged by hand")
}

/// By the time that no program sets.
fn changed_since(within: &OwnedFd, name: &OsStr, since: Timestamp, depth: usize) -> io::Result<bool> {
    if depth > tree::DEEPEST {
        return Ok(true);
    }
    let found = match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        found => found?,
    };
    let nanoseconds = i32::try_from(found.st_ctime_nsec).unwrap_or(0);
    if Timestamp::new(found.st_ctime, nanoseconds).map_or(true, |changed| changed > since) {
        return Ok(true);
    }
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        let open = tree::directory(within, name)?;
        for below in tree::names(&open)? {
            if changed_since(&open, &below, since, depth + 1)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Applies all of one layer. Returns what was left out, and why.
pub(super) fn apply(layer: &Layer, told: &Told) -> Result<Vec<String>, Report> {
    let (root, upper) = (tree::stayed(layer)?, tree::open(&layer.upper)?);
    let mut left_out = Vec::new();
    for change in &told.changes {
        if let Err(error) = apply_one(&root, &upper, change) {
            left_out.push(format!("{}: {error}", shown(&change.path)));
        }
    }
    // The deepest first, and after what is in them: one may keep its owner from writing.
    let directories = |change: &&Change| change.kind == Kind::Directory && change.what != What::Deleted;
    for Change { path, mode, .. } in told.changes.iter().rev().filter(directories) {
        let (Some(name), Ok(within)) = (path.file_name(), tree::parent(&root, path)) else { continue };
        let mode = Mode::from_raw_mode(mode.unwrap_or(0) & 0o777);
        if let Err(error) = tree::directory(&within, name).and_then(|open| Ok(fchmod(open, mode)?)) {
            left_out.push(format!("{}: {error}", shown(path)));
        }
    }
    Ok(left_out)
}

fn apply_one(root: &OwnedFd, upper: &OwnedFd, Change { what, kind, path, mode, .. }: &Change) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    // No step of it is a link, or this fails.
    let to = tree::parent(root, path)?;
    let mode = Mode::from_raw_mode(mode.unwrap_or(0) & 0o777);
    match (what, kind) {
        (What::Deleted, _) => tree::remove_in(&to, name),
        (_, Kind::Directory) => {
            let mode = mode | Mode::RWXU;
            let made = match mkdirat(&to, name, mode) {
                Ok(()) => true,
                // It was there, and has another mode now.
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno.into()),
            };
            let directory = tree::directory(&to, name)?;
            if made {
                give(&directory, owner(&to, None)?)?;
            }
            Ok(fchmod(directory, mode)?)
        }
        (_, Kind::Link) => {
            let target = tree::link(tree::parent(upper, path)?, name)?;
            settled(&to, name, |draft| {
                symlinkat(&target, &to, draft)?;
                Ok(openat(&to, draft, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
            })
        }
        (_, Kind::File) => {
            let source = tree::file(tree::parent(upper, path)?, name)?;
            settled(&to, name, |draft| write(&source, &to, draft, mode))
        }
        (_, Kind::Other) => Err(io::Error::other("a pipe, a socket or a device")),
    }
}

/// Puts what `make` makes and holds in the place of what had the name. Until it is whole it is called as nothing else is.
fn settled(within: &OwnedFd, name: &OsStr, make: impl FnOnce(&str) -> io::Result<OwnedFd>) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let draft = format!("{DRAFT}{:016x}", u64::from_ne_bytes(random));
    let put = make(&draft).and_then(|made| {
        give(&made, owner(within, Some(name))?)?;
        Ok(renameat(within, &*draft, within, name)?)
    });
    if put.is_err() {
        // Whether or not there is one.
        let _ = unlinkat(within, &*draft, AtFlags::empty());
    }
    put
}

fn write(source: &File, to: &OwnedFd, name: &str, mode: Mode) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    copy_data(source, &copy)?;
    // The umask is for what is new, and this is to be as it was inside.
    fchmod(&copy, mode)?;
    Ok(copy.into())
}

/// Whose it shall be: whose it was that had the name, or else the directory's. What root makes in somebody's directory is theirs.
fn owner(within: &OwnedFd, name: Option<&OsStr>) -> io::Result<(Uid, Gid)> {
    let found = match name.map(|name| statat(within, name, AtFlags::SYMLINK_NOFOLLOW)) {
        None | Some(Err(Errno::NOENT)) => fstat(within)?,
        Some(found) => found?,
    };
    Ok((Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid)))
}

/// What is held, and not whatever has its name by now.
fn give(made: &OwnedFd, (uid, gid): (Uid, Gid)) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chownat(made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}
