//! A private root: the machine's programs read-only, the paths the spec names, and nothing else of the machine.
//!
//! For: `child`. In: a mount namespace still full of the machine, a plan. Out: a root of our own, read-only but for scratch
//! space and the write paths. Never: a path of the machine resolved after the pivot; what is shown is taken as detached
//! mounts before it.

use crate::{
    cover,
    error::{Error, Step},
    etc,
    message::Channel,
    namespace,
    overlay::Layers,
    plan::Plan,
    spec::Spec,
    stores,
    sys::{self, MountAttributes},
    trust,
};
use rustix::{
    fs::{CWD, Mode, OFlags, open},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_remount, move_mount, open_tree, unmount,
    },
    process::{chdir, fchdir, pivot_root, umask},
};
use std::{
    collections::HashSet,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// The home directory inside: empty, writable, gone afterwards.
pub const HOME: &str = "/home/agent";

/// What is the sandbox's own to write to.
pub(crate) const SCRATCH: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", HOME];

/// Where the machine keeps programs and what they need. Links among them are kept as links.
const PROGRAMS: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store"];
/// Below /dev.
pub(crate) const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
/// Parts of /proc about the machine, not about the sandbox: hidden, or at least not to be written.
const HIDDEN_IN_PROC: &[&str] = &[
    "acpi",
    "asound",
    "cmdline",
    "interrupts",
    "kallsyms",
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "scsi",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];
/// The rest of /proc that may be written at all is for the machine's root, who is not in here.
const READ_ONLY_IN_PROC: &[&str] = &["sys"];

pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
pub(crate) const READ_WRITE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// The permission bit of those who are neither the owner nor of the group.
const FOR_EVERYONE: u32 = 0o004;
/// Files of the system up to this size are copied: that is quicker than a mount, of which /etc alone would have dozens.
const COPIED: u64 = 32 * 1024;

/// Whether a path is the system's, and so shown as it is.
pub(crate) fn is_program(path: &Path) -> bool {
    PROGRAMS.iter().any(|program| path.starts_with(program))
}

/// What was taken from the machine, to be placed in the new root.
pub(crate) struct Sources {
    pieces: Vec<Piece>,
    trusted: trust::OfMachine,
    working_directory: OwnedFd,
}

struct Piece {
    target: PathBuf,
    what: What,
}

enum What {
    Link(PathBuf),
    Copy(Vec<u8>),
    Tree { tree: OwnedFd, directory: bool },
    Layered(Layers),
}

impl Sources {
    /// Takes everything, as the user who started exeat: the command's user may not be able to get at it.
    pub fn take(plan: &Plan, spec: &Spec, idmapped: Vec<OwnedFd>) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let programs = PROGRAMS.iter().map(PathBuf::from);
        for path in programs.chain(etc::shown()) {
            pieces.extend(Piece::of_system(path)?);
        }
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            let tree = restricted(detached_of_system(&path)?, DEVICE, &path)?;
            pieces.push(Piece { target: path, what: What::Tree { tree, directory: false } });
        }
        let mut idmapped = idmapped.into_iter();
        for bind in &plan.binds {
            let ready = if bind.idmapped { idmapped.next() } else { None };
            if let Some(layer) = &bind.layer {
                pieces.push(Piece {
                    target: bind.target.clone(),
                    what: What::Layered(Layers::take(bind, layer, ready)?),
                });
                continue;
            }
            let attributes = if bind.write { READ_WRITE } else { READ_ONLY };
            let tree =
                ready.map_or_else(|| restricted(namespace::detached(&bind.source)?, attributes, &bind.source), Ok)?;
            pieces.push(Piece { target: bind.target.clone(), what: What::Tree { tree, directory: bind.directory } });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let working_directory = open(&plan.working_directory, flags, Mode::empty()).map_err(|errno| {
            Step::Filesystem.failed("open the working directory").on(plan.working_directory.display()).because(errno)
        })?;
        Ok(Self { pieces, trusted: trust::take(&spec.trust)?, working_directory })
    }
}

