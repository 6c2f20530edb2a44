//! Which rules of a policy may speak of a destination and a path, without a look at the others.
//!
//! Enters: rules, in the order of their file; then destinations and paths. Leaves: the first rule that speaks, as if all had been asked in
//! turn. Never: an answer of its own: whether a rule speaks of a call the rule itself says.

use std::collections::BTreeSet;

use crate::by_host::{ByHost, Ports};
use crate::destination::{Destination, Host};
use crate::literals::Literals;
use crate::rule::{Effect, Rule};

/// Where the rules of one effect are, by what they are for.
#[derive(Debug)]
pub(crate) struct Index {
    by_host: ByHost<Places>,
}

/// The rules of one pattern, as places in the policy's list.
#[derive(Debug)]
struct Places {
    /// Never empty; they ascend.
    all: Box<[u32]>,
    /// The first that speaks of everything.
    whole: Option<u32>,
    /// Whether one of them lets plain HTTP through.
    plain: bool,
    by_literals: Option<Box<Literals>>,
}

/// What the rules of a destination say of connections.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// The first.
    pub(crate) first: Option<u32>,
    /// The first that speaks of everything.
    pub(crate) whole: Option<u32>,
    /// Whether one of them lets plain HTTP through.
    pub(crate) plain: bool,
}

impl Index {
    /// Of those of the rules that have this effect.
    pub(crate) fn of<R: AsRef<Rule>>(rules: &[R], effect: Effect) -> Self {
        let mut by_host: ByHost<Vec<u32>> = ByHost::default();
        for (place, rule) in (0..).zip(rules).filter(|(_, rule)| rule.as_ref().effect() == effect) {
            by_host.at(rule.as_ref().to()).push(place);
        }
        let rule = |place: u32| rules[place as usize].as_ref();
        Self { by_host: by_host.map(|all| Places::new(all, rule)) }
    }

    /// What is said of connections to a destination.
    pub(crate) fn summary(&self, destination: &Destination) -> Summary {
        self.by_host.of(destination).fold(Summary::default(), |summary, places| Summary {
            first: earlier(summary.first, places.all.first().copied()),
            whole: earlier(summary.whole, places.whole),
            plain: summary.plain || places.plain,
        })
    }

    /// The first rule of a destination of which `speaks` is true. Only those are asked that can have one of the decoded paths.
    pub(crate) fn find<'a>(
        &self,
        destination: &Destination,
        paths: &(impl Iterator<Item = &'a str> + Clone),
        speaks: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        self.by_host.of(destination).fold(None, |found, places| match &places.by_literals {
            None => first(places.all.iter().copied(), found, &speaks),
            Some(literals) => {
                let runs = paths.clone().flat_map(|path| literals.of(path));
                runs.fold(found, |found, run| first(run, found, &speaks))
            }
        })
    }

    /// The rules of a destination that may have the decoded path, in their order.
    pub(crate) fn with_path(&self, destination: &Destination, path: &str) -> Vec<u32> {
        let mut with_path = Vec::new();
        for places in self.by_host.of(destination) {
            match &places.by_literals {
                None => with_path.extend_from_slice(&places.all),
                Some(literals) => with_path.extend(literals.of(path).flatten()),
            }
        }
        with_path.sort_unstable();
        with_path.dedup();
        with_path
    }

    /// All rules of a destination, in their order.
    pub(crate) fn all(&self, destination: &Destination) -> Vec<u32> {
        let mut all: Vec<u32> = self.by_host.of(destination).flat_map(|places| places.all.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// The ports with which a host is listed.
    pub(crate) fn ports(&self, host: &Host) -> BTreeSet<u16> {
        self.by_host.of_host(host).flat_map(Ports::named).collect()
    }
}

impl Places {
    fn new<'a>(all: Vec<u32>, rule: impl Fn(u32) -> &'a Rule) -> Self {
        let patterns = all.iter().flat_map(|place| {
            let paths = rule(*place).asked_paths();
            let every = paths.is_none().then_some(None);
            every.into_iter().chain(paths.into_iter().flatten().map(Some)).map(|pattern| (*place, pattern))
        });
        let many = all.len() > 1;
        Self {
            whole: all.iter().copied().find(|place| rule(*place).is_whole()),
            plain: all.iter().any(|place| rule(*place).plain()),
            by_literals: if many { Literals::of_many(patterns).map(Box::new) } else { None },
            all: all.into(),
        }
    }
}

/// The first that speaks of those before the one that was found already, or that one.
fn first(run: impl Iterator<Item = u32>, found: Option<u32>, speaks: impl Fn(u32) -> bool) -> Option<u32> {
    let mut before = run.take_while(|place| found.is_none_or(|found| *place < found));
    before.find(|place| speaks(*place)).or(found)
}

fn earlier(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
