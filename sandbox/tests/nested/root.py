"""As root of namespaces of its own, tries to get at what the sandbox keeps: `root.py files DIRECTORY` or `root.py network`.

Prints what came of each attempt: the name of the error, or `done`."""

import ctypes
import errno
import os
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWNET = 0x10000000, 0x20000, 0x40000000
BIND, REC, REMOUNT, RDONLY, NOSUID, NODEV = 4096, 16384, 32, 1, 2, 4
DETACH = 2
here = {"open_tree": 428, "mount_setattr": 442}


def told(answer):
    return "done" if answer != -1 else errno.errorcode[ctypes.get_errno()]


def become_root(namespaces):
    """In a child; the parent comes back when it has ended."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 1
    uid, gid = os.getuid(), os.getgid()
    assert libc.unshare(namespaces) == 0, os.strerror(ctypes.get_errno())
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


def mount(source, target, kind, flags, options=None):
    return told(libc.mount(source.encode(), target.encode(), kind and kind.encode(), flags, options and options.encode()))


def opened(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]


def files(directory):
    hidden, kept = f"{directory}/state", f"{directory}/kept"
    for place in ("bound", "whole", "over", "own"):
        os.mkdir(f"/tmp/{place}")
    print("own mount", mount("none", "/tmp/own", "tmpfs", 0), opened("/tmp/own/file", os.O_CREAT | os.O_WRONLY))
    print("cover away", told(libc.umount2(hidden.encode(), DETACH)))
    print("below the cover", mount(directory, "/tmp/bound", None, BIND), opened("/tmp/bound/state/secret"))
    print("with the cover", mount(directory, "/tmp/whole", None, BIND | REC), opened("/tmp/whole/state/secret"))
    print("copied cover away", told(libc.umount2(b"/tmp/whole/state", DETACH)))
    print("detached copy", told(libc.syscall(here["open_tree"], -100, directory.encode(), 1)))
    print("overlay", mount("none", "/tmp/over", "overlay", 0, f"lowerdir={directory}:/tmp"), opened("/tmp/over/state/secret"))
    for what, path in (("root", "/"), ("programs", "/usr"), ("read path", kept)):
        print(f"writable {what}", mount("none", path, None, REMOUNT | BIND | NOSUID | NODEV), opened(f"{path}/new", os.O_CREAT | os.O_WRONLY))
    clear = ctypes.create_string_buffer(struct.pack("=4Q", 0, RDONLY, 0, 0))
    print("attributes", told(libc.syscall(here["mount_setattr"], -100, kept.encode(), 0, clear, 32)))
    print("with set-user-ID", mount("none", "/usr", None, REMOUNT | BIND | RDONLY | NODEV))
    print("sysfs", mount("none", "/tmp/over", "sysfs", 0), "proc of the sandbox", mount("none", "/tmp/over", "proc", 0))
    for setting in ("kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory", "net/ipv4/ip_unprivileged_port_start"):
        print(setting, opened(f"/proc/sys/{setting}", os.O_WRONLY))
    print("sysrq", opened("/proc/sysrq-trigger", os.O_WRONLY), "memory", opened("/proc/kcore"))
    print("init", opened("/proc/1/root/etc/shadow"), opened("/proc/1/ns/mnt"), told(libc.ptrace(0x4206, 1, 0, 0)))
    print("set-user-ID", told(libc.chmod(b"/tmp/own/file", 0o4755)), "device", told(libc.mknod(b"/tmp/own/d", 0o020600, 0x103)))


def netlink(kind, body, flags=5):
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    route.send(struct.pack("=LHHLL", 16 + len(body), kind, flags, 1, 0) + body)
    answer = -struct.unpack("=i", route.recv(4096)[16:20])[0]
    return errno.errorcode.get(answer, "done")


def link(index, flags, attributes=b"", how=5):
    return netlink(16, struct.pack("=BxHiII", 0, 0, index, flags, 1) + attributes, how)


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def made(*arguments):
    try:
        socket.socket(*arguments).close()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]


def connected(address):
    try:
        socket.create_connection(address, 3).close()
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def network(of_the_sandbox):
    """In the sandbox's network first, then in one of its own, from which there is no way back."""
    print("device", link(1, 0), "route", netlink(25, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 255, 3, 254, 2, 0)))
    print("address", netlink(20, struct.pack("=BBBBI", 2, 24, 0, 0, 1) + attribute(2, bytes((10, 0, 0, 1))), 0x605))
    print("firewall", made(16, 3, 12), "raw", made(2, 3, 1), "packet", made(17, 3, 3))
    tables = socket.socket()
    for level in (0, 41):
        try:
            tables.setsockopt(level, 64, bytes(96))
            print("tables done")
        except OSError as error:
            print("tables", errno.errorcode[error.errno])
    try:
        socket.socket().bind(("0.0.0.0", 443))
        print("port done")
    except OSError as error:
        print("port", errno.errorcode[error.errno])
    print("caught", connected(("1.2.3.4", 80)))
    assert libc.unshare(NEWNET) == 0
    print("own device", link(1, 1), "own address", netlink(20, struct.pack("=BBBBI", 2, 24, 0, 0, 1) + attribute(2, bytes((10, 0, 0, 1))), 0x605))
    print("out", connected(("1.2.3.4", 80)), "proxy", connected(("127.0.0.1", 80)), "packet", made(17, 3, 3), "raw", made(2, 3, 1))
    # A cable between the two, laid from here.
    kind = attribute(18, attribute(1, b"veth") + attribute(2, attribute(1, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(28, struct.pack("=I", of_the_sandbox)))))
    print("cable", link(0, 0, kind, 0x605))
    print("back", told(libc.setns(of_the_sandbox, 0)))


if sys.argv[1] == "files":
    if become_root(NEWUSER | NEWNS) and os.getuid() == 0:
        files(sys.argv[2])
else:
    inherited = os.open("/proc/self/ns/net", os.O_RDONLY)
    if become_root(NEWUSER) and os.getuid() == 0:
        network(inherited)
