//! What the patterns of a policy stand for on this machine, at this moment.
//!
//! For: the caller, who makes a [`Spec`](crate::Spec) of it. In: patterns, the directory of the start, the caller's home. Out: for each pattern
//! its paths, in order. Never: a symbolic link followed on the way; more paths than can be mounted in a moment.

use crate::{
    error::{Error, Step},
    walk::{Budget, walk},
};
use config::{Dots, FileGlob};
use rustix::fs::FileType;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each is a mount of its own.
const MOST_PATHS: usize = 4096;

/// What is to become of the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// They are shown: wildcards take files and directories, and no name that begins with a dot.
    Show,
    /// They are hidden: wildcards take every name.
    Hide,
}

/// A pattern and its paths: for one without wildcards the one that it is, whether or not there is anything.
#[derive(Debug)]
pub struct Expanded<'a> {
    /// As it is written.
    pub glob: &'a FileGlob,
    /// In order; below none of them is another.
    pub paths: Vec<PathBuf>,
}

/// Expands each. Relative ones are below `directory`, and those with `~` below `home`.
pub fn expand<'a>(
    globs: &'a [FileGlob],
    purpose: Purpose,
    directory: &Path,
    home: Option<&Path>,
) -> Result<Vec<Expanded<'a>>, Error> {
    let mut budget = Budget::new();
    let mut count = 0;
    let mut all = Vec::new();
    for glob in globs {
        let failed = |tried: &'static str| Step::Plan.failed(tried).on(glob);
        let start = glob
            .begins_in(directory, home)
            .ok_or_else(|| failed("know the home directory in").hint_at("set HOME, or write the path in full"))?;
        let paths = match glob.is_plain() {
            true => vec![start],
            false => {
                let hint = "narrow the pattern, or name the directory that holds them";
                matches(glob, purpose, &start, &mut budget).map_err(|error| error.hint_at(hint))?
            }
        };
        count += paths.len();
        if count > MOST_PATHS {
            return Err(failed("take more than 4096 paths, the last of them for")
                .hint_at("name the directories that hold them instead"));
        }
        all.push(Expanded { glob, paths });
    }
    Ok(all)
}

fn matches(glob: &FileGlob, purpose: Purpose, start: &Path, budget: &mut Budget) -> Result<Vec<PathBuf>, Error> {
    let Ok(resolved) = fs::canonicalize(start) else { return Ok(Vec::new()) };
    let dots = if purpose == Purpose::Show { Dots::Named } else { Dots::Any };
    let mut paths = Vec::new();
    // What a directory's name leads to counts at the path that the pattern has for it.
    let named = |path: PathBuf| path.strip_prefix(&resolved).map_or_else(|_| path.clone(), |rest| start.join(rest));
    let closed = walk(resolved.clone(), glob.begin(), budget, |progress, entry| {
        let progress = glob.step(progress, entry.name, dots);
        if !glob.is_match(&progress) {
            return (!progress.is_dead()).then_some(progress);
        }
        let path = entry.path();
        let taken = match (entry.kind, purpose) {
            (FileType::RegularFile | FileType::Directory, _) => true,
            // A link is hidden by hiding what it leads to. A directory it leads to may hold all that is shown.
            (FileType::Symlink, Purpose::Hide) => fs::metadata(&path).is_ok_and(|found| found.is_file()),
            _ => false,
        };
        if taken && paths.len() <= MOST_PATHS {
            paths.push(named(path));
        }
        None
    })?;
    if purpose == Purpose::Hide {
        // There may be anything in them.
        paths.extend(closed.into_iter().map(named));
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in ["src/a", ".git/hooks", "src/.cache"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        for path in ["src/a/x.rs", "src/y.rs", "src/y.key", ".git/hooks/z.rs", ".env", "src/.cache/w.rs"] {
            fs::write(directory.path().join(path), "").unwrap();
        }
        symlink("/usr", directory.path().join("src/usr")).unwrap();
        symlink("y.rs", directory.path().join("src/link.rs")).unwrap();
        directory
    }

    fn expanded(glob: &str, purpose: Purpose, at: &Path) -> Vec<String> {
        let globs = [glob.parse().unwrap()];
        let paths = expand(&globs, purpose, at, Some(at)).unwrap().remove(0).paths;
        paths.iter().map(|path| path.strip_prefix(at).unwrap_or(path).display().to_string()).collect()
    }

    #[test]
    fn to_show_takes_no_dotted_name_and_no_link() {
        let tree = tree();
        let shown = |glob| expanded(glob, Purpose::Show, tree.path());
        assert_eq!(shown("**/*.rs"), ["src/a/x.rs", "src/y.rs"]);
        assert_eq!(shown("*"), ["src"]);
        assert_eq!(shown("~/src/*"), ["src/a", "src/y.key", "src/y.rs"]);
        assert_eq!(shown(".git/*"), [".git/hooks"]);
        assert_eq!(shown("nothing/*"), [""; 0]);
        assert_eq!(shown("nothing"), ["nothing"]);
    }

    #[test]
    fn to_hide_takes_every_name_and_files_that_links_lead_to() {
        let tree = tree();
        let hidden = |glob| expanded(glob, Purpose::Hide, tree.path());
        assert_eq!(hidden("**/*.rs"), [".git/hooks/z.rs", "src/.cache/w.rs", "src/a/x.rs", "src/link.rs", "src/y.rs"]);
        assert_eq!(hidden("**"), [".env", ".git", "src"]);
        assert_eq!(hidden("src/usr"), ["src/usr"]);
        assert_eq!(hidden("src/u*"), [""; 0]);
    }

    #[test]
    fn more_than_can_be_mounted_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..=MOST_PATHS {
            fs::write(directory.path().join(format!("{number}.x")), "").unwrap();
        }
        let error = expand(&["*.x".parse().unwrap()], Purpose::Hide, directory.path(), None).unwrap_err();
        assert!(error.to_string().contains("4096") && error.hint().is_some(), "{error}");
        let error = expand(&["~/x".parse().unwrap()], Purpose::Hide, directory.path(), None).unwrap_err();
        assert!(error.hint().unwrap().contains("HOME"), "{error}");
    }
}
