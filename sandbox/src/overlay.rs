//! A directory of the machine under a layer: writable inside, unchanged outside.
//!
//! For: `spawn`, which has the layers made; `filesystem`, which places them. In: a directory, and one of this sandbox's alone for what is written.
//! Out: one mount of both. Never: a layer that was used before, or one that can be reached by another name inside.

use crate::{
    error::{Error, Step},
    filesystem::{self, attach, fresh, restricted},
    namespace,
    plan::{Bind, Plan, User},
    process::ChildProcess,
};
use rustix::process::{getegid, geteuid};
use rustix::{
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, unmount,
    },
};
use std::{
    ffi::OsStr,
    fs, io,
    os::fd::OwnedFd,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    },
    path::Path,
};

/// In the new root as long as that can be written.
const STAGE: &str = "/.layers";
/// Below the layer's directory: what was written, and what the kernel needs beside it.
const UPPER: &str = "upper";
const WORK: &str = "work";

const REMEDY: &str = "a layer needs Linux 5.11 or later with overlayfs (`modprobe overlay`), a state directory on a file system of the machine's own \
     (ext4, xfs, btrfs; no overlay or network file system), and nothing mounted within the directory; or list it under `write` or `read`";

/// The two parts, each a mount that is attached nowhere.
pub(crate) struct Layers {
    lower: OwnedFd,
    layer: OwnedFd,
}

/// Refuses what no layer can lie over, or not so that anything could be done in it.
pub(crate) fn judge(bind: &Bind, layer: &Path, user: User) -> Result<(), Error> {
    let refused = |tried, hint| Err(Step::Plan.failed(tried).on(bind.target.display()).hint_at(hint));
    if !bind.directory {
        return refused("put a layer over what is no directory,", "list the file under `write` or `read`");
    }
    let layers = layer.parent().and_then(|above| fs::canonicalize(above).ok());
    if layers.is_none_or(|layers| layers.starts_with(&bind.source)) {
        let hint = "move exeat's state out of it (`--state DIR`), or name directories below it";
        return refused("put a layer that would lie in the directory itself over", hint);
    }
    let because = |error| Step::Plan.failed("read").on("/proc/self/mountinfo").because(error);
    if has_mounts(&bind.source).map_err(because)? {
        let hint = "name directories beside the mount, or list it under `write` or `read`";
        return refused("put a layer over a directory with a mount in it,", hint);
    }
    let found = fs::metadata(&bind.source)
        .map_err(|error| Step::Plan.failed("look at").on(bind.source.display()).because(error))?;
    let group = match bind.idmapped {
        // Root's group has changed places with the command's.
        true if found.gid() == 0 => user.gid,
        _ => found.gid(),
    };
    // What the command changes is copied first, owner and all, and the sandbox knows no other group.
    if (bind.idmapped || found.uid() == user.uid) && group != user.gid {
        let hint = "give it the group that the command runs as (the primary one of its user: `chgrp -R`), or list it under `write`";
        return refused("let anything be changed under a layer in a directory of another group,", hint);
    }
    Ok(())
}

/// Whether something is mounted within `tree`: an overlay would not show it, but what lies under it.
pub(crate) fn has_mounts(tree: &Path) -> io::Result<bool> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let mut points = mounts.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    Ok(points.any(|point| {
        let point = unescaped(point);
        let point = Path::new(OsStr::from_bytes(&point));
        point != tree && point.starts_with(tree)
    }))
}

/// Blanks and their like are written in octal: `\040`.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let octal = rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                text = &rest[3..];
            }
            None => {
                bytes.push(*first);
                text = rest;
            }
        }
    }
    bytes
}

/// Makes the directories of all layers, for the command's user only.
pub(crate) fn make(plan: &Plan) -> Result<(), Error> {
    plan.layered().try_for_each(|bind| bind.layer.as_deref().map_or(Ok(()), |layer| make_one(bind, layer, plan.user)))
}

