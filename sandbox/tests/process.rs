//! How a command starts, what it inherits, and how everything ends.

mod harness;
use harness::{Sandbox, eventually, starters};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixDatagram, UnixListener},
        },
    },
    process::Stdio,
};

#[test]
fn the_exit_code_is_the_commands_and_128_and_the_number_for_a_signal() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        assert_eq!(sandbox.run(&["true"]).code, 0);
        assert_eq!(sandbox.sh("exit 3").code, 3);
        assert_eq!(sandbox.sh("exit 255").code, 255);
        assert_eq!(sandbox.sh("kill -TERM $$").code, 143);
        assert_eq!(sandbox.sh("kill -KILL $$").code, 137);
        assert_eq!(sandbox.sh("sleep 60 & exit 4").code, 4, "what is left behind is not waited for");
    }
}

#[test]
fn a_command_that_cannot_be_executed_is_told_apart_from_one_that_is_not_there() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        for (name, text, mode) in
            [("plain", "x", 0o644), ("garbage", "\u{1}\u{2}", 0o755), ("orphan", "#!/no/such", 0o755)]
        {
            fs::write(sandbox.directory.path().join(name), text).unwrap();
            fs::set_permissions(sandbox.directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for (command, code) in [
            ("no-such-program", 127),
            ("./missing", 127),
            ("./orphan", 127),
            ("./plain", 126),
            ("./garbage", 126),
            (".", 126),
            ("/usr", 126),
        ] {
            let outcome = sandbox.run(&[command]);
            assert_eq!(outcome.code, code, "{command}: {}", outcome.err);
            assert!(
                outcome.err.contains(&format!("cannot execute `{command}`")) && outcome.err.contains("hint:"),
                "{}",
                outcome.err
            );
        }
    }
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).with(&["--env", "A=b c=d", "--env", "EMPTY="]);
        let out = sandbox.command(&["/usr/bin/env"]).env("LEAKED", "1").output().unwrap();
        let expected = "PATH=/usr/local/bin:/usr/bin:/bin\nHOME=/home/agent\nA=b c=d\nEMPTY=\n";
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{starter:?}");
    }
}

#[test]
fn only_the_standard_descriptors_are_inherited() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        // Descriptor 9 of a shell is not closed on exec.
        let line = "exec 9</etc/passwd 8</; exec \"$0\" \"$@\"";
        let inner =
            sandbox.command(&["/usr/bin/python3", "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"]);
        let mut outer = std::process::Command::new("bash");
        outer.args(["-c", line]).arg(inner.get_program()).args(inner.get_args());
        outer.current_dir(sandbox.path()).stdin(Stdio::null());
        sandbox.as_starter(&mut outer);
        let out = outer.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "['0', '1', '2', '3']\n", "3 is the listing's own");
    }
}

#[test]
fn a_pipe_can_be_opened_anew_by_its_name() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        // The starter's own pipes, made by a shell.
        let inner = sandbox.command(&["bash", "-c", "cat < /dev/stdin > /dev/stdout; echo x > /dev/stderr"]);
        let mut outer = std::process::Command::new("bash");
        outer.args(["-c", "echo in | \"$0\" \"$@\" 2>&1 | cat"]).arg(inner.get_program()).args(inner.get_args());
        sandbox.as_starter(outer.current_dir(sandbox.path()));
        let out = outer.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "in\nx\n", "{starter:?}");
    }
}

#[test]
fn a_directory_as_standard_input_is_refused() {
    for starter in starters() {
        let out = Sandbox::of(starter).command(&["true"]).stdin(fs::File::open("/").unwrap()).output().unwrap();
        assert_eq!(out.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&out.stderr).contains("standard input"));
    }
}

/// Disconnects its standard input and connects it to another port.
const ELSEWHERE: &str = "
import ctypes, socket, sys
ctypes.CDLL(None).connect(0, bytes(16), 16)  # AF_UNSPEC
own = socket.socket(fileno=0)
own.connect(('127.0.0.1', int(sys.argv[1])))
print('elsewhere')";

#[test]
fn a_socket_that_could_be_connected_anew_is_refused_as_a_standard_stream() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    there.set_nonblocking(true).unwrap();
    let port = there.local_addr().unwrap().port().to_string();
    for starter in starters() {
        let unix = UnixListener::bind(directory.path().join(format!("{starter:?}"))).unwrap();
        let sockets: [OwnedFd; 5] = [
            TcpStream::connect(here.local_addr().unwrap()).unwrap().into(),
            here.try_clone().unwrap().into(),
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            UnixDatagram::pair().unwrap().0.into(),
            unix.into(),
        ];
        for socket in &sockets {
            for (name, number) in [("standard input", 0), ("standard output", 1), ("standard error", 2)] {
                let sandbox = Sandbox::of(starter);
                let mut command = sandbox.command(&["/usr/bin/python3", "-c", ELSEWHERE, &port]);
                let held = || socket.try_clone().unwrap();
                match number {
                    0 => command.stdin(held()),
                    1 => command.stdout(held()),
                    _ => command.stderr(held()),
                };
                let out = command.output().unwrap();
                let said = String::from_utf8_lossy(&out.stderr);
                assert!(out.stdout.is_empty() && !out.status.success(), "{starter:?} {socket:?} {name}: {said}");
                // Where it is standard error, nothing can be said.
                let told = said.contains(name) && said.contains("a socket") && said.contains("hint: ");
                assert!(number == 2 || told, "{starter:?} {socket:?}: {said}");
            }
        }
    }
    assert!(there.accept().is_err(), "somebody came");
}

