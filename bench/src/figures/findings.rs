//! What was found out, for the table of targets.
//!
//! Enters: numbers under a name, from whichever part measured them. Leaves: the same. Never: one that was not measured in this run.

use std::collections::BTreeMap;

use super::spread::Spread;

/// Numbers by what they are called.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<String, Spread>);

impl Findings {
    /// Adds one.
    pub fn note(&mut self, name: impl Into<String>, spread: Spread) {
        self.0.insert(name.into(), spread);
    }

    /// The one that is called so, if that part was measured; of several whose names begin so, the first.
    pub fn get(&self, name: &str) -> Option<&Spread> {
        let first = || self.0.range(name.to_owned()..).next().filter(|(found, _)| found.starts_with(name));
        self.0.get(name).or_else(|| first().filter(|_| name.contains('/')).map(|(_, spread)| spread))
    }
}
