//! Few patterns that have all of these paths.
//!
//! Enters: the paths of calls that share a rule. Leaves: patterns, each of which has a path that no other before it has. Never: a path that
//! no pattern has; what has them is asked, as a rule would be.

use super::segment;
use super::tree::Tree;
use crate::glob::PathGlob;
use crate::path::NormalPath;
use crate::paths::Paths;
use crate::pattern::Pattern;
use crate::reading::Readings;
use crate::rule::{Effect, Rule, RuleId};

/// Deeper than any API; what lies deeper is covered by its beginning.
const DEEPEST: usize = 32;
/// How much is kept of a path that cannot be written as a pattern.
const BEGINNING: usize = 8;

/// A pattern, and the rule by which it is asked what it has.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) glob: PathGlob,
    rule: Rule,
}

impl Asked {
    /// `None` for what is no pattern.
    fn new(text: &str, to: &Pattern) -> Option<Self> {
        let glob: PathGlob = text.parse().ok()?;
        let id = RuleId { effect: Effect::Allow, number: 0, line: 0 };
        let rule = Rule {
            paths: Some(Paths::new(vec![glob.clone()])),
            encoded_slash: true,
            ..Rule::everything(id, to.clone())
        };
        Some(Self { glob, rule })
    }

    /// Whether a rule with this pattern has the path.
    pub(super) fn has(&self, path: &NormalPath) -> bool {
        self.rule.has_path(path, &Readings::of(path))
    }
}

/// Patterns for all of `paths`, in the order of their text.
pub(super) fn patterns(paths: &[&NormalPath], to: &Pattern) -> Vec<Asked> {
    let mut tree = Tree::default();
    let written: Vec<Vec<String>> = paths.iter().map(|path| written(path, to)).collect();
    written.iter().for_each(|patterns| tree.add(patterns));
    let mut asked: Vec<Asked> = tree.patterns().iter().filter_map(|text| Asked::new(text, to)).collect();
    for (path, patterns) in paths.iter().zip(&written) {
        // A pattern that is right for each of some paths need not be for another that it became one with.
        if !asked.iter().any(|one| one.has(path)) {
            asked.extend(Asked::new(&joined(patterns), to));
        }
    }
    let mut kept = needed(asked, paths);
    kept.sort_by(|a, b| a.glob.as_str().cmp(b.glob.as_str()));
    kept
}

/// Those that have a path which no wider one has.
fn needed(asked: Vec<Asked>, paths: &[&NormalPath]) -> Vec<Asked> {
    let has = |one: &Asked| (0..paths.len()).filter(|&at| one.has(paths[at])).collect::<Vec<_>>();
    let mut asked: Vec<(Vec<usize>, Asked)> = asked.into_iter().map(|one| (has(&one), one)).collect();
    asked
        .sort_by(|(a, one), (b, other)| b.len().cmp(&a.len()).then_with(|| one.glob.as_str().cmp(other.glob.as_str())));
    let mut covered = vec![false; paths.len()];
    asked.retain(|(has, _)| {
        let fresh = has.iter().any(|&at| !covered[at]);
        has.iter().for_each(|&at| covered[at] = true);
        fresh
    });
    asked.into_iter().map(|(_, one)| one).collect()
}

/// The narrowest pattern for one path that a rule would have it by.
fn written(path: &NormalPath, to: &Pattern) -> Vec<String> {
    let patterns = segment::patterns(path.as_str());
    let right = |patterns: &[String]| {
        patterns.len() <= DEEPEST && Asked::new(&joined(patterns), to).is_some_and(|one| one.has(path))
    };
    if right(&patterns) {
        return patterns;
    }
    // Parameters and escapes are what servers read in more than one way.
    let segments = path.as_str()[1..].split('/');
    let odd = |segment: &str| segment.contains(';') || segment.contains("%3B") || segment.contains("%25");
    let wider = patterns.iter().zip(segments.clone());
    let wider: Vec<String> =
        wider.map(|(pattern, segment)| if odd(segment) { "*".to_owned() } else { pattern.clone() }).collect();
    if right(&wider) {
        return wider;
    }
    let mut kept: Vec<String> = patterns
        .into_iter()
        .zip(segments)
        .take_while(|(pattern, segment)| !odd(segment) && pattern.len() <= segment.len() + 3 && !segment.is_empty())
        .map(|(pattern, _)| pattern)
        .take(BEGINNING)
        .collect();
    // Where the first segment is odd nothing is kept: no narrower pattern has such a path.
    kept.push("**".to_owned());
    kept
}

fn joined(patterns: &[String]) -> String {
    format!("/{}", patterns.join("/"))
}
