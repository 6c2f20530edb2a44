//! The layers of workers whose directories stay as they are: where what was written instead lies.
//!
//! Enters: the directories of a run, its worker's once it has one. Leaves: `workers/ID/overlay/N/` with `tree`, a link to the directory, and
//! `upper`, what was written. Never: a layer for two workers.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use config::WorkerId;
use sandbox::Layered;

use crate::diff::remove_tree;
use crate::places::Places;

const IN_WORKER: &str = "overlay";
const TREE: &str = "tree";
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
            symlink(fs::canonicalize(tree)?, layer.join(TREE))?;
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

/// A layer of a worker's.
#[derive(Debug)]
pub struct Layer {
    /// The directory that stayed as it was.
    pub tree: PathBuf,
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
    while let Ok(tree) = fs::read_link(directory.join(layers.len().to_string()).join(TREE)) {
        let upper = directory.join(layers.len().to_string()).join(UPPER);
        layers.push(Layer { tree, upper });
    }
    Ok(layers)
}

/// Where they are.
pub fn directory(places: &Places, worker: &WorkerId) -> PathBuf {
    places.workers().join(worker.to_string()).join(IN_WORKER)
}
