//! From a spec to a sandbox that stands, and from there to a command that runs.
//!
//! For: the caller. In: a [`Spec`]; later the environment. Out: [`Prepared`], then [`Running`]. Never: a command started
//! before everything stands. Whatever fails, the child is gone when the error is returned.

use crate::{
    cgroup::{Cgroup, Controller},
    child::{self, Inherited},
    disk::{self, Gauges},
    error::{Error, ErrorKind, Step},
    home::{self, HomeFile},
    keeper::Keeper,
    limits::Rlimits,
    lock::{Bolt, Lacking, Lock, Reach},
    message::{Channel, Order, Report, Socket},
    namespace, nested, overlay,
    plan::Plan,
    process::{ChildProcess, fork_process, single_threaded},
    relay::Relay,
    running::Running,
    spec::{Spec, Trust},
    status::{Capture, Inside, LimitsInForce, Status},
    sys, terminal, trust,
};
use rustix::io::Errno;
use std::{
    ffi::OsString,
    io,
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// All steps are local and take milliseconds; a machine that needs this long is not going to make it.
const SET_UP: Duration = Duration::from_secs(30);
/// How much goes into one message, if it is not one variable alone.
const MESSAGE: usize = 32 * 1024;

/// A sandbox in which nothing has run yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Prepared {
    // In this order: the processes go first, then who looks after their limits.
    child: ChildProcess,
    channel: Channel,
    keeper: Option<Keeper>,
    sockets: Sockets,
    terminal: Option<OwnedFd>,
    status: Status,
    /// Where parts of the machine are shown.
    shown: Vec<PathBuf>,
}

/// Listening sockets of the sandbox's network, for each address family there is.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For the proxy.
    pub tcp: Vec<TcpListener>,
    /// For the name server.
    pub dns_udp: Vec<UdpSocket>,
    /// For the name server.
    pub dns_tcp: Vec<TcpListener>,
    /// What arrives at them.
    pub capture: Capture,
}

/// A sandbox that its first process is setting up. Dropped, it is gone.
#[derive(Debug)]
pub struct Preparing {
    // In this order: the processes go first, then who looks after their limits.
    child: ChildProcess,
    channel: Channel,
    keeper: Option<Keeper>,
    plan: Plan,
    nested: bool,
    limits: LimitsInForce,
    mounts: Option<OwnedFd>,
    trust: Trust,
}

/// What would keep it from being made, as far as the machine's files show that. Nothing is changed.
///
/// # Errors
/// The first that there is.
pub fn foresee(spec: &Spec) -> Result<(), Error> {
    Plan::of(spec).map(drop)
}

/// Forks what becomes the sandbox, and gives it what it needs of the machine. To be called while this process has one thread, on
/// the thread that lives as long as it does (the sandbox dies with it). A process forked afterwards must not keep this one's
/// descriptors: fork before. The sandbox is set up meanwhile; [`Preparing::finish`] waits for that.
pub fn begin(spec: &Spec) -> Result<Preparing, Error> {
    single_threaded()?;
    let plan = Plan::of(spec)?;
    terminal::check_standard_descriptors(plan.user, spec.nested)?;
    overlay::make(&plan)?;
    if spec.limits.disk.is_some() {
        disk::check(&plan)?;
    }
    let mut cgroup = Cgroup::make(&spec.limits)?;
    if spec.nested && cgroup.is_some() {
        nested::limits_hold(plan.user)?;
    }
    let counted = cgroup.as_ref().is_some_and(|cgroup| cgroup.holds(Controller::Pids).is_some());
    let rlimits = Rlimits::of(&spec.limits, counted);
    let (channel, theirs) =
        Channel::pair().map_err(|errno| Step::Namespaces.failed("make the channel to the sandbox").because(errno))?;

    let inherited = Inherited { spec, plan: &plan, rlimits, channel: theirs };
    let child = ChildProcess::spawn(namespace::AT_ONCE, || child::run(&inherited)).map_err(namespace::clone_failed)?;
    drop(inherited); // or the channel would not end with the child

    let mounts = give(&child, &channel, &plan, cgroup.as_ref()).map_err(|error| told(&channel, error))?;
    let limits = LimitsInForce::of(&spec.limits, &rlimits, cgroup.as_ref());
    // While we have one thread and know no secret of the policy's; whatever fails from here on, it cleans up.
    let keeper = Keeper::start(&mut cgroup, &child, spec.limits.disk)?;
    Ok(Preparing { child, channel, keeper, plan, nested: spec.nested, limits, mounts, trust: spec.trust.clone() })
}

