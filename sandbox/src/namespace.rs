//! User namespaces and whom they map.
//!
//! For: the parent, who alone may write the maps. In: the child's process, the user it becomes. Out: a mapped namespace; for
//! root's own files, a namespace for idmapped mounts and the mounts. Never: root of the machine mapped into the sandbox.

use crate::{
    error::{Error, Step},
    plan::{Bind, User},
    sys::{self, MountAttributes},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
    process::{Pid, WaitId, WaitIdOptions, waitid},
    thread::{CapabilitySet, capabilities},
};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// Those that the child is made in.
pub(crate) const AT_ONCE: libc::c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS;
/// Those that it makes itself while its parent goes on: a network takes the kernel half a millisecond. The cgroup namespace comes when it is in its
/// cgroup.
pub(crate) const BY_ITSELF: libc::c_int = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// All, by name.
pub(crate) const NAMES: &[&str] = &["user", "pid", "mount", "network", "ipc", "uts", "cgroup"];

/// Why a user namespace could not be made or used, as far as the machine's settings tell.
pub(crate) fn remedy() -> Option<&'static str> {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let is = |path: &str, value: &str| setting(path).as_deref() == Some(value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        Some("user namespaces are switched off: `sysctl user.max_user_namespaces=65536` as root")
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        Some("user namespaces are for root only: `sysctl kernel.unprivileged_userns_clone=1` as root")
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some(
            "AppArmor restricts user namespaces: give exeat a profile with `userns,`, or \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root",
        )
    } else {
        None
    }
}

/// What a container's system call filter (Docker's own, for one) keeps from it.
pub(crate) const CONTAINER: &str = "if this is a container, it must allow user namespaces and mounts in them: `--security-opt seccomp=unconfined \
                                    --security-opt apparmor=unconfined --security-opt systempaths=unconfined`, or a profile with clone, \
                                    unshare, open_tree, move_mount, mount_setattr, fsopen, fsconfig, fsmount, pivot_root, umount2 and sethostname";

const OLD: &str = "a kernel from Linux 5.12 on, with CONFIG_SECCOMP_FILTER, has all that it takes; a container around this process may say so of \
                   calls that it does not allow";

/// Why one of the calls that make the namespaces failed.
pub(crate) fn clone_failed(errno: Errno) -> Error {
    let hint = remedy().unwrap_or(match errno {
        Errno::NOSPC | Errno::USERS => "too many namespaces: raise the sysctls user.max_*_namespaces",
        Errno::AGAIN => "too many processes: see `ulimit -u`",
        _ => CONTAINER,
    });
    Step::Namespaces.failed("make the sandbox's namespaces").because(errno).hint_at(hint)
}

/// An error of the set-up with what can be done about it, where the step itself does not know: calls are refused as a whole.
pub(crate) fn explained(error: Error) -> Error {
    match (error.hint(), error.errno()) {
        (None, Some(Errno::PERM | Errno::ACCESS)) => error.hint_at(remedy().unwrap_or(CONTAINER)),
        (None, Some(Errno::NOSYS)) => error.hint_at(OLD),
        _ => error,
    }
}

/// Maps the one user of the sandbox, to itself.
pub(crate) fn map(child: Pid, user: User) -> Result<(), Error> {
    let (uid, gid) = (format!("{0} {0} 1", user.uid), format!("{0} {0} 1", user.gid));
    if !user.from_root {
        // The kernel's condition for an ordinary user to map a group.
        write(child, "setgroups", "deny")?;
    }
    write(child, "uid_map", &uid)?;
    write(child, "gid_map", &gid)
}

fn write(child: Pid, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{}/{file}", child.as_raw_nonzero());
    // One `write` call: the kernel takes a map only whole.
    fs::write(&path, text).map_err(|error| {
        let hint = remedy().unwrap_or(
            "as root of a container, run exeat as a user that the container maps; the process must not have been made undumpable",
        );
        Step::Namespaces.failed(format!("write `{text}` to")).on(path).because(error).hint_at(hint)
    })
}

/// Its mounts, held by a descriptor; `None` where /proc does not say.
pub(crate) fn mounts_of(child: Pid) -> Option<OwnedFd> {
    File::open(format!("/proc/{}/ns/mnt", child.as_raw_nonzero())).ok().map(Into::into)
}

