//! The file in which the broker keeps the keys that it makes.
//!
//! Enters: a path. Leaves: the keys in it, each with the time from which it signs. The file has mode 0600 and is this user's; one
//! that anybody else could read or write is refused, as what it signs could be anybody's. It is replaced whole, so that no
//! crash leaves half of it, and changed by one broker at a time, under a lock beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SigningError;
use super::key::SigningKey;
use super::ring::{Dated, Ring};
use crate::secret::Secret;

/// Some thirty RSA keys; a ring has six at most.
const LONGEST: usize = 64 * 1024;
/// Another broker makes an RSA key under the lock, which takes a second where the machine is busy.
const LOCK_WAIT: Duration = Duration::from_secs(20);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The file, by its path.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile(PathBuf);

/// The right to change the file, until it is dropped.
pub(crate) struct Locked<'a> {
    file: &'a KeyFile,
    _lock: File,
}

/// A key as it stands in the file, one in a line. Its PEM is a `Secret` as soon as it is read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<T> {
    signs_from: Timestamp,
    key: T,
}

impl KeyFile {
    pub(crate) fn new(path: PathBuf) -> KeyFile {
        KeyFile(path)
    }

    /// The keys. None where there is no file yet.
    pub(crate) fn read(&self) -> Result<Ring, KeyFileError> {
        let file = match OpenOptions::new().read(true).open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ring::default()),
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(KeyFileError::NotAFile);
        }
        if found.permissions().mode() & 0o077 != 0 {
            return Err(KeyFileError::OpenToOthers(found.permissions().mode() & 0o777));
        }
        if ![geteuid().as_raw(), 0].contains(&found.uid()) {
            return Err(KeyFileError::Foreign(found.uid()));
        }
        // Allocated once: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > LONGEST {
            return Err(KeyFileError::TooLong);
        }
        // A file that cannot be read as it was written is an error, not an empty one: its keys may sign elsewhere.
        let mut keys = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Line::<String> { signs_from, key } =
                serde_json::from_slice(line).map_err(|_| KeyFileError::Unreadable)?;
            let key = SigningKey::from_pem(Secret::new(key))?;
            let signs_from = SystemTime::try_from(signs_from).map_err(|_| KeyFileError::Unreadable)?;
            keys.push(Dated { key: Arc::new(key), signs_from });
        }
        Ok(Ring::new(keys))
    }

    /// Waits for the other brokers that change it.
    pub(crate) fn lock(&self) -> Result<Locked<'_>, KeyFileError> {
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.beside(".lock"))?;
        let end = Instant::now() + LOCK_WAIT;
        while let Err(error) = lock.try_lock() {
            match error {
                fs::TryLockError::WouldBlock if Instant::now() < end => sleep(LOCK_PAUSE),
                error => return Err(KeyFileError::Io(error.into())),
            }
        }
        Ok(Locked { file: self, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.0.as_os_str().to_owned();
        path.push(ending);
        path.into()
    }
}

impl Locked<'_> {
    /// Replaces the keys.
    pub(crate) fn write(&self, ring: &Ring) -> Result<(), KeyFileError> {
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST));
        for one in ring.keys() {
            let signs_from = Timestamp::try_from(one.signs_from).map_err(|_| KeyFileError::Unreadable)?;
            let line = Line { signs_from, key: one.key.pem().expose() };
            serde_json::to_writer(&mut *text, &line).map_err(|_| KeyFileError::Unreadable)?;
            text.push(b'\n');
        }
        let new = self.file.beside(".new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {} // a broker that was killed left it
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, self.file.path())?;
        let directory = self.file.path().parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

/// Why the keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error(
        "others than its owner can read or write it (mode {0:o}): `chmod 600 FILE`, or make new keys if they may have"
    )]
    OpenToOthers(u32),
    #[error("it belongs to user {0}, who could sign as this broker")]
    Foreign(u32),
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("it is not what a broker wrote")]
    Unreadable,
    #[error("a key in it cannot be used")]
    Key(#[from] SigningError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::SigningAlgorithm;

    fn filled() -> (tempfile::TempDir, KeyFile, Ring) {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys"));
        assert!(file.read().unwrap().keys().is_empty(), "there is none yet");
        let made =
            |algorithm, signs_from| Dated { key: Arc::new(SigningKey::generate(algorithm).unwrap()), signs_from };
        let later = SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, 123_456_789);
        let ring =
            Ring::new(vec![made(SigningAlgorithm::Es256, later), made(SigningAlgorithm::Rs256, SystemTime::now())]);
        file.lock().unwrap().write(&ring).unwrap();
        (directory, file, ring)
    }

    fn seen(ring: &Ring) -> Vec<(String, SystemTime)> {
        let kid = |one: &Dated| one.key.public().common.key_id.clone().unwrap();
        ring.keys().iter().map(|one| (kid(one), one.signs_from)).collect()
    }

    #[test]
    fn what_is_written_is_read_again_and_is_its_owners_alone() {
        let (_directory, file, ring) = filled();
        assert_eq!(seen(&file.read().unwrap()), seen(&ring));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let signs = |ring: &Ring| ring.keys()[1].key.sign(&serde_json::json!({"a": 1}), None).is_ok();
        assert!(signs(&file.read().unwrap()));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_directory, file, _) = filled();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o777] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(file.read(), Err(KeyFileError::OpenToOthers(seen)) if seen == mode), "{mode:o}");
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).unwrap();
        assert!(file.read().is_ok());
    }

    #[test]
    fn a_file_that_is_not_whole_is_an_error_and_not_an_empty_one() {
        let (directory, file, _) = filled();
        let whole = fs::read(file.path()).unwrap();
        for part in [&whole[..whole.len() - 100], b"{}", b"null", b"\xff\n", &whole.repeat(40)] {
            fs::write(file.path(), part).unwrap();
            assert!(file.read().is_err(), "{}", part.len());
        }
        assert!(matches!(KeyFile::new(directory.path().to_owned()).read(), Err(KeyFileError::NotAFile)));
    }

    #[test]
    fn one_broker_at_a_time_changes_it_and_what_a_killed_one_left_is_no_hindrance() {
        let (_directory, file, ring) = filled();
        fs::write(file.beside(".new"), "half of a key").unwrap();
        let held = file.lock().unwrap();
        let second = std::thread::spawn({
            let (file, ring) = (file.clone(), ring.clone());
            move || {
                file.lock().unwrap().write(&ring).unwrap();
                SystemTime::now()
            }
        });
        sleep(Duration::from_millis(200));
        assert!(!second.is_finished());
        drop(held);
        second.join().unwrap();
        assert_eq!(seen(&file.read().unwrap()), seen(&ring));
    }
}
