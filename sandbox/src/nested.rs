//! Whether limits outlast a command that may make namespaces.
//!
//! For: `spawn`, once there is a cgroup. In: the machine's mounts and our cgroups. Out: an error where the command could raise
//! its own limits: root of a namespace may mount the cgroup file system and finds the limits' files there, which are of the user
//! who started exeat, and so the command's. Never: a word where root started it; then they are root's.

use crate::{
    error::{Error, Step},
    plan::User,
};
use std::fs;

/// To be asked where there is a cgroup and the sandbox is nested.
pub(crate) fn limits_hold(user: User) -> Result<(), Error> {
    let read =
        |path: &str| fs::read_to_string(path).map_err(|error| Step::Limits.failed("read").on(path).because(error));
    if user.from_root || delegated(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?) {
        return Ok(());
    }
    Err(Step::Limits.failed("hold limits that a command with `nested` could raise itself").hint_at(
        "mount cgroup v2 with `nsdelegate`, as systemd does, and no version 1 beside it; or start exeat as root; or take `nested` or the \
         limits out of the policy",
    ))
}

/// Whether the kernel keeps a namespace's own limits from it: version 2 alone, mounted so. Version 1 cannot.
fn delegated(mounts: &str, own: &str) -> bool {
    let unified = own.lines().all(|line| line.starts_with("0::"));
    let options = mounts.lines().filter_map(|line| line.split_once(" - ")?.1.strip_prefix("cgroup2 "));
    unified
        && options.clone().count() > 0
        && options.into_iter().all(|mount| {
            let super_options = mount.rsplit(' ').next().unwrap_or_default();
            super_options.split(',').any(|option| option == "nsdelegate")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_finds_its_own_limits_shut_only_where_the_kernel_is_told_to() {
        let mounted =
            |options: &str| format!("29 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,{options}\n");
        assert!(delegated(&mounted("nsdelegate,memory_recursiveprot"), "0::/user.slice/run.scope\n"));
        assert!(!delegated(&mounted("memory_recursiveprot"), "0::/user.slice/run.scope\n"));
        assert!(!delegated(&mounted("nsdelegate"), "4:memory:/x\n0::/x\n"), "a limit may be in version 1");
        assert!(!delegated("", "0::/\n"), "nothing is known");
        assert!(!delegated("1 1 0:1 / /nsdelegate rw - cgroup2 nsdelegate rw\n", "0::/\n"), "names are no options");
    }

    #[test]
    fn roots_limits_are_out_of_reach() {
        assert!(limits_hold(User { uid: 65534, gid: 65534, from_root: true }).is_ok());
    }
}
