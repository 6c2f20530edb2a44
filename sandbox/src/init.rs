//! Pid 1 of the sandbox: starts the command, waits for everything, passes signals on, and ends with either side.
//!
//! For: the time between `Ready` and the end. In: orders on the channel, signals. Out: reports; when the command ends or the
//! worker is gone it returns, and the kernel kills whatever is left in the namespace. Never: a privilege; it has none.

use crate::{
    child::Inherited,
    disk::Reaped,
    error::{Error, ErrorKind, Step},
    home,
    limits::Rlimits,
    message::{Channel, Order, Report},
    running::Exit,
    sys,
    terminal::Terminal,
    uncounted,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, chdir, kill_process, kill_process_group, setpgid, wait},
};
use std::{
    ffi::{CString, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Signals that a terminal sends to a whole process group, and init therefore too.
const TO_THE_GROUP: [Signal; 6] = [Signal::INT, Signal::QUIT, Signal::HUP, Signal::TSTP, Signal::CONT, Signal::WINCH];

pub(crate) fn run(inherited: &Inherited<'_>, terminal: Option<Terminal>, reaped: Option<Reaped>) -> u8 {
    let channel = &inherited.channel;
    let started = match furnish(channel) {
        Ok(Some(environment)) => start(inherited, terminal.as_ref(), &environment),
        Ok(None) => return 1, // the worker is gone
        Err(error) => Err(error),
    };
    let ended = started.and_then(|command| {
        let _gone = channel.send(&Report::Started);
        // What it took to set everything up; from here on it only waits.
        sys::trim();
        Init { channel, terminal, reaped, command }
            .supervise()
            .map_err(|errno| Step::Start.failed("wait").because(errno))
    });
    let report = match ended {
        Ok(Some(exit)) => Report::Ended(exit),
        Ok(None) => return 1,
        Err(error) => Report::Failed(error),
    };
    channel.send(&report).map_or(1, |()| 0)
}

/// Collects the variables and writes the files up to the order to start. `None`: the worker is gone.
fn furnish(channel: &Channel) -> Result<Option<Vec<CString>>, Error> {
    let failed = |errno: Errno| Step::Start.failed("hear the worker").because(errno);
    let mut variables = Vec::new();
    while let Some((order, _)) = channel.receive().map_err(failed)? {
        match order {
            Order::Variables(some) => {
                for (name, value) in some {
                    let variable = CString::new([&name, &b"="[..], &value].concat());
                    variables.push(variable.map_err(|_| failed(Errno::INVAL))?);
                }
            }
            Order::File(file) => home::write(&file)?,
            Order::Start => return Ok(Some(variables)),
            Order::Mount | Order::Go | Order::Authority(_) | Order::Signal(_) | Order::Terminate | Order::Resume => {}
        }
    }
    Ok(None)
}

/// Starts the command's process, which executes. When it returns a process, the command is that process.
fn start(inherited: &Inherited<'_>, terminal: Option<&Terminal>, environment: &[CString]) -> Result<Pid, Error> {
    let Inherited { spec, plan, rlimits, .. } = inherited;
    let failed = |errno: Errno| Step::Start.failed("start the command").because(errno);
    let nul = |_| failed(Errno::INVAL);
    let arguments: Vec<CString> =
        spec.command.iter().map(|part| CString::new(part.as_bytes())).collect::<Result<_, _>>().map_err(nul)?;
    let candidates = candidates(&spec.command[0], environment).map_err(nul)?;
    if let Some(terminal) = terminal {
        terminal.control().map_err(|errno| Step::Terminal.failed("make it the controlling terminal").because(errno))?;
    }
    let filter = spec.limits.disk.map(|_| uncounted::program(plan.user.from_root).ok_or(Errno::OPNOTSUPP));
    let filter = filter.transpose().map_err(failed)?;
    // Closed by a successful exec; until then it carries the reason why there was none.
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let command = sys::spawn_waiting(|| {
        let error = become_command(&plan.working_directory, *rlimits, filter.as_deref(), terminal, theirs.as_fd())
            .map_or_else(|error| error, |()| execute(&spec.command[0], &candidates, &arguments, environment));
        theirs.send(&error).map_or(1, |()| 0)
    })
    .map_err(failed)?;
    drop(theirs);
    match ours.receive::<Error>().map_err(failed)? {
        Some((error, _)) => Err(error),
        None => Ok(command),
    }
}

/// What makes that process the command's, in order.
fn become_command(
    directory: &Path,
    rlimits: Rlimits,
    filter: Option<&[libc::sock_filter]>,
    terminal: Option<&Terminal>,
    report: BorrowedFd<'_>,
) -> Result<(), Error> {
    let step = |tried: &'static str| move |errno: Errno| Step::Start.failed(tried).because(errno);
    // A group of its own beside init's in one session: it can be stopped (job control) and signalled as a whole.
    setpgid(None, None).map_err(step("make a process group"))?;
    if let Some(terminal) = terminal {
        terminal.take().map_err(step("take the terminal"))?;
    }
    chdir(directory).map_err(|errno| step("enter")(errno).on(directory.display()))?;
    // Init's own; `report` closes itself on exec.
    sys::close_other_fds(Some(report)).map_err(step("close init's descriptors"))?;
    sys::default_sigpipe().map_err(step("reset SIGPIPE"))?;
    // After everything that might allocate much, before anything of the command's.
    rlimits.set().map_err(step("set the limits"))?;
    if let Some(filter) = filter {
        sys::refuse_by(filter).map_err(step("refuse what cannot be counted"))?;
    }
    sys::unblock_signals().map_err(step("unblock signals"))
}

/// The paths at which to look for the command, as a shell does.
fn candidates(command: &OsString, environment: &[CString]) -> Result<Vec<CString>, std::ffi::NulError> {
    if command.as_bytes().contains(&b'/') {
        return Ok(vec![CString::new(command.as_bytes())?]);
    }
    let path = environment.iter().find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="));
    path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin")
        .split(|&byte| byte == b':')
        .map(|directory| {
            CString::new([if directory.is_empty() { b"." } else { directory }, b"/", command.as_bytes()].concat())
        })
        .collect()
}

/// Returns only with the reason why none of the candidates could be executed.
fn execute(command: &OsString, candidates: &[CString], arguments: &[CString], environment: &[CString]) -> Error {
    let mut worst = Errno::NOENT;
    for path in candidates {
        match sys::execute(path, arguments, environment) {
            Errno::NOENT | Errno::NOTDIR => {}
            errno => {
                worst = errno;
                if errno != Errno::ACCESS {
                    break;
                }
            }
        }
    }
    let error = Step::Start.failed("execute").on(command.display()).because(worst);
    if worst == Errno::NOENT {
        let exists = candidates.iter().any(|path| Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).exists());
        error.kind_is(ErrorKind::NotFound).hint_at(if exists {
            "it is there, but the interpreter or loader it names is not inside the sandbox: list that under `read`"
        } else {
            "inside there are only the system's directories and what the policy lists under `read` and `write`"
        })
    } else {
        error
            .kind_is(ErrorKind::NotExecutable)
            .hint_at("it must be executable by everyone, and a program or a script with `#!`")
    }
}

struct Init<'a> {
    channel: &'a Channel,
    terminal: Option<Terminal>,
    reaped: Option<Reaped>,
    command: Pid,
}

