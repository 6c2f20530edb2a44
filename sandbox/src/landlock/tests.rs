//! What Landlock alone holds, without a mount: it binds a single thread, so a test may put it up on one of its own.
//!
//! For: `landlock`. In: this machine's kernel and files. Out: failures. Never: a thread of the others restricted.

use super::*;
use rustix::{
    fs::{CWD, RenameFlags, mknodat, renameat_with},
    process::{Pid, Signal, kill_process},
    thread::set_no_new_privs,
};
use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process::{Child, Command},
    thread,
};

/// A place to write to, one beside it, and what is outside.
struct Place {
    directory: tempfile::TempDir,
    outside: Child,
    name: SocketAddr,
    _listener: UnixListener,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("written/below")).unwrap();
        fs::create_dir(directory.path().join("beside")).unwrap();
        fs::write(directory.path().join("beside/file"), "text").unwrap();
        let name = SocketAddr::from_abstract_name(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        let _listener = UnixListener::bind_addr(&name).unwrap();
        Self { directory, outside: Command::new("sleep").arg("60").spawn().unwrap(), name, _listener }
    }

    /// Runs it on a thread that is held as by this ABI, with what was put in force.
    fn held<T: Send>(&self, abi: i64, nested: bool, run: impl FnOnce(Option<Landlock>) -> T + Send) -> T {
        let written = self.directory.path().join("written");
        let held = || {
            set_no_new_privs(true).unwrap();
            let in_force = restrict_as(abi, nested, std::iter::once(written.as_path())).unwrap();
            run(in_force)
        };
        thread::scope(|scope| scope.spawn(held).join().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.outside.kill().unwrap();
        self.outside.wait().unwrap();
    }
}

fn denied<T>(done: io::Result<T>) -> bool {
    done.err().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The newest that is tested here, or the kernel's own.
fn newest() -> i64 {
    sys::landlock_abi().expect("a kernel with Landlock")
}

#[test]
fn what_is_shown_is_read_and_only_write_paths_are_written() {
    let place = Place::new();
    let (written, beside) = (place.directory.path().join("written"), place.directory.path().join("beside"));
    for abi in 2..=newest() {
        place.held(abi, false, |in_force| {
            assert_eq!(in_force, Some(Landlock { abi, files: true, scopes: abi >= 6, sockets: abi >= 9 }));
            assert_eq!(fs::read_to_string(beside.join("file")).unwrap(), "text");
            assert!(fs::read_dir(&beside).is_ok() && Command::new("true").status().unwrap().success());
            let tried = [
                denied(fs::write(beside.join("file"), "x")),
                denied(fs::write(beside.join("new"), "x")),
                denied(fs::create_dir(beside.join("new"))),
                denied(fs::remove_file(beside.join("file"))),
                denied(std::os::unix::fs::symlink("/", beside.join("new"))),
                denied(UnixListener::bind(beside.join("new"))),
                denied(fs::OpenOptions::new().append(true).open("/etc/hostname")),
            ];
            assert_eq!(tried, [true; 7], "ABI {abi}");
            let file = written.join("file");
            fs::write(&file, "x").unwrap();
            fs::rename(&file, written.join("below/file")).unwrap();
            fs::hard_link(written.join("below/file"), &file).unwrap();
            fs::write(&file, "").unwrap();
            assert!(fs::rename(&file, beside.join("moved")).is_err());
            let exchange = renameat_with(CWD, &file, CWD, beside.join("file"), RenameFlags::EXCHANGE);
            assert!(exchange.is_err(), "ABI {abi}");
            fs::remove_dir_all(written.join("below")).unwrap();
            fs::create_dir(written.join("below")).unwrap();
            fs::remove_file(&file).unwrap();
            fs::write("/dev/null", "x").unwrap();
            fs::write("/proc/thread-self/comm", "named").unwrap();
        });
    }
}

#[test]
fn device_files_are_made_nowhere() {
    let place = Place::new();
    let file = place.directory.path().join("written/device");
    place.held(newest(), false, |_| {
        for (kind, device) in [(FileType::CharacterDevice, (0, 0)), (FileType::BlockDevice, (7, 0))] {
            let device = rustix::fs::makedev(device.0, device.1);
            let made = mknodat(CWD, &file, kind, Mode::RUSR, device);
            // Without privilege the kernel says no to the second by itself.
            assert!(matches!(made, Err(Errno::ACCESS | Errno::PERM)), "{kind:?}: {made:?}");
        }
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR, 0).unwrap();
    });
}

#[test]
fn signals_and_abstract_sockets_reach_nobody_outside() {
    let place = Place::new();
    let outside = Pid::from_child(&place.outside);
    let reach = || (kill_process(outside, Signal::CONT), UnixStream::connect_addr(&place.name).map(drop));
    let (signal, socket) = reach();
    assert!(signal.is_ok() && socket.is_ok(), "without it they do");
    for (abi, nested) in (6..=newest()).flat_map(|abi| [(abi, false), (abi, true)]) {
        let (signal, socket) = place.held(abi, nested, |in_force| {
            assert_eq!(in_force, Some(Landlock { abi, files: !nested, scopes: true, sockets: !nested && abi >= 9 }));
            let mut own = Command::new("sleep").arg("60").spawn().unwrap();
            own.kill().unwrap();
            own.wait().unwrap();
            reach()
        });
        assert!(signal == Err(Errno::PERM) && denied(socket), "ABI {abi}");
    }
}

#[test]
fn sockets_of_others_are_let_go_to_nowhere_where_the_kernel_knows_of_them() {
    for rights in [SHOWN, WRITTEN, DEVICE, PROCESSES] {
        assert_eq!(rights & RESOLVE_UNIX, 0, "{rights:b}");
    }
    let place = Place::new();
    let [of_others, own] = ["of-others", "own"].map(|name| place.directory.path().join("written").join(name));
    let _listener = UnixListener::bind(&of_others).unwrap();
    for abi in 2..=newest() {
        let (reached, own) = place.held(abi, false, |_| {
            let listener = UnixListener::bind(&own).unwrap();
            let reached = [&of_others, &own].map(|path| UnixStream::connect(path).map(drop));
            drop(listener);
            fs::remove_file(&own).unwrap();
            reached.into()
        });
        assert_eq!((denied(reached), own.is_ok()), (abi >= 9, true), "ABI {abi}");
    }
}

#[test]
fn a_kernel_too_old_for_moves_between_directories_is_left_alone() {
    let place = Place::new();
    for (abi, nested) in [(0, false), (1, false), (5, true)] {
        place.held(abi, nested, |in_force| {
            assert_eq!(in_force, None);
            fs::write(place.directory.path().join("beside/file"), "text").unwrap();
        });
    }
}

#[test]
fn each_abi_handles_what_its_kernel_knows() {
    // The highest right of each: REFER, TRUNCATE, TRUNCATE, IOCTL_DEV, RESOLVE_UNIX.
    let highest: [(i64, u64); 9] = [
        (0, 0),
        (1, 0),
        (2, 1 << 13),
        (3, 1 << 14),
        (4, 1 << 14),
        (5, 1 << 15),
        (8, 1 << 15),
        (9, 1 << 16),
        (12, 1 << 16),
    ];
    for (abi, right) in highest {
        assert_eq!(files(abi), (right << 1).saturating_sub(1), "ABI {abi}");
        assert_eq!(scopes(abi), if abi < 6 { 0 } else { 3 }, "ABI {abi}");
    }
}