fn make_one(bind: &Bind, layer: &Path, user: User) -> Result<(), Error> {
    let made = || -> io::Result<()> {
        let tree = fs::metadata(&bind.source)?;
        fs::DirBuilder::new().mode(0o700).recursive(true).create(layer)?;
        for below in [UPPER, WORK] {
            // Of a directory that is there nothing is known.
            let path = layer.join(below);
            fs::DirBuilder::new().mode(0o700).create(&path)?;
            if user.from_root {
                chown(&path, Some(user.uid), Some(user.gid))?;
            }
        }
        // The directory has the owner and the mode of the upper one.
        fs::set_permissions(layer.join(UPPER), fs::Permissions::from_mode(tree.mode() & 0o777))?;
        if user.from_root {
            chown(layer, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    };
    made().map_err(|error| Step::Plan.failed("make the layer").on(layer.display()).because(error))
}

impl Layers {
    /// Takes both, as the user who started exeat: the command's user cannot get to the layer.
    pub fn take(bind: &Bind, layer: &Path, idmapped: Option<OwnedFd>) -> Result<Self, Error> {
        let lower = match idmapped {
            Some(ready) => ready,
            None => restricted(namespace::detached(&bind.source)?, filesystem::READ_ONLY, &bind.source)?,
        };
        let layer = restricted(namespace::detached(layer)?, filesystem::READ_WRITE, layer)?;
        Ok(Self { lower, layer })
    }

    /// Makes one of them, within the new root. The parts are then in it, and nowhere else in sight.
    pub fn join(self, target: &Path) -> Result<OwnedFd, Error> {
        let failed = |error: io::Error| {
            Step::Filesystem.failed("put a layer over").on(target.display()).because(error).hint_at(REMEDY)
        };
        let stage = Path::new(STAGE);
        let attached = |tree: &OwnedFd, at: &Path| -> io::Result<()> {
            fs::create_dir(at)?;
            Ok(attach(tree, at)?)
        };
        let whole = fresh("tmpfs", &[("mode", "0700"), ("size", "4k")], filesystem::READ_WRITE)?;
        let parts = || -> io::Result<()> {
            attached(&whole, stage)?;
            attached(&self.lower, &stage.join("lower"))?;
            attached(&self.layer, &stage.join("layer"))
        };
        let joined = parts().and_then(|()| Ok(mount(&stage.join("lower"), &stage.join("layer"))?));
        let tree = joined.map_err(failed)?;
        unmount(stage, UnmountFlags::DETACH).map_err(|errno| failed(errno.into()))?;
        fs::remove_dir(stage).map_err(failed)?;
        Ok(tree)
    }
}

/// The paths have no character that the kernel would read otherwise.
fn mount(lower: &Path, layer: &Path) -> Result<OwnedFd, Errno> {
    let filesystem = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Marks go to attributes that an ordinary user may set.
    fsconfig_set_flag(&filesystem, "userxattr")?;
    fsconfig_set_string(&filesystem, "lowerdir", lower)?;
    fsconfig_set_string(&filesystem, "upperdir", layer.join(UPPER))?;
    fsconfig_set_string(&filesystem, "workdir", layer.join(WORK))?;
    fsconfig_create(&filesystem)?;
    let attributes = u32::try_from(filesystem::READ_WRITE).map_err(|_| Errno::INVAL)?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes))
}

/// Whether this machine can do it, tried in namespaces that end at once, on a file system in memory.
pub(crate) fn try_it() -> Result<(), String> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mut child = ChildProcess::spawn(libc::CLONE_NEWUSER | libc::CLONE_NEWNS, || {
        let tried = || -> io::Result<()> {
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
            let scratch = fresh("tmpfs", &[("mode", "0700")], filesystem::READ_WRITE).map_err(io::Error::other)?;
            // Any directory will do that is there.
            let at = Path::new("/proc");
            attach(&scratch, at)?;
            for below in ["lower", UPPER, WORK] {
                fs::create_dir(at.join(below))?;
            }
            mount(&at.join("lower"), at)?;
            Ok(())
        };
        match tried() {
            Ok(()) => 0,
            Err(error) => {
                Errno::from_io_error(&error).and_then(|errno| u8::try_from(errno.raw_os_error()).ok()).unwrap_or(255)
            }
        }
    })
    .map_err(|errno| errno.to_string())?;
    match child.wait().map_err(|error| error.to_string())? {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.into()).to_string()),
    }
}

/// What to do where it cannot.
pub(crate) fn remedy() -> &'static str {
    REMEDY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_within_a_tree_is_seen_whatever_it_is_called() {
        assert_eq!(unescaped(br"/a\040b\134c\9"), br"/a b\c\9");
        assert!(has_mounts(Path::new("/")).unwrap());
        assert!(!has_mounts(Path::new("/proc/self")).unwrap());
    }
}
