//! What this machine can do for a sandbox.
//!
//! For: `exeat check`. In: the machine. Out: one line for each thing needed or useful, with the way to mend what it lacks.
//! Never: a lasting change; what is tried is tried in a child that ends.

use crate::{
    cgroup, landlock, lock,
    message::Channel,
    namespace, network,
    offer::Offered,
    overlay,
    process::{ChildProcess, single_threaded},
    spec::CaptureChoice,
    status::Capture,
    sys,
};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One thing a sandbox needs or can use.
#[derive(Debug, Clone, Serialize)]
pub struct Capability {
    /// What it is.
    pub name: Cow<'static, str>,
    /// Whether there can be no sandbox without it.
    pub required: bool,
    /// Whether it is there.
    pub present: bool,
    /// What it is for, or what is missing.
    pub why: String,
    /// How to mend it.
    pub remedy: Option<String>,
}

/// What then becomes of a run.
const UNLOCKED: &str = "`exeat run` refuses to start, unless told to go on by `--unlocked-worker`";

/// Tries each. The caller must still be single-threaded, as for [`begin`](crate::begin).
pub fn probe() -> Vec<Capability> {
    let tried = try_network();
    let mut found = vec![
        Capability::new("user namespaces", true, tried.is_ok(), "the sandbox is made of them")
            .or(tried.as_ref().err().cloned(), namespace::remedy().unwrap_or("allow user namespaces for this user")),
    ];
    let tried = tried.unwrap_or(Tried { redirect: false, ipv6: false });
    found.extend([
        Capability::new("nf_tables", false, tried.redirect, "TCP connections to every port are caught").or(
            Some("only the ports that the policy names are caught".to_owned()),
            "load the kernel modules nf_tables, nft_chain_nat and nft_redir",
        ),
        Capability::new("IPv6", false, tried.ipv6, "IPv6 connections are caught as well").or(
            Some("there is only IPv4 inside".to_owned()),
            "boot without ipv6.disable=1; sysctl net.ipv6.conf.all.disable_ipv6=0",
        ),
        by_landlock(),
        filters(),
        groups(),
        layers(),
    ]);
    if geteuid().is_root() {
        let tried = std::env::current_dir().and_then(|directory| namespace::can_idmap(&directory));
        found.push(
            Capability::new(
                "idmapped mounts",
                false,
                tried.is_ok(),
                "root's files here can be written by a command that is not root",
            )
            .or(
                tried.err().map(|error| error.to_string()),
                "give the directory to an ordinary user, or start exeat as one",
            ),
        );
    }
    found
}

impl Capability {
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        required: bool,
        present: bool,
        why: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), required, present, why: why.into(), remedy: None }
    }

    /// What to say where it is missing.
    pub(crate) fn or(mut self, missing: Option<String>, remedy: &str) -> Self {
        if !self.present {
            self.why = missing.unwrap_or(self.why);
            self.remedy = Some(remedy.to_owned());
        }
        self
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Tried {
    redirect: bool,
    ipv6: bool,
}

/// Makes the namespaces and sets up a network in them.
fn try_network() -> Result<Tried, String> {
    single_threaded().map_err(|error| error.to_string())?;
    let (ours, theirs) = Channel::pair().map_err(|errno| errno.to_string())?;
    let mut child = ChildProcess::spawn(namespace::AT_ONCE, || {
        let made = sys::unshare(namespace::BY_ITSELF).map_err(namespace::clone_failed);
        let tried = made
            .and_then(|()| network::set_up(CaptureChoice::Best, &[].into()))
            .map(|network| Tried { redirect: network.capture == Capture::Redirect, ipv6: network.ipv6 });
        theirs.send(&tried.map_err(|error| error.to_string())).map_or(1, |()| 0)
    })
    .map_err(|errno| errno.to_string())?;
    drop(theirs);
    let answer = ours.receive::<Result<Tried, String>>();
    child.wait().map_err(|error| error.to_string())?;
    answer.map_err(|errno| errno.to_string())?.map_or_else(|| Err("the child died".to_owned()), |(tried, _)| tried)
}

fn by_landlock() -> Capability {
    let abi = sys::landlock_abi();
    let later = match landlock::keeps_sockets(false) {
        true => "and no socket of the machine's is reached",
        false => "but sockets that appear in what is shown after the start are reached: that needs ABI 9, of Linux 7.1",
    };
    let why =
        format!("ABI {}; the worker keeps to its files, and inside there is a second wall, {later}", abi.unwrap_or(0));
    Capability::new("Landlock", true, abi.is_ok(), why).or(
        Some(format!("a worker cannot keep to its files, and inside they are kept by mounts alone: {UNLOCKED}")),
        "a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` among its `lsm=`",
    )
}

fn filters() -> Capability {
    let there = sys::filters_are_there().is_ok() && lock::has_a_list();
    Capability::new("seccomp filters", true, there, "the worker keeps to its system calls").or(
        Some(format!("a worker cannot keep to its system calls: {UNLOCKED}")),
        "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or aarch64",
    )
}

fn layers() -> Capability {
    let tried = overlay::try_it();
    Capability::new("layers", false, tried.is_ok(), "`write = \"overlay\"` leaves the machine's files unchanged")
        .or(tried.err().map(|error| format!("no overlayfs in user namespaces: {error}")), overlay::remedy())
}

fn groups() -> Capability {
    let tried = Offered::by_this_machine();
    let held = tried.held().map(|(key, means)| format!("{key} ({})", means.name())).collect::<Vec<_>>().join(", ");
    let all = tried.missing().is_none();
    Capability::new("cgroups", false, all, format!("for all processes together are limited: {held}")).or(
        tried.missing().map(|(_, error)| {
            let held = if held.is_empty() { String::new() } else { format!("; there is: {held}") };
            format!("no limit for processors, or memory only for each process: {error}{held}")
        }),
        cgroup::REMEDY,
    )
}
