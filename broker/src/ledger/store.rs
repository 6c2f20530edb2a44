//! The ledger's file: SQLite, one for each broker, in a directory of its own.
//!
//! Enters: rows, and sealed texts for them. Leaves: the same, also to whoever reads beside the broker or after it. A lock on the
//! directory says that its broker lives, and goes with it however it ends. A lease that was entered is on the disk. Never: a file
//! that others can read, a damaged one that is taken for an empty one, or one that two brokers write.

mod table;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

pub(super) use self::table::Sealed;
use self::table::{ALL, ONE, OPEN, PUT, SCHEMA, one, rows};
use super::{Entry, Found};
use crate::admission;
use crate::control;
use crate::error::Error;
use crate::lease::LeaseId;
use crate::seed::private;

/// The file in a broker's directory.
const FILE: &str = "ledger.db";
/// Where it is made; an empty or half-made ledger never has the other name.
const DRAFT: &str = "ledger.db.new";
/// "EXEA", by which `file` and exeat know it.
const APPLICATION: i32 = 0x4558_4541;
/// Of the table.
const VERSION: i32 = 1;
/// Ledgers of brokers that are gone, in which nothing is open.
const SETTLED: &str = "settled";
/// Others read, or sweep, for some milliseconds.
const BUSY: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(20);
const LOCK_ATTEMPTS: usize = 100;

/// Whether a row has to be on the disk when it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// A lease that stands and is not in the ledger would be lost.
    Now,
    /// One that is over and still open in the ledger is revoked once more, which harms nobody.
    Soon,
}

/// One broker's ledger. In this order: the file is closed before its lock goes.
pub(super) struct Store {
    file: Mutex<Ledgered>,
    directory: Option<PathBuf>,
    _lock: Option<File>,
}

/// The file of a ledger.
enum Ledgered {
    /// Not made yet: most runs lend nothing, and a file that is safe on the disk takes longer than their start.
    Unmade,
    Open(Connection),
    Closed,
}

