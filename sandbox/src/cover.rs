//! What is kept out of sight within what is shown, by a mount on its very place.
//!
//! For: `plan`, which says what; `filesystem`, once all is placed. In: paths to hide, what is shown. Out: an empty directory or an empty file at
//! each, which can be neither written, renamed nor removed. Never: a path hidden in one place and shown in another; a link followed.

use crate::{
    closed,
    error::{Error, Step},
    filesystem::{self, attach, copy_of, copy_of_all, fresh, restricted},
    plan::Bind,
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2},
    io::Errno,
    mount::{MoveMountFlags, UnmountFlags, move_mount, unmount},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Each is a mount: four thousand take some tens of milliseconds, and a namespace holds no more than a hundred thousand.
const MOST: usize = 4096;

/// In the new root as long as that can be written. A path of the machine that is shown would not be called so.
const STAGE: &str = "/.stage";

/// What is to be hidden, and how strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Exeat's own: nothing within may be shown, nor may the command start there.
    Own,
    /// Hidden by its path, which has to stay its own; what is named within is shown.
    Path,
    /// Hidden wherever it is found by its name at the next start, too; so what is above it may be renamed.
    Name,
    /// The same for what leads out, also among the system's own.
    Outlet,
}

/// A place that is mounted over, which also keeps it from being renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    /// With nothing.
    Hidden(Hidden),
    /// With itself: it is writable and above a hidden one, and were it renamed, another could be put in its place.
    Pinned(PathBuf),
}

/// A place with nothing in it but what is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub path: PathBuf,
    pub directory: bool,
    /// Device and inode of what was there when it was decided to hide it; unknown under a layer, which has numbers of its own.
    pub was: Option<(u64, u64)>,
    /// Shown nevertheless, and whether it is a directory.
    pub kept: Vec<(PathBuf, bool)>,
}

impl Cover {
    pub fn path(&self) -> &Path {
        match self {
            Self::Hidden(hidden) => &hidden.path,
            Self::Pinned(path) => path,
        }
    }
}

/// Where the hidden would show inside. Shallow ones first.
pub(crate) fn covers(
    hide: &[(PathBuf, Strictness)],
    binds: &[Bind],
    working_directory: &Path,
    nested: bool,
) -> Result<Vec<Cover>, Error> {
    // Pinned once: a second time would put what is below it in sight again.
    let mut pinned: BTreeSet<PathBuf> = BTreeSet::new();
    let mut places: BTreeMap<PathBuf, Hidden> = BTreeMap::new();
    for (hidden, strictness) in hide {
        let found = match fs::symlink_metadata(hidden) {
            Ok(found) => found,
            // It may be gone by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unseen(hidden, error)),
        };
        if filesystem::is_program(hidden) && *strictness != Strictness::Name {
            // The system's own directories are shown at the paths that they have.
            places.insert(hidden.clone(), Hidden::of(hidden.clone(), &found, false, binds));
        }
        for bind in binds {
            if *strictness == Strictness::Own && bind.source.starts_with(hidden) {
                return Err(Step::Plan
                    .failed("show the sandbox, with what is kept from it,")
                    .on(bind.target.display())
                    .hint_at(
                        "exeat's own configuration or state is there: start from another directory, or move them",
                    ));
            }
            let Ok(rest) = hidden.strip_prefix(&bind.source) else { continue };
            let target: PathBuf = bind.target.join(rest).components().collect();
            if deepest(&target, binds) != Some(bind) {
                continue; // something else is shown there
            }
            if working_directory.starts_with(&target)
                && deepest(working_directory, binds).is_none_or(|shown| !is_below(&shown.target, &target))
            {
                return Err(Step::Plan
                    .failed("start in what the policy hides,")
                    .on(working_directory.display())
                    .hint_at("start from another directory, or take it out of `hide`"));
            }
            if matches!(strictness, Strictness::Own | Strictness::Path) && bind.write && bind.layer.is_none() {
                // In a namespace of its own where nothing is mounted there, a command may rename what is mounted over here.
                if nested {
                    return Err(Step::Plan
                        .failed("keep hidden, in a directory that may be written to, from a command with `nested`")
                        .on(target.display())
                        .hint_at("put the directory under `overlay` or `read`, or move what is hidden out of it"));
                }
                let between = target.ancestors().skip(1).take_while(|above| *above != bind.target);
                let mounted = |above: &Path| binds.iter().any(|bind| bind.target == above);
                pinned.extend(between.filter(|above| !mounted(above)).map(Path::to_owned));
            }
            places.insert(target.clone(), Hidden::of(target, &found, bind.layer.is_some(), binds));
        }
    }
    pinned.retain(|path| !places.contains_key(path) && !is_covered(path, &places));
    let shown = |hidden: &&Hidden| !is_covered(&hidden.path, &places);
    let mut covers: Vec<Cover> = places.values().filter(shown).cloned().map(Cover::Hidden).collect();
    covers.extend(pinned.into_iter().map(Cover::Pinned));
    covers.sort_by_key(|cover| cover.path().components().count());
    if covers.len() > MOST {
        return Err(Step::Plan
            .failed(format!("hide {} files and directories, more than {MOST}, one of them", covers.len()))
            .on(covers.last().map_or(Path::new(""), Cover::path).display())
            .hint_at("hide the directories that hold them"));
    }
    Ok(covers)
}

