//! The spec read against this machine: which user, which paths, each decided before anything is made.
//!
//! For: both processes; the child inherits it by the fork. In: a [`Spec`], the file system, who we are. Out: a [`Plan`] whose
//! paths are absolute, resolved and ordered. Never: a change to anything.

use crate::{
    error::{Error, Step},
    filesystem,
    spec::Spec,
};
use rustix::process::{getegid, geteuid};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// What will be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub user: User,
    /// Shallow paths first, so that a deeper one is mounted over the shallower.
    pub binds: Vec<Bind>,
    /// Directories inside that are covered, after those above them that are pinned.
    pub covers: Vec<Cover>,
    /// Also among `binds`, or below one.
    pub working_directory: PathBuf,
}

/// Whom the command runs as, by the same number inside and outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
    /// Started by root: another user than ours, and root's files in write paths are shown as its own.
    pub from_root: bool,
}

/// One path of the machine, shown inside at the path it was named by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
    pub write: bool,
    pub directory: bool,
    pub idmapped: bool,
}

impl Plan {
    pub fn of(spec: &Spec) -> Result<Self, Error> {
        if spec.command.is_empty() {
            return Err(Step::Plan.failed("run nothing").hint_at("name a command"));
        }
        let working_directory = spec.working_directory.clone();
        let owner = fs::metadata(&working_directory).map_err(|error| {
            Step::Plan.failed("use the working directory").on(working_directory.display()).because(error)
        })?;
        if !owner.is_dir() {
            return Err(Step::Plan
                .failed("use as working directory what is no directory")
                .on(working_directory.display()));
        }
        let user = User::for_directory(&owner);
        let mut binds = Vec::new();
        for (paths, write) in [(&spec.write, true), (&spec.read, false)] {
            for path in paths {
                add(&mut binds, Bind::of(path, write, user)?);
            }
        }
        if !binds.iter().any(|bind| working_directory.starts_with(&bind.target)) {
            refuse_home(&working_directory)?;
            add(&mut binds, Bind::of(&working_directory, false, user)?);
        }
        binds.sort_by_key(|bind| bind.target.components().count());
        refuse_planted_links(&binds)?;
        let covers = covers(&spec.hide, &binds)?;
        Ok(Self { user, binds, covers, working_directory })
    }

    pub fn idmapped(&self) -> impl Iterator<Item = &Bind> {
        self.binds.iter().filter(|bind| bind.idmapped)
    }
}

/// Equal paths: the first, which is the writable one, stays.
fn add(binds: &mut Vec<Bind>, bind: Bind) {
    if !binds.iter().any(|other| other.target == bind.target) {
        binds.push(bind);
    }
}

impl User {
    fn for_directory(directory: &fs::Metadata) -> Self {
        let ours = geteuid().as_raw();
        if ours != 0 {
            return Self { uid: ours, gid: getegid().as_raw(), from_root: false };
        }
        let uid = if directory.uid() == 0 { NOBODY } else { directory.uid() };
        // The owner's own group, never one (like docker) that the directory happens to be in.
        let gid = account(uid).map_or(NOBODY, |account| account.gid);
        Self { uid, gid: if gid == 0 { NOBODY } else { gid }, from_root: true }
    }
}

impl Bind {
    fn of(path: &Path, write: bool, user: User) -> Result<Self, Error> {
        let failed = |tried: &'static str| Step::Plan.failed(tried).on(path.display());
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(failed("bind a path that is not absolute and plain").hint_at("write it without `..`"));
        }
        let source = fs::canonicalize(path).map_err(|error| {
            failed("find").because(error).hint_at("make it, or take it out of the policy's read and write lists")
        })?;
        let target: PathBuf = path.components().collect();
        if [&source, &target].into_iter().any(|path| is_system(path)) {
            return Err(failed("show the sandbox").hint_at(
                "it holds the machine's sockets, devices or secrets; name the directories below it that are needed",
            ));
        }
        let found = fs::metadata(&source).map_err(|error| failed("look at").because(error))?;
        if !found.is_dir() && !found.is_file() {
            let hint = if found.file_type().is_socket() {
                "a socket would be a way out that nobody judges"
            } else {
                "only files and directories can be shown to the sandbox"
            };
            return Err(failed("show the sandbox").hint_at(hint));
        }
        let idmapped = write && user.from_root && found.uid() == 0;
        Ok(Self { source, target, write, directory: found.is_dir(), idmapped })
    }
}

/// Paths which the sandbox has its own of, or which hold the machine's.
fn is_system(path: &Path) -> bool {
    let whole = ["/", "/etc", "/run", "/tmp", "/var", "/var/run", "/var/tmp", "/home"];
    let below = ["/proc", "/sys", "/dev"];
    whole.iter().any(|system| path == Path::new(system)) || below.iter().any(|system| path.starts_with(system))
}

/// A home directory is full of keys: it is shown only where the policy names it.
fn refuse_home(directory: &Path) -> Result<(), Error> {
    match account(geteuid().as_raw()) {
        Some(account) if Path::new(&account.home) == directory => Err(Step::Plan
            .failed("run in the home directory")
            .on(directory.display())
            .hint_at("start from the project's directory, or list this one under `read` if all of it may be seen")),
        _ => Ok(()),
    }
}