impl Piece {
    /// A part of the system, read-only; `None` where this machine has no such thing.
    fn of_system(path: PathBuf) -> Result<Option<Self>, Error> {
        let failed = |error: io::Error| Step::Filesystem.failed("look at").on(path.display()).because(error);
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed)?,
        };
        let what = if found.is_symlink() {
            What::Link(fs::read_link(&path).map_err(failed)?)
        } else if found.permissions().mode() & FOR_EVERYONE == 0 {
            return Ok(None);
        } else if found.is_file() && found.len() <= COPIED {
            What::Copy(fs::read(&path).map_err(failed)?)
        } else {
            What::Tree { tree: restricted(detached_of_system(&path)?, READ_ONLY, &path)?, directory: found.is_dir() }
        };
        Ok(Some(Self { target: path, what }))
    }

    /// `made` are directories that are there already.
    fn place(self, made: &mut HashSet<PathBuf>) -> Result<(), Error> {
        let failed = |errno: Errno| Step::Filesystem.failed("place inside").on(self.target.display()).because(errno);
        let failed_io =
            |error: io::Error| Step::Filesystem.failed("make a place for").on(self.target.display()).because(error);
        if let Some(parent) = self.target.parent()
            && !made.contains(parent)
        {
            fs::create_dir_all(parent).map_err(failed_io)?;
            made.insert(parent.to_owned());
        }
        match self.what {
            What::Link(to) => symlink(to, &self.target).map_err(failed_io),
            What::Copy(bytes) => fs::write(&self.target, bytes).map_err(failed_io),
            What::Layered(layers) => {
                fs::create_dir_all(&self.target).map_err(failed_io)?;
                attach(&layers.join(&self.target)?, &self.target).map_err(failed)
            }
            What::Tree { tree, directory } => {
                if directory {
                    fs::create_dir_all(&self.target).map_err(failed_io)?;
                } else if !self.target.exists() {
                    fs::write(&self.target, "").map_err(failed_io)?;
                }
                attach(&tree, &self.target).map_err(failed)
            }
        }
    }
}

/// What is let go of as a whole once the new root is filled, as the kernel waits for all processors each time: scratch space as one, and the
/// machine's certificates. A path of the machine that is shown would not be called so.
const STAGE: &str = "/.parts";
/// Empty, as far as the machine shows nothing there.
const EMPTY: &str = "/srv";

/// Builds the new root, enters it, lets go of the old one, and fills it.
pub(crate) fn build(sources: Sources, plan: &Plan, spec: &Spec, channel: &Channel) -> Result<(), Error> {
    let step = |tried: &'static str| move |errno: Errno| Step::Filesystem.failed(tried).because(errno);
    let old = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(step("open the old root"))?;
    let private = MountAttributes { propagation: libc::MS_PRIVATE, ..MountAttributes::default() };
    sys::set_mount_attributes(&old, &private).map_err(step("cut the mounts off from the machine's"))?;
    let root = fresh("tmpfs", &[("mode", "0755"), ("size", "64m")], READ_WRITE)?;
    // The kernel allows a new /proc only while the old one is in sight.
    let proc = fresh("proc", &[("hidepid", "ptraceable")], READ_WRITE | libc::MOUNT_ATTR_NOEXEC)?;

    // Any directory will do to stand on while the roots change places; this one is known to exist.
    let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&root, "", &sources.working_directory, "", onto).map_err(step("attach the new root"))?;
    fchdir(&root).map_err(step("enter the new root"))?;
    pivot_root(".", ".").map_err(|errno| {
        step("make it the root")(errno).hint_at("a system that runs from its initial RAM disk cannot change roots")
    })?;
    // At once, though one wait for both would do: what is placed below is found by paths.
    unmount(".", UnmountFlags::DETACH).map_err(step("let go of the old root"))?;
    chdir("/").map_err(step("enter the new root"))?;

    let mask = umask(Mode::from_raw_mode(0o022));
    let size = spec.limits.scratch().map_or_else(|| "50%".to_owned(), |bytes| bytes.to_string());
    scratch(&size)?;
    let mut made = HashSet::new();
    for piece in sources.pieces {
        piece.place(&mut made)?;
    }
    // What is hidden in /proc is covered with it, if it is a directory.
    fs::create_dir_all(EMPTY).map_err(|error| Step::Filesystem.failed("make").on(EMPTY).because(error))?;
    devices().map_err(|error| Step::Filesystem.failed("furnish").on("/dev").because(error))?;
    let terminals = fresh("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], DEVICE)?;
    attach_in_new(&terminals, "/dev/pts")?;
    attach_in_new(&proc, "/proc")?;
    etc::write(plan.user).map_err(|error| Step::Filesystem.failed("write the files of").on("/etc").because(error))?;
    // Last, as the worker makes its key meanwhile.
    let trusted = sources.trusted.with_worker(channel)?;
    trust::write(&trusted, plan)?;
    stores::write(&trusted.worker, plan)?;
    umask(mask);
    // What is shown of scratch space keeps that alive.
    unmount(STAGE, UnmountFlags::DETACH).map_err(step("let go of what is not shown"))?;
    fs::remove_dir(STAGE).map_err(|error| Step::Filesystem.failed("remove").on(STAGE).because(error))
}

/// Makes read-only what is to stay as it is. Afterwards nothing can be placed any more.
pub(crate) fn seal(plan: &Plan, nested: bool) -> Result<(), Error> {
    cover::place(&plan.covers, &plan.openable)?;
    // The kernel allows a new /proc in a namespace only where the old one is seen whole.
    if !nested {
        cover_proc()?;
    }
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount("/", flags, "").map_err(|errno| Step::Filesystem.failed("make the root read-only").because(errno))
}

