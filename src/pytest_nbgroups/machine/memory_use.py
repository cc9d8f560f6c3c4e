"""Use of the RAM that limits this process at this moment, by all processes."""

from __future__ import annotations

from pytest_nbgroups.machine.cgroup import Cgroup
from pytest_nbgroups.machine.memory import RamLimit
from pytest_nbgroups.scheduling.admission import MemoryUse

# Usage counts the page cache too. The kernel drops its inactive part first, without harm.
_USAGE = {1: "memory.usage_in_bytes", 2: "memory.current"}
_RECLAIMABLE = {1: "total_inactive_file", 2: "inactive_file"}


def read_memory_use(limit: RamLimit, *, available_bytes: int | None = None) -> MemoryUse:
    """Return the use of the memory that ``limit`` limits.

    A container or an allocation can have room on a machine that is full: memory that the machine
    has not available counts as used. No more is known if SLURM sets the limit.
    ``available_bytes`` is asked of the operating system if it is not given.
    """
    import psutil

    if available_bytes is None:
        available_bytes = psutil.virtual_memory().available
    used = _cgroup_use(limit.cgroup) if limit.cgroup else 0
    return MemoryUse(
        used_bytes=max(used, limit.bytes - available_bytes, 0), capacity_bytes=limit.bytes
    )


def _cgroup_use(cgroup: Cgroup) -> int:
    level = cgroup.levels[0]
    used = level.count(_USAGE[cgroup.version]) or 0
    return max(0, used - (level.entry("memory.stat", _RECLAIMABLE[cgroup.version]) or 0))
