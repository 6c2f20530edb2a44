//! The path patterns that one rule lists.
//!
//! Enters: patterns, none of them twice. Leaves: whether one of them matches. Never: a cost that grows with their number, but for those that
//! have the same segments in the same places.

use std::collections::HashSet;

use crate::glob::PathGlob;
use crate::literals::Literals;

/// A rule's `paths`. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    globs: Box<[PathGlob]>,
    /// The same for paths without case, which are the ones to ask where there are any.
    folded: Option<Box<[PathGlob]>>,
    by_literals: Option<Box<Literals>>,
}

impl Paths {
    pub(crate) fn new(globs: Vec<PathGlob>) -> Self {
        let by_literals = Literals::of_many((0..).zip(globs.iter().map(Some))).map(Box::new);
        Self { globs: globs.into(), folded: None, by_literals }
    }

    /// Of a deny rule, which is asked of folded paths.
    pub(crate) fn folding(globs: Vec<PathGlob>) -> Self {
        let folded: Box<[PathGlob]> = globs.iter().map(PathGlob::folded).collect();
        let by_literals = Literals::of_many((0..).zip(folded.iter().map(Some))).map(Box::new);
        Self { globs: globs.into(), folded: Some(folded), by_literals }
    }

    pub(crate) fn globs(&self) -> &[PathGlob] {
        &self.globs
    }

    /// Those that are asked.
    pub(crate) fn asked(&self) -> &[PathGlob] {
        self.folded.as_ref().unwrap_or(&self.globs)
    }

    /// Whether a pattern matches the decoded path; where these fold, the folded one.
    pub(crate) fn have(&self, decoded: &str) -> bool {
        let has = |number: u32| self.asked()[number as usize].matches(decoded);
        match &self.by_literals {
            None => self.asked().iter().any(|glob| glob.matches(decoded)),
            Some(literals) => literals.of(decoded).any(|mut run| run.any(has)),
        }
    }

    pub(crate) fn have_every_path(&self) -> bool {
        self.globs.iter().any(PathGlob::is_every_path)
    }

    /// Whether each pattern of `other` is one of these, in any case where these fold.
    pub(crate) fn have_all(&self, other: &Paths) -> bool {
        /// Above this many comparisons a set is cheaper.
        const MANY: usize = 256;
        let folded = self.folded.as_ref().filter(|_| other.folded.is_none());
        let folded: Option<Vec<PathGlob>> = folded.map(|_| other.globs.iter().map(PathGlob::folded).collect());
        let others = folded.as_deref().unwrap_or(other.asked());
        if self.globs.len() * others.len() <= MANY {
            return others.iter().all(|glob| self.asked().contains(glob));
        }
        let own: HashSet<&PathGlob> = self.asked().iter().collect();
        others.iter().all(|glob| own.contains(glob))
    }
}
