//! The layers of workers whose directories stay as they are: where what was written instead lies.
//!
//! Enters: the directories of a run, its worker's once it has one. Leaves: `workers/ID/overlay/N/` with `tree`, a link to the directory, `was`,
//! which one that is by inode and birth, and `upper`, what was written. Never: a layer for two workers.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use config::WorkerId;
use sandbox::Layered;

use crate::diff::remove_tree;
use crate::places::Places;

const IN_WORKER: &str = "overlay";
const TREE: &str = "tree";
const WAS: &str = "was";
const UPPER: &str = "upper";

/// The layers of a run that has no worker yet. Dropped, they are gone.
#[derive(Debug)]
pub struct Pending {
    directory: PathBuf,
    /// Whether a worker has them.
    given: bool,
    layered: Vec<Layered>,
}

impl Pending {
    /// A place for each, if there are any.
    ///
    /// # Errors
    /// When the state directory cannot be written to.
    pub fn make(places: &Places, trees: Vec<PathBuf>) -> io::Result<Option<Self>> {
        if trees.is_empty() {
            return Ok(None);
        }
        let directory =
            tempfile::Builder::new().prefix("new-").tempdir_in(fs::canonicalize(places.make_layers()?)?)?.keep();
        let numbered = trees.into_iter().enumerate();
        let layered =
            numbered.map(|(number, tree)| Layered { tree, layer: directory.join(number.to_string()) }).collect();
        Ok(Some(Self { directory, given: false, layered }))
    }

    /// For the sandbox's specification.
    pub fn layered(&self) -> Vec<Layered> {
        self.layered.clone()
    }

    /// Gives them to the worker with this directory, which keeps them.
    ///
    /// # Errors
    /// When they cannot be moved there.
    pub fn give_to(mut self, worker: &Path) -> io::Result<()> {
        for Layered { tree, layer } in &self.layered {
            let tree = fs::canonicalize(tree)?;
            fs::write(layer.join(WAS), Identity::of(&fs::metadata(&tree)?).to_string())?;
            symlink(tree, layer.join(TREE))?;
        }
        // What is mounted stays so wherever its directory is called from.
        fs::rename(&self.directory, worker.join(IN_WORKER))?;
        self.given = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.given {
            // What the kernel makes for itself in a layer has modes that keep its owner out.
            let _ = remove_tree(&self.directory);
        }
    }
}

/// Which directory one is, whatever it is called. No device: some have another number whenever they are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    inode: u64,
    /// Nanoseconds since 1970 at which it was made; zero where the file system does not say.
    born: u128,
}

impl Identity {
    /// Of what is held, or was looked at.
    pub fn of(found: &fs::Metadata) -> Self {
        let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Self { inode: found.ino(), born: born.map_or(0, |born| born.as_nanos()) }
    }

    fn read(text: &str) -> Option<Self> {
        let (inode, born) = text.split_once(' ')?;
        Some(Self { inode: inode.parse().ok()?, born: born.parse().ok()? })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.inode, self.born)
    }
}

/// A layer of a worker's.
#[derive(Debug)]
pub struct Layer {
    /// The directory that stayed as it was.
    pub tree: PathBuf,
    /// Which one that was. `None`: an older exeat did not write it down.
    pub was: Option<Identity>,
    /// What was written, as overlayfs has it. Hostile.
    pub upper: PathBuf,
}

/// A worker's layers, in order; none where it had none, or they were discarded.
///
/// # Errors
/// When the state directory cannot be read.
pub fn of(places: &Places, worker: &WorkerId) -> io::Result<Vec<Layer>> {
    let directory = directory(places, worker);
    let mut layers = Vec::new();
    loop {
        let layer = directory.join(layers.len().to_string());
        let Ok(tree) = fs::read_link(layer.join(TREE)) else { return Ok(layers) };
        let was = match fs::read_to_string(layer.join(WAS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            text => Some(Identity::read(&text?).ok_or_else(|| io::Error::other("a layer does not say whose it is"))?),
        };
        layers.push(Layer { tree, was, upper: layer.join(UPPER) });
    }
}

/// Where they are.
pub fn directory(places: &Places, worker: &WorkerId) -> PathBuf {
    places.workers().join(worker.to_string()).join(IN_WORKER)
}
