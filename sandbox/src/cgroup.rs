//! What the kernel counts for all processes together: a cgroup, where one is to be had.
//!
//! For: `spawn`. In: limits. Out: a cgroup (version 2) beside our own with the limits in it, removed at the end. Never: a
//! process of anybody else moved, or a limit reported that was not written.

use crate::{
    error::{Error, Step},
    spec::Limits,
};
use rustix::process::{Pid, getpid};
use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// One sandbox's cgroup. Dropped after its processes are gone.
#[derive(Debug)]
pub(crate) struct Cgroup(PathBuf);

pub(crate) const REMEDY: &str = "run exeat in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes exeat …`, or as root on a machine \
                      with cgroup v2; or take the limit out of the policy";

impl Cgroup {
    /// `None` if no limit asked for needs one, or if only memory does (which rlimits bound for each process).
    pub fn make(limits: &Limits) -> Result<Option<Self>, Error> {
        let mut wanted = Vec::new();
        if let Some(bytes) = limits.memory {
            wanted.extend([("memory.max", bytes.to_string()), ("memory.swap.max", "0".to_owned())]);
        }
        if let Some(cpus) = limits.cpus {
            wanted.push(("cpu.max", cpu_max(cpus)?));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        wanted.push(("pids.max", (u64::from(limits.processes) + 1).to_string()));
        match delegated().and_then(|parent| Self::make_in(&parent, &wanted)) {
            Ok(made) => Ok(Some(made)),
            Err(error) if limits.cpus.is_some() => {
                Err(Step::Limits.failed("limit").on("cpus").because(error).hint_at(REMEDY))
            }
            Err(_) => Ok(None),
        }
    }

    fn make_in(parent: &Path, wanted: &[(&str, String)]) -> io::Result<Self> {
        let made = Self(parent.join(format!("exeat-{}", getpid().as_raw_nonzero())));
        // A worker that was killed could not remove its own; an empty one by this number is that.
        let _none = fs::remove_dir(&made.0);
        fs::create_dir(&made.0)?;
        for (file, value) in wanted {
            match fs::write(made.0.join(file), value) {
                Err(error) if *file == "memory.swap.max" && error.kind() == io::ErrorKind::NotFound => {} // no swap
                written => written?,
            }
        }
        Ok(made)
    }

    /// Its directory, which it needs to be able to remove.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn add(&self, process: Pid) -> Result<(), Error> {
        fs::write(self.0.join("cgroup.procs"), process.as_raw_nonzero().to_string()).map_err(|error| {
            Step::Limits.failed("move the sandbox to its cgroup").on(self.0.display()).because(error).hint_at(REMEDY)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets go of the last process a moment after it has been waited for.
        for _ in 0..50 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(2)),
                _ => return,
            }
        }
    }
}

fn cpu_max(cpus: f64) -> Result<String, Error> {
    const PERIOD: f64 = 100_000.0;
    if !(0.01..=4096.0).contains(&cpus) {
        return Err(Step::Limits.failed("limit processors to").on(cpus).hint_at("write a number from 0.01 on"));
    }
    Ok(format!("{:.0} {PERIOD:.0}", cpus * PERIOD))
}

/// The cgroup in which we may make another: the one above our own, for ours has processes in it and may then have no
/// children with limits.
pub(crate) fn delegated() -> io::Result<PathBuf> {
    let missing = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted = mount_point(&mounts).ok_or_else(|| missing("no cgroup v2"))?;
    let ours = fs::read_to_string("/proc/self/cgroup")?;
    let ours = ours.lines().find_map(|line| line.strip_prefix("0::/")).ok_or_else(|| missing("no cgroup v2"))?;
    let ours = mounted.join(ours);
    let parent = if ours == mounted { ours } else { ours.parent().map_or(ours.clone(), Path::to_path_buf) };
    let control = parent.join("cgroup.subtree_control");
    let enabled = || fs::read_to_string(&control);
    let lacking = |enabled: &str| {
        ["cpu", "memory", "pids"].into_iter().any(|one| !enabled.split_whitespace().any(|it| it == one))
    };
    if lacking(&enabled()?) {
        // Ours to enable only where all of the cgroup is ours.
        fs::write(&control, "+cpu +memory +pids")?;
    }
    if rustix::fs::access(&parent, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(parent)
}

/// Where a table of mounts (proc(5), mountinfo) has cgroup v2.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_processors_is_written_as_the_kernel_reads_it() {
        assert_eq!(cpu_max(1.5).unwrap(), "150000 100000");
        assert!(cpu_max(0.0).is_err() && cpu_max(f64::NAN).is_err() && cpu_max(-1.0).is_err());
    }

    #[test]
    fn cgroup_v2_is_found_in_both_layouts() {
        let hybrid = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(hybrid).unwrap(), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(
            mount_point("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw").unwrap(),
            Path::new("/sys/fs/cgroup")
        );
        assert_eq!(mount_point("30 24 0:26 / / rw - ext4 /dev/vda rw"), None);
    }

    #[test]
    fn the_limits_are_written_and_the_directory_is_named_for_this_process() {
        let parent = tempfile::tempdir().unwrap();
        let made = Cgroup::make_in(parent.path(), &[("cpu.max", "1 2".to_owned())]).unwrap();
        assert_eq!(fs::read_to_string(made.0.join("cpu.max")).unwrap(), "1 2");
        fs::remove_file(made.0.join("cpu.max")).unwrap(); // the kernel's own need no removing
        let path = made.0.clone();
        drop(made);
        assert!(!path.exists());
    }
}