/// A user namespace in which root's files and the user's have changed owners, and all others kept theirs.
pub(crate) fn swap_with_root(user: User) -> Result<OwnedFd, Error> {
    let (child, pidfd) = sys::spawn(libc::CLONE_NEWUSER, || {
        rustix::event::pause();
        0
    })
    .map_err(clone_failed)?;
    let made = write(child, "uid_map", &swapped(user.uid, known("uid_map")))
        .and_then(|()| write(child, "gid_map", &swapped(user.gid, known("gid_map"))))
        .and_then(|()| {
            let path = format!("/proc/{}/ns/user", child.as_raw_nonzero());
            File::open(&path).map_err(|error| Step::Namespaces.failed("open").on(path).because(error))
        });
    // Its work is done: the descriptor keeps the namespace.
    let ended = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)
        .and_then(|()| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    ended.map_err(|errno| Step::Namespaces.failed("end the holder of a namespace").because(errno))?;
    Ok(made?.into())
}

/// How many users, or groups, from 0 on there are: a container has fewer than the machine.
fn known(map: &str) -> u32 {
    let text = fs::read_to_string(Path::new("/proc/self").join(map)).unwrap_or_default();
    let first = text.lines().next().map(|line| line.split_whitespace().map(str::parse).collect::<Vec<_>>());
    match first.as_deref() {
        Some([Ok(0), _, Ok(count)]) => *count,
        _ => u32::MAX,
    }
}

/// A map of `count` in which `id` and 0 have changed places.
fn swapped(id: u32, count: u32) -> String {
    let above = id.saturating_add(1);
    let spans = [(0, id, 1), (1, 1, id.saturating_sub(1)), (id, 0, 1), (above, above, count.saturating_sub(above))];
    let spans = spans.into_iter().filter(|&(_, _, length)| length > 0);
    spans.map(|(inside, outside, length)| format!("{inside} {outside} {length}\n")).collect()
}

/// The path as a mount of its own in which root's files are the user's. Only the machine's root may do this, so the parent
/// does, and hands the mount over.
pub(crate) fn idmapped_mount(bind: &Bind, namespace: &OwnedFd) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| {
        Step::Filesystem.failed("show root's files as the command's own in").on(bind.target.display()).because(errno).hint_at(
            "this file system, or a container around this process, does not let owners be mapped: give the directory to an ordinary \
             user (`chown -R`) and exeat will run the command as that user, or start exeat as an ordinary user",
        )
    };
    let tree = detached(&bind.source).map_err(|error| match error.errno() {
        Some(errno @ Errno::PERM) if !may_administer() => failed(errno),
        _ => error,
    })?;
    let change = MountAttributes {
        set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        idmap: Some(namespace.as_fd()),
        ..MountAttributes::default()
    };
    sys::set_mount_attributes(&tree, &change).map_err(failed)?;
    Ok(tree)
}

/// Whether we are root with its powers, and not that of a container without them.
fn may_administer() -> bool {
    capabilities(None).is_ok_and(|ours| ours.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// A copy of the mounts at `path`, attached nowhere. `path` was resolved before: a link in it now is not followed.
pub(crate) fn detached(path: &Path) -> Result<OwnedFd, Error> {
    let failed =
        |errno: Errno| Step::Filesystem.failed("take a copy of the mount at").on(path.display()).because(errno);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(failed)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(place, "", clone).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => failed(errno).hint_at(remedy().unwrap_or(CONTAINER)),
        _ => failed(errno),
    })
}

/// Whether the kernel and the file system at `path` can do idmapped mounts for root.
pub(crate) fn can_idmap(path: &Path) -> io::Result<()> {
    let user = User { uid: 65534, gid: 65534, from_root: true };
    let because = |error: Error| error.errno().unwrap_or(Errno::IO);
    let namespace = swap_with_root(user).map_err(because)?;
    let tree = detached(path).map_err(because)?;
    let change = MountAttributes { idmap: Some(namespace.as_fd()), ..MountAttributes::default() };
    Ok(sys::set_mount_attributes(tree, &change)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_and_root_change_places_and_no_number_is_left_out_or_named_twice() {
        for (id, count) in [(1, u32::MAX), (1000, u32::MAX), (65534, u32::MAX), (65534, 65536), (65535, 65536)] {
            let mut spans: Vec<(u64, u64, u64)> = swapped(id, count)
                .lines()
                .map(|line| {
                    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
                    (numbers[0], numbers[1], numbers[2])
                })
                .collect();
            spans.sort_unstable();
            assert_eq!(spans[0], (0, u64::from(id), 1));
            let ends = spans.iter().fold(0, |next, &(from, _, count)| {
                assert_eq!(from, next);
                from + count
            });
            assert_eq!(ends, u64::from(count));
        }
    }
}
