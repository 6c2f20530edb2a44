//! /etc as the command sees it: what programs need to run, and names for the sandbox's own user.
//!
//! For: `filesystem`. In: the user. Out: the entries of the machine's /etc to show, and fresh files in place of those that
//! tell about the machine. Never: an entry that is not on the list; most secrets of a machine are in /etc.

use crate::{filesystem::HOME, plan::User};
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The name server's address: the first of those it gives names to. Any address would do, port 53 is caught everywhere.
pub(crate) const NAME_SERVER: &str = "198.18.0.1";

/// Configuration that programs read and that is the same on every machine of a kind. Left out on purpose: accounts, PAM,
/// sudo, SSH, cron, mail, databases, web servers, the package managers' own (`apt`, `pip.conf`, `npmrc`: they may hold passwords
/// in addresses), `environment` and `profile` of the whole machine, and whatever else is not named here.
const SHOWN: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "chromium.d",
    "crypto-policies",
    "debian_version",
    "default/locale",
    "emacs",
    "ethertypes",
    "fonts",
    "gai.conf",
    "gdb",
    "gitconfig",
    "glvnd",
    "gprofng.rc",
    "groff",
    "host.conf",
    "inputrc",
    "java",
    "jvm",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "mailcap",
    "manpath.config",
    "maven",
    "mime.types",
    "mono",
    "nanorc",
    "netconfig",
    "networks",
    "OpenCL",
    "os-release",
    "papersize",
    "perl",
    "php",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3",
    "redhat-release",
    "rpc",
    "screenrc",
    "services",
    "sgml",
    "shells",
    "ssl/openssl.cnf",
    "terminfo",
    "texmf",
    "timezone",
    "vim",
    "vulkan",
    "X11",
    "xattr.conf",
    "xdg",
    "xml",
];
/// Directories with a version in their names.
const SHOWN_FAMILIES: &[&str] = &["java-", "python3.", "ImageMagick-", "mono-"];

/// The machine's entries to show. Those that this machine has not are left out by the caller.
pub(crate) fn shown() -> impl Iterator<Item = PathBuf> {
    let families = fs::read_dir("/etc").into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        SHOWN_FAMILIES.iter().any(|family| name.starts_with(family))
    });
    SHOWN.iter().map(|name| Path::new("/etc").join(name)).chain(families)
}

/// Writes the sandbox's own files.
pub(crate) fn write(user: User) -> io::Result<()> {
    let User { uid, gid, .. } = user;
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let (mut passwd, mut group) = (format!("agent:x:{uid}:{gid}::{HOME}:{shell}\n"), format!("agent:x:{gid}:\n"));
    for (id, name, named_group) in [(0, "root", "root"), (65534, "nobody", "nogroup")] {
        if id != uid {
            passwd += &format!("{name}:x:{id}:{id}::/:/bin/false\n");
        }
        if id != gid {
            group += &format!("{named_group}:x:{id}:\n");
        }
    }
    let files = [
        ("passwd", passwd),
        ("group", group),
        ("hostname", "sandbox\n".to_owned()),
        ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n".to_owned()),
        ("resolv.conf", format!("nameserver {NAME_SERVER}\noptions timeout:2 attempts:2\n")),
        // Only what needs no daemon and no socket of the machine.
        ("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n".to_owned()),
    ];
    for (name, text) in files {
        fs::write(Path::new("/etc").join(name), text)?;
    }
    symlink("/proc/mounts", "/etc/mtab")
}
