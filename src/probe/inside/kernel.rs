//! The kernel's own ways to more: namespaces, mounts, identities, devices, settings.
//!
//! Enters: nothing of the outside. Leaves: the kernel's answers. Never: a setting that is written, a device that is read, a mount that
//! stays.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, UnmountFlags};
use sandbox::attempt;

use super::super::brief::Brief;
use super::super::finding::{Outcome, Probe, Verdict};
use super::isolation::not_writable;
use super::{forked, refused, told};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("kernel/user-namespace", "a user namespace, to become root in: unshare and clone3", |brief| {
        if brief.nested {
            return Outcome::not_applicable("the policy has `nested = true`, so it may be made");
        }
        Outcome::of_all(
            [refused("unshare", attempt::enter_user_namespace), refused("clone3", attempt::spawn_into_user_namespace)],
            "",
        )
    }),
    Probe::new("kernel/mount", "a mount, by the old call and the new one", |brief| {
        Outcome::of_all([refused("mount", || mount(brief)), refused("fsopen", open_file_system)], "")
    }),
    Probe::new("kernel/setuid", "root's user number", |_| {
        refused("setresuid(0)", || rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))
    }),
    Probe::new("kernel/setuid-file", "a set-user-ID file, for whoever runs it later", |brief| {
        in_scratch(brief, |path| {
            fs::write(path, "")?;
            fs::set_permissions(path, Permissions::from_mode(0o4755))
        })
    }),
    Probe::new("kernel/device-file", "a device file of one's own for the kernel's memory", |brief| {
        in_scratch(brief, |path| {
            let memory = rustix::fs::makedev(1, 1);
            Ok(rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, Mode::RUSR, memory)?)
        })
    }),
    Probe::new("kernel/devices", "memory, disks, KVM, FUSE, tunnels and consoles in /dev", |_| devices()),
    Probe::new("kernel/terminal", "typing into a terminal: TIOCSTI", |_| {
        of_terminal("TIOCSTI", |terminal| {
            // The kernel lets a process type into the terminal that controls it.
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(terminal)?;
            attempt::type_into(terminal)
        })
    }),
    Probe::new("kernel/line-discipline", "a line discipline of the kernel's for a terminal: TIOCSETD", |_| {
        of_terminal("TIOCSETD", attempt::set_line_discipline)
    }),
    Probe::new("kernel/io-uring", "io_uring, whose operations no filter sees", |_| {
        refused("io_uring_setup", attempt::set_up_io_uring)
    }),
    Probe::new("kernel/bpf", "a map for BPF programs", |_| refused("BPF_MAP_CREATE", attempt::make_bpf_map)),
    Probe::new("kernel/performance", "a performance counter", |_| refused("perf_event_open", attempt::count_events)),
    Probe::new("kernel/page-faults", "page faults of one's own to handle: userfaultfd", |_| {
        refused("userfaultfd", attempt::handle_page_faults)
    }),
    Probe::new("kernel/file-handles", "a file by its handle, past every mount", |_| {
        refused("name_to_handle_at", attempt::take_file_handle)
    }),
    Probe::new("kernel/log", "the kernel's log", |_| refused("syslog", attempt::ask_for_the_log)),
    Probe::new("kernel/modules", "taking away a kernel module", |_| modules()),
    Probe::new("kernel/settings", "core_pattern, modprobe, sysrq and other settings that run or stop things", |_| {
        not_writable(&[
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/kernel/hotplug",
            "/proc/sys/user/max_user_namespaces",
            "/proc/sys/fs/binfmt_misc/register",
            "/proc/sys/vm/panic_on_oom",
            "/proc/sysrq-trigger",
            "/sys/kernel/uevent_helper",
        ])
    }),
    Probe::new("kernel/cgroup", "the limits of one's own cgroup, and another cgroup to move to", |_| cgroup()),
];

fn scratch(brief: &Brief) -> PathBuf {
    std::env::temp_dir().join(format!("probe-{}-own", brief.nonce))
}

fn mount(brief: &Brief) -> Result<(), Errno> {
    let place = scratch(brief);
    let _ = fs::create_dir(&place);
    let mounted = rustix::mount::mount("probe", &place, "tmpfs", MountFlags::NODEV, None);
    if mounted.is_ok() {
        let _ = rustix::mount::unmount(&place, UnmountFlags::DETACH);
    }
    let _ = fs::remove_dir(&place);
    mounted
}

fn open_file_system() -> Result<(), Errno> {
    rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop)
}

/// Something that is done with a file of one's own, which is taken away again.
fn in_scratch(brief: &Brief, attempt: impl FnOnce(&Path) -> io::Result<()>) -> Outcome {
    let path = scratch(brief);
    let made = attempt(&path);
    let _ = fs::remove_file(&path);
    match made {
        Ok(()) => Outcome::broke("it was made"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Outcome::held(told(error)),
        Err(error) => Outcome::not_applicable(told(error)),
    }
}

fn devices() -> Outcome {
    const SPECIAL: [&str; 14] = [
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kmsg",
        "/dev/sda",
        "/dev/vda",
        "/dev/nvme0n1",
        "/dev/loop-control",
        "/dev/loop0",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/net/tun",
        "/dev/vhost-vsock",
        "/dev/console",
    ];
    let opened: Vec<&str> =
        SPECIAL.into_iter().filter(|path| OpenOptions::new().read(true).open(path).is_ok()).collect();
    if !opened.is_empty() {
        return Outcome::broke(format!("opened: {}", opened.join(", ")));
    }
    let there = SPECIAL.into_iter().filter(|path| Path::new(path).exists()).count();
    Outcome::held(format!("{there} of {} are there, and none opens", SPECIAL.len()))
}

/// On a terminal of one's own: the filter refuses the call whichever it is.
fn of_terminal(what: &str, attempt: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>) -> Outcome {
    let open = || -> Result<_, Errno> {
        let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        Ok((master, slave))
    };
    match open() {
        Ok((_master, slave)) => refused(what, || attempt(slave.as_fd())),
        Err(errno) => Outcome::not_applicable(format!("no terminal to try it on: {}", told(errno))),
    }
}

/// There is no module of that name; to be told so is more than an ordinary process may be.
fn modules() -> Outcome {
    match forked(|| attempt::unload_module("exeat_probe_of_no_module")) {
        Ok(Err(errno @ Errno::PERM)) => Outcome::held(told(errno)),
        Ok(Err(errno @ Errno::NOSYS)) => Outcome::not_applicable(format!("the kernel has no modules: {}", told(errno))),
        Ok(Err(errno)) => Outcome::broke(format!("it was looked for: {}", told(errno))),
        Ok(Ok(())) => Outcome::broke("done"),
        Err(error) => Outcome::not_applicable(told(error)),
    }
}

fn cgroup() -> Outcome {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let above: Vec<&str> = own.lines().filter(|line| !line.ends_with(":/")).collect();
    if let [path, ..] = above[..] {
        return Outcome::broke(format!("the path of its cgroup on the machine shows: {path}"));
    }
    let files = not_writable(&[
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/fs/cgroup/pids/cgroup.procs",
        "/sys/fs/cgroup/release_agent",
    ]);
    if files.verdict == Verdict::NotApplicable {
        return Outcome::held("its cgroup is the root of what it sees, and no cgroup file system is there");
    }
    files
}
