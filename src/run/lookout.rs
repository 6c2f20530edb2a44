//! The files that a worker looks after while it is locked in: its policy, what that names, and the orders to it.
//!
//! Enters: where they are, asked before the lock, as afterwards no file can be put under watch any more; then what the kernel says of them
//! (inotify). Leaves: a sign for whoever reads them again, and whether one of them is being written at that moment. Never: a word on what is in
//! them; where the kernel says nothing (a network's file system, no instance left) whoever waits looks by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use sandbox::Trail;
use tokio::sync::Notify;

use super::ready;

/// A net for what the kernel does not tell of.
const SLOW: Duration = Duration::from_secs(2);
/// Where it tells of nothing at all. A person who saves a file and tries again hardly notices.
const QUICK: Duration = Duration::from_millis(500);
/// As many as the kernel keeps (`max_queued_events`): whoever makes more of them meanwhile is served another time.
const EVENTS: usize = 16 * 1024;

/// What was heard of the policy's files, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// Something is new or gone. It may be that somebody has only begun to write it.
    Perhaps,
    /// Somebody has written it to its end, or put it there whole.
    Whole,
    /// Somebody says that it is to be read now.
    Asked,
}

/// What is under watch.
#[derive(Debug, Default)]
pub struct Lookout {
    inotify: Option<OwnedFd>,
    /// The names that matter in each directory.
    names: BTreeMap<i32, BTreeSet<OsString>>,
    orders: Option<i32>,
    /// Whether everything that was asked for is.
    complete: bool,
    heard: Mutex<Heard>,
    policy: Notify,
    order: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    sign: Option<Sign>,
    /// What is open and has been written to.
    written: BTreeSet<(i32, OsString)>,
}

/// What the kernel will tell by, if it has one to give.
pub fn instance() -> Option<OwnedFd> {
    inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()
}

impl Lookout {
    /// Puts the directories of these files under watch, those of the links on the way to them, and the directory of orders. What cannot be
    /// is looked at by the clock.
    pub fn over<'a>(inotify: Option<OwnedFd>, files: impl Iterator<Item = &'a Path>, orders: &Path) -> Self {
        let mut lookout = Self { complete: true, ..Self::default() };
        let Some(inotify) = inotify else {
            return Self { complete: false, ..lookout };
        };
        let told = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for (directory, name) in files.flat_map(trail) {
            match inotify::add_watch(&inotify, &directory, told) {
                Ok(number) => _ = lookout.names.entry(number).or_default().insert(name),
                Err(_) => lookout.complete = false,
            }
        }
        lookout.orders = inotify::add_watch(&inotify, orders, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR).ok();
        lookout.inotify = Some(inotify);
        lookout
    }

    /// Hears what the kernel says, for ever.
    pub async fn listen(&self) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        let Ok(readable) = ready::to_read(inotify.as_fd()) else { return };
        while let Ok(mut guard) = readable.readable().await {
            if self.hear() {
                guard.clear_ready();
            }
            tokio::task::yield_now().await;
        }
    }

    /// How often the policy is to be looked at without a sign.
    pub fn pause(&self) -> Duration {
        if self.complete { SLOW } else { QUICK }
    }

    /// The same for orders; `None` where every order is heard of, but for what the kernel may have lost.
    pub fn hears_orders(&self) -> bool {
        self.orders.is_some()
    }

    /// Waits for a sign that the policy is to be read again.
    pub async fn sign(&self) -> Sign {
        loop {
            let sign = self.heard.lock().unwrap_or_else(PoisonError::into_inner).sign.take();
            match sign {
                Some(sign) => return sign,
                None => self.policy.notified().await,
            }
        }
    }

    /// Somebody says that the policy is to be read again.
    pub fn ask(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).sign = Some(Sign::Asked);
        self.policy.notify_one();
    }

    /// Waits until something was put among the orders.
    pub async fn order(&self) {
        self.order.notified().await;
    }

    /// Whether somebody has begun to write to one of the policy's files and has not closed it, so that what was just read may be half of it.
    pub fn is_being_written(&self) -> bool {
        self.hear();
        !self.heard.lock().unwrap_or_else(PoisonError::into_inner).written.is_empty()
    }

    /// Hears all that there is; whether it came to the end of it.
    fn hear(&self) -> bool {
        let Some(inotify) = &self.inotify else { return true };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut room);
        for _ in 0..EVENTS {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    self.note(&mut heard, event.wd(), event.events(), name);
                }
                Err(Errno::INTR) => {}
                // That there is nothing more, which is what an error means, too: the clock goes on.
                Err(_) => return true,
            }
        }
        false
    }

    fn note(&self, heard: &mut Heard, directory: i32, what: ReadFlags, name: Option<&OsStr>) {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            // What ended the writing may be among what was lost.
            heard.written.clear();
            self.order.notify_one();
            return self.tell(heard, Sign::Perhaps);
        }
        if self.orders == Some(directory) {
            return self.order.notify_one();
        }
        let of_itself = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        if what.intersects(of_itself) {
            return self.tell(heard, Sign::Perhaps);
        }
        let Some(name) = name.filter(|name| self.names.get(&directory).is_some_and(|names| names.contains(*name)))
        else {
            return;
        };
        let file = (directory, name.to_owned());
        if what.contains(ReadFlags::MODIFY) {
            heard.written.insert(file);
        } else {
            heard.written.remove(&file);
            let whole = what.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO);
            // A file that is only just made is empty, and a link is whole: both look alike.
            self.tell(heard, if whole { Sign::Whole } else { Sign::Perhaps });
        }
    }

    fn tell(&self, heard: &mut Heard, sign: Sign) {
        heard.sign = heard.sign.max(Some(sign));
        self.policy.notify_one();
    }
}

/// The file and each link that is on the way to it from the directory that it is named in, as name and directory: whatever is put in the place
/// of one of them may be another file.
fn trail(file: &Path) -> Vec<(PathBuf, OsString)> {
    let (Some(above), Some(name)) = (file.parent(), file.file_name()) else { return Vec::new() };
    let directory = fs::canonicalize(if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let Ok(Trail { links, end }) = directory.and_then(|directory| Trail::of(&directory.join(name))) else {
        return Vec::new();
    };
    let apart = |place: PathBuf| Some((place.parent()?.to_owned(), place.file_name()?.to_owned()));
    links.into_iter().chain([end]).filter_map(apart).collect()
}

#[cfg(test)]
mod tests;
