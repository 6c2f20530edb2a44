//! A rule that is suggested, and its lines in TOML.
//!
//! Enters: calls that no rule has. Leaves: rules that have them, and no credential. Never: text of a client that is not a parsed name,
//! method or path, none of which can have a quotation mark, a backslash or a control character.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::Sighting;
use super::covering::{self, Asked};
use super::place::{self, Place};
use crate::decision::Scheme;
use crate::destination::Destination;
use crate::glob::PathGlob;
use crate::method::Method;
use crate::observe::Way;
use crate::pattern::Pattern;
use crate::policy::Policy;

/// How often something was seen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How often.
    pub calls: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often it passed only as the worker observed; otherwise a policy of then had a rule for it.
    pub observed: u64,
}

impl Times {
    /// Seen once.
    pub fn once(at: Timestamp) -> Self {
        Self { calls: 1, first: at, last: at, observed: 0 }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            observed: self.observed.saturating_add(other.observed),
        }
    }
}

/// An allow rule that would cover what was seen.
#[derive(Clone, Debug)]
pub struct Suggested {
    /// Where to.
    pub to: Pattern,
    /// With which methods.
    pub methods: Vec<Method>,
    /// On which paths.
    pub paths: Vec<PathGlob>,
    /// Whether plain HTTP is let through; `None` where it need not be said.
    pub plain: Option<bool>,
    /// Whether an escaped slash is.
    pub encoded_slash: bool,
    /// How other rules have the same destination reached.
    pub way: Way,
    /// Addresses without which it would let nothing out, and that somebody has to trust first.
    pub forbidden: BTreeSet<IpAddr>,
    /// The destinations that were seen; more than one where it is for a domain.
    pub seen_at: BTreeSet<Destination>,
    /// How often, and when.
    pub times: Times,
}

/// What rules cannot share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    place: Place,
    barred: bool,
    /// A rule for plain HTTP lets HTTPS through, too, and would cover the one for HTTPS.
    plain: bool,
    encoded_slash: bool,
}

/// Rules for all of `seen`.
pub(super) fn for_all(policy: &Policy, seen: &[&Sighting]) -> Vec<Suggested> {
    let barred = barred(policy, seen);
    let places = place::of_all(policy, seen, &barred);
    let mut scopes: BTreeMap<Scope, Vec<&Sighting>> = BTreeMap::new();
    for sighting in seen {
        let scope = Scope {
            barred: barred.contains(&sighting.destination),
            place: places[&sighting.destination].clone(),
            plain: sighting.scheme == Scheme::Http,
            encoded_slash: sighting.path.has_encoded_slash(),
        };
        scopes.entry(scope).or_default().push(sighting);
    }
    scopes.into_iter().flat_map(|(scope, seen)| of_one_scope(policy, &scope, &seen)).collect()
}

/// Destinations that no call has reached, as all their addresses are such that a rule has to list them, and none does.
fn barred(policy: &Policy, seen: &[&Sighting]) -> BTreeSet<Destination> {
    let stands = |sighting: &Sighting| {
        let way = policy.way_to(&sighting.destination).unwrap_or_default();
        let listed = |address: &IpAddr| way.addresses.iter().any(|range| range.contains(address));
        way.dial.is_none() && sighting.forbidden.as_ref().is_some_and(|address| !listed(address))
    };
    let reached: BTreeSet<&Destination> =
        seen.iter().filter(|sighting| !stands(sighting)).map(|sighting| &sighting.destination).collect();
    let all = seen.iter().map(|sighting| &sighting.destination);
    all.filter(|destination| !reached.contains(destination)).cloned().collect()
}

