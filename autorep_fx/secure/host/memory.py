"""How much memory a process holds, and that it keeps what it has."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

#: Of mallopt(3): one arena, for those of other threads are small; no array by mmap; how much may lie free at the end.
_M_ARENA_MAX, _M_MMAP_MAX, _M_TRIM_THRESHOLD = -8, -4, -1
_MALLOPT = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**30))


def peak_memory() -> int:
    """Bytes, the most that this process has held so far."""
    try:
        # What getrusage says on Linux is also of the program that started this one, up to the moment when it did.
        with open("/proc/self/status") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def keep_memory() -> None:
    """Have the C library keep freed memory for what comes next, up to a gigabyte, where it is glibc: a party frees
    large arrays with each message and takes as large ones for the next, and fresh pages cost more than the work done in
    them.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _MALLOPT:
            mallopt(option, value)
