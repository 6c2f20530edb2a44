//! What the system's own resolver reads when it looks up a name, long after the start.
//!
//! For: `lock`. In: places that nobody shall read who is let into a directory of the system's. Out: files and directories. Never: a directory
//! that holds one of those places, nor the whole of /etc for root, who owns the secrets in it.

use rustix::process::geteuid;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The resolver's own, in the order it asks for them, and the loader's for its modules. Programs that manage the network replace them.
const RESOLVER: [&str; 7] = [
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
];
/// Where the resolver's modules are. Everybody can read all of it, and there is no secret in a library.
const LIBRARIES: [&str; 7] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/nix/store", "/gnu/store"];
/// Of no use to anybody but as what they are.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/etc/localtime"];

/// All of them.
pub(super) fn places(apart: &[PathBuf]) -> Vec<PathBuf> {
    let holds_none = |directory: &Path| !apart.iter().any(|place| place.starts_with(directory));
    let mut places: Vec<PathBuf> =
        [&RESOLVER[..], &LIBRARIES, &DEVICES].concat().into_iter().map(PathBuf::from).collect();
    // A file that is replaced is another file. What manages the network does that in /run, or in /etc itself.
    places.extend(RESOLVER.iter().filter_map(|file| of_a_service(&fs::canonicalize(file).ok()?)));
    if !geteuid().is_root() {
        places.push(PathBuf::from("/etc"));
    }
    places.retain(|place| holds_none(place));
    places
}

/// The directory of a file that a service keeps in a directory of its own below /run.
fn of_a_service(file: &Path) -> Option<PathBuf> {
    let directory = file.parent()?;
    let below = directory.strip_prefix("/run").ok()?;
    (below.components().next().is_some()).then(|| directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_holds_what_is_to_be_apart_is_left_out_and_its_files_are_not() {
        let found = places(&["/etc/exeat".into(), "/usr/lib/exeat/state".into()]);
        assert!(!found.contains(&"/etc".into()) && !found.contains(&"/usr/lib".into()));
        assert!(found.contains(&"/etc/resolv.conf".into()) && found.contains(&"/usr/lib64".into()));
        assert_eq!(places(&[]).contains(&"/etc".into()), !geteuid().is_root());
    }

    #[test]
    fn of_run_only_what_is_a_services_own_is_read() {
        let of = |file: &str| of_a_service(Path::new(file));
        assert_eq!(of("/run/systemd/resolve/stub-resolv.conf").unwrap(), Path::new("/run/systemd/resolve"));
        assert_eq!(of("/run/resolv.conf"), None);
        assert_eq!(of("/etc/resolv.conf"), None);
        assert_eq!(of("/home/somebody/resolv.conf"), None);
    }
}
