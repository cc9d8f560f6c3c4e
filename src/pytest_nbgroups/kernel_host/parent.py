"""Detection of the parent's end."""

from __future__ import annotations

import os
import sys


def is_parent(pid: int) -> bool:
    if sys.platform == "win32":  # there a process keeps the pid of a parent that has ended
        import psutil

        return psutil.pid_exists(pid)
    return os.getppid() == pid


def open_pidfd(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel, a seccomp filter, or it is gone already
        return None
