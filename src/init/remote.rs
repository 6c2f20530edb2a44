//! The project's git remotes.
//!
//! Enters: the repository's own configuration, read by git as a file, which runs nothing that stands in it. Leaves: where each remote is over
//! HTTPS, if it can be. Never: a user or password of a remote's URL.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::place::Place;
use super::project::{Project, text};

/// A remote that can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) name: String,
    /// What its URL says now: `https`, `http` or `ssh`.
    pub(super) by: &'static str,
    pub(super) at: Place,
    /// `/owner/repository`, without `.git`.
    pub(super) repository: String,
}

/// What is known of the project's remotes.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    pub(super) read: Vec<Remote>,
    /// Names of those that no rule can be written for.
    pub(super) others: Vec<String>,
    /// Why nothing is known.
    pub(super) unread: Option<String>,
}

/// The remotes.
pub(super) fn all(project: &Project) -> Remotes {
    configuration(&project.root).map_or_else(Remotes::default, |config| listed("git", &config))
}

/// As `git` lists them.
fn listed(git: &str, config: &Path) -> Remotes {
    let mut git = Command::new(git);
    git.args(["config", "-z", "--no-includes", "--file"]).arg(config).args(["--get-regexp", r"^remote\..*\.url$"]);
    // What another repository or a caller had set.
    for variable in ["GIT_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_TRACE"] {
        git.env_remove(variable);
    }
    let unread = |why: String| Remotes { unread: Some(why), ..Remotes::default() };
    if fs::metadata(config).is_ok_and(|found| !found.is_file()) {
        // At a pipe git would wait for ever.
        return unread("the repository's configuration is no file".to_owned());
    }
    let output = match git.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return unread("git is not on this machine".to_owned());
        }
        Err(error) => return unread(format!("git cannot be run: {error}")),
    };
    // With 1 git says that none is there.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return unread("git cannot read the repository's configuration".to_owned());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut remotes = Remotes::default();
    for (key, url) in said.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let name = key.trim_start_matches("remote.").trim_end_matches(".url");
        match Remote::read(name, url) {
            Some(remote) => remotes.read.push(remote),
            None => remotes.others.push(name.to_owned()),
        }
    }
    remotes
}

impl Remote {
    pub(super) fn read(name: &str, url: &str) -> Option<Self> {
        let (by, at) = match url.trim().split_once("://") {
            Some(("https" | "http", _)) => {
                let at = Place::parse(url)?;
                (if at.is_plain() { "http" } else { "https" }, at)
            }
            // Its port is that of SSH.
            Some(("ssh" | "git+ssh" | "ssh+git", rest)) => ("ssh", Place::read(false, rest)?.over_https()),
            Some(_) => return None,
            // `git@host:owner/repository`; a path has a slash before any colon.
            None => {
                let (host, path) = url.trim().split_once(':').filter(|(host, _)| !host.contains('/'))?;
                ("ssh", Place::read(false, &format!("{host}/{}", path.trim_start_matches('/')))?)
            }
        };
        let repository = at.path.trim_end_matches(".git").to_owned();
        (plain(&repository) && !at.is_here()).then(|| Self { name: name.to_owned(), by, at, repository })
    }
}

/// Whether a path is one that a rule can name as it stands: what it says to a server and to a pattern is the same.
pub(super) fn plain(path: &str) -> bool {
    let segment = |segment: &str| {
        let letters = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte));
        letters && !segment.is_empty() && !matches!(segment, "." | "..")
    };
    path.len() <= 256 && path.strip_prefix('/').is_some_and(|path| path.split('/').all(segment))
}

/// Where the repository that the directory is in keeps its configuration.
fn configuration(root: &Path) -> Option<PathBuf> {
    let repository = root.ancestors().map(|above| above.join(".git")).find(|git| git.exists())?;
    if repository.is_dir() {
        return Some(repository.join("config"));
    }
    // A work tree of its own, or a submodule: the file says where the rest is.
    let beside = |from: &Path, to: &str| from.join(to.trim());
    let own = text(&repository)?;
    let own = beside(repository.parent()?, own.strip_prefix("gitdir:")?);
    let common = text(&own.join("commondir")).map_or_else(|| own.clone(), |common| beside(&own, &common));
    Some(common.join("config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_it_is_said_that_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config");
        fs::write(&config, "[remote \"origin\"]\nurl = https://github.com/acme/site\n").unwrap();
        let without = listed("exeat-no-such-git", &config);
        assert!(without.read.is_empty() && without.unread.unwrap().contains("not on this machine"));
        let with = listed("git", &config);
        assert_eq!((with.read.len(), with.unread), (1, None));
        fs::write(&config, "[core]\n").unwrap();
        let none = listed("git", &config);
        assert_eq!((none.read.len(), none.unread), (0, None));
        fs::write(&config, "[remote").unwrap();
        assert!(listed("git", &config).unread.unwrap().contains("cannot read"));
    }

    #[test]
    fn a_remote_is_where_it_is_over_https() {
        for (url, by, to, repository) in [
            ("https://bot:s3cret@github.com/acme/site.git", "https", "github.com", "/acme/site"),
            ("git@github.com:acme/site.git", "ssh", "github.com", "/acme/site"),
            ("ssh://git@git.example.com:2222/team/deep/site", "ssh", "git.example.com", "/team/deep/site"),
            ("http://git.example.com:8080/site.git", "http", "git.example.com:8080", "/site"),
        ] {
            let remote = Remote::read("origin", url).unwrap();
            assert_eq!((remote.by, remote.at.to().as_str(), remote.repository.as_str()), (by, to, repository));
            assert!(!format!("{remote:?}").contains("s3cret"));
        }
        for url in [
            "../other",
            "/srv/git/x",
            "file:///x",
            "git://x/y",
            "C:\\x",
            "https://h.example.com/a*b",
            "https://localhost/x/y",
            "a:b c",
        ] {
            assert_eq!(Remote::read("origin", url), None, "{url}");
        }
    }
}
