//! What a worker changed, put into the directory itself.
//!
//! Enters: changes, their layer, the directory, when the worker began. Leaves: the directory as it was inside; or, where the machine changed one of the
//! same files meanwhile, nothing at all. Never: a write through a link, wherever it came from; a file half written under its name.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, mkdirat, openat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::change::{Change, Kind, What};
use super::export::copy_data;
use super::{Told, shown, tree};
use crate::layers::Layer;
use crate::report::Report;

/// What a file is called until it is whole.
const DRAFT: &str = ".exeat-apply";
/// More are not listed.
const MOST_TOLD: usize = 10;

/// What stands against it: paths that changed on the machine since the worker began. To be asked for all layers before one is applied.
pub(super) fn conflicts(layer: &Layer, told: &Told, since: Timestamp) -> Result<Vec<String>, Report> {
    let root = tree::open(&layer.tree)?;
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
    let (root, upper) = (tree::open(&layer.tree)?, tree::open(&layer.upper)?);
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
            match mkdirat(&to, name, mode) {
                Ok(()) => give_to_owner(&to, name)?,
                // It was there, and has another mode now.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            Ok(fchmod(tree::directory(&to, name)?, mode)?)
        }
        (_, Kind::Link) => {
            let target = tree::link(tree::parent(upper, path)?, name)?;
            draft(&to, |draft| Ok(symlinkat(&target, &to, draft)?))?;
            settle(&to, name)
        }
        (_, Kind::File) => {
            let source = tree::file(tree::parent(upper, path)?, name)?;
            draft(&to, |draft| write(&source, &to, draft, mode))?;
            settle(&to, name)
        }
        (_, Kind::Other) => Err(io::Error::other("a pipe, a socket or a device")),
    }
}

/// Makes a draft anew; one may be left of an earlier attempt.
fn draft(within: &OwnedFd, make: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    match unlinkat(within, DRAFT, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => make(DRAFT),
        Err(errno) => Err(errno.into()),
    }
}

fn write(source: &File, to: &OwnedFd, name: &str, mode: Mode) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    copy_data(source, &copy)?;
    // The umask is for what is new, and this is to be as it was inside.
    Ok(fchmod(&copy, mode)?)
}

/// In the place of what had the name.
fn settle(within: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(old) if rustix::process::geteuid().is_root() => {
            let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            chownat(within, DRAFT, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(_) => {}
        Err(Errno::NOENT) => give_to_owner(within, OsStr::new(DRAFT))?,
        Err(errno) => return Err(errno.into()),
    }
    Ok(renameat(within, DRAFT, within, name)?)
}

/// What root makes in somebody's directory is theirs.
fn give_to_owner(within: &OwnedFd, name: &OsStr) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let above = File::from(within.try_clone()?).metadata()?;
    let (uid, gid) = (Uid::from_raw(above.uid()), Gid::from_raw(above.gid()));
    Ok(chownat(within, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}
