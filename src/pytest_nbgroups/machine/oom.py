"""Reads how many processes the operating system has ended for lack of memory, at every level.

The formats: memory.events and memory.events.local in https://docs.kernel.org/admin-guide/cgroup-v2.html,
memory.oom_control and memory.failcnt in https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

from pathlib import Path

from pytest_nbgroups.core.shortage import KillCounts, MemoryPlace
from pytest_nbgroups.machine.cgroup import Cgroup, CgroupLevel, entry, read_text

_KIB = 1024
_NO_LIMIT = 2**60
"""Version 1 writes about 2^63 for "unlimited"."""


def read_kill_counts(cgroup: Cgroup | None, *, proc: Path = Path("/proc")) -> KillCounts:
    """The counts of a memory cgroup, of those above it and of the machine. Never raises.

    What is not counted is None: on macOS and Windows all of it, before Linux 4.13 too.
    """
    read = _version_1 if cgroup and cgroup.version == 1 else _version_2
    return KillCounts(
        cgroups=tuple(map(read, cgroup.levels)) if cgroup else (), machine=_machine(proc)
    )


def _version_1(level: CgroupLevel) -> MemoryPlace:
    limit = level.count("memory.limit_in_bytes")
    return MemoryPlace(
        name=f"cgroup {level.name}",
        limit_bytes=limit if limit and limit < _NO_LIMIT else None,
        limit_name="memory.limit_in_bytes",
        kills=level.entry("memory.oom_control", "oom_kill"),
        overruns=level.count("memory.failcnt"),
        file_bytes=level.entry("memory.stat", "total_shmem"),
    )


def _version_2(level: CgroupLevel) -> MemoryPlace:
    overruns = level.entry("memory.events.local", "oom")
    if overruns is None:  # before Linux 5.2
        overruns = level.entry("memory.events", "oom")
    return MemoryPlace(
        name=f"cgroup {level.name}",
        limit_bytes=level.count("memory.max"),
        limit_name="memory.max",
        kills=level.entry("memory.events", "oom_kill"),
        overruns=overruns,
        file_bytes=level.entry("memory.stat", "shmem"),
    )


def _machine(proc: Path) -> MemoryPlace:
    meminfo = read_text(proc / "meminfo")
    return MemoryPlace(
        limit_bytes=_kibibytes(meminfo, "MemTotal:"),
        kills=entry(read_text(proc / "vmstat"), "oom_kill"),
        file_bytes=_kibibytes(meminfo, "Shmem:"),
    )


def _kibibytes(meminfo: str, name: str) -> int | None:
    count = entry(meminfo, name)
    return None if count is None else count * _KIB