impl Store {
    /// In memory only.
    pub(super) fn in_memory() -> Result<Store, Error> {
        let failed = |error: rusqlite::Error| Error::Start(error.into());
        let connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Store { file: Mutex::new(Ledgered::Open(connection)), directory: None, _lock: None })
    }

    /// Opens the ledger in this directory for this broker alone. Where there is none, it is made for its first row.
    pub(super) fn claim(directory: &Path) -> Result<Store, Error> {
        let failed = |source: io::Error| Error::Ledger { path: directory.to_owned(), source: source.into() };
        for _ in 0..LOCK_ATTEMPTS {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
            if let Some(lock) = lock(directory).map_err(failed)? {
                return match directory.join(FILE).try_exists().map_err(failed)? {
                    true => Store::open(directory, lock),
                    false => Ok(Store::over(Ledgered::Unmade, directory, lock)),
                };
            }
            // Another sweeps it, which takes no time, or lives in it.
            sleep(LOCK_AGAIN);
        }
        Err(failed(io::Error::other("another broker lives in this directory")))
    }

    /// The ledger of a broker that is gone. `None`: it lives, or there is nothing.
    pub(super) fn of_gone(directory: &Path) -> Result<Option<Store>, Error> {
        let failed = |source: io::Error| Error::Ledger { path: directory.to_owned(), source: source.into() };
        let Some(lock) = lock(directory).map_err(failed)? else { return Ok(None) };
        if !directory.join(FILE).try_exists().map_err(failed)? {
            // It died before it could lend anything.
            fs::remove_dir_all(directory).map_err(failed)?;
            return Ok(None);
        }
        Store::open(directory, lock).map(Some)
    }

    fn open(directory: &Path, lock: File) -> Result<Store, Error> {
        let path = directory.join(FILE);
        let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let connection = connection.map_err(|source| Error::Ledger { path, source })?;
        Ok(Store::over(Ledgered::Open(connection), directory, lock))
    }

    fn over(file: Ledgered, directory: &Path, lock: File) -> Store {
        Store { file: Mutex::new(file), directory: Some(directory.to_owned()), _lock: Some(lock) }
    }

    /// Where it is, if it is in a file.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Writes a row: a new one, or what became of one. What was sealed into it stays while it is open.
    pub(super) fn put(&self, row: &Entry, sealed: Option<&[u8]>, durability: Durability) -> io::Result<()> {
        self.make()?;
        self.with(|connection| {
            let level = if durability == Durability::Now { "FULL" } else { "NORMAL" };
            connection.pragma_update(None, "synchronous", level)?;
            let Entry { lease, worker, agent, credential, scope, state, asked, expires, .. } = row;
            let Entry { changed, revocation, reason, attempts, .. } = row;
            connection.execute(
                PUT,
                params![
                    lease.to_string(),
                    worker.to_string(),
                    agent.as_str(),
                    credential.as_str(),
                    scope,
                    state.as_str(),
                    asked.to_string(),
                    expires.map(|time| time.to_string()),
                    changed.to_string(),
                    revocation,
                    reason,
                    attempts,
                    sealed,
                ],
            )?;
            Ok(())
        })
    }

    /// Takes out a row that is in another ledger by now, or of which nothing came that was not there before.
    pub(super) fn remove(&self, lease: LeaseId) -> io::Result<()> {
        self.with(|connection| {
            connection.execute("DELETE FROM leases WHERE lease = ?1", [lease.to_string()]).map(|_| ())
        })
    }

    /// The rows of leases that are not over.
    pub(super) fn still_open(&self) -> io::Result<Vec<Sealed>> {
        if matches!(*self.file(), Ledgered::Unmade) {
            return Ok(Vec::new());
        }
        self.with(|connection| rows(connection, OPEN))
    }

    /// The row of a lease, if it has one here.
    pub(super) fn row(&self, lease: LeaseId) -> io::Result<Option<Entry>> {
        if matches!(*self.file(), Ledgered::Unmade) {
            return Ok(None);
        }
        self.with(|connection| connection.query_row(ONE, [lease.to_string()], one).optional())
    }

    /// Ends it. One that nothing is in goes, one that nothing is open in is put aside; a ledger with a name that its broker will
    /// use again stays.
    pub(super) fn close(&self) -> io::Result<()> {
        let unmade = matches!(*self.file(), Ledgered::Unmade);
        let count = |sql: &'static str| match unmade {
            true => Ok(0),
            false => self.with(|connection| {
                connection.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| row.get(0))
            }),
        };
        let (open, all): (i64, i64) = (count(OPEN)?, count(ALL)?);
        let Some(directory) = &self.directory else { return Ok(()) };
        let named_for_once = directory.file_name().and_then(|name| name.to_str()).is_some_and(is_for_once);
        if open > 0 || !named_for_once {
            return Ok(());
        }
        if let Ledgered::Open(connection) = std::mem::replace(&mut *self.file(), Ledgered::Closed) {
            connection.close().map_err(|(_, error)| io::Error::other(error))?;
        }
        if all == 0 {
            return fs::remove_dir_all(directory);
        }
        // Of a broker that was killed, this is still there.
        let control = directory.join(control::NAME);
        let _ = fs::remove_file(admission::beside(&control));
        let _ = fs::remove_file(control);
        let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else { return Ok(()) };
        let settled = parent.join(SETTLED);
        DirBuilder::new().recursive(true).mode(0o700).create(&settled)?;
        fs::rename(directory, settled.join(name))
    }

    /// Makes the file for a first row.
    fn make(&self) -> io::Result<()> {
        let mut file = self.file();
        if let (Ledgered::Unmade, Some(directory)) = (&*file, &self.directory) {
            make(directory).map_err(io::Error::other)?;
            let opened = open(&directory.join(FILE), OpenFlags::SQLITE_OPEN_READ_WRITE);
            *file = Ledgered::Open(opened.map_err(io::Error::other)?);
        }
        Ok(())
    }

    fn with<T>(&self, done: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        match &*self.file() {
            Ledgered::Open(connection) => done(connection).map_err(io::Error::other),
            Ledgered::Unmade => Err(io::Error::other("nothing is in it yet")),
            Ledgered::Closed => Err(io::Error::other("it is closed")),
        }
    }

    fn file(&self) -> MutexGuard<'_, Ledgered> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no later broker has.