/// What only this process may do for its child, which waits for it. The child makes namespaces meanwhile, and is gone where it may not.
fn give(
    child: &ChildProcess,
    channel: &Channel,
    plan: &Plan,
    cgroup: Option<&Cgroup>,
) -> Result<Option<OwnedFd>, Error> {
    namespace::map(child.pid(), plan.user)?;
    let mounts = namespace::mounts_of(child.pid());
    terminal::give_pipes_to(plan.user)?;
    if let Some(cgroup) = cgroup {
        cgroup.add(child.pid())?;
    }
    let lost = |errno: Errno| Step::Namespaces.failed("speak to the sandbox's first process").because(errno);
    if plan.idmapped().next().is_some() {
        let swapped = namespace::swap_with_root(plan.user)?;
        for bind in plan.idmapped() {
            let mount = namespace::idmapped_mount(bind, &swapped)?;
            channel.send_with(&Order::Mount, &[mount.as_fd()]).map_err(lost)?;
        }
    }
    channel.send(&Order::Go).map_err(lost)?;
    Ok(mounts)
}

impl Preparing {
    /// Says whom programs inside are to trust beside whom the machine does: the worker's own certificate, PEM, or nobody. Once, and before
    /// [`finish`](Self::finish): the set-up waits for it.
    pub fn trust(&self, authority: &str) -> Result<(), Error> {
        let store = trust::store(&self.trust, authority)?;
        match self.channel.send_with(&Order::Authority(authority.to_owned()), &[store.as_fd()]) {
            // It is gone, and said why before: `finish` hears that.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => {
                let lost = Step::Filesystem.failed("tell the sandbox's first process whom to trust");
                Err(told(&self.channel, lost.because(errno)))
            }
        }
    }

    /// Its mounts, for whoever holds them a moment longer than its processes are there: the kernel takes long to end them, and ends the last
    /// process only then. Nothing is in them that the processes had not. Once; nobody needs to.
    pub fn take_mounts(&mut self) -> Option<OwnedFd> {
        self.mounts.take()
    }

    /// As [`fork_process`](crate::fork_process); the copy has no hold on the sandbox, which would outlive the worker with it.
    pub fn fork_beside(&self, f: impl FnOnce() -> u8) -> io::Result<ChildProcess> {
        let hold = [self.channel.as_fd(), self.child.as_fd()].into_iter();
        let hold: Vec<_> = hold.chain(self.keeper.iter().flat_map(Keeper::hold)).collect();
        fork_process(|| sys::close_these(&hold).map_or(1, |()| f()))
    }

    /// What this process will be locked in with, made while there is nothing else to do. To be called once everything that it needs is open or there.
    pub fn bolt(&self, reach: &Reach) -> Bolt {
        // Not who keeps its limits: without that one they would not be held. It ends by itself.
        Bolt::make(reach, &[self.child.as_fd()])
    }

    /// Waits until everything is set up.
    pub fn finish(self) -> Result<Prepared, Error> {
        // Should it fail, they are dropped from the last to the first: the processes before who looks after them.
        let Self { keeper, channel, child, plan, nested, limits, mounts: _, trust: _ } = self;
        let Heard { sockets, terminal, gauges, inside } = hear(&channel)?;
        if let Some(keeper) = &keeper {
            keeper.look_at(&gauges)?;
        }
        let status = status(&plan, nested, limits, terminal.is_some(), inside);
        let shown = plan.binds.into_iter().map(|bind| bind.target).collect();
        Ok(Prepared { child, channel, keeper, sockets, terminal, status, shown })
    }
}

/// What the child reports until it is ready.
struct Heard {
    sockets: Sockets,
    terminal: Option<OwnedFd>,
    gauges: Gauges,
    inside: Inside,
}

fn hear(channel: &Channel) -> Result<Heard, Error> {
    let (mut sockets, mut terminal, mut gauges) = (Sockets::default(), None, Gauges::default());
    loop {
        match channel.receive_within::<Report>(SET_UP) {
            Ok(Some((Report::Socket(usage), Some(fd)))) => match usage {
                Socket::Tcp => sockets.tcp.push(fd.into()),
                Socket::DnsUdp => sockets.dns_udp.push(fd.into()),
                Socket::DnsTcp => sockets.dns_tcp.push(fd.into()),
            },
            Ok(Some((Report::Terminal, Some(fd)))) => terminal = Some(fd),
            Ok(Some((Report::Gauge(gauge), Some(fd)))) => gauges.take(gauge, fd),
            Ok(Some((Report::Ready(inside), _))) => {
                sockets.capture = inside.capture.clone();
                return Ok(Heard { sockets, terminal, gauges, inside });
            }
            Ok(Some((Report::Failed(error), _))) => return Err(namespace::explained(error)),
            other => return Err(unexpected(other.err())),
        }
    }
}