/// An earlier command may have closed a directory above it, and this one would open it again.
pub(crate) fn unseen(path: &Path, error: io::Error) -> Error {
    Step::Plan
        .failed("see, to hide it,")
        .on(path.display())
        .because(error)
        .hint_at("make the directories above it accessible to whoever starts exeat, or take it out of what is shown")
}

impl Hidden {
    fn of(path: PathBuf, found: &fs::Metadata, layered: bool, binds: &[Bind]) -> Self {
        let kept = binds.iter().filter(|bind| is_below(&bind.target, &path));
        let kept = kept.map(|bind| (bind.target.clone(), bind.directory)).collect();
        let was = (!layered).then(|| (found.dev(), found.ino()));
        Self { path, directory: found.is_dir(), was, kept }
    }
}

fn is_below(path: &Path, above: &Path) -> bool {
    path != above && path.starts_with(above)
}

/// What is in sight at a path.
pub(crate) fn deepest<'a>(path: &Path, binds: &'a [Bind]) -> Option<&'a Bind> {
    binds.iter().filter(|bind| path.starts_with(&bind.target)).max_by_key(|bind| bind.target.components().count())
}

/// What lies below a hidden directory is gone with it, unless it is in something that is kept.
fn is_covered(path: &Path, places: &BTreeMap<PathBuf, Hidden>) -> bool {
    let mut above = path.ancestors().skip(1).filter_map(|above| places.get(above));
    above.any(|hidden| hidden.directory && !hidden.kept.iter().any(|(kept, _)| path.starts_with(kept)))
}

/// Mounts them. All that is shown has its place by now.
pub(crate) fn place(covers: &[Cover], openable: &BTreeSet<PathBuf>) -> Result<(), Error> {
    if covers.is_empty() {
        return Ok(());
    }
    let failed = |error: io::Error| Step::Filesystem.failed("make what hides things").because(error);
    // An empty directory and an empty file, which all of them are copies of.
    let blank = fresh("tmpfs", &[("mode", "0555"), ("size", "4k")], filesystem::READ_WRITE)?;
    let stage = Path::new(STAGE);
    fs::create_dir(stage).map_err(failed)?;
    attach(&blank, stage).map_err(|errno| failed(errno.into()))?;
    fs::create_dir(stage.join("directory")).map_err(failed)?;
    fs::write(stage.join("file"), "").map_err(failed)?;
    for (name, mode) in [("directory", 0o555), ("file", 0o444)] {
        fs::set_permissions(stage.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).map_err(failed)?;
    }
    restricted(blank, filesystem::READ_ONLY, stage)?;
    for cover in covers {
        let path = cover.path();
        let failed = |errno: Errno| Step::Filesystem.failed("cover").on(path.display()).because(errno);
        match cover {
            Cover::Pinned(path) => match copy_of_all(path) {
                // Where the command cannot get to, it renames nothing; what is hidden below is not covered either, and whether it has to be is asked there.
                Err(error) if error.errno() == Some(Errno::ACCESS) => {}
                tree => attach(&tree?, path).map_err(failed)?,
            },
            Cover::Hidden(hidden) => {
                let Some(place) = hidden
                    .place()
                    .map_err(|errno| failed(errno).hint_at("it was changed while the sandbox was made: start again"))?
                else {
                    closed::stays(path, openable)?;
                    continue;
                };
                let tree = match hidden.kept.is_empty() {
                    true => copy_of(&stage.join(if hidden.directory { "directory" } else { "file" }))?,
                    false => hidden.with_what_is_kept()?,
                };
                let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                let kept = hidden.kept_trees()?;
                move_mount(tree.as_fd(), "", place.as_fd(), "", onto).map_err(failed)?;
                for (path, tree) in kept {
                    attach(&tree, path).map_err(failed)?;
                }
            }
        }
    }
    unmount(stage, UnmountFlags::DETACH).map_err(|errno| failed(errno.into()))?;
    fs::remove_dir(stage).map_err(failed)
}

