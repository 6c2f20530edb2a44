//! The command's own terminal, in place of the worker's.
//!
//! For: a terminal that behaves as with no sandbox in between, and which is not the one outside: what the command pushes
//! into its terminal's input (TIOCSTI) only it will read. In: the standard descriptors. Out: a pseudo terminal of the
//! sandbox's devpts; `relay` moves the bytes. Never: the outer terminal in the command's hands. Descriptors that are no
//! terminals are inherited as they are.

use crate::{
    error::{Error, Step},
    landlock,
    plan::User,
};
use rustix::{
    fs::{FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fcntl_getfl, fstat, fstatfs, open},
    io::Errno,
    net::{AddressFamily, SocketType, getpeername, sockopt},
    process::{Pid, getpid, ioctl_tiocsctty},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout},
    termios::{
        LocalModes, OptionalActions, OutputModes, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetpgrp, tcsetwinsize,
    },
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which of descriptors 0 to 2 are terminals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminals(pub [bool; 3]);

impl Terminals {
    pub fn now() -> Self {
        Self([isatty(stdin()), isatty(stdout()), isatty(stderr())])
    }

    pub fn any(self) -> bool {
        self.0.contains(&true)
    }

    /// Typed at and printed to: the outer terminal passes everything through. Otherwise another program of a pipeline may be
    /// using it, and it stays as it is: it echoes, edits lines and sends signals itself.
    pub fn interactive(self) -> bool {
        self.0[0] && self.0[1]
    }

    /// The terminal outside: the one typed at, or else the one printed to.
    pub fn outer(self) -> BorrowedFd<'static> {
        match self.0 {
            [true, ..] => stdin(),
            [_, true, _] => stdout(),
            _ => stderr(),
        }
    }

    /// Where output goes.
    pub fn output(self) -> BorrowedFd<'static> {
        match self.0 {
            [_, true, _] => stdout(),
            [_, _, true] => stderr(),
            _ => stdin(),
        }
    }
}

/// A descriptor which would lead out of the sandbox is refused: a directory's parent can be opened, a socket connected elsewhere, and a file that
/// is only to be read opened anew to be written.
pub(crate) fn check_standard_descriptors(user: User, nested: bool) -> Result<(), Error> {
    for (name, fd) in [("standard input", stdin()), ("standard output", stdout()), ("standard error", stderr())] {
        let Ok(found) = fstat(fd) else { continue }; // closed
        let (what, hint) = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                ("a directory", "it would lead out of the sandbox; list the directory under `read` instead")
            }
            FileType::Socket if !is_of_a_pair(fd) => (
                "a socket",
                "from it the command could get to whatever this machine reaches; put pipes between: \
                 `cat | exeat run … 2>&1 | cat`",
            ),
            FileType::RegularFile | FileType::BlockDevice
                if could_be_written(fd, &found, user) && !landlock::keeps_files(nested) =>
            {
                (
                    "a file that is only to be read",
                    "the command could open it anew to write to it, as Landlock does not keep files with `nested` or before Linux 6.2; \
                 put a pipe between: `cat FILE | exeat run …`",
                )
            }
            _ => continue,
        };
        return Err(Step::Plan.failed(format!("hand {what} to the command as its")).on(name).hint_at(hint));
    }
    Ok(())
}

/// Unix sockets that are connected to each other stay so, also when the other is gone. Every other kind is connected anew as often as one likes, or
/// takes whoever comes, where it was made: in the machine's network.
fn is_of_a_pair(fd: BorrowedFd<'_>) -> bool {
    let kinds = [SocketType::STREAM, SocketType::SEQPACKET];
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(fd).is_ok_and(|kind| kinds.contains(&kind))
        && getpeername(fd).is_ok()
}

/// What was opened to be read, and by its mode, or were that changed by its owner, can be opened otherwise.
fn could_be_written(fd: BorrowedFd<'_>, found: &Stat, user: User) -> bool {
    let read = fcntl_getfl(fd).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDONLY);
    read && (found.st_uid == user.uid || found.st_mode & 0o022 != 0)
}

/// A pipe may be opened anew by its owner only, and `> /dev/stderr` is that: the pipes become the command's user's.
pub(crate) fn give_pipes_to(user: User) -> Result<(), Error> {
    const PIPES: u64 = 0x5049_5045; // PIPEFS_MAGIC: anonymous ones, not FIFOs of some directory
    for fd in [stdin(), stdout(), stderr()] {
        let is_pipe = fstatfs(fd).is_ok_and(|found| u64::try_from(found.f_type) == Ok(PIPES));
        if user.from_root && is_pipe {
            match fchown(fd, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid))) {
                // Root of a container, of somebody's outside: it can be written to, and not opened anew.
                Err(Errno::PERM | Errno::INVAL) => {}
                given => given.map_err(|errno| {
                    Step::User.failed("give the standard pipes to the command's user").because(errno)
                })?,
            }
        }
    }
    Ok(())
}

/// Both sides of the pseudo terminal; the master is the parent's.
pub(crate) struct Terminal {
    master: Option<OwnedFd>,
    slave: OwnedFd,
    replaces: Terminals,
}

impl Terminal {
    /// `None` if none of the standard descriptors is a terminal.
    pub fn open_if_wanted() -> Result<Option<Self>, Error> {
        let replaces = Terminals::now();
        if !replaces.any() {
            return Ok(None);
        }
        let make = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let master = open("/dev/pts/ptmx", flags, Mode::empty())?;
            unlockpt(&master)?;
            let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            let mut modes = tcgetattr(replaces.outer())?;
            if !replaces.interactive() {
                modes.local_modes.remove(LocalModes::ECHO);
                modes.output_modes.remove(OutputModes::OPOST);
            }
            tcsetattr(&slave, OptionalActions::Now, &modes)?;
            tcsetwinsize(&slave, tcgetwinsize(replaces.outer())?)?;
            Ok(Self { master: Some(master), slave, replaces })
        };
        make().map(Some).map_err(|errno: Errno| Step::Terminal.failed("make a terminal for the command").because(errno))
    }

    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_ref().map_or(self.slave.as_fd(), AsFd::as_fd)
    }

    pub fn without_master(self) -> Self {
        Self { master: None, ..self }
    }

    /// Makes it the controlling terminal of this session, whose leader we are.
    pub fn control(&self) -> Result<(), Errno> {
        ioctl_tiocsctty(&self.slave)
    }

    /// In the command's process, before it is executed: takes the terminal's foreground and the places of the outer one.
    pub fn take(&self) -> Result<(), Errno> {
        // Not stopped for doing so from the background: every signal is still blocked.
        tcsetpgrp(&self.slave, getpid())?;
        let [input, output, error] = self.replaces.0;
        if input {
            dup2_stdin(&self.slave)?;
        }
        if output {
            dup2_stdout(&self.slave)?;
        }
        if error {
            dup2_stderr(&self.slave)?;
        }
        Ok(())
    }

    /// Gives `group` the foreground again.
    pub fn give_to(&self, group: Pid) -> Result<(), Errno> {
        tcsetpgrp(&self.slave, group)
    }
}