fn cover_proc() -> Result<(), Error> {
    for name in READ_ONLY_IN_PROC {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            let tree = restricted(copy_of(&path)?, READ_ONLY, &path)?;
            attach(&tree, &path).map_err(|errno| Step::Filesystem.failed("cover").on(path.display()).because(errno))?;
        }
    }
    for name in HIDDEN_IN_PROC {
        let path = Path::new("/proc").join(name);
        // What its owner alone may read, who is the machine's root, needs no cover: nobody in here is that.
        let Some(found) = fs::metadata(&path).ok().filter(|found| found.permissions().mode() & 0o044 != 0) else {
            continue;
        };
        let cover = copy_of(Path::new(if found.is_dir() { EMPTY } else { "/dev/null" }))?;
        attach(&cover, &path).map_err(|errno| Step::Filesystem.failed("cover").on(path.display()).because(errno))?;
    }
    Ok(())
}

/// Temporary files, shared memory and the home directory: one file system, so that one size bounds them all.
fn scratch(size: &str) -> Result<(), Error> {
    let failed = |error: io::Error| Step::Filesystem.failed("make scratch space").because(error);
    let whole = fresh("tmpfs", &[("mode", "0755"), ("size", size)], READ_WRITE)?;
    attach_in_new(&whole, STAGE)?;
    for (part, target, mode) in
        [("tmp", "/tmp", 0o1777), ("var-tmp", "/var/tmp", 0o1777), ("shm", "/dev/shm", 0o1777), ("home", HOME, 0o700)]
    {
        let part = Path::new(STAGE).join(part);
        fs::DirBuilder::new().mode(mode).create(&part).map_err(failed)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(mode)).map_err(failed)?;
        attach_in_new(&copy_of(&part)?, target)?;
    }
    Ok(())
}

fn devices() -> io::Result<()> {
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(to, Path::new("/dev").join(name))?;
    }
    Ok(())
}

/// A new file system, attached nowhere.
pub(crate) fn fresh(kind: &str, options: &[(&str, &str)], attributes: u64) -> Result<OwnedFd, Error> {
    let make = || {
        let filesystem = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for &(key, value) in options {
            fsconfig_set_string(&filesystem, key, value)?;
        }
        fsconfig_create(&filesystem)?;
        let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).map_err(|_| Errno::INVAL)?);
        fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(|errno: Errno| {
        let error = Step::Filesystem.failed("make a fresh file system").on(kind).because(errno);
        match (kind, errno) {
            ("proc", Errno::PERM) => error.hint_at(
                "a container around this process hides parts of /proc, and the kernel then allows no new one: run the \
                 container with an unmasked /proc (`--security-opt systempaths=unconfined`)",
            ),
            _ => match namespace::remedy() {
                Some(hint) => error.hint_at(hint),
                None => error,
            },
        }
    })
}

pub(crate) fn restricted(tree: OwnedFd, attributes: u64, of: &Path) -> Result<OwnedFd, Error> {
    let change = MountAttributes { set: attributes, ..MountAttributes::default() };
    sys::set_mount_attributes(&tree, &change)
        .map_err(|errno| Step::Filesystem.failed("restrict the mount of").on(of.display()).because(errno))?;
    Ok(tree)
}

/// A copy of the mounts at a path that only the machine's root could have changed, attached nowhere. Where it
/// is a link, that is not followed.
fn detached_of_system(path: &Path) -> Result<OwnedFd, Error> {
    copy(path, OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_SYMLINK_NOFOLLOW).map_err(namespace::explained)
}

/// A copy of one mount of the new root, attached nowhere.
pub(crate) fn copy_of(path: &Path) -> Result<OwnedFd, Error> {
    copy(path, OpenTreeFlags::empty())
}

/// With what is mounted below it: a read-only path must not come to light as the writable one it lies on.
pub(crate) fn copy_of_all(path: &Path) -> Result<OwnedFd, Error> {
    copy(path, OpenTreeFlags::AT_RECURSIVE)
}

fn copy(path: &Path, depth: OpenTreeFlags) -> Result<OwnedFd, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | depth;
    open_tree(CWD, path, flags)
        .map_err(|errno| Step::Filesystem.failed("copy the mount at").on(path.display()).because(errno))
}

pub(crate) fn attach(tree: &OwnedFd, target: &Path) -> Result<(), Errno> {
    move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn attach_in_new(tree: &OwnedFd, target: &str) -> Result<(), Error> {
    let failed = |error: io::Error| Step::Filesystem.failed("attach").on(target).because(error);
    fs::create_dir_all(target).map_err(failed)?;
    attach(tree, Path::new(target)).map_err(|errno| failed(errno.into()))
}
