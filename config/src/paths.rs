//! The path patterns that one rule lists.
//!
//! Enters: patterns, none of them twice. Leaves: whether one of them matches. Never: a cost that grows with their number, but for those that
//! have the same segments in the same places.

use std::collections::HashSet;

use crate::glob::PathGlob;
use crate::literals::Literals;

/// A rule's `paths`. Never empty.
#[derive(Debug)]
pub(crate) struct Paths {
    globs: Box<[PathGlob]>,
    by_literals: Option<Box<Literals>>,
}

impl Paths {
    pub(crate) fn new(globs: Vec<PathGlob>) -> Self {
        let by_literals = Literals::of_many((0..).zip(globs.iter().map(Some))).map(Box::new);
        Self { globs: globs.into(), by_literals }
    }

    pub(crate) fn globs(&self) -> &[PathGlob] {
        &self.globs
    }

    /// Whether a pattern matches the decoded path.
    pub(crate) fn have(&self, decoded: &str) -> bool {
        let has = |number: u32| self.globs[number as usize].matches(decoded);
        match &self.by_literals {
            None => self.globs.iter().any(|glob| glob.matches(decoded)),
            Some(literals) => literals.of(decoded).any(|mut run| run.any(has)),
        }
    }

    pub(crate) fn have_every_path(&self) -> bool {
        self.globs.iter().any(PathGlob::is_every_path)
    }

    /// Whether each pattern of `other` is one of these.
    pub(crate) fn have_all(&self, other: &Paths) -> bool {
        /// Above this many comparisons a set is cheaper.
        const MANY: usize = 256;
        if self.globs.len() * other.globs.len() <= MANY {
            return other.globs.iter().all(|glob| self.globs.contains(glob));
        }
        let own: HashSet<&PathGlob> = self.globs.iter().collect();
        other.globs.iter().all(|glob| own.contains(glob))
    }
}
