//! Where this process may make cgroups.
//!
//! For: `cgroup`. In: what the kernel says of mounts and of our own groups (proc(5): mountinfo, cgroup), and the directories. Out: for
//! each thing to be limited, the directory in which a group can be made. Never: a directory made or a setting changed.

use super::{Controller, Version, unified};
use rustix::{
    fs::{Access, access},
    io::Errno,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The groups that we are in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Of version 1, by what is limited there.
    pub one: Vec<(Controller, PathBuf)>,
    /// Of version 2.
    pub two: Option<Unified>,
}

/// Where version 2 is mounted, and the group that we are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unified {
    pub mount: PathBuf,
    pub own: PathBuf,
}

/// A directory in which a group can be made, and what can be limited there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub version: Version,
    pub parent: PathBuf,
    pub controllers: Vec<Controller>,
    /// What has to be done first.
    pub first: First,
}

/// What has to be done in a directory of version 2 before groups in it can have limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Nothing,
    /// Pass its controllers on.
    PassOn,
    /// Take ourselves out of it, into a group below, and then pass its controllers on.
    MoveOut,
}

/// What was found for some controllers, and why there is nothing for the others.
pub(crate) type Found = (Vec<Place>, Vec<(Controller, io::Error)>);

impl Own {
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?, &fs::read_to_string("/proc/self/cgroup")?))
    }

    fn parse(mounts: &str, groups: &str) -> Self {
        let mut own = Self::default();
        for Mount { root, point, kind, options } in mounts.lines().filter_map(Mount::parse) {
            match kind {
                "cgroup2" if own.two.is_none() => {
                    let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
                    own.two = path.map(|path| Unified { mount: point.into(), own: below(point, root, path) });
                }
                "cgroup" => {
                    for controller in Controller::ALL {
                        let here = options.split(',').any(|option| option == controller.name());
                        if here && !own.one.iter().any(|(other, _)| *other == controller) {
                            let path = path_of(groups, controller);
                            own.one.extend(path.map(|path| (controller, below(point, root, path))));
                        }
                    }
                }
                _ => {}
            }
        }
        own
    }

    /// Where each of `wanted` can be limited. A controller belongs to one version at a time, for the whole machine.
    pub fn places(&self, wanted: &[Controller]) -> Found {
        let (mut found, mut missing) = (Vec::<Place>::new(), Vec::new());
        let mut in_two = Vec::new();
        for &controller in wanted {
            let Some((_, parent)) = self.one.iter().find(|(one, _)| *one == controller) else {
                in_two.push(controller);
                continue;
            };
            if let Err(errno) = may_make_in(parent) {
                missing.push((controller, errno.into()));
            } else if let Some(same) = found.iter_mut().find(|place| place.parent == *parent) {
                same.controllers.push(controller);
            } else {
                let (version, parent) = (Version::One, parent.clone());
                found.push(Place { version, parent, controllers: vec![controller], first: First::Nothing });
            }
        }
        if !in_two.is_empty() {
            match self.two.as_ref().ok_or(Errno::OPNOTSUPP.into()).and_then(|two| unified::place(two, &in_two)) {
                Ok(place) => found.push(place),
                Err(error) => {
                    // An `io::Error` cannot be copied; its number says all.
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::OPNOTSUPP);
                    missing.extend(in_two.into_iter().map(|controller| (controller, errno.into())));
                }
            }
        }
        (found, missing)
    }
}

/// Making a directory is not enough: whoever moves a process into it has to be allowed to above it, too.
pub(super) fn may_make_in(directory: &Path) -> Result<(), Errno> {
    access(directory, Access::WRITE_OK | Access::EXEC_OK)?;
    access(directory.join("cgroup.procs"), Access::WRITE_OK)
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        let (mut mount, mut kind) = (mount.split(' ').skip(3), kind.split(' '));
        let (root, point) = (mount.next()?, mount.next()?);
        let (kind, _source, options) = (kind.next()?, kind.next()?, kind.next()?);
        Some(Self { root, point, kind, options })
    }
}

/// The group of version 1 that limits this.
fn path_of(groups: &str, controller: Controller) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|name| name == controller.name()).then_some(path)
    })
}

/// Where a group is, if `root` of its hierarchy is what is mounted at `point`. A container may see a path that is not below its
/// own root; then what is mounted is all that it has.
fn below(point: &str, root: &str, path: &str) -> PathBuf {
    let path = Path::new(path);
    let within = path.strip_prefix(root).unwrap_or_else(|_| Path::new(""));
    if within.as_os_str().is_empty() { point.into() } else { Path::new(point).join(within) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    const GROUPS: &str = "8:pids:/\n4:memory:/of/us\n1:cpuacct,cpu:/\n2:name=systemd:/memory\n0::/init.scope\n";

    #[test]
    fn both_versions_are_found_side_by_side() {
        let own = Own::parse(HYBRID, GROUPS);
        let one = [
            (Controller::Cpu, "/sys/fs/cgroup/cpu,cpuacct".into()),
            (Controller::Memory, "/sys/fs/cgroup/memory/of/us".into()),
        ];
        assert_eq!(own.one, one, "what is not mounted is not there");
        let two = own.two.unwrap();
        assert_eq!(two.own, Path::new("/sys/fs/cgroup/unified/init.scope"));
        assert_eq!(two.mount, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn version_2_alone_is_found_where_most_machines_have_it() {
        let own =
            Own::parse("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", "0::/user.slice/a.scope\n");
        assert_eq!(own.two.unwrap().own, Path::new("/sys/fs/cgroup/user.slice/a.scope"));
        assert!(own.one.is_empty());
        assert_eq!(Own::parse("30 24 0:26 / / rw - ext4 /dev/vda rw", "0::/"), Own::default());
    }

    #[test]
    fn in_a_container_the_mounted_part_of_a_hierarchy_is_the_whole() {
        let mount = |root: &str| format!("1 2 0:3 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        let of = |root: &str, path: &str| Own::parse(&mount(root), &format!("4:memory:{path}\n")).one.remove(0).1;
        assert_eq!(of("/docker/x", "/docker/x"), Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(of("/docker/x", "/docker/x/y"), Path::new("/sys/fs/cgroup/memory/y"));
        assert_eq!(of("/../..", "/"), Path::new("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn whatever_stands_in_these_files_is_read_or_left() {
        for text in ["", "\n", " - ", "a b c d e - cgroup", "a b c d e - cgroup x memory", "::::", "0::"] {
            for groups in ["", "4:memory:/x", "4", ":", "0::"] {
                let own = Own::parse(text, groups);
                assert!(own.places(&Controller::ALL).0.is_empty(), "{text:?} {groups:?}");
            }
        }
    }

    #[test]
    fn a_directory_of_version_1_is_taken_where_it_is_ours_and_shared_hierarchies_get_one_group() {
        let (both, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(both.path().join("cgroup.procs"), "").unwrap();
        let one = vec![
            (Controller::Cpu, both.path().to_owned()),
            (Controller::Pids, both.path().to_owned()),
            (Controller::Memory, memory.path().to_owned()),
        ];
        let (found, missing) = Own { one, two: None }.places(&Controller::ALL);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].controllers, [Controller::Cpu, Controller::Pids]);
        assert!(matches!(missing[..], [(Controller::Memory, _)]), "without cgroup.procs it is no group");
    }
}
