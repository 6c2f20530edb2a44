//! Runs the example `enter`, as root and as an ordinary user, and looks at what comes out.
//!
//! A sandbox wants a process of one thread, which a test is not; so every test is the example's parent.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Who starts exeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    Root,
    Ordinary,
}

/// Blocks system calls for itself (seccomp(2)) and becomes the program named behind them.
const BLOCK: &str = "
import ctypes, errno, os, struct, sys
NUMBERS = {
    'x86_64': dict(clone=56, clone3=435, unshare=272, mount=165, umount2=166, setns=308, sethostname=170, open_tree=428,
                   move_mount=429, fsopen=430, fsconfig=431, fsmount=432, mount_setattr=442, pivot_root=155, socket=41, seccomp=317,
                   landlock_create_ruleset=444, bpf=321, keyctl=250),
    'aarch64': dict(clone=220, clone3=435, unshare=97, mount=40, umount2=39, setns=268, sethostname=161, open_tree=428,
                    move_mount=429, fsopen=430, fsconfig=431, fsmount=432, mount_setattr=442, pivot_root=41, socket=198, seccomp=277,
                    landlock_create_ruleset=444, bpf=280, keyctl=219),
}[os.uname().machine]
op = lambda code, k, yes=0, no=0: struct.pack('HBBI', code, yes, no, k)
program = [op(0x20, 0)]
for rule in sys.argv[1].split():
    call, answer = rule.split('=')
    name, _, some = call.partition(':')
    refuse = [op(0x06, 0x50000 | getattr(errno, answer))]
    if some:
        argument, how, value = some[0], some[1], int(some[2:], 0)
        refuse = [op(0x20, 16 + 8 * int(argument)), op({'&': 0x45, '#': 0x15}[how], value, 0, 1)] + refuse + [op(0x06, 0x7fff0000)]
    program += [op(0x15, NUMBERS[name], 0, len(refuse))] + refuse
program = b''.join(program + [op(0x06, 0x7fff0000)])
held = ctypes.create_string_buffer(program)
filter = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0):
    sys.exit('cannot block: ' + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
";

/// Becomes the program named behind it as root of a container with users of its own: 0 to 65535 there are 100000 to 165535 here, and
/// no capability but those that Docker leaves its root.
const CONTAINER: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def must(answer):
    if answer: sys.exit('no container: ' + os.strerror(ctypes.get_errno()))
made, mapped = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    must(libc.unshare(0x10000000 | 0x20000 | 0x20000000 | 0x8000000 | 0x4000000))  # user, mount, pid, ipc, uts
    os.write(made[1], b'x'), os.read(mapped[0], 1)
    os.setgroups([]), os.setresgid(0, 0, 0), os.setresuid(0, 0, 0)
    inner = os.fork()
    if inner:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
    must(libc.mount(b'proc', b'/proc', b'proc', 0, None))
    # chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
    kept = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
    for capability in set(range(41)) - kept:
        must(libc.prctl(24, capability, 0, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(made[0], 1)
for kind in ('uid', 'gid'):
    open(f'/proc/{child}/{kind}_map', 'w').write('0 100000 65536')
os.write(mapped[1], b'x')
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// A number that owns nothing and is not the one root's commands run as.
const ORDINARY: u32 = 54321;

/// Root's tests run as both; an ordinary user can only be one.
pub fn starters() -> Vec<Starter> {
    if rustix::process::geteuid().is_root() { vec![Starter::Root, Starter::Ordinary] } else { vec![Starter::Ordinary] }
}

/// A sandbox to be, with a working directory that its starter owns.
pub struct Sandbox {
    pub starter: Starter,
    pub directory: TempDir,
    options: Vec<String>,
    within: Vec<String>,
}

/// What came out.
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Sandbox {
    pub fn of(starter: Starter) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if let (Starter::Ordinary, Some(id)) = (starter, ordinary()) {
            std::os::unix::fs::chown(directory.path(), Some(id), Some(id)).unwrap();
        }
        Self { starter, directory, options: Vec::new(), within: Vec::new() }
    }

    pub fn path(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    pub fn writable(self) -> Self {
        let path = self.path().to_owned();
        self.with(&["--write", &path])
    }

    /// Has the worker started by another program.
    pub fn within(mut self, words: &[&str]) -> Self {
        self.within = words.iter().map(ToString::to_string).collect();
        self
    }

    /// On a kernel, or in a container, that answers these calls so: `name=ERRNO`, or `name:argument&bits=ERRNO` and
    /// `name:argument#value=ERRNO` where only some of their uses are refused.
    pub fn where_blocked(self, calls: &str) -> Self {
        self.within(&["/usr/bin/python3", "-c", BLOCK, calls])
    }

    /// By root of a container with users of its own; the working directory is `owner`'s. The machine's root makes it.
    pub fn in_a_container(self, owner: u32) -> Self {
        std::os::unix::fs::chown(self.directory.path(), Some(owner), Some(owner)).unwrap();
        self.within(&["/usr/bin/python3", "-c", CONTAINER])
    }

    /// What the example `probe` tells of the machine, started as the worker is.
    pub fn told_beforehand(&self) -> String {
        let probe = [enter().with_file_name("probe").to_str().unwrap().to_owned()];
        let mut program = self.within.iter().chain(&probe);
        let mut command = Command::new(program.next().unwrap());
        self.as_starter(command.args(program).current_dir(self.directory.path()));
        Outcome::of(&command.output().unwrap()).out
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let worker = [enter().to_str().unwrap().to_owned()];
        let mut program = self.within.iter().chain(&worker);
        let mut command = Command::new(program.next().unwrap());
        command.args(program).args(&self.options).arg("--").args(words);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        self.as_starter(&mut command);
        command
    }

    pub fn as_starter(&self, command: &mut Command) {
        if let (Starter::Ordinary, Some(id)) = (self.starter, ordinary()) {
            command.uid(id).gid(id);
        }
    }

    pub fn run(&self, words: &[&str]) -> Outcome {
        Outcome::of(&self.command(words).output().unwrap())
    }

    pub fn sh(&self, script: &str) -> Outcome {
        self.run(&["bash", "-c", script])
    }
}

impl Outcome {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The output, of a command that must have worked.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }
}

/// The worker says all of this with a hint, and nothing has run.
pub fn refused(sandbox: &Sandbox, said: &[&str]) {
    let outcome = sandbox.sh("echo ran; touch ran");
    assert_eq!((outcome.code, outcome.out.as_str()), (125, ""), "{}", outcome.err);
    for part in said.iter().chain(&["hint: "]) {
        assert!(outcome.err.contains(part), "no {part:?} in {}", outcome.err);
    }
    assert!(!sandbox.directory.path().join("ran").exists());
}

fn ordinary() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(ORDINARY)
}

/// The example, where every user can execute it (and `probe` and `locked` beside it): as built, or else a copy.
pub fn enter() -> &'static Path {
    static ENTER: OnceLock<PathBuf> = OnceLock::new();
    ENTER.get_or_init(|| {
        let built = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/enter");
        let open = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o001 != 0;
        if built.ancestors().all(open) {
            return built;
        }
        let directory = tempfile::tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        // By a process of its own: a test that forks meanwhile would hold the file open for writing, and it could not run.
        let both = ["enter", "probe", "locked"].map(|name| built.with_file_name(name));
        assert!(Command::new("cp").args(both).arg(&directory).status().unwrap().success());
        directory.join("enter")
    })
}

/// Waits, not for ever, until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}