/// A method is not let out on the paths of another.
fn of_one_scope(policy: &Policy, scope: &Scope, seen: &[&Sighting]) -> Vec<Suggested> {
    let Some(to) = scope.place.pattern() else { return Vec::new() };
    let mut paths: BTreeMap<&Method, BTreeMap<&str, &Sighting>> = BTreeMap::new();
    for sighting in seen {
        paths.entry(&sighting.method).or_default().insert(sighting.path.as_str(), sighting);
    }
    let mut by_pattern: BTreeMap<String, (Asked, BTreeSet<&Method>)> = BTreeMap::new();
    for (method, paths) in paths {
        let paths: Vec<_> = paths.values().map(|sighting| &sighting.path).collect();
        for asked in covering::patterns(&paths, &to) {
            let text = asked.glob.as_str().to_owned();
            by_pattern.entry(text).or_insert_with(|| (asked, BTreeSet::new())).1.insert(method);
        }
    }
    let mut by_methods: BTreeMap<BTreeSet<&Method>, Vec<Asked>> = BTreeMap::new();
    for (asked, methods) in by_pattern.into_values() {
        by_methods.entry(methods).or_default().push(asked);
    }
    let way = match &scope.place {
        Place::One(destination) => policy.way_to(destination).unwrap_or_default(),
        Place::Below(..) => Way::default(),
    };
    let rule = |(methods, paths): (BTreeSet<&Method>, Vec<Asked>)| {
        let has = |sighting: &&&Sighting| {
            methods.contains(&sighting.method) && paths.iter().any(|asked| asked.has(&sighting.path))
        };
        let covered: Vec<_> = seen.iter().filter(has).collect();
        let times = covered.iter().map(|sighting| sighting.times).reduce(Times::and)?;
        Some(Suggested {
            methods: methods.into_iter().cloned().collect(),
            paths: paths.iter().map(|asked| asked.glob.clone()).collect(),
            plain: (scope.plain != (to.port() == Some(80))).then_some(scope.plain),
            encoded_slash: scope.encoded_slash,
            way: beside(&way, &to),
            forbidden: covered.iter().filter_map(|sighting| sighting.forbidden.filter(|_| scope.barred)).collect(),
            seen_at: covered.iter().map(|sighting| sighting.destination.clone()).collect(),
            to: to.clone(),
            times,
        })
    };
    by_methods.into_iter().filter_map(rule).collect()
}

/// What of a way has to be said: the address under `dial`, and one that the pattern itself names, are dialled without being listed.
fn beside(way: &Way, to: &Pattern) -> Way {
    let said = |range: &&ipnet::IpNet| {
        to.network() != Some(**range) && way.dial.map(|dial| ipnet::IpNet::from(dial.ip())) != Some(**range)
    };
    Way { dial: way.dial, addresses: way.addresses.iter().filter(said).copied().collect() }
}

impl Suggested {
    /// Whether it lets out every path that looks alike, from the first segment on.
    pub fn is_for_any_path(&self) -> bool {
        self.paths.iter().any(|path| path.as_str().starts_with("/*"))
    }

    /// Whether it lets out every path there is, as what was seen begins in a way that no pattern says.
    pub fn is_for_all_paths(&self) -> bool {
        self.paths.iter().any(|path| path.as_str() == "/**")
    }

    /// Whether it is for every host below a domain.
    pub fn is_for_a_domain(&self) -> bool {
        !self.to.is_one_host()
    }
}

/// Lines for an agent's file. Everything in them is a parsed value.
impl fmt::Display for Suggested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[allow]]\nto = \"{}\"", self.to)?;
        writeln!(f, "methods = [{}]", quoted(&self.methods))?;
        match &self.paths[..] {
            [one] => writeln!(f, "paths = [\"{one}\"]")?,
            many => {
                writeln!(f, "paths = [")?;
                many.iter().try_for_each(|path| writeln!(f, "    \"{path}\","))?;
                writeln!(f, "]")?;
            }
        }
        if let Some(plain) = self.plain {
            writeln!(f, "plain = {plain}")?;
        }
        if self.encoded_slash {
            writeln!(f, "encoded_slash = true")?;
        }
        if let Some(dial) = self.way.dial {
            writeln!(f, "dial = \"{dial}\"")?;
        }
        let ranges = self.way.addresses.iter().map(|range| match range.prefix_len() == range.max_prefix_len() {
            true => range.addr().to_string(),
            false => range.to_string(),
        });
        let addresses: Vec<String> = ranges.chain(self.forbidden.iter().map(ToString::to_string)).collect();
        match addresses.is_empty() {
            true => Ok(()),
            false => writeln!(f, "addresses = [{}]", quoted(&addresses)),
        }
    }
}

fn quoted<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}
