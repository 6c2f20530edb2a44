//! The spec read against this machine: which user, which paths, each decided before anything is made.
//!
//! For: both processes; the child inherits it by the fork. In: a [`Spec`], the file system, who we are. Out: a [`Plan`] whose
//! paths are absolute, resolved and ordered. Never: a change to anything.

use crate::{
    closed,
    cover::{self, Cover, Strictness},
    error::{Error, Step},
    filesystem, landlock, outlets, overlay, own,
    secrets::{self, Search},
    spec::{Layered, Spec},
    status::HiddenInForce,
};
use rustix::process::{getegid, geteuid};
use std::{
    collections::BTreeSet,
    fs, io,
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
    /// Places inside that are covered or pinned, shallow ones first.
    pub covers: Vec<Cover>,
    /// Directories above those that the command could open if they were closed.
    pub openable: BTreeSet<PathBuf>,
    /// What they hide, for the log.
    pub hidden: HiddenInForce,
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
    /// Where what is written goes instead.
    pub layer: Option<PathBuf>,
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
        for path in &spec.write {
            add(&mut binds, Bind::of(path, true, user)?);
        }
        for layered in &spec.overlay {
            let bind = Bind::of(&layered.tree, true, user)?.below(layered, user)?;
            if binds.iter().any(|other| other.target == bind.target) {
                return Err(Step::Plan
                    .failed("both write to and leave unchanged")
                    .on(bind.target.display())
                    .hint_at("list it under `write` or under `overlay`"));
            }
            add(&mut binds, bind);
        }
        for path in &spec.read {
            add(&mut binds, Bind::of(path, false, user)?);
        }
        if !binds.iter().any(|bind| working_directory.starts_with(&bind.target)) {
            refuse_home(&working_directory)?;
            add(&mut binds, Bind::of(&working_directory, false, user)?);
        }
        binds.sort_by_key(|bind| bind.target.components().count());
        refuse_planted_links(&binds)?;
        let (covers, hidden) = hide(spec, &binds, &working_directory)?;
        let openable = closed::openable(&covers, &binds, user);
        Ok(Self { user, binds, covers, openable, hidden, working_directory })
    }

    pub fn layered(&self) -> impl Iterator<Item = &Bind> {
        self.binds.iter().filter(|bind| bind.layer.is_some())
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

/// Everything that is not to be seen, and why that is so.
fn hide(spec: &Spec, binds: &[Bind], working_directory: &Path) -> Result<(Vec<Cover>, HiddenInForce), Error> {
    // The closed directory, by whatever path it is named.
    let closed_within = |path: &Path| {
        let closed = path.ancestors().skip(1).find_map(|above| fs::canonicalize(above).ok());
        closed.is_some_and(|closed| binds.iter().any(|bind| closed.starts_with(&bind.source)))
    };
    let mut by_policy = BTreeSet::new();
    for path in &spec.conceal {
        match fs::canonicalize(path) {
            Ok(path) => drop(by_policy.insert(path)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && closed_within(path) => {
                return Err(cover::unseen(path, error));
            }
            Err(_) => {}
        }
    }
    let search = match spec.find_secrets {
        true => Search::Whole,
        false if landlock::keeps_sockets(spec.nested) => Search::No,
        false => Search::Outlets,
    };
    let mut secrets = secrets::find(binds, &homes(spec), search)?;
    secrets.outlets.append(&mut outlets::listed(binds));
    let all: BTreeSet<PathBuf> = [&by_policy, &secrets.listed, &secrets.found].into_iter().flatten().cloned().collect();
    let linked = secrets::other_names(binds, &all)?;
    let mut hide = Vec::new();
    for (paths, strictness) in [
        (linked, Strictness::Name),
        (secrets.found, Strictness::Name),
        (secrets.outlets, Strictness::Outlet),
        (secrets.listed, Strictness::Path),
        (by_policy, Strictness::Path),
        (own::places(&spec.hide, binds)?, Strictness::Own),
    ] {
        hide.extend(paths.into_iter().map(|path| (path, strictness)));
    }
    own::keep(&spec.relied_on, &spec.hide, binds)?;
    let covers = cover::covers(&hide, binds, working_directory, spec.nested)?;
    let looked_at = spec.find_secrets.then_some(secrets.looked_at);
    let hidden = HiddenInForce::of(&covers, looked_at);
    Ok((covers, hidden))
}

/// Where people live, as far as secrets of theirs could be shown.
fn homes(spec: &Spec) -> BTreeSet<PathBuf> {
    let mut homes: BTreeSet<PathBuf> =
        spec.home.iter().flat_map(|home| [Some(home.clone()), fs::canonicalize(home).ok()]).flatten().collect();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    homes.extend(accounts.lines().filter_map(|line| Some(PathBuf::from(line.split(':').nth(5)?))));
    // Of accounts that are programs'.
    homes.retain(|home| home.components().count() > 1 && !filesystem::is_program(home));
    homes
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
        Ok(Self { source, target, write, directory: found.is_dir(), idmapped, layer: None })
    }

    /// The same under a layer.
    fn below(self, layered: &Layered, user: User) -> Result<Self, Error> {
        overlay::judge(&self, &layered.layer, user)?;
        Ok(Self { layer: Some(layered.layer.clone()), ..self })
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
        for outer in binds.iter().filter(|outer| outer.write && outer.layer.is_none()) {
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
            overlay: Vec::new(),
            hide: Vec::new(),
            relied_on: Vec::new(),
            conceal: Vec::new(),
            home: None,
            find_secrets: true,
            nested: false,
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
