//! No command gets at a process of the machine by a name within what it is shown: sockets and pipes that were there at its start.
//!
//! For: `outlets`, `cover`, `landlock`. In: sockets of this process. Out: failures. Never: a socket that is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod harness;
use harness::{Sandbox, starters};
use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixListener},
    },
    path::Path,
    process::Command,
};

/// Says what it could do with each: a stream, a datagram, a pipe; and with a socket of its own.
const TRY: &str = r#"
import os, socket, sys
def stream(path): socket.socket(socket.AF_UNIX).connect(path)
def datagram(path): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"out", path)
def pipe(path): os.write(os.open(path, os.O_RDWR | os.O_NONBLOCK), b"out")
ways = dict(stream=stream, datagram=datagram, pipe=pipe)
for word in sys.argv[1:]:
    way, path = word.split("=", 1)
    try: ways[way](path); print("GOT", os.path.basename(path))
    except OSError as error: pass
print("done")
"#;
const OWN: &str = r#"
import os, socket
os.path.lexists("stale") and os.unlink("stale")
listener = socket.socket(socket.AF_UNIX); listener.bind("stale"); listener.listen()
socket.socket(socket.AF_UNIX).connect("stale"); print("own")
"#;

fn everybodys(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn no_socket_or_pipe_that_was_there_at_the_start_leads_out() {
    for (starter, write) in starters().into_iter().flat_map(|starter| [(starter, true), (starter, false)]) {
        for options in [&[][..], &["--show-secrets"]] {
            let sandbox = Sandbox::of(starter).with(options);
            let sandbox = if write { sandbox.writable() } else { sandbox };
            let at = |name: &str| sandbox.directory.path().join(name);
            fs::create_dir(at("below")).unwrap();
            everybodys(&at("below"));
            let (stream, datagrams) =
                (UnixListener::bind(at("below/s")).unwrap(), UnixDatagram::bind(at("d")).unwrap());
            stream.set_nonblocking(true).unwrap();
            datagrams.set_nonblocking(true).unwrap();
            assert!(Command::new("mkfifo").arg(at("p")).status().unwrap().success());
            [at("below/s"), at("d"), at("p")].iter().for_each(|path| everybodys(path));
            let pipe = if write { "pipe=gone" } else { "pipe=p" };
            let out = sandbox.run(&["/usr/bin/python3", "-c", TRY, "stream=below/s", "datagram=d", pipe]).ok();
            assert_eq!(out, "done\n", "{starter:?} {write} {options:?}");
            assert!(stream.accept().is_err() && datagrams.recv(&mut [0]).is_err(), "{starter:?} {write} {options:?}");
        }
    }
}

#[test]
fn a_socket_that_nobody_has_any_more_is_in_nobodys_way_nor_are_those_of_the_command() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        drop(UnixListener::bind(sandbox.directory.path().join("stale")).unwrap());
        everybodys(&sandbox.directory.path().join("stale"));
        assert_eq!(sandbox.run(&["/usr/bin/python3", "-c", OWN]).ok(), "own\n", "{starter:?}");
        // What a command leaves behind is not in the next one's way either.
        assert_eq!(sandbox.run(&["/usr/bin/python3", "-c", OWN]).ok(), "own\n", "{starter:?}");
    }
}
