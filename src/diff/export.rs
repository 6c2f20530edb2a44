//! Copies of what a worker changed.
//!
//! Enters: changes and their layer. Leaves: a new directory with a directory of files for each layer, and `changes.json`. Never: a file that is there
//! already, or one outside of that directory.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, SeekFrom, mkdirat, openat, seek, symlinkat};
use rustix::io::Errno;

use super::change::{Change, Kind, What};
use super::{Told, shown, tree};
use crate::layers::Layer;
use crate::report::Report;

/// Copies all that was added or modified to `directory/N/`. Returns what could not be copied, and why.
pub(super) fn export(directory: &Path, layers: &[Layer], told: &[Told]) -> Result<Vec<String>, Report> {
    let failed = |error: io::Error| {
        Report::new(format!("cannot make {}: {error}", shown(directory))).hint("name a directory that is not there yet")
    };
    DirBuilder::new().mode(0o755).create(directory).map_err(failed)?;
    let mut left_out = Vec::new();
    for (number, (layer, told)) in layers.iter().zip(told).enumerate() {
        let below = directory.join(number.to_string());
        DirBuilder::new().mode(0o755).create(&below).map_err(failed)?;
        let (from, to) = (tree::open(&layer.upper)?, tree::open(&below)?);
        for change in told.changes.iter().filter(|change| change.what != What::Deleted) {
            if let Err(error) = copy(&from, &to, change) {
                left_out.push(format!("{}: {error}", shown(&change.path)));
            }
        }
    }
    let json = serde_json::to_vec_pretty(told)?;
    std::fs::write(directory.join("changes.json"), json)?;
    Ok(left_out)
}

fn copy(from: &OwnedFd, to: &OwnedFd, Change { kind, path, mode, .. }: &Change) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let from = tree::parent(from, path)?;
    let to = make_parent(to, path)?;
    match kind {
        Kind::Directory => match mkdirat(&to, name, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
            // It was made for what is in it.
            Err(Errno::EXIST) => Ok(()),
            made => Ok(made?),
        },
        Kind::Link => Ok(symlinkat(tree::link(&from, name)?, &to, name)?),
        Kind::File => {
            let source = tree::file(&from, name)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // Its owner can do with a copy what they like.
            let mode = Mode::from_raw_mode(mode.unwrap_or(0o644) & 0o777 | 0o600);
            copy_data(&source, &File::from(openat(&to, name, flags, mode)?))
        }
        Kind::Other => Err(io::Error::other("a pipe, a socket or a device")),
    }
}

/// Copies what was written and leaves the holes: a file that is nothing else may be larger than the disk.
pub(super) fn copy_data(source: &File, copy: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    let mut at = 0;
    while at < length {
        let start = match seek(source, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break, // nothing but a hole
            Err(errno) => return Err(errno.into()),
        };
        let end = seek(source, SeekFrom::Hole(start))?;
        let (mut from, mut to) = (source, copy);
        io::Seek::seek(&mut from, io::SeekFrom::Start(start))?;
        io::Seek::seek(&mut to, io::SeekFrom::Start(start))?;
        io::copy(&mut from.take(end - start), &mut to)?;
        at = end;
    }
    copy.set_len(length)
}

/// The directory that `path` will be in. Only what was made here is in there, so a link is an error.
fn make_parent(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut at = root.try_clone()?;
    for name in path.parent().into_iter().flat_map(Path::components) {
        match mkdirat(&at, name.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        at = tree::directory(&at, name.as_os_str())?;
    }
    Ok(at)
}
