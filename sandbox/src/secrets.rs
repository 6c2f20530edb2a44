//! The files of the machine that hold secrets by their very name, in what the sandbox is shown.
//!
//! For: `plan`. In: what is shown, where people live. Out: the paths to hide, each unless it is named itself. Never: a look into a file; a name is
//! all that is gone by.

use crate::{
    closed, cover,
    error::Error,
    outlets,
    plan::Bind,
    walk::{Budget, Entry, walk},
};
use rustix::fs::FileType;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Below the home directory of anybody. README.md lists them, too.
const IN_HOMES: &[&str] = &[
    ".aws",
    ".azure",
    ".bash_history",
    ".boto",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".composer/auth.json",
    ".config/chromium",
    ".config/composer/auth.json",
    ".config/containers/auth.json",
    ".config/doctl",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/glab-cli",
    ".config/google-chrome",
    ".config/hub",
    ".config/op",
    ".config/rclone",
    ".docker",
    ".gem/credentials",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".kube",
    ".local/share/keyrings",
    ".m2/settings.xml",
    ".mozilla",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".oci",
    ".password-store",
    ".pgpass",
    ".psql_history",
    ".pypirc",
    ".python_history",
    ".s3cfg",
    ".ssh",
    ".terraform.d/credentials.tfrc.json",
    ".vault-token",
    ".zsh_history",
];
/// Files, wherever they are. Beside them `.env.*`, but for what is made to be copied.
const FILES: &[&[u8]] = &[
    b".env",
    b".envrc",
    b".git-credentials",
    b".netrc",
    b".pgpass",
    b".vault-token",
    b"id_dsa",
    b"id_ecdsa",
    b"id_ecdsa_sk",
    b"id_ed25519",
    b"id_ed25519_sk",
    b"id_rsa",
];
/// Directories, wherever they are.
const DIRECTORIES: &[&[u8]] = &[b".gnupg", b".ssh"];
const TO_BE_COPIED: &[&[u8]] = &[b".dist", b".example", b".sample", b".template"];

/// What is to be hidden.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// At a path of their own, which has to stay theirs.
    pub listed: BTreeSet<PathBuf>,
    /// By their names, wherever they were found.
    pub found: BTreeSet<PathBuf>,
    /// Those that lead to a process of the machine, wherever they were met.
    pub outlets: BTreeSet<PathBuf>,
    /// How many names were looked at.
    pub looked_at: u64,
}

/// What is shown: without what lies below another one.
pub(crate) fn outermost(binds: &[Bind]) -> Vec<&Bind> {
    let within = |inner: &Bind| {
        binds.iter().any(|outer| outer.source != inner.source && inner.source.starts_with(&outer.source))
    };
    let mut seen = BTreeSet::new();
    binds.iter().filter(|bind| bind.directory && !within(bind) && seen.insert(&bind.source)).collect()
}

/// How what is shown is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// For all, to its end or not at all.
    Whole,
    /// For what leads out, as far as one gets in a moment.
    Outlets,
    No,
}

