"""Counts of processes that the operating system ended for lack of memory, and their meaning.

Pure: the counts are read in `pytest_nbgroups.machine.oom`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MemoryPlace:
    """A place in which memory can run out: a cgroup that limits a process, or the machine."""

    name: str = "the machine"
    """For people: ``cgroup /job``."""
    limit_bytes: int | None = None
    limit_name: str = "physical memory"
    """``memory.max``."""
    kills: int | None = None
    """Number of its processes that the OOM killer has ended; None if they are not counted."""
    overruns: int | None = None
    """Number of times that its own limit could not be kept; None if that is not counted."""
    file_bytes: int | None = None
    """Memory of files in ``/dev/shm`` and other tmpfs."""


@dataclass(frozen=True, kw_only=True)
class KillCounts:
    """All counts at one moment."""

    cgroups: tuple[MemoryPlace, ...] = ()
    """The process's own first, the mount point last."""
    machine: MemoryPlace = MemoryPlace()

    @property
    def own_kills(self) -> int | None:
        """Count of the own cgroup and those below: it rises whenever one of its processes is ended."""
        return self.cgroups[0].kills if self.cgroups else None

    @property
    def tightest(self) -> MemoryPlace | None:
        """The place with the lowest limit."""
        limited = [place for place in (*self.cgroups, self.machine) if place.limit_bytes]
        return min(limited, key=lambda place: place.limit_bytes or 0, default=None)


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """The OOM killer has ended processes between two moments."""

    kills: int
    where: MemoryPlace
    """Place of the processes: the own cgroup, unless only the machine counts."""
    is_ours: bool
    """They were in the own cgroup, not just anywhere on the machine."""
    ran_out: MemoryPlace
    """Place without memory left."""


def shortage(before: KillCounts, after: KillCounts) -> Shortage | None:
    """Return the shortage in the process's own cgroup; in the machine if only that counts.

    In version 2 the count of a cgroup covers those below it; in version 1 it does not. So the own
    cgroup's count is certain, and a parent's may have risen for another child.
    """
    if before.own_kills is not None and after.own_kills is not None:
        kills, where, is_ours = after.own_kills - before.own_kills, after.cgroups[0], True
    else:
        kills, where, is_ours = machine_kills(before, after), after.machine, False
    if kills <= 0:
        return None
    overrun = next(_overrun(before, after), after.machine)
    return Shortage(kills=kills, where=where, is_ours=is_ours, ran_out=overrun)


def machine_kills(before: KillCounts, after: KillCounts) -> int:
    """Return the number of processes ended anywhere on the machine; 0 if they are not counted."""
    return max(0, (after.machine.kills or 0) - (before.machine.kills or 0))


def are_counted(counts: KillCounts) -> bool:
    """Return True if the counts would show a process that the OOM killer ends."""
    return counts.own_kills is not None or counts.machine.kills is not None


def _overrun(before: KillCounts, after: KillCounts) -> Iterator[MemoryPlace]:
    for earlier, later in zip(before.cgroups, after.cgroups, strict=False):
        if (later.overruns or 0) > (earlier.overruns or 0):
            yield later