/// Why nothing can be done for the child: what it said before it went, or else this.
fn told(channel: &Channel, otherwise: Error) -> Error {
    let said = channel.has_word().then(|| channel.receive_within(SET_UP));
    match said {
        Some(Ok(Some((Report::Failed(error), _)))) => error,
        _ => otherwise,
    }
}

fn unexpected(errno: Option<Errno>) -> Error {
    let error = Step::Start.failed("hear from the sandbox's first process");
    match errno {
        Some(errno) => error.because(errno),
        None => error.hint_at("it was killed; the machine may be out of memory"),
    }
}

fn status(plan: &Plan, nested: bool, limits: LimitsInForce, terminal: bool, inside: Inside) -> Status {
    Status {
        uid: plan.user.uid,
        gid: plan.user.gid,
        namespaces: namespace::NAMES,
        capture: inside.capture,
        ipv6: inside.ipv6,
        syscall_filter: inside.syscall_filter,
        landlock: inside.landlock,
        nested,
        terminal,
        idmapped: plan.idmapped().map(|bind| bind.target.clone()).collect(),
        layered: plan.layered().map(|bind| bind.target.display().to_string()).collect(),
        hidden: plan.hidden.clone(),
        limits,
    }
}

impl Prepared {
    /// Takes the sockets; once.
    pub fn take_sockets(&mut self) -> Sockets {
        std::mem::take(&mut self.sockets)
    }

    /// What is in force.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Locks this process in: from here on it can do what a worker at work does, and no more. To be called once everything that it needs is
    /// open, and before it starts a thread.
    ///
    /// # Errors
    /// As [`lock_in`](crate::lock_in).
    pub fn lock_in(&self, bolt: Bolt, lacking: Lacking) -> Result<Lock, Error> {
        bolt.shut(lacking)
    }

    /// Executes the command with exactly this environment, and with these files in its home. When this returns `Ok`, it runs.
    pub fn start(self, environment: Vec<(OsString, OsString)>, files: Vec<HomeFile>) -> Result<Running, Error> {
        // Should it fail, they are dropped from the last to the first: the processes before who looks after them.
        let Self { keeper, channel, child, terminal, shown, .. } = self;
        for file in files {
            home::check(&file, &shown)?;
            let shown = file.path.display().to_string();
            let failed = |errno| told(&channel, Step::Start.failed("write the file").on(shown).because(errno));
            channel.send(&Order::File(file)).map_err(failed)?;
        }
        send_variables(&channel, environment)?;
        channel.send(&Order::Start).map_err(|errno| told(&channel, unexpected(Some(errno))))?;
        match channel.receive_within(SET_UP) {
            Ok(Some((Report::Started, _))) => {}
            Ok(Some((Report::Failed(error), _))) => return Err(error),
            other => return Err(unexpected(other.err())),
        }
        let channel = Arc::new(channel);
        let relay = terminal
            .map(|master| Relay::start(master, Arc::clone(&channel)))
            .transpose()
            .map_err(|error| Step::Terminal.failed("relay the terminal").because(error).kind_is(ErrorKind::SetUp))?;
        Ok(Running::new(child, channel, relay, keeper))
    }
}

/// As many in one message as have room in it.
fn send_variables(channel: &Channel, environment: Vec<(OsString, OsString)>) -> Result<(), Error> {
    let failed = |name: &[u8], errno: Errno| {
        let shown = String::from_utf8_lossy(name).into_owned();
        told(channel, Step::Start.failed("set the variable").on(shown).because(errno))
    };
    let (mut some, mut room) = (Vec::new(), MESSAGE);
    let send = |some: Vec<(Vec<u8>, Vec<u8>)>| match some.first().map(|(name, _)| name.clone()) {
        Some(first) => channel.send(&Order::Variables(some)).map_err(|errno| failed(&first, errno)),
        None => Ok(()),
    };
    for (name, value) in environment {
        let (name, value) = (name.into_vec(), value.into_vec());
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) || value.contains(&0) {
            return Err(failed(&name, Errno::INVAL));
        }
        let size = name.len() + value.len();
        if size > room {
            send(std::mem::take(&mut some))?;
            room = MESSAGE;
        }
        room = room.saturating_sub(size);
        some.push((name, value));
    }
    send(some)
}
