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
    """RAM that its kernel's tree was last seen to use."""
    shares_limit: bool = True
    """It is in the same container or job; else it shares but the machine."""


def _ignore(_sample: Sample) -> None:
    """Nobody wants to know."""


def _let_be(_pid: int) -> str | None:
    return None


def _unknown(_pids: Collection[int]) -> Mapping[str, int] | None:
    return None


def _alone() -> Sequence[Neighbour]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Things that the kernels of a run inherit, and functions that report their usage."""

    descriptors: tuple[int, ...] = ()
    """Inherited by every process of the kernels' trees."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that stand above all others, those of the kernelspec included."""
    on_start: Callable[[int], str | None] = _let_be
    """Called with the pid of each kernel as soon as it is started; what it says is a warning."""
    on_sample: Callable[[Sample], None] = _ignore
    """Called about once a second and at peaks, in a thread of its own."""
    gpu_memory: Callable[[Collection[int]], Mapping[str, int] | None] = _unknown
    """Pids -> the bytes that they hold, by UUID of the GPU; None if nothing can tell."""
    kill_counts: Callable[[], KillCounts] = KillCounts
    """Tells for how many processes memory was lacking; called before and after each cell. Never raises."""
    neighbours: Callable[[], Sequence[Neighbour]] = _alone
    """Who else runs now; called when something has died. Never raises."""
    ram_limit: Size | None = None
    """A kernel's tree that has more is killed."""
