//! Which workers run, and how one is told to stop.
//!
//! Enters: a worker's directory in the state directory, which no sandbox sees. Leaves: while the worker lives, a lock on it, and who it
//! is; a file below it asks the worker to stop, and is taken away once it has. Never: a signal to a process that only has the number
//! that a worker had.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::{AgentId, WorkerId};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

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
/// How long a worker has to stop by itself. What is nearly done may finish.
const PATIENCE: Duration = Duration::from_secs(10);
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
        fs::write(directory.join(WHO), serde_json::to_vec(&Running { worker, agent, pid, since })?)?;
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
            running.extend(fs::read(directory.join(WHO)).ok().and_then(|json| serde_json::from_slice(&json).ok()));
        }
    }
    running.sort_by_key(|running: &Running| running.worker);
    Ok(running)
}

/// Who a worker is, or was; `None` where it does not say.
pub fn who(places: &Places, worker: &WorkerId) -> Option<Running> {
    let json = fs::read(places.workers().join(worker.to_string()).join(WHO)).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Asks workers to stop, and waits until they have; one that does not is killed, and its sandbox with it. Its broker revokes what it
/// held either way.
///
/// # Errors
/// When a worker cannot be asked.
pub fn stop(places: &Places, workers: &[Running], why: &str) -> io::Result<Vec<(Running, Outcome)>> {
    let directory = |running: &Running| places.workers().join(running.worker.to_string());
    for running in workers {
        let orders = directory(running).join(ORDERS);
        fs::write(orders.join(DRAFT), why)?;
        fs::rename(orders.join(DRAFT), orders.join(STOP))?;
    }
    let deadline = Instant::now() + PATIENCE;
    workers.iter().map(|running| Ok((running.clone(), see_stopped(&directory(running), running, deadline)?))).collect()
}

fn see_stopped(directory: &Path, running: &Running, deadline: Instant) -> io::Result<Outcome> {
    let has_stopped = || Ok::<_, io::Error>(!directory.join(ORDERS).join(STOP).try_exists()? || !lives(directory)?);
    if until(deadline, has_stopped)? {
        return Ok(Outcome::Stopped);
    }
    kill(directory, running.pid)?;
    match until(Instant::now() + KILLED, || Ok(!lives(directory)?))? {
        true => Ok(Outcome::Killed),
        false => Ok(Outcome::Runs),
    }
}

/// Kills the worker with this directory. Its number cannot be another's: it lives after the number was taken hold of.
fn kill(directory: &Path, pid: u32) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    if lives(directory)? {
        pidfd_send_signal(process, Signal::KILL)?;
    }
    Ok(())
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

/// Whether a worker holds the lock on its directory.
///
/// # Errors
/// When the directory cannot be opened.
pub fn lives(directory: &Path) -> io::Result<bool> {
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
