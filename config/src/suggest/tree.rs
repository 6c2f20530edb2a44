//! Paths that were seen, as a tree of patterns, and how it is made smaller.
//!
//! Enters: the patterns of each path's segments. Leaves: few patterns for whole paths, `*` where siblings vary and `**` where depth does.
//! Never: a result that depends on the order in which paths came; `**` right below the root, but where a path that came is written so itself.

use std::collections::{BTreeMap, BTreeSet};

/// So many siblings that go on alike are names of things: `/repos/acme/{a,b,c}/pulls`.
const ALIKE: usize = 3;
/// More siblings than an API has names of kinds in one place.
const SIBLINGS: usize = 8;
/// The same for what stands first, where a star would let out everything that looks alike.
const FIRST: usize = 32;
/// A tree of files: so many patterns of so many depths.
const FILES: usize = 12;
const DEPTHS: usize = 3;
/// More than anybody reads, whatever their depth.
const READABLE: usize = 48;

const ANY: &str = "*";
const ANY_DEPTH: &str = "**";

/// What was seen below one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tree {
    /// Whether a path ends here.
    ends: bool,
    below: BTreeMap<String, Tree>,
}

impl Tree {
    /// One more path.
    pub(super) fn add(&mut self, patterns: &[String]) {
        match patterns {
            [] => self.ends = true,
            [first, rest @ ..] => self.below.entry(first.clone()).or_default().add(rest),
        }
    }

    /// The patterns for all that was added.
    pub(super) fn patterns(mut self) -> Vec<String> {
        self.make_smaller(true);
        self.ways().into_iter().map(|way| format!("/{}", way.join("/"))).collect()
    }

    fn make_smaller(&mut self, first: bool) {
        for tree in self.below.values_mut() {
            tree.make_smaller(false);
        }
        if !first {
            for names in self.alike() {
                self.join(&names);
            }
        }
        let named: Vec<String> = self.names().map(str::to_owned).collect();
        if named.len() > if first { FIRST } else { SIBLINGS } {
            self.join(&named);
        }
        if !first && self.is_of_files() {
            let all = Self { ends: true, below: BTreeMap::new() };
            self.below = BTreeMap::from([(ANY_DEPTH.to_owned(), all)]);
        }
    }

    /// Names that can become one `*`: not the empty one behind a last slash, which a star is never.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.below.keys().map(String::as_str).filter(|name| !matches!(*name, "" | ANY_DEPTH))
    }

    /// Groups of names that go on alike.
    fn alike(&self) -> Vec<Vec<String>> {
        let mut groups: BTreeMap<&Tree, Vec<String>> = BTreeMap::new();
        for name in self.names().filter(|name| !self.below[*name].below.is_empty()) {
            groups.entry(&self.below[name]).or_default().push(name.to_owned());
        }
        let mut groups: Vec<Vec<String>> = groups.into_values().filter(|names| names.len() >= ALIKE).collect();
        // In the order of their first names: what becomes of the second may depend on the first.
        groups.sort();
        groups
    }

    /// Has one pattern stand for all of these names.
    fn join(&mut self, names: &[String]) {
        let mut joined = Self::default();
        for tree in names.iter().filter_map(|name| self.below.remove(name)) {
            joined.take_in(tree);
        }
        let kind = if joined.below.is_empty() { common_kind(names) } else { None };
        let pattern = kind.map_or_else(|| ANY.to_owned(), |kind| format!("{ANY}{kind}"));
        joined.make_smaller(false);
        match self.below.get_mut(&pattern) {
            Some(tree) => {
                tree.take_in(joined);
                tree.make_smaller(false);
            }
            None => drop(self.below.insert(pattern, joined)),
        }
    }

    fn take_in(&mut self, other: Self) {
        self.ends |= other.ends;
        for (name, tree) in other.below {
            self.below.entry(name).or_default().take_in(tree);
        }
    }

    fn is_of_files(&self) -> bool {
        let ways = self.ways();
        let depths: BTreeSet<usize> = ways.iter().map(Vec::len).collect();
        (ways.len() > FILES && depths.len() >= DEPTHS) || ways.len() > READABLE
    }

    fn ways(&self) -> Vec<Vec<&str>> {
        let mut ways = if self.ends { vec![Vec::new()] } else { Vec::new() };
        for (name, tree) in &self.below {
            ways.extend(tree.ways().into_iter().map(|mut rest| {
                rest.insert(0, name.as_str());
                rest
            }));
        }
        ways
    }
}

/// What all names end in, if that tells what they are: `.whl`.
fn common_kind(names: &[String]) -> Option<&str> {
    let kind = |name: &String| {
        let at = name.rfind('.').filter(|&at| at > 0)?;
        let ending = &name[at + 1..];
        let told = (1..=8).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphabetic());
        told.then_some(at)
    };
    let first = names.first()?;
    let found = &first[kind(first)?..];
    names.iter().all(|name| kind(name).is_some_and(|at| name[at..] == *found)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smaller(paths: &[&str]) -> Vec<String> {
        let mut tree = Tree::default();
        for path in paths {
            tree.add(&path[1..].split('/').map(str::to_owned).collect::<Vec<_>>());
        }
        tree.patterns()
    }

    #[test]
    fn siblings_that_go_on_alike_are_one_and_few_others_stay() {
        assert_eq!(smaller(&["/r/a/pulls", "/r/b/pulls"]), ["/r/a/pulls", "/r/b/pulls"]);
        assert_eq!(smaller(&["/r/a/pulls", "/r/b/pulls", "/r/c/pulls", "/r/me"]), ["/r/*/pulls", "/r/me"]);
        assert_eq!(smaller(&["/r/a", "/r/b", "/r/c", "/r/d"]).len(), 4);
        assert_eq!(smaller(&["/a/x", "/b/x", "/c/x", "/d/x"]).len(), 4, "nothing starts with a star");
        assert_eq!(smaller(&["/simple/a/", "/simple/b/", "/simple/c/"]), ["/simple/*/"]);
    }

    #[test]
    fn many_siblings_that_go_on_differently_take_little_time() {
        let started = std::time::Instant::now();
        let paths: Vec<String> = (0..50_000).map(|n| format!("/x/n{n}/only-{n}")).collect();
        assert_eq!(smaller(&paths.iter().map(String::as_str).collect::<Vec<_>>()), ["/x/*/*"]);
        assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
    }

    #[test]
    fn many_siblings_are_a_star_and_many_depths_two() {
        let names: Vec<String> = ('a'..='i').map(|name| format!("/x/{name}")).collect();
        assert_eq!(smaller(&names.iter().map(String::as_str).collect::<Vec<_>>()), ["/x/*"]);
        let files: Vec<String> = ('a'..='i').map(|name| format!("/x/{name}.whl")).collect();
        assert_eq!(smaller(&files.iter().map(String::as_str).collect::<Vec<_>>()), ["/x/*.whl"]);
        let tree: Vec<String> =
            (0..20).map(|i| format!("/src{}/f{i}", ["", "/a", "/b", "/a/c", "/b/d/e"][i % 5])).collect();
        assert_eq!(smaller(&tree.iter().map(String::as_str).collect::<Vec<_>>()), ["/src/**"]);
        let first: Vec<String> = (0..40).map(|i| format!("/n{i}")).collect();
        assert_eq!(smaller(&first.iter().map(String::as_str).collect::<Vec<_>>()), ["/*"]);
    }
}
