"""Makes every system call there may be, each in a process of its own that is given half a second, with arguments that nothing
can come of. Prints the error of each, or `ended` where the process did not come back from it."""

import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
# Of no use: a pointer to nothing, a descriptor that is not open, flags that contradict each other.
nothing = [ctypes.c_long(-1)] * 6


def attempt(number):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        answer = libc.syscall(number, *nothing)
        # Whoever comes back twice says it twice: only the first is read.
        os.write(writer, b"%d " % (ctypes.get_errno() if answer == -1 else 0))
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 16).split()
    os.close(reader)
    os.waitpid(pid, 0)
    return int(said[0]) if said else "ended"


for number in range(0, 501):
    print(number, attempt(number))
