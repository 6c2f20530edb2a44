//! Version 2: who may limit what below which group.
//!
//! For: `place` and `group`. In: a directory of a cgroup2 file system. Out: where a group with limits can be made, and that it can be.
//! Never: a process of anybody else moved; limits written where whoever runs the machine (systemd) has not said that we may.
//!
//! A group either has processes or passes controllers on to groups below it. We are in one, so it is one of three: it passes them on
//! already (the machine's root, where that rule does not hold); we and our children are all that is in it, as in a unit or scope with
//! `Delegate=yes` or in a container, and can move out of it; or the group above is ours as well, and there can be one beside ours.

use super::{
    Controller, Version,
    place::{First, Place, Unified, may_make_in},
};
use rustix::{io::Errno, process::getpid};
use std::{fs, io, path::Path};

/// Where these controllers can be used.
pub(super) fn place(Unified { mount, own }: &Unified, wanted: &[Controller]) -> io::Result<Place> {
    let place = |parent: &Path, first| Place {
        version: Version::Two,
        parent: parent.to_owned(),
        controllers: wanted.to_vec(),
        first,
    };
    let ours = may_make_in(own);
    if ours.is_ok() && lists(own, "cgroup.subtree_control", wanted) {
        return Ok(place(own, First::Nothing));
    }
    if ours.is_ok() && lists(own, "cgroup.controllers", wanted) && alone_in(own)? {
        return Ok(place(own, First::MoveOut));
    }
    let above = own.parent().filter(|_| own != mount).ok_or(if ours.is_ok() { Errno::BUSY } else { Errno::ACCESS })?;
    may_make_in(above)?;
    if lists(above, "cgroup.subtree_control", wanted) {
        Ok(place(above, First::Nothing))
    } else if lists(above, "cgroup.controllers", wanted) {
        Ok(place(above, First::PassOn))
    } else {
        Err(Errno::OPNOTSUPP.into()) // given to somebody else, or switched off
    }
}

/// Does what has to be done first.
pub(super) fn prepare(Place { parent, controllers, first, .. }: &Place) -> io::Result<()> {
    if *first == First::MoveOut {
        // It cannot go before we do; whoever gave us the group takes it back whole.
        let aside = parent.join("exeat-worker");
        match fs::create_dir(&aside) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for process in fs::read_to_string(parent.join("cgroup.procs"))?.lines() {
            fs::write(aside.join("cgroup.procs"), process)?;
        }
    }
    if *first != First::Nothing {
        let all: Vec<String> = controllers.iter().map(|controller| format!("+{}", controller.name())).collect();
        fs::write(parent.join("cgroup.subtree_control"), all.join(" "))?;
    }
    Ok(())
}

fn lists(directory: &Path, file: &str, wanted: &[Controller]) -> bool {
    let listed = fs::read_to_string(directory.join(file)).unwrap_or_default();
    wanted.iter().all(|controller| listed.split_whitespace().any(|name| name == controller.name()))
}

/// Whether there are only ourselves and our own children.
fn alone_in(directory: &Path) -> io::Result<bool> {
    let ours = getpid().as_raw_nonzero().to_string();
    let child = |process: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("PPid:")).is_some_and(|parent| parent.trim() == ours)
    };
    Ok(fs::read_to_string(directory.join("cgroup.procs"))?.lines().all(|process| process == ours || child(process)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// A machine's tree: each group with its files, as far as they are asked for.
    struct Tree(TempDir);

    impl Tree {
        fn of(groups: &[(&str, &str, &str, &str)]) -> Self {
            let tree = tempfile::tempdir().unwrap();
            for (path, processes, controllers, passed_on) in groups {
                let path = tree.path().join(path);
                fs::create_dir_all(&path).unwrap();
                for (file, text) in [
                    ("cgroup.procs", processes),
                    ("cgroup.controllers", controllers),
                    ("cgroup.subtree_control", passed_on),
                ] {
                    fs::write(path.join(file), text).unwrap();
                }
            }
            Self(tree)
        }

        fn path(&self, of: &str) -> PathBuf {
            self.0.path().join(of)
        }

        fn place(&self, own: &str) -> io::Result<Place> {
            place(&Unified { mount: self.path(""), own: self.path(own) }, &Controller::ALL)
        }
    }

    const ALL: &str = "cpuset cpu io memory pids";

    fn us() -> String {
        format!("{}\n", std::process::id())
    }

    #[test]
    fn in_a_scope_of_our_own_we_move_aside_and_the_group_is_beside_us() {
        let tree = Tree::of(&[("", "", ALL, ALL), ("run.scope", &us(), ALL, "")]);
        let found = tree.place("run.scope").unwrap();
        assert_eq!((&found.parent, found.first), (&tree.path("run.scope"), First::MoveOut));
        prepare(&found).unwrap();
        assert_eq!(fs::read_to_string(tree.path("run.scope/exeat-worker/cgroup.procs")).unwrap(), us().trim());
        assert_eq!(fs::read_to_string(tree.path("run.scope/cgroup.subtree_control")).unwrap(), "+memory +cpu +pids");
    }

    #[test]
    fn who_shares_a_scope_is_not_moved_and_the_group_above_is_asked() {
        let shell = "1\n".to_owned() + &us();
        let shared =
            |above| Tree::of(&[("", "", ALL, ALL), ("a.slice", "", ALL, above), ("a.slice/s", &shell, ALL, "")]);
        let tree = shared(ALL);
        let found = tree.place("a.slice/s").unwrap();
        assert_eq!((&found.parent, found.first), (&tree.path("a.slice"), First::Nothing));
        let tree = shared("memory pids");
        let found = tree.place("a.slice/s").unwrap();
        assert_eq!((&found.parent, found.first), (&tree.path("a.slice"), First::PassOn));
    }

    #[test]
    fn at_the_root_of_the_machine_the_group_is_below_it_and_of_a_full_container_there_is_none() {
        let tree = Tree::of(&[("", "1\n2\n", ALL, ALL)]);
        assert_eq!(tree.place("").unwrap().first, First::Nothing);
        let tree = Tree::of(&[("", "1\n2\n", ALL, "")]);
        assert_eq!(tree.place("").unwrap_err().raw_os_error(), Some(libc::EBUSY));
        let tree = Tree::of(&[("", &us(), ALL, "")]);
        assert_eq!(tree.place("").unwrap().first, First::MoveOut, "alone in a container");
    }

    #[test]
    fn a_controller_that_was_not_passed_down_is_not_ours() {
        let tree =
            Tree::of(&[("", "", ALL, ALL), ("a", "", "memory pids", "memory pids"), ("a/s", &us(), "memory pids", "")]);
        assert_eq!(tree.place("a/s").unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        let memory = place(&Unified { mount: tree.path(""), own: tree.path("a/s") }, &[Controller::Memory]).unwrap();
        assert_eq!(memory.first, First::MoveOut);
    }
}
