"""Readings of the resources in use on this machine now."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

from pytest_nbgroups.core.resources import Budget, Gpu
from pytest_nbgroups.core.shortage import KillCounts
from pytest_nbgroups.machine.affinity import available_cpus, choose_cpus
from pytest_nbgroups.machine.cgroup import Cgroup, find_cgroup
from pytest_nbgroups.machine.gpu_reader import GpuReader
from pytest_nbgroups.machine.memory import RamLimit, find_ram
from pytest_nbgroups.machine.memory_use import read_memory_use
from pytest_nbgroups.machine.oom import read_kill_counts
from pytest_nbgroups.scheduling.admission import MemoryUse
from pytest_nbgroups.scheduling.lending import lent


class Readings:
    """Reads GPUs, memory and CPUs. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._gpu_reader = GpuReader()

    def gpus(self, budget: Budget) -> tuple[Gpu, ...]:
        """Return the GPUs of the budget with their memory and utilization now."""
        found = self._gpu_reader.read(budget.gpus)
        return lent(found, budget.lender) if budget.lender else found

    def memory(self, budget: Budget) -> MemoryUse | None:
        """Return how much memory is in use; None if only the budget counts, as within a lease."""
        return None if budget.lender else read_memory_use(self._ram_limit)

    def cpus_to_bind(self, count: int, taken: Iterable[Sequence[int]]) -> tuple[int, ...]:
        """Choose CPUs for a kernel, if possible none that are taken."""
        return choose_cpus(count, available_cpus(), taken)

    def kill_counts(self) -> KillCounts:
        """Return how many processes the operating system has killed so far for lack of memory."""
        return read_kill_counts(self._memory_cgroup)

    def gpu_memory(self, pids: Collection[int], gpus: Collection[str]) -> Mapping[str, int] | None:
        """UUID -> bytes that these processes hold on these GPUs; None if NVML cannot report it."""
        return self._gpu_reader.process_memory(pids, gpus)

    # Each is looked up once: the gate of the lease pool is held while the rest is read.

    @cached_property
    def _ram_limit(self) -> RamLimit:
        return find_ram(env=os.environ)

    @cached_property
    def _memory_cgroup(self) -> Cgroup | None:
        return find_cgroup("memory")
