//! The roll, on the disk.
//!
//! Enters: a worker that begins. Leaves: one more entry behind those that are there, whichever broker of this state directory wrote them.
//! Never: an entry behind one that cannot be read.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use record::Hash;
use record::note;
use record::roll::{Entry, origin};

use crate::holder::Holder;

/// The last two entries are in it: names in them have 255 bytes at most.
const TAIL: u64 = 4096;

/// Puts a worker on the roll. Brokers that do so at once wait for one another.
pub(super) fn enter(path: &Path, domain: &str, worker: &Holder, sign: impl Fn(&str) -> String) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.lock()?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    Read::by_ref(&mut file).take(TAIL).read_to_end(&mut tail)?;
    let (number, prev) = match last(&tail) {
        _ if length == 0 => (1, Hash::NONE),
        Some((entry, behind)) => {
            // Half an entry is what a loss of power leaves.
            file.set_len(length - behind as u64)?;
            (entry.number + 1, entry.hash())
        }
        None => return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not end in entries of a roll")),
    };
    let Holder { agent, worker, .. } = worker;
    let entry = Entry { origin: origin(domain), number, prev, worker: worker.to_string(), agent: agent.to_string() };
    file.write_all(sign(&entry.to_string()).as_bytes())
}

/// The last whole entry, and how many bytes are behind it.
fn last(tail: &[u8]) -> Option<(Entry, usize)> {
    // A tail may begin, and half an entry end, within a character.
    let from = tail.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let from = if tail.len() as u64 == TAIL { from } else { 0 };
    let readable = match std::str::from_utf8(&tail[from..]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&tail[from..from + error.valid_up_to()]).ok()?,
    };
    let (mut end, mut found) = (from, None);
    for note in note::split(readable) {
        end += note.len();
        let entry = note.split_once("\n\n").and_then(|(text, _)| format!("{text}\n").parse().ok());
        found = entry.map(|entry| (entry, tail.len() - end));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use config::{TrustDomain, WorkerId};
    use record::note::VerifierKey;

    use super::*;
    use crate::identity::Signer;

    fn entries(path: &Path) -> Vec<Entry> {
        let text = fs::read_to_string(path).unwrap();
        note::split(&text).map(|note| (note.split_once("\n\n").unwrap().0.to_owned() + "\n").parse().unwrap()).collect()
    }

    #[test]
    fn each_entry_follows_from_the_one_before_also_behind_half_a_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("roll");
        let signer = Arc::new(Signer::generate("https://broker.example".to_owned(), TrustDomain::default()).unwrap());
        let key = VerifierKey::new("exeat/call-log", [7; 32]).unwrap();
        let another = || {
            let worker = Holder::new(&signer, "bot".parse().unwrap(), WorkerId::generate());
            enter(&path, "exeat", &worker, |text| key.note(text, &[9; 64]))
        };
        // More than a tail has.
        (0..40).for_each(|_| another().unwrap());
        let whole = fs::read(&path).unwrap();
        assert!(whole.len() as u64 > 2 * TAIL);
        for cut in (1..160).step_by(3) {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            another().unwrap();
            let entries = entries(&path);
            assert_eq!(entries.len(), 40, "{cut}");
            let mut prev = Hash::NONE;
            for (entry, number) in entries.iter().zip(1..) {
                assert_eq!((entry.number, entry.prev), (number, prev), "{cut}");
                prev = entry.hash();
            }
        }
        fs::write(&path, "what is no roll").unwrap();
        assert!(another().is_err());
    }
}
