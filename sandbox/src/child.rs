//! The child's life from the fork to the moment the command may start: one list of steps, none of which can be undone.
//!
//! For: pid 1 of the sandbox. In: the spec and the plan, inherited by the fork; orders on the channel. Out: reports on the
//! channel; then it is `init`. Never: a step skipped or gone on after one failed.

use crate::{
    confine, disk,
    error::{Error, Step},
    filesystem::{self, Sources},
    filter::Rules,
    init, landlock,
    limits::Rlimits,
    message::{Channel, Order, Report},
    namespace, network,
    plan::{Plan, User},
    spec::Spec,
    status::Inside,
    sys,
    terminal::Terminal,
};
use rustix::{
    io::Errno,
    process::{Signal, set_parent_process_death_signal, setsid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

/// Everything the child inherits.
pub(crate) struct Inherited<'a> {
    pub spec: &'a Spec,
    pub plan: &'a Plan,
    pub rlimits: Rlimits,
    pub channel: Channel,
}

/// The child's exit code counts for nothing: what happened is in its reports.
pub(crate) fn run(inherited: &Inherited<'_>) -> u8 {
    let channel = &inherited.channel;
    match set_up(inherited) {
        Ok(Some((terminal, reaped, inside))) => match channel.send(&Report::Ready(inside)) {
            Ok(()) => init::run(inherited, terminal, reaped),
            Err(_) => 1, // the worker is gone
        },
        Ok(None) => 1,
        Err(error) => channel.send(&Report::Failed(error)).map_or(1, |()| 0),
    }
}

/// What init goes on with.
type Standing = (Option<Terminal>, Option<disk::Reaped>, Inside);

/// `None`: the worker went away meanwhile.
fn set_up(inherited: &Inherited<'_>) -> Result<Option<Standing>, Error> {
    let Inherited { spec, plan, channel, .. } = inherited;
    let step = |step: Step, tried: &'static str| move |errno: Errno| step.failed(tried).because(errno);

    // First: what the worker has open (the broker's socket, listeners) must not live on in here, whatever comes.
    sys::close_other_fds(Some(channel.as_fd())).map_err(step(Step::Namespaces, "close the worker's descriptors"))?;
    // Before anything that could be interrupted: from here on signals are read, by init, and never handled.
    sys::block_signals().map_err(step(Step::Namespaces, "block signals"))?;
    // Meanwhile the parent does its part.
    sys::unshare(namespace::BY_ITSELF).map_err(namespace::clone_failed)?;
    // The parent maps the user and moves us to our cgroup. Both are conditions of nearly all that follows.
    let Some(idmapped) = wait_for_go(channel)? else { return Ok(None) };
    // After the move: the namespace's root is the cgroup we are in now, and no path above it shows inside.
    sys::unshare(libc::CLONE_NEWCGROUP).map_err(step(Step::Namespaces, "make the cgroup namespace"))?;
    // A new session: no controlling terminal, so /dev/tty is not the worker's. A new keyring: not the worker's either.
    setsid().map_err(step(Step::Namespaces, "start a session"))?;
    fresh_keyring().map_err(step(Step::Namespaces, "start a session keyring"))?;
    rustix::system::sethostname(b"sandbox").map_err(step(Step::Namespaces, "set the host name"))?;

    // While we are the user who started exeat: the command's user may not be able to reach the working directory.
    let sources = Sources::take(plan, spec, idmapped)?;
    // Before files are made: the new root's files belong to whoever makes them, and nobody else exists in here.
    become_user(plan.user).map_err(step(Step::User, "become the unprivileged user"))?;
    // After the last change of user, which clears it; then a look whether the worker died before it was set.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step(Step::User, "tie this process to the worker"))?;
    if channel.hung_up() {
        return Ok(None);
    }

    // The network needs capabilities, and its sockets go out before anything else is said.
    let network = network::set_up(spec.capture, &spec.ports)?;
    for (usage, fd) in &network.sockets {
        let sent = channel.send_with(&Report::Socket(*usage), &[fd.as_fd()]);
        sent.map_err(step(Step::Network, "hand out a socket"))?;
    }
    // From the pivot in here on, no path leads to the machine any more.
    filesystem::build(sources, plan, spec, channel)?;
    // While /proc can be opened by us: without the last privilege we cannot read about ourselves.
    let reaped = spec.limits.disk.map(|_| disk::hand_out(channel)).transpose()?;
    // While /proc/sys can be written: no user namespace below this one, hence no capability ever again.
    bound_namespaces(spec.nested, spec.limits.wants_a_group() && !plan.user.from_root)?;
    network::reuse_ports();
    // The terminal comes from the new /dev/pts, so that its name means something inside.
    let terminal = Terminal::open_if_wanted()?;
    if let Some(terminal) = &terminal {
        let sent = channel.send_with(&Report::Terminal, &[terminal.master()]);
        sent.map_err(step(Step::Terminal, "hand out the terminal"))?;
    }
    // Nothing more to place: the root becomes read-only. Needs the capability that goes next.
    filesystem::seal(plan, spec.nested)?;
    // Behind the mounts, which it forbids to change; so when all are made.
    let landlock = landlock::restrict(plan, spec.nested)?;
    // Last: without capabilities, nobody in here can change what stands now.
    let syscall_filter = confine::give_up(Rules { from_root: plan.user.from_root, nested: spec.nested })?;

    Ok(Some((
        terminal.map(Terminal::without_master),
        reaped,
        Inside { capture: network.capture, ipv6: network.ipv6, syscall_filter, landlock },
    )))
}

fn wait_for_go(channel: &Channel) -> Result<Option<Vec<OwnedFd>>, Error> {
    let mut idmapped = Vec::new();
    loop {
        match channel.receive() {
            Ok(Some((Order::Mount, Some(mount)))) => idmapped.push(mount),
            Ok(Some((Order::Go, _))) => return Ok(Some(idmapped)),
            Ok(None) => return Ok(None),
            Ok(Some(_)) => return Err(Step::Namespaces.failed("make sense of the worker's order")),
            Err(errno) => return Err(Step::Namespaces.failed("hear the worker").because(errno)),
        }
    }
}

/// None, or where the policy lets them be made, as many of each kind as browsers make for their tabs. A kernel that lacks a kind
/// has no bound for it.
fn bound_namespaces(nested: bool, own_limits: bool) -> Result<(), Error> {
    const MOST: &str = "128";
    let bound = |kind: &str, most: &str| {
        let path = format!("/proc/sys/user/max_{kind}_namespaces");
        match fs::write(&path, most) {
            Err(error) if nested && error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(|error| Step::Confine.failed("bound namespaces by").on(path).because(error)),
        }
    };
    if !nested {
        return bound("user", "0");
    }
    // Whoever has a cgroup namespace may mount the groups, and from within another raise limits whose files are its user's.
    bound("cgroup", if own_limits { "0" } else { MOST })?;
    ["user", "pid", "mnt", "net", "ipc", "uts", "time"].into_iter().try_for_each(|kind| bound(kind, MOST))
}

/// Kernels without keyrings have none to leave; and where a container keeps this call from us, it does so from the command.
fn fresh_keyring() -> Result<(), Errno> {
    match sys::fresh_session_keyring() {
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        joined => joined,
    }
}

fn become_user(user: User) -> Result<(), Errno> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    if user.from_root {
        // An ordinary user cannot drop groups; inside, they are nobody's anyway.
        set_thread_groups(&[])?;
    }
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}