impl Init<'_> {
    /// Until the command ends. `None`: the worker is gone.
    fn supervise(&self) -> Result<Option<Exit>, Errno> {
        let signals = sys::signal_fd()?;
        loop {
            let ended = self.reap()?;
            // Without this word nobody knows how much was written; so there is no going on without it.
            self.reaped.as_ref().map_or(Ok(()), Reaped::tell)?;
            if let Some(exit) = ended {
                return Ok(Some(exit));
            }
            let mut polled = [PollFd::new(self.channel, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
            let [orders, signalled] = polled.map(|fd| !fd.revents().is_empty());
            if orders {
                match self.channel.receive()? {
                    Some((Order::Signal(number), _)) => self.pass_on(number),
                    Some((Order::Terminate, _)) => terminate(),
                    Some((Order::Resume, _)) => self.resume(),
                    Some(_) => {}
                    None => return Ok(None),
                }
            }
            if signalled {
                self.pass_on_received(&signals);
            }
        }
    }

    /// Waits for whoever has ended; the command's end is the answer.
    fn reap(&self) -> Result<Option<Exit>, Errno> {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(None) | Err(Errno::CHILD) => return Ok(None),
                Ok(Some((pid, status))) if pid == self.command => {
                    if let Some(exit) = exit_of(status) {
                        return Ok(Some(exit));
                    }
                    if self.terminal.is_some() && status.stopped() {
                        self.channel.send(&Report::Stopped)?;
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// A process that has just gone cannot be signalled; its end is reported by [`reap`](Self::reap).
    fn pass_on(&self, number: i32) {
        let Some(signal) = Signal::from_named_raw(number) else { return };
        let _gone = if TO_THE_GROUP.contains(&signal) {
            kill_process_group(self.command, signal)
        } else {
            kill_process(self.command, signal)
        };
    }

    fn pass_on_received(&self, signals: &OwnedFd) {
        let mut one = [0; 128];
        while rustix::io::read(signals, &mut one).is_ok_and(|length| length == one.len()) {
            let number = i32::from_ne_bytes([one[0], one[1], one[2], one[3]]);
            if number != libc::SIGCHLD {
                self.pass_on(number);
            }
        }
    }

    fn resume(&self) {
        if let Some(terminal) = &self.terminal {
            let _gone = terminal.give_to(self.command);
        }
        self.pass_on(libc::SIGCONT);
    }
}

/// Asks everybody to end, those that are stopped too.
fn terminate() {
    let _gone = sys::kill_everybody(libc::SIGTERM).and_then(|()| sys::kill_everybody(libc::SIGCONT));
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(Exit::Code);
    code.or_else(|| status.terminating_signal().map(Exit::Signal))
}
