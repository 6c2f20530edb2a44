//! Which workers run, and how one is told to stop.
//!
//! Enters: a worker's directory in the state directory, which no sandbox sees. Leaves: while the worker lives, a lock on it, and who it
//! is; a file below it asks the worker to stop, and is taken away once nothing of it is under way. Never: a signal to a process that only has
//! the number that a worker had; nor a worker said to have stopped whose process is there, whatever it says itself.

mod process;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::{AgentId, WorkerId};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use serde::{Deserialize, Serialize};

use self::process::Process;
use crate::places::Places;
use crate::run::lookout::Lookout;

const WHO: &str = "worker.json";
/// Where a worker is asked to stop: all that it may take anything away from.
const ORDERS: &str = "orders";
const STOP: &str = "stop";
const DRAFT: &str = "stop.new";
/// A line; whatever is longer is no reason for a file.
const LONGEST: u64 = 4096;
/// A worker's streams end within a second of being asked; a look is one system call.
const LOOK: Duration = Duration::from_millis(200);
/// The same where the kernel says when there is an order.
const SLOW_LOOK: Duration = Duration::from_secs(2);
/// How long a worker has to stop by itself. What is nearly done may finish; who says that nothing is under way any more may wait for its broker's
/// revocations, of which the slowest takes half a minute, and write the end of its log. That is its word alone, so it is not waited for longer.
const PATIENCE: Patience = Patience { asked: Duration::from_secs(10), said: Duration::from_secs(30) };
/// A killed process is gone at once.
const KILLED: Duration = Duration::from_secs(5);

/// A worker that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Running {
    /// The worker.
    pub worker: WorkerId,
    /// The agent that it works for.
    pub agent: AgentId,
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// When its process began, by the kernel's own count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
}

/// How long a worker has to be gone once it is asked, and once it says that it has stopped.
#[derive(Clone, Copy)]
struct Patience {
    asked: Duration,
    said: Duration,
}

/// Says that this process is a worker, until it is dropped.
#[derive(Debug)]
pub struct Presence {
    worker: WorkerId,
    orders: PathBuf,
    /// The same, open: who has become another user, or lost a privilege, may not find the way any more.
    opened: File,
    _lock: File,
}

impl Presence {
    /// Announces the worker with this directory.
    ///
    /// # Errors
    /// When its directory cannot be written to.
    pub fn announce(directory: &Path, worker: WorkerId, agent: AgentId) -> io::Result<Self> {
        let lock = File::open(directory)?;
        let orders = directory.join(ORDERS);
        DirBuilder::new().mode(0o700).create(&orders)?;
        let opened = File::open(&orders)?;
        let (pid, since) = (std::process::id(), Timestamp::now());
        let begun = process::began(pid).ok();
        fs::write(directory.join(WHO), serde_json::to_vec(&Running { worker, agent, pid, since, begun })?)?;
        lock.lock()?;
        Ok(Self { worker, orders, opened, _lock: lock })
    }

    /// Who it is.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The directory in which it is asked to stop.
    pub fn orders(&self) -> &Path {
        &self.orders
    }

    /// Waits until somebody asks it to stop, and says why.
    pub async fn asked_to_stop(&self, lookout: &Lookout) -> String {
        let pause = if lookout.hears_orders() { SLOW_LOOK } else { LOOK };
        loop {
            let _ = tokio::time::timeout(pause, lookout.order()).await;
            match self.order() {
                Ok(why) => return why,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return format!("what asks it to stop cannot be read: {error}"),
            }
        }
    }

    fn order(&self) -> io::Result<String> {
        let order = openat(&self.opened, STOP, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut why = String::new();
        File::from(order).take(LONGEST).read_to_string(&mut why)?;
        Ok(why)
    }

    /// Says that nothing of it is under way any more. What it leased may still be being revoked, which is its broker's to do; the lock stays, as its
    /// log is not at its end.
    pub fn has_stopped(&self) {
        // Nobody may have asked.
        let _ = unlinkat(&self.opened, STOP, AtFlags::empty());
    }
}

/// What became of a worker that was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did.
    Stopped,
    /// It did not, and was killed.
    Killed,
    /// It runs on.
    Runs,
}

