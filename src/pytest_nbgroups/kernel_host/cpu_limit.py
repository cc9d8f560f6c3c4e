"""Check whether a process reached its limit on CPU time, between its end and its reaping.

Linux sends SIGXCPU at the soft limit and SIGKILL at the hard one, so that one who sets both to the same number ends
what it starts without a word of why. See setrlimit(2) on RLIMIT_CPU.
"""

from __future__ import annotations

import os
import signal
import sys

_UTIME, _STIME = 11, 12
"""Places behind the name in /proc/<pid>/stat, see proc_pid_stat(5)."""

# Linux counts ticks for the limit and nanoseconds for its reports: processes that were ended at limits of 1 to
# 8 s had used 0.1 s less to 0.02 s more.
_TOLERANCE_S = 0.25
_TOLERANCE = 0.02


def used_up_cpu_limit_s(pid: int) -> float | None:
    """Return the hard limit on CPU time that a child has used up, if SIGKILL has ended it and nobody has reaped it."""
    if sys.platform != "linux":
        return None
    import resource

    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_status != signal.SIGKILL:
            return None
        _, hard_s = resource.prlimit(pid, resource.RLIMIT_CPU)
        used_s = _cpu_s(pid)
    except (OSError, ValueError, IndexError):
        return None
    if hard_s == resource.RLIM_INFINITY or used_s < (1 - _TOLERANCE) * hard_s - _TOLERANCE_S:
        return None
    return float(hard_s)


def _cpu_s(pid: int) -> float:
    """CPU time of all its threads, of none of its children."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  the kernel host does without pathlib
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")
