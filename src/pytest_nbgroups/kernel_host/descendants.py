"""Descendants of a process."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path


def descendants(pid: int, *, apart: int | None = None) -> list[int]:
    """Everything below a process, parents before their children, without ``apart`` and its own descendants."""
    if not lists_children():
        return _descendants_by_parent_links(pid)
    found = [pid]
    for parent in found:
        found += [child for child in children(parent) if child != apart]
    return found[1:]


def describe(pid: int) -> str:
    """Name a process for a person: ``python3 (pid 4242, uninterruptible)``."""
    import psutil

    try:
        process = psutil.Process(pid)
        name, status = process.name(), process.status()
    except psutil.Error:
        return f"pid {pid}"
    state = "uninterruptible" if status == psutil.STATUS_DISK_SLEEP else status
    return f"{name} (pid {pid}, {state})"


def command(pid: int) -> list[bytes]:
    """Return program and arguments of a process; empty if it has ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            return []
    import psutil

    try:
        return [os.fsencode(part) for part in psutil.Process(pid).cmdline()]
    except psutil.Error:
        return []


def group(leader: int) -> list[int]:
    """Return the processes of a process group, wherever they are in the tree. POSIX only."""
    import psutil

    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == leader:
                found.append(pid)
    return found


@cache
def lists_children() -> bool:
    """Return whether Linux was configured with this file; few are without it."""
    return Path("/proc/thread-self/children").exists()


def children(pid: int) -> list[int]:
    """Not through pathlib, which takes three times as long: the memory of the tree is sampled often."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as file,  # noqa: PTH123
            ):
                found += map(int, file.readall().split())
    return found


def _descendants_by_parent_links(pid: int) -> list[int]:
    import psutil

    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
