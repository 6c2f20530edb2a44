//! What differs between a directory and its layer.
//!
//! Enters: both, the layer as overlayfs has it: files that were written, marks of what was deleted, directories that replace others. Leaves: the
//! changes by path, in order. Never: a change that is none (a file written with what was in it).

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fgetxattr};
use serde::{Serialize, Serializer};

use super::shown;
use super::tree::{self, DEEPEST, Found};
use crate::layers::Layer;

/// More than anybody looks through; a layer full of empty files grows no list without end.
const MOST: usize = 1_000_000;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Added,
    Modified,
    Deleted,
}

/// What is, or was, at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    File,
    Directory,
    Link,
    /// A pipe or a socket, which cannot be kept.
    Other,
}

/// One change. What has become another kind of thing is deleted and added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) what: What,
    pub(super) kind: Kind,
    #[serde(serialize_with = "as_text")]
    pub(super) path: PathBuf,
    /// The bytes, as hexadecimal digits, where the path is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_bytes: Option<String>,
    /// The permission bits that it has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<u32>,
}

/// All changes, and what could not be looked at.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) changes: Vec<Change>,
    pub(super) unread: Vec<String>,
}

/// Paths are not always UTF-8; JSON is.
pub(super) fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Added => 'A',
            What::Modified => 'M',
            What::Deleted => 'D',
        };
        let slash = if self.kind == Kind::Directory { "/" } else { "" };
        write!(f, "{what} {}{slash}", shown(&self.path))
    }
}

/// Compares a layer with its directory.
pub(super) fn find(layer: &Layer) -> io::Result<Changes> {
    let mut changes = Changes::default();
    let (tree, upper) = (tree::stayed(layer)?, tree::open(&layer.upper)?);
    changes.compare(&upper, Some(&tree), Path::new(""), 0)?;
    Ok(changes)
}

fn kind(found: &Found) -> Kind {
    match found.kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

impl Changes {
    fn add(&mut self, what: What, found: &Found, path: &Path) -> io::Result<()> {
        if self.changes.len() >= MOST {
            return Err(io::Error::other(format!("there are more than {MOST} changes")));
        }
        let hexadecimal = || path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.changes.push(Change {
            what,
            kind: kind(found),
            path: path.to_owned(),
            path_bytes: path.to_str().is_none().then(hexadecimal),
            mode: (what != What::Deleted).then_some(found.mode),
        });
        Ok(())
    }

    /// What cannot be read is named, and the rest goes on.
    fn tried<T>(&mut self, path: &Path, tried: io::Result<T>) -> Option<T> {
        tried.map_err(|error| self.unread.push(format!("{}: {error}", shown(path)))).ok()
    }

    /// A directory of the layer with the one that it lies over, if it does.
    fn compare(&mut self, upper: &OwnedFd, lower: Option<&OwnedFd>, at: &Path, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            self.unread.push(format!("{}: more than {DEEPEST} directories deep", shown(at)));
            return Ok(());
        }
        let Some(names) = self.tried(at, tree::names(upper)) else { return Ok(()) };
        for name in &names {
            let path = at.join(name);
            let Some(Some(new)) = self.tried(&path, tree::find(upper, name)) else { continue };
            let Some(old) = self.tried(&path, lower.map_or(Ok(None), |lower| tree::find(lower, name))) else {
                continue;
            };
            if new.is_whiteout() {
                old.map_or(Ok(()), |old| self.add(What::Deleted, &old, &path))?;
                continue;
            }
            let same_kind = old.as_ref().is_some_and(|old| kind(old) == kind(&new));
            if let (Some(old), false) = (&old, same_kind) {
                self.add(What::Deleted, old, &path)?;
            }
            let old = old.filter(|_| same_kind);
            if kind(&new) == Kind::Directory {
                self.directory(upper, lower.filter(|_| old.is_some()), name, &path, (&new, old.as_ref()), depth)?;
                continue;
            }
            let unchanged = match (&old, lower) {
                (Some(old), Some(lower)) if old.mode == new.mode || new.kind == FileType::Symlink => {
                    self.tried(&path, is_same(upper, lower, name, &new, old)).unwrap_or(false)
                }
                _ => false,
            };
            if !unchanged {
                self.add(if old.is_some() { What::Modified } else { What::Added }, &new, &path)?;
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        name: &OsStr,
        path: &Path,
        (new, old): (&Found, Option<&Found>),
        depth: usize,
    ) -> io::Result<()> {
        match old {
            None => self.add(What::Added, new, path)?,
            Some(old) if old.mode != new.mode => self.add(What::Modified, new, path)?,
            Some(_) => {}
        }
        let Some(inner) = self.tried(path, tree::directory(upper, name)) else { return Ok(()) };
        let below = match lower {
            Some(lower) => match self.tried(path, tree::directory(lower, name)) {
                None => return Ok(()),
                below => below,
            },
            None => None,
        };
        if let (Some(below), true) = (&below, is_opaque(&inner)) {
            // Nothing of the old one shows through: what is not here any more is gone.
            let Some(kept) = self.tried(path, tree::names(&inner)) else { return Ok(()) };
            let Some(before) = self.tried(path, tree::names(below)) else { return Ok(()) };
            for gone in before.iter().filter(|name| kept.binary_search(name).is_err()) {
                let path = path.join(gone);
                let Some(Some(old)) = self.tried(&path, tree::find(below, gone)) else { continue };
                self.add(What::Deleted, &old, &path)?;
            }
        }
        self.compare(&inner, below.as_ref(), path, depth + 1)
    }
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 8];
    matches!(fgetxattr(directory, "user.overlay.opaque", &mut value), Ok(length) if value[..length] == *b"y")
}

fn is_same(upper: &OwnedFd, lower: &OwnedFd, name: &OsStr, new: &Found, old: &Found) -> io::Result<bool> {
    match new.kind {
        FileType::Symlink => Ok(tree::link(upper, name)? == tree::link(lower, name)?),
        FileType::RegularFile if new.size == old.size => {
            same_content(tree::file(upper, name)?, tree::file(lower, name)?)
        }
        _ => Ok(false),
    }
}

fn same_content(new: std::fs::File, old: std::fs::File) -> io::Result<bool> {
    const AT_ONCE: usize = 64 * 1024;
    let (mut new, mut old) = (BufReader::with_capacity(AT_ONCE, new), BufReader::with_capacity(AT_ONCE, old));
    loop {
        let (left, right) = (new.fill_buf()?, old.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] || length == 0 && left.len() != right.len() {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        new.consume(length);
        old.consume(length);
    }
}