/// Finds them. What a policy names is hidden by nothing in here.
pub(crate) fn find(binds: &[Bind], homes: &BTreeSet<PathBuf>, search: Search) -> Result<Secrets, Error> {
    let named: BTreeSet<&Path> = binds.iter().map(|bind| bind.source.as_path()).collect();
    let mut secrets = Secrets::default();
    for home in homes {
        let shows = |bind: &&Bind| home.starts_with(&bind.source) || bind.source.starts_with(home);
        if !binds.iter().any(|bind| shows(&bind)) {
            continue;
        }
        for listed in IN_HOMES.iter().map(|name| home.join(name)) {
            let shown = binds.iter().any(|bind| listed.starts_with(&bind.source));
            if !shown {
                continue;
            }
            match fs::canonicalize(&listed) {
                Ok(path) => secrets.listed.extend((!named.contains(path.as_path())).then_some(path)),
                Err(error) if closed::can_be_opened(&listed, &error) => return Err(cover::unseen(&listed, error)),
                Err(_) => {}
            }
        }
    }
    let whole = search == Search::Whole;
    let mut budget = if whole { Budget::new() } else { Budget::brief() };
    for bind in outermost(binds).into_iter().filter(|_| search != Search::No) {
        let walked = walk(bind.source.clone(), (), &mut budget, |(), entry| {
            if matches!(entry.kind, FileType::Socket | FileType::Fifo) {
                let path = Some(entry.path());
                secrets.outlets.extend(path.filter(|path| outlets::leads_out(path, entry.kind, binds)));
            } else if whole && is_secret(entry) {
                secrets.found.extend(hideable(entry).filter(|path| !named.contains(path.as_path())));
                return None;
            }
            Some(())
        });
        match walked {
            // There may be anything in them.
            Ok(closed) if whole => secrets.found.extend(closed),
            Err(error) if whole => {
                return Err(error.hint_at(
                    "show less of the machine; or say `find_secrets = false` under [sandbox], if no file in there, `.env` neither, \
                     is to be kept from the command",
                ));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    secrets.looked_at = budget.spent();
    Ok(secrets)
}

fn is_secret(entry: &Entry<'_>) -> bool {
    let name = entry.name.as_bytes();
    match entry.kind {
        FileType::Directory => DIRECTORIES.contains(&name),
        FileType::RegularFile | FileType::Symlink => {
            let copied = TO_BE_COPIED.iter().any(|suffix| name.ends_with(suffix));
            FILES.contains(&name) || name.starts_with(b".env.") && !copied
        }
        _ => false,
    }
}

/// What a link leads to is the secret, if it is a file.
fn hideable(entry: &Entry<'_>) -> Option<PathBuf> {
    match entry.kind {
        FileType::Symlink => {
            let path = fs::canonicalize(entry.path()).ok()?;
            path.is_file().then_some(path)
        }
        _ => Some(entry.path()),
    }
}

/// Other names of the same files, in what is shown: hard links, which lead to the content as well.
pub(crate) fn other_names(binds: &[Bind], hidden: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, Error> {
    let linked: BTreeSet<(u64, u64)> = hidden
        .iter()
        .filter_map(|path| fs::symlink_metadata(path).ok())
        .filter(|found| found.is_file() && found.nlink() > 1)
        .map(|found| (found.dev(), found.ino()))
        .collect();
    let mut others = BTreeSet::new();
    if linked.is_empty() {
        return Ok(others);
    }
    let mut budget = Budget::new();
    for bind in outermost(binds) {
        walk(bind.source.clone(), (), &mut budget, |(), entry| {
            let same = |path: &PathBuf| {
                fs::symlink_metadata(path).is_ok_and(|found| linked.contains(&(found.dev(), found.ino())))
            };
            if entry.kind == FileType::RegularFile && linked.iter().any(|(_, inode)| *inode == entry.inode) {
                others.extend(Some(entry.path()).filter(same));
            }
            Some(())
        })?;
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn shown(source: &Path) -> Bind {
        Bind {
            source: source.to_owned(),
            target: source.to_owned(),
            write: true,
            directory: source.is_dir(),
            idmapped: false,
            layer: None,
        }
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    fn names(paths: &BTreeSet<PathBuf>, below: &Path) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(below).unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_is_called_as_secrets_are_is_found_wherever_it_is_and_nothing_else() {
        let tree = tree(&[
            ".env",
            ".env.production",
            ".env.example",
            ".env.local.sample",
            "a/b/c/.env",
            "a/id_rsa",
            "a/id_rsa.pub",
            "a/.ssh/config",
            "environment",
            ".envs",
            "venv/.env/bin/python",
            ".git/.netrc",
        ]);
        symlink("../environment", tree.path().join("a/.env.link")).unwrap();
        symlink("b", tree.path().join("a/.env")).unwrap();
        let found = find(&[shown(tree.path())], &BTreeSet::new(), Search::Whole).unwrap();
        let expected = [".env", ".env.production", ".git/.netrc", "a/.ssh", "a/b/c/.env", "a/id_rsa", "environment"];
        assert_eq!(names(&found.found, tree.path()), expected);
        assert!(found.looked_at > 15 && found.listed.is_empty());
        assert!(find(&[shown(tree.path())], &BTreeSet::new(), Search::Outlets).unwrap().found.is_empty());
    }

    #[test]
    fn what_is_named_itself_is_not_hidden() {
        let tree = tree(&[".env", "a/.env", "a/.ssh/known_hosts"]);
        let binds = [shown(tree.path()), shown(&tree.path().join(".env")), shown(&tree.path().join("a/.ssh"))];
        let found = find(&binds, &BTreeSet::new(), Search::Whole).unwrap();
        assert_eq!(names(&found.found, tree.path()), ["a/.env"]);
    }

    #[test]
    fn of_a_home_the_list_is_hidden_whether_or_not_anything_is_searched() {
        let home = tree(&[".aws/credentials", ".config/gh/hosts.yml", ".npmrc", ".profile", "project/.npmrc"]);
        let homes = BTreeSet::from([home.path().to_owned()]);
        let listed = |shows: &Path| find(&[shown(shows)], &homes, Search::No).unwrap().listed;
        assert_eq!(names(&listed(home.path()), home.path()), [".aws", ".config/gh", ".npmrc"]);
        assert_eq!(names(&listed(&home.path().join(".config")), home.path()), [".config/gh"]);
        assert!(listed(&home.path().join(".config/gh")).is_empty());
        assert!(listed(&home.path().join("project")).is_empty());
    }

    #[test]
    fn a_hard_link_is_the_same_file() {
        let tree = tree(&["a/.env", "b/other"]);
        fs::hard_link(tree.path().join("a/.env"), tree.path().join("b/innocent")).unwrap();
        let binds = [shown(tree.path())];
        let hidden = BTreeSet::from([tree.path().join("a/.env")]);
        assert_eq!(names(&other_names(&binds, &hidden).unwrap(), tree.path()), ["a/.env", "b/innocent"]);
        assert!(other_names(&binds, &BTreeSet::from([tree.path().join("b/other")])).unwrap().is_empty());
    }
}
