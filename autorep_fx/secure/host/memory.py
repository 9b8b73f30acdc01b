"""How much memory a process holds."""

from __future__ import annotations

import resource
import sys


def peak_memory() -> int:
    """Bytes, the most that this process has held so far."""
    try:
        # What getrusage says on Linux is also of the program that started this one, up to the moment when it did.
        with open("/proc/self/status") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
