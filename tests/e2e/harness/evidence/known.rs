//! Every real credential that a test has had so far, in this process and, where that is kept, in all of them.
//!
//! Enters: a credential. Leaves: what to look for. Never: one that is too short to be told from other text.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::kept;
use super::spelling::Sought;

/// A shorter one would be found where it is not.
const SHORTEST: usize = 8;
/// Lines of a key in PEM are looked for one by one, as whoever copies a key may lay it out anew; a shorter one is its end.
const KEY_LINE: usize = 40;
/// Searches that are made one after another before they are made one: to make one takes longer than to use it.
const SEARCHES: usize = 8;
/// Parts of what is written `id:secret` or `id:secret:session`.
const PART: usize = 16;

#[derive(Default)]
struct Known {
    all: BTreeSet<String>,
    /// Those that are not in a search yet.
    new: Vec<String>,
    searches: Vec<Arc<Sought>>,
    file: Option<File>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// Says that this is a real credential: it must be in no state directory, in no form.
#[track_caller]
pub fn real_credential(credential: &str) {
    let credential = credential.trim();
    assert!(
        credential.len() >= SHORTEST,
        "{credential:?} is too short for a secret of a test: make it one that cannot stand anywhere by chance"
    );
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for part in parts(credential) {
        if known.all.insert(part.to_owned()) {
            known.new.push(part.to_owned());
            known.write(part);
        }
    }
}

/// Searches for all so far.
pub(super) fn sought() -> Vec<Arc<Sought>> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Known { all, new, searches, .. } = &mut *known;
    if !new.is_empty() && searches.len() < SEARCHES {
        searches.push(Arc::new(Sought::new(new.iter().map(String::as_str))));
    } else if !new.is_empty() {
        *searches = vec![Arc::new(Sought::new(all.iter().map(String::as_str)))];
    }
    new.clear();
    searches.clone()
}

impl Known {
    fn write(&mut self, credential: &str) {
        let Some(directory) = kept::directory() else { return };
        let file = self.file.get_or_insert_with(|| {
            let path = directory.join(format!("{}.{}", std::process::id(), kept::CREDENTIALS));
            OpenOptions::new().append(true).create(true).open(path).unwrap()
        });
        file.write_all((serde_json::to_string(credential).unwrap() + "\n").as_bytes()).unwrap();
    }
}

/// What of it is looked for: all of it, or of a key each line.
fn parts(credential: &str) -> Vec<&str> {
    if credential.contains("-----BEGIN") {
        let of_key = |line: &&str| line.len() >= KEY_LINE && !line.starts_with("-----");
        // A certificate is shown to everybody.
        let private = credential.contains("PRIVATE KEY");
        return if private { credential.lines().filter(of_key).collect() } else { Vec::new() };
    }
    let pair = credential.split(':').filter(|part| part.len() >= PART && credential.contains(':'));
    std::iter::once(credential).chain(pair).collect()
}
