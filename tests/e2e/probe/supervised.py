"""Runs a program on a kernel without a wall: `supervised.py WALL PROGRAM ARGUMENT…`, by seccomp's user notification.

`loopback`: whatever `probe-inside` connects to on loopback, and nobody in its own network listens to, is connected to outside, and it is handed that
socket; no other address is ever connected to. `covers`: a process that has mounted one thing right onto another (its root) is told that it has done so
again, and has not. All other calls go on as they are.
"""

import array
import ctypes
import fcntl
import os
import platform
import socket
import struct
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
SECCOMP, CONNECT = (277, 203) if platform.machine() == "aarch64" else (317, 42)
MOVE_MOUNT, FROM_AND_ONTO_WHAT_IS_HELD = 429, 0x44
wall, *command = sys.argv[1:]
call = {"loopback": CONNECT, "covers": MOVE_MOUNT}[wall]
mounted = set()
RECEIVE, SEND, ADD = 0xC0502100, 0xC0182101, 0x40182103
GO_ON, IN_PLACE = 1, 1


def listener():
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (6, 0, 0, 0x7FC00000), (6, 0, 0, 0x7FFF0000)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in code))
    by = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(program)))
    libc.prctl(38, 1, 0, 0, 0)
    fd = libc.syscall(SECCOMP, 1, 8, by)
    if fd < 0:
        sys.exit(f"supervised.py: {os.strerror(ctypes.get_errno())}")
    return fd


def on_loopback(raw):
    family = struct.unpack_from("=H", raw)[0]
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and raw[4] == 127:
        return family, (socket.inet_ntoa(raw[4:8]), port), "tcp"
    if family == socket.AF_INET6 and raw[8:24] == bytes(15) + b"\1":
        return family, ("::1", port), "tcp6"
    return None


def listened_to_inside(pid, table, port):
    with open(f"/proc/{pid}/net/{table}") as lines:
        rows = [line.split() for line in lines]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def outside(pid, address, length):
    with open(f"/proc/{pid}/cmdline", "rb") as words:
        if b"probe-inside" not in words.read().split(b"\0"):
            return None
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address)
        found = on_loopback(memory.read(length))
    if not found or found[1][1] == 53 or listened_to_inside(pid, found[2], found[1][1]):
        return None
    family, to, _ = found
    stream = socket.socket(family, socket.SOCK_STREAM)
    stream.settimeout(2)
    stream.connect(to)
    stream.setblocking(True)
    return stream


def serve(fd):
    while True:
        notice = bytearray(80)
        try:
            fcntl.ioctl(fd, RECEIVE, notice)
        except OSError:
            continue
        threading.Thread(target=answer, args=(fd, notice), daemon=True).start()


def answer(fd, notice):
    number, pid = struct.unpack_from("=QI", notice)
    target, address, length, _, how = struct.unpack_from("=5Q", notice, 32)
    flags = GO_ON
    if call == MOVE_MOUNT and how == FROM_AND_ONTO_WHAT_IS_HELD:
        flags = 0 if pid in mounted else GO_ON
        mounted.add(pid)
    try:
        stream = outside(pid, address, min(length, 28)) if call == CONNECT else None
        if stream:
            fcntl.ioctl(fd, ADD, struct.pack("=QIIII", number, IN_PLACE, stream.fileno(), target, 0))
            flags = 0
    except (OSError, struct.error, IndexError):
        pass
    try:
        fcntl.ioctl(fd, SEND, bytearray(struct.pack("=QqiI", number, 0, 0, flags)))
    except OSError:
        pass  # whoever asked is gone


ours, theirs = socket.socketpair()
child = os.fork()
if child == 0:
    ours.close()
    fd = listener()
    theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    os.close(fd)
    theirs.close()
    os.execvp(command[0], command)
theirs.close()
_, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_LEN(4))
threading.Thread(target=serve, args=(array.array("i", ancillary[0][2])[0],), daemon=True).start()
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
