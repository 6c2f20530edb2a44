//! Directories that are closed to the command at its start, and that it could open by itself.
//!
//! For: `plan` and `secrets`, which see whose they are; `cover`, which finds that they are closed. In: what is to be covered, what is shown. Out: a refusal where
//! something in one of them cannot be covered. Never: a mode changed.

use crate::{
    cover::{self, Cover},
    error::{Error, Step},
    plan::{Bind, User},
};
use rustix::{io::Errno, process::geteuid};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Whether it is not found because this process's own user has closed a directory above it.
pub(crate) fn can_be_opened(path: &Path, error: &io::Error) -> bool {
    let closed = path.ancestors().skip(1).find_map(|above| fs::metadata(above).ok());
    error.kind() == io::ErrorKind::PermissionDenied && closed.is_some_and(|closed| closed.uid() == geteuid().as_raw())
}

/// The directories above them that the command's user could open if they were closed: its own, where it may write. Asked out here, as inside all users
/// but one are the same.
pub(crate) fn openable(covers: &[Cover], binds: &[Bind], user: User) -> BTreeSet<PathBuf> {
    let (mut seen, mut openable) = (BTreeSet::new(), BTreeSet::new());
    for cover in covers {
        let Some(bind) = cover::deepest(cover.path(), binds).filter(|bind| bind.write) else { continue };
        // Mapped, root's are its own.
        let own = if bind.idmapped { 0 } else { user.uid };
        let within = cover.path().ancestors().skip(1).take_while(|above| above.starts_with(&bind.target));
        for above in within {
            if !seen.insert(above.to_owned()) {
                break; // and what is above it
            }
            let Ok(rest) = above.strip_prefix(&bind.target) else { break };
            let owner = fs::symlink_metadata(bind.source.join(rest)).map(|found| found.uid());
            if owner.map_or(true, |owner| owner == own) {
                openable.insert(above.to_owned());
            }
        }
    }
    openable
}

/// What cannot be got at now may be once a directory above it is opened.
pub(crate) fn stays(path: &Path, openable: &BTreeSet<PathBuf>) -> Result<(), Error> {
    // What is in a closed directory cannot be looked at.
    let closed = path.ancestors().skip(1).find(|above| fs::symlink_metadata(above).is_ok());
    match closed.filter(|closed| openable.contains(*closed)) {
        Some(closed) => Err(Step::Filesystem
            .failed("get at what is to be covered in")
            .on(closed.display())
            .because(Errno::ACCESS)
            .hint_at(
                "the command's user owns it and could open it: do that beforehand, or take it out of what is shown",
            )),
        None => Ok(()),
    }
}