/// The workers that run, oldest first.
///
/// # Errors
/// When the state directory cannot be read.
pub fn all(places: &Places) -> io::Result<Vec<Running>> {
    let entries = match fs::read_dir(places.workers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut running = Vec::new();
    for entry in entries {
        let directory = entry?.path();
        if lives(&directory)? {
            // It may be gone by now.
            running.extend(written(&directory));
        }
    }
    running.sort_by_key(|running: &Running| running.worker);
    Ok(running)
}

/// Who a worker is, or was; `None` where it does not say.
pub fn who(places: &Places, worker: &WorkerId) -> Option<Running> {
    written(&places.workers().join(worker.to_string()))
}

/// Asks workers to stop, and waits until their processes are gone; one that does not end is killed, and its sandbox with it. Its broker revokes
/// what it held either way.
///
/// # Errors
/// When the system does not say whether one runs, or does not let it be killed.
pub fn stop(places: &Places, workers: &[Running], why: &str) -> io::Result<Vec<(Running, Outcome)>> {
    stop_within(places, workers, why, PATIENCE)
}

fn stop_within(
    places: &Places,
    workers: &[Running],
    why: &str,
    patience: Patience,
) -> io::Result<Vec<(Running, Outcome)>> {
    // Before they are asked: what one does with its lock and its order from then on is no evidence.
    let held = workers.iter().map(|running| {
        let directory = places.workers().join(running.worker.to_string());
        Ok((running, process_of(running, &directory)?, directory))
    });
    let held = held.collect::<io::Result<Vec<_>>>()?;
    for (running, _, directory) in &held {
        match order(&directory.join(ORDERS), why) {
            // Its directory has gone with it, or it will be killed for not having been asked.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(worker = %running.worker, %error, "a worker cannot be asked to stop");
            }
            _ => {}
        }
    }
    let begun = Instant::now();
    let ended = held.into_iter().map(|(running, process, directory)| {
        Ok((running.clone(), see_stopped(process.as_ref(), &directory, begun, patience)?))
    });
    ended.collect()
}

fn order(orders: &Path, why: &str) -> io::Result<()> {
    fs::write(orders.join(DRAFT), why)?;
    fs::rename(orders.join(DRAFT), orders.join(STOP))
}

fn see_stopped(process: Option<&Process>, directory: &Path, begun: Instant, patience: Patience) -> io::Result<Outcome> {
    // Where its process is not to be seen from here, its lock is all that there is to go by.
    let is_gone = || process.map_or_else(|| Ok(!is_locked(directory)?), |process| Ok(process.is_gone()));
    let order = directory.join(ORDERS).join(STOP);
    if until(begun + patience.asked, || Ok(is_gone()? || !order.try_exists()?))?
        && until(begun + patience.said, is_gone)?
    {
        return Ok(Outcome::Stopped);
    }
    if let Some(process) = process {
        process.kill()?;
    }
    match until(Instant::now() + KILLED, is_gone)? {
        true => Ok(Outcome::Killed),
        false => Ok(Outcome::Runs),
    }
}

/// The process of a worker, if it lives.
fn process_of(running: &Running, directory: &Path) -> io::Result<Option<Process>> {
    match &running.begun {
        Some(begun) => Ok(Process::that_began(running.pid, begun)),
        // As an older exeat wrote it down: it lives after the number was taken hold of, so that is not another's.
        None => {
            let process = Process::with_number(running.pid);
            Ok(if is_locked(directory)? { process } else { None })
        }
    }
}

fn until(deadline: Instant, holds: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    while !holds()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK / 4);
    }
    Ok(true)
}

/// Whether the worker with this directory lives: it holds the lock on it, or its process is there without.
///
/// # Errors
/// When the directory cannot be opened.
pub fn lives(directory: &Path) -> io::Result<bool> {
    Ok(is_locked(directory)?
        || written(directory).is_some_and(|running| matches!(process_of(&running, directory), Ok(Some(_)))))
}

/// What is written down of the worker with this directory.
pub fn written(directory: &Path) -> Option<Running> {
    serde_json::from_slice(&fs::read(directory.join(WHO)).ok()?).ok()
}

fn is_locked(directory: &Path) -> io::Result<bool> {
    match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        lock => Ok(matches!(lock?.try_lock_shared(), Err(TryLockError::WouldBlock))),
    }
}

/// Whether a worker holds the lock on this directory of its own.
///
/// # Errors
/// When the kernel does not say.
pub fn is_held(directory: &File) -> io::Result<bool> {
    match directory.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