pub(super) fn name_for_once() -> String {
    LeaseId::generate().to_string()
}

fn is_for_once(name: &str) -> bool {
    name.parse::<LeaseId>().is_ok()
}

/// The directories of all brokers but the settled ones.
pub(crate) fn directories(ledgers: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = below(ledgers)?;
    found.retain(|directory| directory.file_name().is_none_or(|name| name != SETTLED));
    Ok(found)
}

/// Every row of every ledger, oldest lease first. Reads beside whoever writes.
pub(super) fn read_all(ledgers: &Path) -> Result<Vec<Found>, Error> {
    let failed = |source: io::Error| Error::Ledger { path: ledgers.to_owned(), source: source.into() };
    // While it is moved, a row is in two; what is read later is later. The settled ones are looked for last: none is missed by moving there.
    let mut all = HashMap::new();
    read_into(&mut all, directories(ledgers).map_err(failed)?)?;
    read_into(&mut all, below(&ledgers.join(SETTLED)).map_err(failed)?)?;
    let mut all: Vec<Found> = all.into_values().collect();
    all.sort_by_key(|found| (found.entry.asked, found.entry.lease));
    Ok(all)
}

fn read_into(all: &mut HashMap<LeaseId, Found>, directories: Vec<PathBuf>) -> Result<(), Error> {
    for directory in directories {
        let path = directory.join(FILE);
        let living = lives(&directory).map_err(|source| Error::Ledger { path: path.clone(), source: source.into() })?;
        let read = open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|connection| Ok(rows(&connection, ALL)?));
        match read {
            Ok(rows) => all.extend(rows.into_iter().map(|(entry, _)| (entry.lease, Found { entry, living }))),
            // Swept, put aside or not yet made at this moment.
            Err(_) if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) => {}
            Err(source) => return Err(Error::Ledger { path, source }),
        }
    }
    Ok(())
}

fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Locks a directory. `None`: it is another's, or was taken away.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let (ours, theirs) = (lock.metadata()?, fs::metadata(directory));
    let same = theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()));
    Ok(same.then_some(lock))
}

/// Whether some broker lives in a directory.
fn lives(directory: &Path) -> io::Result<bool> {
    match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        lock => Ok(matches!(lock?.try_lock_shared(), Err(TryLockError::WouldBlock))),
    }
}

type Opened<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Makes an empty ledger, whole or not at all.
fn make(directory: &Path) -> Opened<()> {
    let draft = directory.join(DRAFT);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let connection = Connection::open_with_flags(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "OFF")?; // the whole file is synced below
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.close().map_err(|(_, error)| error)?;
    file.sync_all()?;
    fs::rename(draft, directory.join(FILE))?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Opens a ledger that is whole.
fn open(path: &Path, flags: OpenFlags) -> Opened<Connection> {
    // Not by opening it: closing it again would take SQLite's own locks away.
    private(&fs::symlink_metadata(path)?)?;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if number("application_id")? != APPLICATION {
        return Err("it is not a ledger of exeat, or was emptied".into());
    }
    if number("user_version")? != VERSION {
        return Err("another version of exeat wrote it".into());
    }
    let sound: Option<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).optional()?;
    match sound.as_deref() {
        Some("ok") => {}
        found => return Err(format!("it is damaged: {}", found.unwrap_or_default()).into()),
    }
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}
