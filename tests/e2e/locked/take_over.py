"""Takes a process over, as whoever finds a hole in it would: makes its own threads ask the kernel for things, one system call at a time.

Only root can, as the process is closed to its user. Prints a JSON object: for each thread, what each call was answered.
"""
import ctypes, json, os, platform, signal, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_ulong] * 4
libc.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, STEP, DETACH, GET, SET, STATUS = 0x4206, 0x4207, 9, 17, 0x4204, 0x4205, 1
X86 = platform.machine() == "x86_64"
# Where the registers are that a call is made with: number, arguments, answer, what is executed next, the stack.
NUMBER, ARGUMENTS, ANSWER, NEXT, STACK = (10, [14, 13, 12, 7, 9, 8], 10, 16, 19) if X86 else (8, list(range(6)), 0, 32, 31)
INSTRUCTION, ORIGINAL = (b"\x0f\x05", 15) if X86 else (b"\x01\x00\x00\xd4", None)
NUMBERS = {  # x86-64, aarch64
    "openat": (257, 56), "socket": (41, 198), "execve": (59, 221), "clone": (56, 220), "ptrace": (101, 117),
    "kill": (62, 129), "tgkill": (234, 131), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "unlinkat": (263, 35),
    "process_vm_readv": (310, 270), "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "keyctl": (250, 219), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "memfd_create": (319, 279), "prctl": (157, 167), "ftruncate": (77, 46), "fcntl": (72, 25), "bind": (49, 200),
    "listen": (50, 201), "renameat2": (316, 276), "linkat": (265, 37), "fallocate": (285, 47), "pwritev2": (328, 287),
    "init_module": (175, 105), "seccomp": (317, 277), "setuid": (105, 146), "close": (3, 57), "getpid": (39, 172),
    "mprotect": (10, 226), "clone3": (435, 435), "fork_like": (56, 220),
}


def ptrace(request, pid, address=0, value=0):
    answer = libc.ptrace(request, pid, address, value)
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {pid}")


class Thread:
    def __init__(self, process, thread):
        self.thread = thread
        self.memory = open(f"/proc/{process}/mem", "r+b", buffering=0)
        ptrace(SEIZE, thread)
        ptrace(INTERRUPT, thread)
        self.wait()
        self.found = self.registers()
        # It waits in the kernel, just behind the instruction that made the call.
        self.instruction = self.found[NEXT] - len(INSTRUCTION)
        assert self.read(self.instruction, len(INSTRUCTION)) == INSTRUCTION, "not in a system call"

    def wait(self):
        _, status = os.waitpid(self.thread, 0x40000000)
        assert os.WIFSTOPPED(status), status

    def registers(self):
        space = ctypes.create_string_buffer(512)
        vector = (ctypes.c_ulong * 2)(ctypes.addressof(space), 512)
        ptrace(GET, self.thread, STATUS, ctypes.addressof(vector))
        return list(struct.unpack(f"{vector[1] // 8}Q", space.raw[: vector[1]]))

    def set(self, registers):
        space = ctypes.create_string_buffer(struct.pack(f"{len(registers)}Q", *registers))
        vector = (ctypes.c_ulong * 2)(ctypes.addressof(space), len(registers) * 8)
        ptrace(SET, self.thread, STATUS, ctypes.addressof(vector))

    def read(self, address, length):
        self.memory.seek(address)
        return self.memory.read(length)

    def call(self, name, *arguments):
        registers, free = list(self.found), self.found[STACK] - 8192
        for at, argument in enumerate(arguments):
            if isinstance(argument, (str, bytes)):
                bytes_ = argument if isinstance(argument, bytes) else argument.encode() + b"\0"
                self.memory.seek(free)
                self.memory.write(bytes_)
                argument, free = free, free + len(bytes_) + 64
            registers[ARGUMENTS[at]] = argument & (2**64 - 1)
        registers[NUMBER] = NUMBERS[name][0 if X86 else 1]
        registers[NEXT] = self.instruction
        if ORIGINAL is not None:
            registers[ORIGINAL] = 2**64 - 1
        self.set(registers)
        ptrace(STEP, self.thread)
        self.wait()
        answer = self.registers()[ANSWER]
        return answer - 2**64 if answer >= 2**63 else answer

    def let_go(self):
        self.set(self.found)
        ptrace(DETACH, self.thread)


