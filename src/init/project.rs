//! The files of a project, and of whoever starts it.
//!
//! Enters: names of files. Leaves: their text. Never: more of a file than a bound, a wait for what is no file, or a program that is run: what
//! lies in a project may not be trusted before it is in a sandbox.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The lock files of the largest projects have some ten MiB.
const LONGEST: u64 = 64 << 20;

/// What can be looked at.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) root: PathBuf,
    home: Option<PathBuf>,
    variables: HashMap<String, String>,
}

impl Project {
    /// The project in this directory, and the environment of this process.
    pub(super) fn here(root: PathBuf) -> Self {
        Self::with(
            root,
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    pub(super) fn with(root: PathBuf, variables: impl Iterator<Item = (String, String)>) -> Self {
        let variables: HashMap<String, String> = variables.filter(|(_, value)| !value.trim().is_empty()).collect();
        let home = variables.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Self { root, home, variables }
    }

    /// A file of the project.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        text(&self.root.join(name))
    }

    /// A file below the home.
    pub(super) fn read_home(&self, name: &str) -> Option<String> {
        text(&self.home.as_ref()?.join(name))
    }

    /// A directory below the home.
    pub(super) fn in_home(&self, name: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(name))
    }

    /// The names of the project's own files, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is such a variable, whose value may be secret.
    pub(super) fn has(&self, variable: &str) -> bool {
        self.variables.contains_key(variable)
    }

    /// How a secret begins, by which its issuer tells its kinds apart; never more of it.
    pub(super) fn begins(&self, variable: &str, with: &str) -> bool {
        self.variables.get(variable).is_some_and(|value| value.starts_with(with))
    }

    /// The value of a variable that names a place or a setting, never that of one that holds a secret.
    pub(super) fn setting(&self, variable: &str) -> Option<&str> {
        self.variables.get(variable).map(|value| value.trim())
    }
}

/// What a file has, if it is one, of a size that anybody writes, and text.
pub(super) fn text(path: &Path) -> Option<String> {
    // Neither a pipe that nobody writes to nor a terminal keeps this waiting.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let file: File = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