impl Hidden {
    /// What is to be covered, held. `None` where this process cannot get to it, and so the command cannot as things are.
    fn place(&self) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = match openat2(CWD, &self.path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Err(Errno::ACCESS) => return Ok(None),
            place => place?,
        };
        let found = fstat(&place)?;
        let is = (found.st_dev, found.st_ino);
        if self.was.is_some_and(|was| was != is) {
            return Err(Errno::STALE);
        }
        Ok(Some(place))
    }

    /// The mounts below it that stay in sight.
    fn kept_trees(&self) -> Result<Vec<(&Path, OwnedFd)>, Error> {
        let shallow: BTreeSet<&Path> = self.kept.iter().map(|(path, _)| path.as_path()).collect();
        let outermost = shallow.iter().filter(|path| !path.ancestors().skip(1).any(|above| shallow.contains(above)));
        outermost.map(|path| Ok((*path, copy_of_all(path)?))).collect()
    }

    /// An empty directory with nothing but places for them.
    fn with_what_is_kept(&self) -> Result<OwnedFd, Error> {
        let failed =
            |error: io::Error| Step::Filesystem.failed("make places within").on(self.path.display()).because(error);
        let tree = fresh("tmpfs", &[("mode", "0755"), ("size", "1m")], filesystem::READ_WRITE)?;
        let stage = &Path::new(STAGE).join("directory");
        attach(&tree, stage).map_err(|errno| failed(errno.into()))?;
        for (path, directory) in &self.kept {
            let Ok(rest) = path.strip_prefix(&self.path) else { continue };
            let place = stage.join(rest);
            fs::create_dir_all(if *directory { &place } else { place.parent().unwrap_or(stage) }).map_err(failed)?;
            if !directory {
                fs::write(&place, "").map_err(failed)?;
            }
        }
        let copy = restricted(copy_of(stage)?, filesystem::READ_ONLY, &self.path)?;
        unmount(stage, UnmountFlags::DETACH).map_err(|errno| failed(errno.into()))?;
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &Path, target: &Path, write: bool) -> Bind {
        let (source, target) = (source.to_owned(), target.to_owned());
        Bind { directory: source.is_dir(), source, target, write, idmapped: false, layer: None }
    }

    fn tree(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let top = directory.path().to_owned();
        (directory, top)
    }

    fn hiding(top: &Path, paths: &[&str], strictness: Strictness, binds: &[Bind]) -> Result<Vec<String>, Error> {
        let hide: Vec<_> = paths.iter().map(|path| (top.join(path), strictness)).collect();
        let covers = covers(&hide, binds, top, false)?;
        let told = |cover: &Cover| {
            let path = cover.path().strip_prefix(top).unwrap_or(cover.path()).display().to_string();
            match cover {
                Cover::Pinned(_) => format!("pin {path}"),
                Cover::Hidden(hidden) => {
                    format!("{path}{}{}", if hidden.directory { "/" } else { "" }, "+".repeat(hidden.kept.len()))
                }
            }
        };
        Ok(covers.iter().map(told).collect())
    }

    #[test]
    fn what_is_above_a_hidden_path_is_pinned_where_it_can_be_renamed_and_matters() {
        let (_directory, top) = tree(&["a/b/s", "a/t"]);
        let at = |strictness, write| hiding(&top, &["a/b/s", "a/t"], strictness, &[bind(&top, &top, write)]).unwrap();
        assert_eq!(at(Strictness::Path, true), ["pin a", "a/t", "pin a/b", "a/b/s"]);
        assert_eq!(at(Strictness::Path, false), ["a/t", "a/b/s"]);
        assert_eq!(at(Strictness::Name, true), ["a/t", "a/b/s"]);
        let layered = Bind { layer: Some("/layer".into()), ..bind(&top, &top, true) };
        assert_eq!(hiding(&top, &["a/b/s"], Strictness::Path, &[layered]).unwrap(), ["a/b/s"]);
        let mounted = [bind(&top, &top, true), bind(&top.join("a"), &top.join("a"), true)];
        assert_eq!(hiding(&top, &["a/b/s"], Strictness::Path, &mounted).unwrap(), ["pin a/b", "a/b/s"]);
    }

    #[test]
    fn what_is_below_a_hidden_directory_is_gone_with_it_but_for_what_is_named() {
        let (_directory, top) = tree(&["a/b/s", "a/c/s"]);
        let whole = [bind(&top, &top, true)];
        for order in [["a", "a/b/s"], ["a/b/s", "a"]] {
            assert_eq!(hiding(&top, &order, Strictness::Path, &whole).unwrap(), ["a/"]);
        }
        let named = [bind(&top, &top, true), bind(&top.join("a/b"), &top.join("a/b"), false)];
        assert_eq!(hiding(&top, &["a", "a/b/s", "a/c/s"], Strictness::Path, &named).unwrap(), ["a/+", "a/b/s"]);
        assert_eq!(hiding(&top, &["a/b"], Strictness::Path, &named).unwrap(), ["a/b/"]);
    }

    #[test]
    fn it_is_hidden_wherever_it_would_show_and_only_there() {
        let (_directory, top) = tree(&["a/s", "b/s"]);
        let twice = [bind(&top.join("a"), &top, false), bind(&top.join("a"), Path::new("/elsewhere"), false)];
        assert_eq!(hiding(&top, &["a/s"], Strictness::Path, &twice).unwrap(), ["/elsewhere/s", "s"]);
        // Something else is shown at the path that it has.
        let other = [bind(&top, &top, false), bind(&top.join("b"), &top.join("a"), false)];
        assert_eq!(hiding(&top, &["a/s"], Strictness::Path, &other).unwrap(), [""; 0]);
        assert_eq!(hiding(&top, &["gone", "a/gone"], Strictness::Path, &other).unwrap(), [""; 0]);
        let lib = hiding(Path::new("/usr"), &["lib"], Strictness::Own, &[]).unwrap();
        assert_eq!(lib, ["lib/"]);
    }

    #[test]
    fn nobody_starts_in_what_is_hidden_nor_shows_what_is_exeats_own() {
        let (_directory, top) = tree(&["a/s"]);
        let whole = [bind(&top, &top, true)];
        assert!(hiding(&top, &[""], Strictness::Path, &whole).is_err());
        assert!(hiding(&top, &[""], Strictness::Own, &whole).is_err());
        let inner = [bind(&top, &top, true), bind(&top.join("a"), &top.join("a"), false)];
        assert!(hiding(&top, &["a"], Strictness::Own, &inner).is_err());
        assert!(hiding(&top, &["a"], Strictness::Path, &inner).is_ok());
        let hide = [(top.clone(), Strictness::Path)];
        assert!(covers(&hide, &inner, &top.join("a"), false).is_ok());
    }

    #[test]
    fn only_what_was_judged_is_covered() {
        let (_directory, top) = tree(&["a", "b"]);
        std::os::unix::fs::symlink("a", top.join("link")).unwrap();
        let found = fs::metadata(top.join("a")).unwrap();
        let hidden = |name: &str| Hidden::of(top.join(name), &found, false, &[]);
        assert!(hidden("a").place().unwrap().is_some());
        assert_eq!(hidden("b").place().err(), Some(Errno::STALE));
        assert_eq!(hidden("link").place().err(), Some(Errno::LOOP));
        assert_eq!(hidden("gone").place().err(), Some(Errno::NOENT));
    }

    #[test]
    fn more_than_can_be_mounted_is_refused() {
        let (_directory, top) = tree(&[]);
        let hide: Vec<_> = (0..=MOST).map(|number| (top.join(number.to_string()), Strictness::Name)).collect();
        hide.iter().for_each(|(path, _)| fs::write(path, "").unwrap());
        let error = covers(&hide, &[bind(&top, &top, true)], &top, false).unwrap_err();
        assert!(error.to_string().contains("4096"), "{error}");
    }
}
