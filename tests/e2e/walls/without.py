"""Runs a program on a kernel that lacks system calls: `without.py NUMBER:ERRNO,… PROGRAM ARGUMENT…`. A seccomp filter answers for them: with an error, or
with 0 as if all was done.
"""

import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
lacking = [tuple(map(int, call.split(":"))) for call in sys.argv[1].split(",")]
# Load the number; for each call: if it is that one, the error; else the next. Then all others pass.
code = [(0x20, 0, 0, 0)]
for number, errno in lacking:
    code += [(0x15, 0, 1, number), (6, 0, 0, 0x50000 | errno)]
code.append((6, 0, 0, 0x7FFF0000))
program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in code))
filter = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(program)))
no_new_privileges, seccomp, by_filter = 38, 22, 2
if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(seccomp, by_filter, filter):
    sys.exit(f"without.py: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
