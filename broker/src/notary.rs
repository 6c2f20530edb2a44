//! Who signs for the logs of workers, and counts their records.
//!
//! Enters: how long a worker's log is and what it says, as its root has it; who the worker is. Leaves: a checkpoint that the broker's key has
//! signed, and the same kept here, where no worker comes. Never: two checkpoints of one length that differ, or a shorter one after a
//! longer: what was signed for once, a worker cannot take back.

mod roll;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use config::{TrustDomain, WorkerId};
use record::note::VerifierKey;
use record::{Checkpoint, Head, checkpoint};

use crate::holder::Holder;
use crate::seed;
use crate::settings::NotaryPlace;

/// The file with the public key.
const VERIFIER: &str = "verifier";

/// The notary of one broker.
#[derive(Debug)]
pub(crate) struct Notary {
    place: NotaryPlace,
    domain: String,
    /// Read when the first worker asks: not every broker has one that does.
    key: OnceLock<Key>,
    /// One entry of the roll at a time.
    roll: Mutex<()>,
}

/// The key that signs.
struct Key {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.verifier, f)
    }
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSigned {
    /// A shorter log than before, or another one.
    #[error("a log of {} records was signed for, and this is not that log gone on", .0.size)]
    Forked(Head),
    /// The key or a file cannot be used.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
}

/// What was signed for one worker so far.
#[derive(Debug, Default)]
pub(crate) struct Signed(Mutex<Option<(Head, String)>>);

impl Notary {
    /// One that keeps what it signs at this place.
    pub(crate) fn new(place: NotaryPlace, domain: &TrustDomain) -> Notary {
        Notary { place, domain: domain.to_string(), key: OnceLock::new(), roll: Mutex::new(()) }
    }

    /// Signs for the log of a worker, if it is the one that was signed for before, gone on. The first time, the worker is put on the roll.
    pub(crate) fn sign(&self, worker: &Holder, signed: &Signed, head: Head) -> Result<String, NotSigned> {
        let mut signed = signed.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*signed {
            Some((before, note)) if *before == head => return Ok(note.clone()),
            Some((before, _)) if before.size >= head.size => return Err(NotSigned::Forked(*before)),
            _ => {}
        }
        let key = self.key()?;
        if signed.is_none() {
            let _one = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
            let path = self.place.directory.join(record::roll::FILE_NAME);
            roll::enter(&path, &self.domain, worker, |text| key.sign(text))
                .map_err(|source| failed("go on with", &path, source))?;
        }
        let origin = checkpoint::origin(&self.domain, &worker.worker.to_string());
        let note = key.sign(&Checkpoint { origin, head }.to_string());
        self.keep(&worker.worker, &note)?;
        *signed = Some((head, note.clone()));
        Ok(note)
    }

    /// The last checkpoint of a log takes the place of the one before it.
    fn keep(&self, worker: &WorkerId, note: &str) -> Result<(), NotSigned> {
        let path = self.place.directory.join(worker.to_string());
        replace(&path, note).map_err(|source| failed("write", &path, source))
    }

    fn key(&self) -> Result<&Key, NotSigned> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let NotaryPlace { directory, key: path } = &self.place;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| failed("make", directory, source))?;
        let key = self.load(path).map_err(|source| failed("use", path, source))?;
        let (verifier, text) = (directory.join(VERIFIER), format!("{}\n", key.verifier));
        if fs::read_to_string(&verifier).is_ok_and(|found| found == text) {
            return Ok(self.key.get_or_init(|| key));
        }
        // Not replaced: that there is another key is for whoever verifies to see.
        let added = OpenOptions::new().append(true).create(true).mode(0o600).open(&verifier);
        let added = added.and_then(|mut file| {
            // Of two brokers that are the first at once, one writes.
            file.lock()?;
            match fs::read_to_string(&verifier)?.contains(&text) {
                true => Ok(()),
                false => file.write_all(text.as_bytes()),
            }
        });
        added.map_err(|source| failed("write", &verifier, source))?;
        Ok(self.key.get_or_init(|| key))
    }

    fn load(&self, path: &Path) -> io::Result<Key> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed::load(path)?).map_err(io::Error::other)?;
        let public = pair.public_key().as_ref().try_into().map_err(io::Error::other)?;
        let verifier = VerifierKey::new(&format!("{}/call-log", self.domain), public).map_err(io::Error::other)?;
        Ok(Key { pair, verifier })
    }
}

impl Key {
    fn sign(&self, text: &str) -> String {
        self.verifier.note(text, self.pair.sign(text.as_bytes()).as_ref())
    }
}

/// A file is the old one or the new one, whenever it is looked at. It is not forced to the disk: what a loss of power takes from it is seen by whoever verifies.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(draft, path)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> NotSigned {
    NotSigned::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use record::{Hash, note};

    use super::*;
    use crate::identity::Signer;

    fn holder() -> Holder {
        let signer = Arc::new(Signer::generate("https://broker.example".to_owned(), TrustDomain::default()).unwrap());
        Holder::new(&signer, "bot".parse().unwrap(), WorkerId::generate())
    }

    fn head(size: u64, root: &[u8]) -> Head {
        Head { size, root: Hash::of_line(root) }
    }

    #[test]
    fn what_was_signed_for_goes_on_or_nothing_more_is_signed() {
        let directory = tempfile::tempdir().unwrap();
        let place = NotaryPlace { directory: directory.path().join("c"), key: directory.path().join("key") };
        let notary = Notary::new(place.clone(), &TrustDomain::default());
        let (worker, signed) = (holder(), Signed::default());
        let first = notary.sign(&worker, &signed, head(3, b"a")).unwrap();
        assert_eq!(notary.sign(&worker, &signed, head(3, b"a")).unwrap(), first);
        let last = notary.sign(&worker, &signed, head(5, b"b")).unwrap();
        for fork in [head(3, b"a"), head(5, b"c"), head(4, b"b"), head(0, b"")] {
            assert!(
                matches!(notary.sign(&worker, &signed, fork), Err(NotSigned::Forked(at)) if at.size == 5),
                "{fork:?}"
            );
        }
        let kept = fs::read_to_string(place.directory.join(worker.worker.to_string())).unwrap();
        assert_eq!(kept, last);
        let verifier: VerifierKey =
            fs::read_to_string(place.directory.join(VERIFIER)).unwrap().trim_end().parse().unwrap();
        let (text, _) = note::open(&kept, std::slice::from_ref(&verifier)).unwrap();
        let origin = format!("exeat/workers/{}", worker.worker);
        assert_eq!(text.parse(), Ok(Checkpoint { origin, head: head(5, b"b") }));
        // The next broker has the same key, and goes on with the roll; a worker is on it once.
        let next = Notary::new(place.clone(), &TrustDomain::default());
        next.sign(&holder(), &Signed::default(), head(1, b"x")).unwrap();
        let roll = fs::read_to_string(place.directory.join(record::roll::FILE_NAME)).unwrap();
        let entries = note::split(&roll).map(|note| note::open(note, std::slice::from_ref(&verifier)).unwrap().0);
        let entries: Vec<record::roll::Entry> = entries.map(|text| text.parse().unwrap()).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].worker.as_str(), entries[1].prev), (&*worker.worker.to_string(), entries[0].hash()));
        // Another key is told beside the first, not instead of it.
        fs::remove_file(&place.key).unwrap();
        Notary::new(place.clone(), &TrustDomain::default()).sign(&holder(), &Signed::default(), head(1, b"x")).unwrap();
        assert_eq!(fs::read_to_string(place.directory.join(VERIFIER)).unwrap().lines().count(), 2);
    }
}
