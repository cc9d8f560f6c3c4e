"""Number of CPUs that this process may use: affinity, cgroup quota, SLURM."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_nbgroups.machine.cgroup import Cgroup, CgroupLevel, find_cgroup, read_text
from pytest_nbgroups.machine.counts import parse_count
from pytest_nbgroups.machine.slurm import slurm_cpus, slurm_domain

_FILES = {1: "cpu.cfs_quota_us", 2: "cpu.max"}


@dataclass(frozen=True, kw_only=True)
class CpuLimit:
    """A number of CPUs, which a quota can make fractional, and what sets it."""

    cpus: float
    source: str
    """For people: ``affinity``, ``cgroup cpu.max of /job``, ``SLURM_CPUS_ON_NODE``."""
    domain: str = "machine"
    """Equal for all who share these CPUs."""


def find_cpus(
    *,
    env: Mapping[str, str],
    proc: Path = Path("/proc"),
    root: Path = Path("/"),
    affinity: CpuLimit | None = None,
) -> CpuLimit:
    """The tightest limit; of equal ones affinity, then the cgroup nearest to the process.

    ``affinity`` is asked of the operating system if it is not given.
    """
    cgroup = find_cgroup("cpu", proc=proc, root=root)
    limits = [affinity or affinity_limit()]
    limits += cgroup_quotas(cgroup) if cgroup else ()
    slurm = slurm_cpus(env)
    if slurm:
        limits.append(CpuLimit(cpus=slurm[0], source=slurm[1], domain=slurm_domain(env)))
    return min(limits, key=lambda limit: limit.cpus)


def affinity_limit() -> CpuLimit:
    """The CPUs on which the operating system lets this process run, else all that there are.

    From Python 3.13 on, ``PYTHON_CPU_COUNT`` and ``-X cpu_count`` come first, as in every program.
    """
    if sys.version_info >= (3, 13):
        return CpuLimit(cpus=os.process_cpu_count() or 1, source="affinity")
    import psutil

    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS has none
        return CpuLimit(cpus=len(process.cpu_affinity()), source="affinity")
    return CpuLimit(cpus=os.cpu_count() or 1, source="cpu count")


def cgroup_quotas(cgroup: Cgroup) -> Iterator[CpuLimit]:
    """The quota of each level that has one: a parent's binds as much as one's own."""
    file = _FILES[cgroup.version]
    for level in cgroup.levels:
        quota, period = _quota_and_period(level, file)
        if quota and period:
            source = f"cgroup {file} of {level.name}"
            yield CpuLimit(cpus=quota / period, source=source, domain=level.domain)


def _quota_and_period(level: CgroupLevel, file: str) -> tuple[int | None, int | None]:
    """Microseconds of CPU time in each period; ``None`` for ``max``, ``-1`` and the unreadable."""
    if file == "cpu.max":
        quota, _, period = read_text(level.directory / file).partition(" ")
        return parse_count(quota), parse_count(period)
    return level.count(file), level.count("cpu.cfs_period_us")
