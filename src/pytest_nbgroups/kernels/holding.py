"""The part of a lease that a running kernel needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_nbgroups.core.shortage import KillCounts
from pytest_nbgroups.core.units import Size


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Memory of a kernel's process tree at one moment."""

    used_bytes: int
    gpu_used_bytes: Mapping[str, int] = field(default_factory=dict)
    """UUID -> bytes; absent if unknown."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Another experiment that runs at the same moment."""

    experiment: str
    used_bytes: int
    """RAM of its kernel's tree at the last sample."""
    shares_limit: bool = True
    """It is in the same container or job, not only on the same machine."""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Things that the kernels of a run inherit, and functions that report their usage."""

    descriptors: tuple[int, ...] = ()
    """Inherited by every process of the kernels' trees."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that stand above all others, those of the kernelspec included."""
    on_start: Callable[[int], str | None] = lambda _pid: None
    """Called with the pid of each kernel as soon as it is started; returns a warning or None."""
    on_sample: Callable[[Sample], None] = lambda _sample: None
    """Called about once a second and at peaks, in a thread of its own."""
    gpu_memory: Callable[[Collection[int]], Mapping[str, int] | None] = lambda _pids: None
    """Pids -> the bytes that they hold, by UUID of the GPU; None if they are unknown."""
    kill_counts: Callable[[], KillCounts] = KillCounts
    """Counts the processes for which memory was lacking; called before and after each cell. Never raises."""
    neighbours: Callable[[], Sequence[Neighbour]] = tuple
    """Experiments that also run now; called when something has died. Never raises."""
    ram_limit: Size | None = None
    """A kernel's tree that has more is killed."""
