"""Use of the RAM that limits this process at this moment, by all processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_nbgroups.machine.cgroup import Cgroup
from pytest_nbgroups.machine.memory import RamLimit, find_ram
from pytest_nbgroups.scheduling.admission import MemoryUse

__all__ = ["MemoryUse", "read_memory_use"]

# Usage counts the page cache too. What of it nobody has used lately is given up without harm.
_USAGE = {1: "memory.usage_in_bytes", 2: "memory.current"}
_RECLAIMABLE = {1: "total_inactive_file", 2: "inactive_file"}


def read_memory_use(  # the machine's own, or a test's
    limit: RamLimit | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    proc: Path = Path("/proc"),
    root: Path = Path("/"),
    available_bytes: int | None = None,
) -> MemoryUse:
    """The use of what ``limit`` limits, which `find_ram` is asked for if it is not given.

    In a container or an allocation that has room, the machine itself can be full: what it has not
    got available counts as used. No more is known if SLURM's word is the limit.
    ``available_bytes`` is asked of the operating system where it is not given.
    """
    limit = limit or find_ram(env=env, proc=proc, root=root)
    available = _available_bytes() if available_bytes is None else available_bytes
    used = _cgroup_use(limit.cgroup) if limit.cgroup else 0
    return MemoryUse(used_bytes=max(used, limit.bytes - available, 0), capacity_bytes=limit.bytes)


def _cgroup_use(cgroup: Cgroup) -> int:
    level = cgroup.levels[0]
    used = level.count(_USAGE[cgroup.version]) or 0
    return max(0, used - (level.entry("memory.stat", _RECLAIMABLE[cgroup.version]) or 0))


def _available_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
