//! What a test leaves behind: every record is one by the schema, and no real credential of any test is in any state directory.
//!
//! Enters: the credentials that tests make or are given, as they come; each test's state directory, when the test is over. Leaves: a failed
//! test; and in the directory that `EXEAT_EVIDENCE` names, both the credentials and, packed, the state directories, so that `tests/evidence`
//! looks for all of the ones in all of the others once every test has run. Never: a directory that went away unlooked-at.

mod kept;
mod known;
mod records;
mod spelling;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

pub use self::known::real_credential;
pub use self::records::{by_schema, unlike_the_schema};
pub use self::spelling::Sought;

/// As many flaws are told of one directory.
const TOLD: usize = 10;

/// The directory of an installation of exeat, with its state in `state`.
pub struct Installation {
    directory: TempDir,
    tampered: AtomicBool,
}

impl Installation {
    /// An empty one.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), tampered: AtomicBool::new(false) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The test writes into the call log itself, so that its records say nothing of exeat's.
    pub fn is_tampered_with(&self) {
        self.tampered.store(true, Ordering::Relaxed);
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let state = self.path().join("state");
        kept::open_up(&state);
        let packed = kept::packed(&state);
        kept::keep(&packed);
        let mut flaws: Vec<String> = known::sought().iter().flat_map(|sought| sought.found_in(&packed)).collect();
        if !*self.tampered.get_mut() {
            flaws.extend(unlike_the_schema(&state));
        }
        if flaws.is_empty() {
            return;
        }
        flaws.truncate(TOLD);
        kept::note(&flaws);
        // A test that fails already has said why.
        if !std::thread::panicking() {
            panic!("what the test left behind: {flaws:#?}");
        }
    }
}

/// All files below a directory as one text.
pub fn packed(directory: &Path) -> Vec<u8> {
    kept::packed(directory)
}
