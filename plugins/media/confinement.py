"""What a decode process takes from itself before it reads a byte of anybody: memory, network, programs.

Whoever gets to run code through a fault in a decoder finds little to do. What a system cannot do is left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

# A CMYK picture of 50 megapixels and its RGB copy take half of it.
MAX_MEMORY_BYTES = 1024**3
# Pipes, and a few for shared files and libraries that are imported late.
MAX_FILES = 32
# Decoding yields to the models that answer somebody; alone on the machine it is as fast as ever. With 10
# the gaps of a text stream beside pictures were 1.9 times those at rest (two cores, p99), with 19 1.6.
NICENESS = 19
# man 7 sched: where sessions share the processor, niceness counts inside one only, and each has its own.
AUTOGROUP = "/proc/self/autogroup"
# Time on the clock for each second of processor time: the machine may be busy.
CLOCK_FACTOR = 4

# linux/prctl.h, linux/seccomp.h, linux/audit.h, linux/filter.h.
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
RETURN_ALLOW = 0x7FFF0000
RETURN_EPERM = 0x00050001
RETURN_KILL = 0x80000000
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
X32_CALLS = 0x40000000
# Machine -> its number, and its numbers of: socket, connect, socketpair, execve, execveat, ptrace,
# process_vm_readv, process_vm_writev, io_uring_setup (which does what the others do).
REFUSED_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 53, 59, 322, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 203, 199, 221, 281, 117, 270, 271, 425)),
}
# In the language of `sandbox-exec -p`.
SANDBOX = b"(version 1)(allow default)(deny network*)(deny process-exec*)(deny process-fork)"


def confine() -> None:
    """Give up, for good, what decoding does not need."""
    _yield_to_others()
    _limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    _limit(resource.RLIMIT_NOFILE, MAX_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        _refuse_calls()
    elif sys.platform == "darwin":
        _enter_sandbox()


def start_time(cpu_s: int) -> None:
    """Have the system end us after so much processor time from now on, or four times that on the clock."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set_cpu_limit(math.ceil(used.ru_utime + used.ru_stime) + cpu_s)
    signal.setitimer(signal.ITIMER_REAL, cpu_s * CLOCK_FACTOR)


def stop_time() -> None:
    """No picture, no limit."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _set_cpu_limit(resource.RLIM_INFINITY)


def _yield_to_others() -> None:
    os.nice(NICENESS)
    if Path(AUTOGROUP).exists():
        # In our parent's session we would get as much of the processor as a whole worker.
        with contextlib.suppress(OSError):
            os.setsid()
            Path(AUTOGROUP).write_text(str(NICENESS))


def _set_cpu_limit(seconds: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # Beyond the hard limit, which somebody else set, that one counts.
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def _limit(what: int, value: int) -> None:
    # The hard limit may be lower already. macOS takes no limit of address space below the hundreds of
    # gigabytes that it maps itself.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (value, value))


def _refuse_calls() -> None:
    """Make network and other programs fail with EPERM, by a seccomp filter (man 2 seccomp)."""
    if platform.machine() not in REFUSED_CALLS:
        return
    machine, calls = REFUSED_CALLS[platform.machine()]
    program = [
        # seccomp_data: number at 0, machine at 4.
        (LOAD, 0, 0, 4),
        (JUMP_EQUAL, 1, 0, machine),
        (RETURN, 0, 0, RETURN_KILL),
        (LOAD, 0, 0, 0),
        (JUMP_AT_LEAST, len(calls) + 1, 0, X32_CALLS),
        *((JUMP_EQUAL, len(calls) - i, 0, number) for i, number in enumerate(calls)),
        (RETURN, 0, 0, RETURN_ALLOW),
        (RETURN, 0, 0, RETURN_EPERM),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: number of steps, pointer.
    filter_ = struct.pack("HP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None)
    # A kernel without seccomp refuses; there is nothing to do about that.
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0)


def _enter_sandbox() -> None:
    """The same on macOS, by its sandbox (man 3 sandbox_init)."""
    # "Deprecated" since 2012, and what browsers use: should it go one day, there is nothing to do about that.
    sandbox_init = getattr(ctypes.CDLL(None), "sandbox_init", None)
    if sandbox_init is not None:
        sandbox_init.argtypes = (ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char_p))
        sandbox_init(SANDBOX, 0, ctypes.byref(ctypes.c_char_p()))