/// A path below a writable one must be what it seems: an earlier command may have put a symbolic link there, to have
/// another part of the machine shown to the next one.
fn refuse_planted_links(binds: &[Bind]) -> Result<(), Error> {
    for inner in binds {
        for outer in binds.iter().filter(|outer| outer.write) {
            if let Ok(rest) = inner.target.strip_prefix(&outer.target)
                && inner.source != outer.source.join(rest).components().collect::<PathBuf>()
            {
                return Err(Step::Plan
                    .failed("follow a symbolic link that the command could have made")
                    .on(inner.target.display())
                    .hint_at("name the path it leads to"));
            }
        }
    }
    Ok(())
}

/// A directory that is mounted over, which also keeps it from being renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    /// With an empty one.
    Empty(PathBuf),
    /// With itself: it is writable and above a hidden one, and were it renamed, another could be put in its place.
    Pinned(PathBuf),
}

/// Where hidden directories would show inside.
fn covers(hide: &[PathBuf], binds: &[Bind]) -> Result<Vec<Cover>, Error> {
    let hide: BTreeSet<PathBuf> = hide.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    let outermost = hide.iter().filter(|path| !path.ancestors().skip(1).any(|above| hide.contains(above)));
    let mut covers = Vec::new();
    for hidden in outermost {
        // The system's own directories are shown at the paths that they have.
        covers.extend(filesystem::is_program(hidden).then(|| Cover::Empty(hidden.clone())));
        for bind in binds {
            if bind.source.starts_with(hidden) {
                return Err(Step::Plan
                    .failed("show the sandbox, with what is kept from it,")
                    .on(bind.target.display())
                    .hint_at(
                        "exeat's own configuration or state is there: start from another directory, or move them",
                    ));
            }
            let Ok(rest) = hidden.strip_prefix(&bind.source) else { continue };
            let target = bind.target.join(rest);
            let between = target.ancestors().skip(1).take_while(|above| *above != bind.target);
            let mut above: Vec<_> = between.map(|above| Cover::Pinned(above.to_owned())).collect();
            // Pinned once: a second time would put what is below it in sight again.
            above.retain(|pinned| !covers.contains(pinned));
            covers.extend(above.into_iter().rev());
            covers.push(Cover::Empty(target));
        }
    }
    Ok(covers)
}

/// A line of /etc/passwd. The file is read as text: no library that would load modules before a fork.
struct Account {
    gid: u32,
    home: String,
}

fn account(uid: u32) -> Option<Account> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let mine = fields.get(2)?.parse() == Ok(uid);
        mine.then_some(Account { gid: fields.get(3)?.parse().ok()?, home: (*fields.get(5)?).to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn spec(directory: &Path, read: &[&Path], write: &[&Path]) -> Spec {
        let paths = |paths: &[&Path]| paths.iter().map(|path| path.to_path_buf()).collect();
        Spec {
            command: vec!["true".into()],
            working_directory: directory.to_path_buf(),
            read: paths(read),
            write: paths(write),
            hide: Vec::new(),
            limits: crate::Limits::default(),
            trust: crate::Trust::default(),
            ports: [].into(),
            capture: crate::CaptureChoice::Best,
        }
    }

    #[test]
    fn write_wins_over_read_and_the_deeper_path_comes_later() {
        let directory = tempfile::tempdir().unwrap();
        let (top, below) = (directory.path(), directory.path().join("below"));
        fs::create_dir(&below).unwrap();
        let plan = Plan::of(&spec(top, &[&below, top], &[top])).unwrap();
        let seen: Vec<_> = plan.binds.iter().map(|bind| (bind.target.as_path(), bind.write)).collect();
        assert_eq!(seen, [(top, true), (below.as_path(), false)]);
    }

    #[test]
    fn a_hidden_directory_is_covered_wherever_it_would_show_and_is_never_the_place_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let (top, below) = (directory.path(), directory.path().join("below/state"));
        fs::create_dir_all(&below).unwrap();
        let hiding = |at: &Path, hidden: &Path| Plan::of(&Spec { hide: vec![hidden.to_owned()], ..spec(at, &[], &[]) });
        let covers = [Cover::Pinned(top.join("below")), Cover::Empty(below.clone())];
        assert_eq!(hiding(top, &below).unwrap().covers, covers);
        assert!(hiding(top, Path::new("/nonexistent")).unwrap().covers.is_empty());
        assert!(hiding(top, Path::new("/usr/lib")).unwrap().covers.contains(&Cover::Empty("/usr/lib".into())));
        let two = Spec { hide: vec![below.clone(), top.join("below"), top.join("below/other")], ..spec(top, &[], &[]) };
        fs::create_dir(top.join("below/other")).unwrap();
        assert_eq!(Plan::of(&two).unwrap().covers, [Cover::Empty(top.join("below"))]);
        let siblings = Spec { hide: vec![below.clone(), top.join("below/other")], ..spec(top, &[], &[]) };
        let pins = Plan::of(&siblings).unwrap().covers.into_iter().filter(|cover| matches!(cover, Cover::Pinned(_)));
        assert_eq!(pins.count(), 1);
        assert!(hiding(&below, &below).is_err());
        assert!(hiding(&below, top).is_err());
    }

    #[test]
    fn the_machines_own_directories_and_sockets_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [Path::new("/"), Path::new("/etc"), Path::new("/proc/1"), Path::new("/dev"), &socket] {
            assert!(Plan::of(&spec(directory.path(), &[path], &[])).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_link_planted_in_a_writable_directory_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("vendor");
        symlink("/usr", &link).unwrap();
        assert!(Plan::of(&spec(directory.path(), &[&link], &[])).is_ok());
        let error = Plan::of(&spec(directory.path(), &[&link], &[directory.path()])).err().unwrap();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}