def take_over(process, thread, tree, broker, log):
    taken = Thread(process, thread)
    call, own = taken.call, os.path.dirname(os.path.dirname(log))
    descriptor = next(int(fd) for fd in os.listdir(f"/proc/{process}/fd") if os.readlink(f"/proc/{process}/fd/{fd}") == log)
    at, reading, creating = -100, 0, 0o1101
    answers = {
        "credentials": call("openat", at, f"{tree}/config/credentials.toml", reading),
        "secret": call("openat", at, f"{tree}/config/secrets/key", reading),
        "ssh-key": call("openat", at, f"{tree}/home/.ssh/id_rsa", reading),
        "ledger-key": call("openat", at, f"{tree}/state/ledger.key", reading),
        "ledger": call("openat", at, f"{tree}/state/leases", reading),
        "workers": call("openat", at, f"{tree}/state/workers", reading),
        "shadow": call("openat", at, "/etc/shadow", reading),
        "own-memory": call("openat", at, "/proc/self/mem", reading),
        "broker-memory": call("openat", at, f"/proc/{broker}/mem", reading),
        "write-policy": call("openat", at, f"{tree}/config/agents/bot.toml", 1),
        "new-policy": call("openat", at, f"{tree}/config/agents/new.toml", creating, 0o600),
        "reopen-log": call("openat", at, log, 1),
        "remove-log": call("unlinkat", at, log, 0),
        "remove-worker": call("unlinkat", at, f"{own}/worker.json", 0),
        "replace-log": call("renameat2", at, f"{own}/worker.json", at, log, 0),
        "link": call("linkat", at, log, at, f"{own}/link", 0),
        "cut-log-short": call("ftruncate", descriptor, 0),
        "punch-log": call("fallocate", descriptor, 3, 0, 64),
        "log-not-appending": call("fcntl", descriptor, 4, 0),
        "write-log-at": call("pwritev2", descriptor, b"\0" * 16, 1, 0, 0),
        "memfd": call("memfd_create", "x", 0),
        "shell": call("execve", "/bin/sh", 0, 0),
        "fork": call("clone", signal.SIGCHLD, 0, 0, 0, 0),
        "clone3": call("clone3", b"\0" * 88, 88),
        "trace-broker": call("ptrace", 16, broker, 0, 0),
        "read-broker": call("process_vm_readv", broker, b"\0" * 16, 1, b"\0" * 16, 1, 0),
        "signal-broker": call("kill", broker, 0),
        "signal-parent": call("kill", os.getpid(), 0),
        "signal-all": call("kill", -1, 0),
        "hold-broker": call("pidfd_open", broker, 0),
        "unix-socket": call("socket", 1, 1, 0),
        "netlink": call("socket", 16, 3, 0),
        "packet": call("socket", 17, 3, 0),
        "raw": call("socket", 2, 3, 1),
        "mount": call("mount", "none", "/tmp", "tmpfs", 0, 0),
        "unshare": call("unshare", 0x10000000),
        "setns": call("setns", descriptor, 0),
        "bpf": call("bpf", 0, b"\0" * 64, 64),
        "io-uring": call("io_uring_setup", 1, b"\0" * 128),
        "keyring": call("keyctl", 1, 0, 0, 0),
        "perf": call("perf_event_open", b"\0" * 128, 0, -1, -1, 0),
        "faults": call("userfaultfd", 1),
        "module": call("init_module", 0, 0, ""),
        "filter": call("seccomp", 1, 0, 0),
        "become-root": call("setuid", 0),
        "code": call("mprotect", taken.found[STACK] & ~4095, 4096, 7),
        "dumpable": call("prctl", 4, 1),
    }
    socket = call("socket", 2, 1, 0)
    answers["bind"] = call("bind", socket, b"\2\0\0\0\x7f\0\0\1" + b"\0" * 8, 16)
    answers["listen"] = call("listen", socket, 1)
    call("close", socket)
    # What a worker does is still answered: it was taken over, not blinded.
    policy = call("openat", at, f"{tree}/config/agents/bot.toml", reading)
    call("close", policy)
    able = {"policy": policy, "socket": socket, "number": call("getpid") - process}
    taken.let_go()
    return {"refused": answers, "able": able}


process, broker, tree, log = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
threads = {}
for thread in os.listdir(f"/proc/{process}/task"):
    name = open(f"/proc/{process}/task/{thread}/comm").read().strip()
    threads.setdefault(name, int(thread))
print(json.dumps({name: take_over(process, thread, tree, broker, log) for name, thread in threads.items()}))
