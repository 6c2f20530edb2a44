//! Ways to a process of the machine by a name within what is shown: sockets that somebody listens on, and pipes in a tree that is only to be read.
//!
//! For: `secrets`, whose walk meets their names; `plan`. In: a name, what is shown, the kernel's own list of sockets. Out: those that are to be
//! covered. Never: a connection that anybody notices; a socket taken for one that nobody can connect to any more, which a command may
//! have left behind and wants to remove.
//!
//! A socket with a path belongs to no network namespace, and no mount that is read-only keeps anybody from it. Where the kernel's Landlock
//! knows of such sockets (`landlock`), it keeps commands from all that were made outside; where it does not, these covers hold off what is there
//! at the start.

use crate::{filesystem, plan::Bind};
use rustix::{
    fs::{FileType, Mode, OFlags, open},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    fs,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::FileTypeExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
};

/// Bound sockets of this network namespace, of whatever mount namespace their paths are.
const LISTED: &str = "/proc/net/unix";

/// Whether a name that was met leads out.
pub(crate) fn leads_out(path: &Path, kind: FileType, binds: &[Bind]) -> bool {
    match kind {
        FileType::Socket => is_bound(path),
        // In a tree that is written to it is no more than a file that somebody reads, and a command's own.
        FileType::Fifo => !is_written(path, binds),
        _ => false,
    }
}

/// Those that the kernel lists and that would be shown, also where nothing is walked through: in the system's own directories.
pub(crate) fn listed(binds: &[Bind]) -> BTreeSet<PathBuf> {
    let list = fs::read(LISTED).unwrap_or_default();
    let shown = |path: &Path| filesystem::is_program(path) || binds.iter().any(|bind| path.starts_with(&bind.source));
    let is_socket = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let paths: BTreeSet<&Path> = list.split(|byte| *byte == b'\n').filter_map(path_of).collect();
    let real = paths.into_iter().filter_map(|path| fs::canonicalize(path).ok());
    real.filter(|path| shown(path) && is_socket(path) && is_bound(path)).collect()
}

/// Nothing before it in a line has a slash. Where it was bound by a name that begins elsewhere, nobody can say what that was.
fn path_of(line: &[u8]) -> Option<&Path> {
    let before = line.windows(2).position(|two| two == b" /")?;
    Some(Path::new(std::ffi::OsStr::from_bytes(&line[before + 1..])))
}

/// Whether a socket is there yet. Asked with a socket for datagrams: one that takes them learns nothing as long as none is sent, and of any other the
/// kernel says that it is of another kind, before anybody is told.
fn is_bound(path: &Path) -> bool {
    let Ok(place) = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) else { return true };
    // A path of any length.
    let name = format!("/proc/self/fd/{}", place.as_raw_fd());
    let asked = UnixDatagram::unbound().and_then(|own| own.connect(name));
    asked.map_or_else(|error| Errno::from_io_error(&error) != Some(Errno::CONNREFUSED), |()| true)
}

fn is_written(path: &Path, binds: &[Bind]) -> bool {
    let shown = binds.iter().filter(|bind| path.starts_with(&bind.source));
    shown.max_by_key(|bind| bind.source.components().count()).is_some_and(|bind| bind.write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_leads_out_as_long_as_somebody_has_it_and_none_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let leads = |name| leads_out(&at(name), FileType::Socket, &[]);
        let (stream, datagrams) =
            (UnixListener::bind(at("stream")).unwrap(), UnixDatagram::bind(at("datagrams")).unwrap());
        assert!(leads("stream") && leads("datagrams"));
        for nobody in [stream.set_nonblocking(true).and_then(|()| stream.accept().map(drop)), {
            datagrams.set_nonblocking(true).and_then(|()| datagrams.recv(&mut [0]).map(drop))
        }] {
            assert_eq!(nobody.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
        drop((stream, datagrams));
        assert!(!leads("stream") && !leads("datagrams"));
        // Of a name that has just gone nobody can say.
        assert!(leads("gone"));
    }

    #[test]
    fn a_path_of_any_length_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(200));
        fs::create_dir(&deep).unwrap();
        let place = open(&deep, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let socket = UnixListener::bind(format!("/proc/self/fd/{}/s", place.as_raw_fd())).unwrap();
        assert!(is_bound(&deep.join("s")));
        drop(socket);
        assert!(!is_bound(&deep.join("s")));
    }

    #[test]
    fn the_kernel_lists_those_that_would_be_shown_by_whatever_path() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("li nk"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let _socket = UnixListener::bind(link.join("s")).unwrap();
        let bind = |source: &Path| Bind {
            source: source.to_owned(),
            target: source.to_owned(),
            write: true,
            directory: true,
            idmapped: false,
            layer: None,
        };
        let path = fs::canonicalize(&real).unwrap().join("s");
        assert!(listed(&[bind(path.parent().unwrap())]).contains(&path));
        assert!(!listed(&[bind(Path::new("/elsewhere"))]).contains(&path));
    }

    #[test]
    fn a_pipe_leads_out_of_what_is_only_read() {
        let bind = |source: &str, write| Bind {
            source: source.into(),
            target: source.into(),
            write,
            directory: true,
            idmapped: false,
            layer: None,
        };
        let binds = [bind("/project", false), bind("/project/out", true)];
        let leads = |path: &str| leads_out(Path::new(path), FileType::Fifo, &binds);
        assert!(leads("/project/pipe") && !leads("/project/out/pipe"));
        assert!(!leads_out(Path::new("/project/file"), FileType::RegularFile, &binds));
    }
}
