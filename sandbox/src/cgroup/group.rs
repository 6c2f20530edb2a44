//! One directory of a cgroup file system, made for one sandbox.
//!
//! For: `cgroup`. In: a place, what was asked for. Out: a group with the limits in it, locked for as long as whoever keeps it lives.
//! Never: a group removed that somebody keeps, or that has a process in it.

use super::{Controller, Version, place::Place, setting, unified};
use crate::{error::Error, spec::Limits};
use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, openat},
    io::Errno,
    process::{Pid, getpid},
};
use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

const NAME: &str = "exeat-";
/// The number in a name is ours; in a hierarchy that several containers share, others have the same.
const NAMES: u32 = 8;
/// How many that dead workers left are looked at in one start.
const LEFT: usize = 64;

/// Dropped, it stays; see [`remove`](Group::remove).
#[derive(Debug)]
pub(super) struct Group {
    pub version: Version,
    pub controllers: Vec<Controller>,
    pub path: PathBuf,
    /// Held: somebody keeps it.
    lock: OwnedFd,
}

/// Why there is no group.
pub(super) enum Failure {
    /// What was asked for makes no sense.
    Spec(Error),
    /// The machine says no.
    Machine(io::Error),
}

impl Group {
    pub fn make(place: &Place, limits: &Limits) -> Result<Self, Failure> {
        clear(&place.parent);
        if place.version == Version::Two {
            unified::prepare(place).map_err(Failure::Machine)?;
        }
        let (path, lock) = directory_in(&place.parent).map_err(Failure::Machine)?;
        let made = Self { version: place.version, controllers: place.controllers.clone(), path, lock };
        match made.set(limits) {
            Ok(()) => Ok(made),
            Err(failure) => {
                made.remove();
                Err(failure)
            }
        }
    }

    fn set(&self, limits: &Limits) -> Result<(), Failure> {
        for &controller in &self.controllers {
            for setting in setting::settings(self.version, controller, limits).map_err(Failure::Spec)? {
                match fs::write(self.path.join(setting.file), setting.value) {
                    Err(error) if setting.may_lack && error.kind() == io::ErrorKind::NotFound => {}
                    written => written.map_err(Failure::Machine)?,
                }
            }
        }
        Ok(())
    }

    pub fn add(&self, process: Pid) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), process.as_raw_nonzero().to_string())
    }

    /// Removes it, once its processes are gone.
    pub fn remove(&self) {
        // The kernel lets go of the last process a moment after it has been waited for.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(2)),
                _ => return,
            }
        }
    }

    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

/// A directory of our own. One that was made and not yet locked looks like one that was left behind, and may be removed by
/// somebody who starts at this moment: then there is another one.
fn directory_in(parent: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let ours = getpid().as_raw_nonzero();
    for turn in 0..NAMES {
        let path = parent.join(if turn == 0 { format!("{NAME}{ours}") } else { format!("{NAME}{ours}-{turn}") });
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        match locked(&path) {
            Ok(lock) if path.exists() => return Ok((path, lock)),
            Ok(_) | Err(Errno::AGAIN | Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// Removes what workers left that were killed together with whoever kept their groups.
fn clear(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes()));
    for entry in left.take(LEFT) {
        if let Ok(_lock) = locked(&entry.path()) {
            // With a process in it, or one that is somebody else's, it stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn locked(path: &Path) -> Result<OwnedFd, Errno> {
    let directory = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(parent: &Path) -> Place {
        let controllers = vec![Controller::Pids];
        let first = super::super::place::First::Nothing;
        Place { version: Version::One, parent: parent.to_owned(), controllers, first }
    }

    fn made(parent: &Path) -> Group {
        Group::make(&place(parent), &Limits::default()).ok().unwrap()
    }

    #[test]
    fn limits_are_written_and_two_groups_of_one_process_have_two_names() {
        let parent = tempfile::tempdir().unwrap();
        let (first, second) = (made(parent.path()), made(parent.path()));
        assert_eq!(fs::read_to_string(first.path.join("pids.max")).unwrap(), "257");
        assert_ne!(first.path, second.path);
        fs::remove_file(first.path.join("pids.max")).unwrap(); // the kernel's own need no removing
        first.remove();
        assert!(!first.path.exists() && second.path.exists());
    }

    #[test]
    fn what_a_dead_worker_left_is_removed_and_what_somebody_keeps_is_not() {
        let parent = tempfile::tempdir().unwrap();
        for left in ["exeat-1", "exeat-99999999", "of-somebody-else"] {
            fs::create_dir(parent.path().join(left)).unwrap();
        }
        let kept = parent.path().join("exeat-2");
        fs::create_dir(&kept).unwrap();
        let _lock = locked(&kept).unwrap();
        made(parent.path());
        let mut names: Vec<_> = fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let ours = format!("exeat-{}", std::process::id());
        let mut expected = [ours.as_str(), "exeat-2", "of-somebody-else"];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
