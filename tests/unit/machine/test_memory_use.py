from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_nbgroups.machine.memory import find_ram
from pytest_nbgroups.machine.memory_use import read_memory_use
from pytest_nbgroups.scheduling.admission import MemoryUse

Machine = Callable[..., dict[str, Path]]
GIB = 2**30
SLURM = {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "16384"}


def use(
    paths: dict[str, Path], env: Mapping[str, str] | None = None, *, available: int = 64
) -> MemoryUse:
    """In use on a machine of 64 GiB."""
    limit = find_ram(env=env or {}, physical_bytes=64 * GIB, **paths)
    return read_memory_use(limit, available_bytes=available * GIB)


def used(gib: float, capacity_gib: int) -> MemoryUse:
    return MemoryUse(used_bytes=int(gib * GIB), capacity_bytes=capacity_gib * GIB)


def test_machine(machine: Machine) -> None:
    """On a machine without limits, what is not available is used."""
    assert use(machine("v2", "0::/\n"), available=50) == used(14, 64)


def test_v2(machine: Machine) -> None:
    """In a container, all that it uses but the part of its page cache that is given up first."""
    files = {
        "job/memory.max": 8 * GIB,
        "job/memory.current": 5 * GIB,
        "job/memory.stat": f"anon 7\ninactive_anon 9\ninactive_file {2 * GIB}\nfile 99",
    }
    assert use(machine("v2", "0::/job\n", files)) == used(3, 8)


def test_v1(machine: Machine) -> None:
    """In version 1 the figures of the whole tree have other names."""
    files = {
        "memory/job/memory.limit_in_bytes": 8 * GIB,
        "memory/job/memory.usage_in_bytes": 5 * GIB,
        "memory/job/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}",
    }
    assert use(machine("v1", "4:memory:/job\n", files)) == used(4, 8)


def test_limit_of_a_parent(machine: Machine) -> None:
    """What counts is the use of that which has the limit, not that of the process's own cgroup."""
    files = {
        "a/memory.max": 8 * GIB,
        "a/memory.current": 5 * GIB,
        "a/b/memory.max": 16 * GIB,
        "a/b/memory.current": 1 * GIB,
    }
    assert use(machine("v2", "0::/a/b\n", files)) == used(5, 8)


def test_full_machine(machine: Machine) -> None:
    """A container that has room on a machine that has none cannot give what there is not."""
    files = {"job/memory.max": 8 * GIB, "job/memory.current": 1 * GIB}
    assert use(machine("v2", "0::/job\n", files), available=2) == used(6, 8)


def test_slurm(machine: Machine) -> None:
    """Where SLURM's word is the limit, other jobs on the node count only as they fill it."""
    assert use(machine("v2", "0::/\n"), SLURM, available=40) == used(0, 16)
    assert use(machine("v2", "0::/\n"), SLURM, available=10) == used(6, 16)


def test_unreadable(machine: Machine) -> None:
    """Figures that are not there or make no sense count as nothing."""
    files = {
        "job/memory.max": 8 * GIB,
        "job/memory.current": "?",
        "job/memory.stat": "inactive_file",
    }
    assert use(machine("v2", "0::/job\n", files)) == used(0, 8)
    files = {
        "job/memory.max": 8 * GIB,
        "job/memory.current": 5,
        "job/memory.stat": "inactive_file 7",
    }
    assert use(machine("v2", "0::/job\n", files)) == used(0, 8)


def test_real_machine() -> None:
    """On this machine some memory is in use, and not more than there is."""
    found = read_memory_use(find_ram(env={}))
    assert 0 < found.used_bytes <= found.capacity_bytes
