"""RAM for this process and its children: physical, cgroup, SLURM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_nbgroups.machine.cgroup import Cgroup, find_cgroup
from pytest_nbgroups.machine.slurm import slurm_domain, slurm_ram

_FILES = {
    1: ("memory.limit_in_bytes",),
    # Above memory.high the kernel slows a process down until it seems to hang.
    2: ("memory.max", "memory.high"),
}


@dataclass(frozen=True, kw_only=True)
class RamLimit:
    """An amount of RAM, and what sets it."""

    bytes: int
    source: str
    """For people: ``physical memory``, ``cgroup memory.max of /job``, ``SLURM_MEM_PER_NODE``."""
    allotted: bool
    """A cgroup or SLURM sets it, so it is ours alone; physical memory is the system's too."""
    domain: str = "machine"
    """Equal for all who share this RAM."""
    cgroup: Cgroup | None = field(default=None, compare=False)
    """The one that sets it, its levels beginning with that which does."""


def find_ram(
    *,
    env: Mapping[str, str],
    proc: Path = Path("/proc"),
    root: Path = Path("/"),
    physical_bytes: int | None = None,
) -> RamLimit:
    """The capacity: the tightest limit, the physical memory being the first of equal ones.

    Version 1 of cgroups writes a huge number for "unlimited", which is above every physical memory.
    ``physical_bytes`` is asked of the operating system if it is not given.
    """
    import psutil

    total = physical_bytes or psutil.virtual_memory().total
    limits = [RamLimit(bytes=total, source="physical memory", allotted=False)]
    cgroup = find_cgroup("memory", proc=proc, root=root)
    limits += cgroup_limits(cgroup) if cgroup else ()
    slurm = slurm_ram(env)
    if slurm:
        limits.append(
            RamLimit(bytes=slurm[0], source=slurm[1], allotted=True, domain=slurm_domain(env))
        )
    return min(limits, key=lambda limit: limit.bytes)


def cgroup_limits(cgroup: Cgroup) -> Iterator[RamLimit]:
    """The limits of every level: a parent's binds as much as one's own.

    Zero is no limit: under it nothing could run, and ``memory.high`` is zero for moments only, to
    make the kernel reclaim.
    """
    for depth, level in enumerate(cgroup.levels):
        for file in _FILES[cgroup.version]:
            limit = level.count(file)
            if limit:
                yield RamLimit(
                    bytes=limit,
                    source=f"cgroup {file} of {level.name}",
                    allotted=True,
                    domain=level.domain,
                    cgroup=replace(cgroup, levels=cgroup.levels[depth:]),
                )
