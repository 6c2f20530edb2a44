"""Asks the kernel for things in earnest, with arguments that are right, and prints the error of each."""

import array
import ctypes
import os
import pty
import signal
import struct

libc = ctypes.CDLL(None, use_errno=True)
X86_64 = os.uname().machine == "x86_64"
NEWUSER, NEWNET, NEWTIME = 0x10000000, 0x40000000, 0x80


def call(on_x86_64, on_aarch64, *arguments):
    number = on_x86_64 if X86_64 else on_aarch64
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    answer = libc.syscall(number, *words)
    return "done" if answer != -1 else ctypes.get_errno()


def in_child(attempt):
    """Of an attempt that changes the process, or makes another: whoever comes back first says what came of it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, str(attempt()).encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 4).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    return said


def ioctl(request, text):
    master, slave = pty.openpty()
    return "done" if libc.ioctl(slave, request, text) != -1 else ctypes.get_errno()


def sleeping():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


buffer = ctypes.create_string_buffer(256)
handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
counter = ctypes.create_string_buffer(struct.pack("=IIQ", 1, 112, 0) + bytes(96))
vector = struct.pack("=QQ", ctypes.addressof(buffer), 8)
clone3 = struct.pack("=8Q", NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
asleep = sleeping()

print("unshare", *(in_child(lambda: call(272, 97, flag)) for flag in (NEWUSER, NEWNET, NEWTIME, NEWUSER | NEWNET)))
print("unshare files", call(272, 97, 0x400))
print("clone", in_child(lambda: call(56, 220, NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)))
print("clone3", in_child(lambda: call(435, 435, clone3, 64)))
print("setns", call(308, 268, os.open("/proc/self/ns/net", os.O_RDONLY), 0))
print("mount", call(165, 40, b"none", b"/tmp", b"tmpfs", 0, 0), "chroot", call(161, 51, b"/tmp"))
print("fsopen", call(430, 430, b"tmpfs", 0), "open_tree", call(428, 428, -100, b"/", 1))
print("ptrace", call(101, 117, 16, asleep, 0, 0), call(101, 117, 0x4206, asleep, 0, 0))
print("process_vm_readv", call(310, 270, asleep, vector, 1, vector, 1, 0))
print("pidfd_getfd", call(438, 438, os.pidfd_open(asleep), 0, 0))
print("name_to_handle_at", call(303, 264, -100, b"/", handle, buffer, 0))
print("perf_event_open", call(298, 241, counter, 0, -1, -1, 0), "bpf", call(321, 280, 0, buffer, 16))
print("userfaultfd", call(323, 282, 1), "io_uring", call(425, 425, 1, buffer), "openat2", call(437, 437, -100, b"/", buffer, 24))
print("get_mempolicy", call(239, 236, 0, 0, 0, 0, 0), "memfd_secret", call(447, 447, 0))
print("keyctl", call(250, 219, 0, -3, 0), "add_key", call(248, 217, b"user", b"x", b"x", 1, -3))
print("syslog", call(103, 116, 10, 0, 0), "fanotify", call(300, 262, 0x200, 0), "adjtimex", call(159, 171, bytes(256)))
print("personality", call(135, 92, 0x400000), call(135, 92, 0xFFFFFFFF))
print("TIOCSTI", ioctl(0x5412, b"x"), "TIOCSETD", ioctl(0x5423, array.array("i", [0]).tobytes()))
for name, kind in (("char", 0o020000), ("block", 0o060000), ("set-user-ID", 0o104000), ("fifo", 0o010000)):
    print(name, call(133, 0, b"/tmp/" + name.encode(), kind | 0o600, 0x101) if X86_64 else call(0, 33, -100, b"/tmp/" + name.encode(), kind | 0o600, 0x101))
if X86_64:
    print("x32", call(0x40000000 | 39, 0))
else:
    print("x32 38")
os.kill(asleep, signal.SIGKILL)

# A child that asks for it is traced, as gdb and strace do with the programs that they start.
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(7)
stopped = os.WIFSTOPPED(os.waitpid(pid, 0)[1])
libc.ptrace(7, pid, 0, 0)
print("own child", stopped, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
