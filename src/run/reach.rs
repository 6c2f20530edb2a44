//! What a worker goes on reading once it is locked in.
//!
//! Enters: where things are, and the policy in force. Leaves: the agent's file with the directory it is in, the files that it names, and where
//! the worker is asked to stop. Never: credentials.toml, another worker's directory, a broker's key, or the directory of a secret that
//! holds anything else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use config::Policy;
use sandbox::Reach;

use crate::places::Places;

/// For a worker under this policy.
pub fn of(places: &Places, policy: &Policy, orders: &Path, socket: Option<&Path>) -> Reach {
    let sockets = socket.and_then(|socket| fs::canonicalize(socket).ok()?.parent().map(Path::to_owned));
    let apart: Vec<PathBuf> =
        [Some(real(&places.config)), Some(real(&places.state)), sockets].into_iter().flatten().collect();
    let mut wide = apart.clone();
    wide.extend(std::env::home_dir().map(|home| real(&home)));
    let mut read = of_the_policy(&places.agent_file(policy.agent()), &wide);
    let named: BTreeSet<PathBuf> =
        policy.files_beside().chain(policy.extra_roots().iter().map(PathBuf::as_path)).filter_map(entry).collect();
    for file in policy.files_beside() {
        read.push(file.to_owned());
        read.extend(entry(file).and_then(|entry| alone(entry.parent()?, &named)));
    }
    Reach { read, clear: vec![orders.to_owned()], apart }
}

/// Editors put a new file in the place of the old one, so it takes the directory; where the file is a link to another one, also that of the
/// other; but none that holds what is `wide`.
fn of_the_policy(file: &Path, wide: &[PathBuf]) -> Vec<PathBuf> {
    let narrow = |directory: &PathBuf| !wide.iter().any(|place| place.starts_with(directory));
    let directories = [file.parent().map(real), real(file).parent().map(Path::to_owned)];
    let mut read: Vec<PathBuf> = directories.into_iter().flatten().filter(narrow).collect();
    read.push(file.to_owned());
    read
}

/// The directory, if it holds nothing but files that the policy names: then a renewal that puts new ones in their place is read as well.
/// What Kubernetes keeps beside them (`..data`) is the same files once more.
fn alone(directory: &Path, named: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let entries: Result<Vec<_>, _> = fs::read_dir(directory).ok()?.collect();
    let own = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("..");
    let all = entries.ok()?.iter().all(|entry| own(entry) || named.contains(&directory.join(entry.file_name())));
    all.then(|| directory.to_owned())
}

/// A file's place, with the links on the way to it followed, and not one that it is itself.
fn entry(file: &Path) -> Option<PathBuf> {
    Some(real(file.parent()?).join(file.file_name()?))
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        directory
    }

    #[test]
    fn a_directory_of_secrets_is_read_only_if_it_holds_nothing_else() {
        let tree = tree(&["own/key.pem", "own/cert.pem", "own/..data/key.pem", "shared/key.pem", "shared/another.pem"]);
        let at = |path: &str| real(tree.path()).join(path);
        let named = ["own/key.pem", "own/cert.pem", "shared/key.pem"].map(at).into();
        assert_eq!(alone(&at("own"), &named), Some(at("own")));
        assert_eq!(alone(&at("shared"), &named), None);
    }

    #[test]
    fn the_directory_of_a_policy_is_read_and_none_that_holds_the_rest() {
        let tree = tree(&["config/agents/bot.toml", "git/agents/linked.toml", "config/loose.toml"]);
        let at = |path: &str| real(tree.path()).join(path);
        let wide = [at("config"), at("state")];
        assert_eq!(of_the_policy(&at("config/loose.toml"), &wide), [at("config/loose.toml")]);
        let link = at("config/agents/linked.toml");
        std::os::unix::fs::symlink(at("git/agents/linked.toml"), &link).unwrap();
        assert_eq!(of_the_policy(&link, &wide), [at("config/agents"), at("git/agents"), link]);
        fs::rename(at("git/agents/linked.toml"), at("linked.toml")).unwrap();
        let link = at("config/agents/moved.toml");
        std::os::unix::fs::symlink(at("linked.toml"), &link).unwrap();
        assert_eq!(of_the_policy(&link, &wide), [at("config/agents"), link]);
    }
}