#[test]
fn one_end_of_a_pair_of_sockets_is_a_standard_stream_as_long_as_it_lives() {
    for starter in starters() {
        for kind in [SocketType::STREAM, SocketType::SEQPACKET] {
            let pair = || socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
            let ((ours, theirs), (gone, left)) = (pair(), pair());
            rustix::io::write(&ours, b"in\n").unwrap();
            let answer = "import os; os.write(1, (os.read(0, 16).decode().strip() + ' out\\n').encode())";
            let sandbox = Sandbox::of(starter);
            let mut command = sandbox.command(&["/usr/bin/python3", "-c", answer]);
            assert!(command.stdin(theirs.try_clone().unwrap()).stdout(theirs).status().unwrap().success());
            let mut said = [0; 16];
            let length = rustix::io::read(&ours, &mut said).unwrap();
            assert_eq!(&said[..length], b"in out\n", "{starter:?} {kind:?}");
            // Whoever was at the other end is gone.
            drop(gone);
            let mut command = sandbox.command(&["cat"]);
            assert!(command.stdin(left).status().unwrap().success(), "{starter:?} {kind:?}");
        }
    }
}

#[test]
fn limits_hold() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).with(&["--files", "64", "--processes", "20", "--memory", "104857600"]);
        assert_eq!(sandbox.sh("ulimit -n; ulimit -c; ulimit -d").ok(), "64\n0\n102400\n", "{starter:?}");
        let fork = "
import os, time
made = 0
try:
    for _ in range(100):
        if os.fork() == 0: time.sleep(60); os._exit(0)
        made += 1
except BlockingIOError: print(made)";
        assert_eq!(sandbox.run(&["/usr/bin/python3", "-c", fork]).ok(), "19\n", "{starter:?}");
        let take = "
try: bytearray(200 << 20)
except MemoryError: print('no more')";
        assert_eq!(sandbox.run(&["/usr/bin/python3", "-c", take]).ok(), "no more\n", "{starter:?}");
    }
}

/// On a machine where exeat may make a cgroup the limit holds; on any other it is an error, and nothing runs.
#[test]
fn a_limit_on_processors_holds_or_nothing_runs() {
    for starter in starters() {
        let outcome = Sandbox::of(starter).writable().with(&["--cpus", "0.5", "--status"]).sh("echo ran");
        if outcome.code == 0 {
            assert!(outcome.err.contains(r#""cpus":0.5"#), "{}", outcome.err);
        } else {
            assert_eq!((outcome.code, outcome.out.as_str()), (125, ""));
            assert!(
                outcome.err.contains("cannot limit `cpus`") && outcome.err.contains("systemd-run"),
                "{}",
                outcome.err
            );
        }
    }
}

#[test]
fn killed_by_the_caller_nothing_survives() {
    for starter in starters() {
        let mark = format!("9{:06}", std::process::id() % 1_000_000 + starter as u32);
        let sandbox = Sandbox::of(starter).with(&["--kill-after", "1"]);
        let outcome = sandbox.sh(&format!("(setsid sleep {mark} &); trap '' TERM INT HUP; sleep {mark}"));
        assert_eq!(outcome.code, 137, "{starter:?}");
        assert!(!alive(&mark), "{starter:?}");
    }
}

#[test]
fn when_the_worker_is_killed_the_sandbox_dies_with_it() {
    for starter in starters() {
        let mark = format!("8{:06}", std::process::id() % 1_000_000 + starter as u32);
        let sandbox = Sandbox::of(starter);
        let mut worker = sandbox
            .command(&["bash", "-c", &format!("(setsid nohup sleep {mark} &) ; echo up; exec sleep {mark}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        eventually("the command runs", || alive(&mark));
        worker.kill().unwrap();
        worker.wait().unwrap();
        eventually("the sandbox is gone", || !alive(&mark));
    }
}

/// Whether any process of the machine sleeps for exactly so long.
fn alive(mark: &str) -> bool {
    let sleeping = format!("sleep\0{mark}\0");
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line == sleeping.as_bytes()
    })
}
