//! Where a project's packages come from.
//!
//! Enters: package files, lock files and the package managers' own configuration, of the project and of the machine. Leaves: for each kind of
//! package, the hosts that these files name. Never: a host that none of them names; who knows none says so, and how it is learnt.

mod cargo;
mod jvm;
mod node;
mod others;
mod python;

use std::collections::BTreeSet;

use serde_json::Value;

use super::place::Place;
use super::project::Project;

/// Rules for one kind of package; what is named beyond that is in a lock file of somebody else's making.
pub(super) const MOST: usize = 24;

/// One kind of package.
pub(super) struct Packages {
    /// Whose.
    pub(super) kind: &'static str,
    /// The client that fetches them, in a sentence.
    pub(super) client: &'static str,
    /// The files that say that there are some.
    pub(super) marks: &'static [&'static str],
    /// What names hosts.
    pub(super) named: fn(&Project) -> Named,
    /// Whether a name of a package may have an escaped slash in it.
    pub(super) encoded_slash: bool,
}

/// And so many are counted.
const MOST_COUNTED: usize = 1000;

/// What the files of one kind of package name.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Where packages are, each once, and the file that says so.
    pub(super) hosts: Vec<(Place, String)>,
    /// Packages that are fetched from a git repository.
    pub(super) repositories: BTreeSet<(Place, String)>,
}

impl Named {
    /// Adds what a file names.
    pub(super) fn add(&mut self, file: &str, places: impl IntoIterator<Item = Place>) {
        for place in places {
            let place = place.without_path();
            if self.hosts.len() < MOST_COUNTED && !self.hosts.iter().any(|(own, _)| *own == place) {
                self.hosts.push((place, file.to_owned()));
            }
        }
    }

    /// Adds a repository: `git+https://host/owner/name.git?rev=…#…`.
    pub(super) fn repository(&mut self, url: &str) {
        let url = url.trim_start_matches("git+");
        let at = url.split_once("://").and_then(|(scheme, rest)| match scheme {
            "ssh" => Place::read(false, rest).map(Place::over_https),
            scheme => Place::read(scheme == "http", rest),
        });
        if let Some(at) = at.filter(|at| !at.is_here()) {
            let repository = at.path.trim_end_matches(".git").to_owned();
            if super::remote::plain(&repository) {
                self.repositories.insert((at.without_path(), repository));
            }
        }
    }
}

/// Every kind that is known.
pub(super) const KINDS: [Packages; 9] = [
    node::NPM,
    python::PYPI,
    cargo::CRATES,
    others::GO,
    others::GEMS,
    jvm::MAVEN,
    jvm::GRADLE,
    others::COMPOSER,
    others::NUGET,
];

impl Packages {
    /// The files of the project that say so.
    pub(super) fn marks<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let marked = |name: &&String| {
            self.marks.iter().any(|mark| match mark.split_once('*') {
                Some((start, end)) => name.starts_with(start) && name.ends_with(end) && name.len() >= mark.len() - 1,
                None => *name == mark,
            })
        };
        names.iter().filter(marked).map(String::as_str).collect()
    }
}

/// Every text under one of these keys, at any depth.
fn texts_in_json<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts_in_json(item, keys, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text),
                    value => texts_in_json(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

/// The same of TOML.
fn texts_in_toml<'a>(value: &'a toml::Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        toml::Value::Array(items) => items.iter().for_each(|item| texts_in_toml(item, keys, found)),
        toml::Value::Table(fields) => {
            for (key, value) in fields {
                match value {
                    toml::Value::String(text) if keys.contains(&key.as_str()) => found.push(text),
                    value => texts_in_toml(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

fn toml_of(text: &str) -> Option<toml::Value> {
    text.parse::<toml::Table>().ok().map(toml::Value::Table)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A project with these files, and a home with those.
    pub(in super::super) fn project(
        files: &[(&str, &str)],
        home: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().unwrap();
        for (below, files) in [("project", files), ("home", home)] {
            std::fs::create_dir_all(directory.path().join(below)).unwrap();
            for (name, text) in files {
                let path = directory.path().join(below).join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        let home = directory.path().join("home").display().to_string();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables = variables.chain([("HOME".to_owned(), home)]);
        let project = Project::with(directory.path().join("project"), variables);
        (directory, project)
    }

    /// The hosts that are named for the kind of this name.
    pub(super) fn hosts(kind: &str, project: &Project) -> Vec<String> {
        let kind = KINDS.iter().find(|one| one.kind == kind).unwrap();
        (kind.named)(project).hosts.iter().map(|(place, _)| place.to()).collect()
    }
}
