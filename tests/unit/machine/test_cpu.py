from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.machine.cpu import CpuLimit, affinity_limit, find_cpus
from pytest_nbgroups.machine.slurm import slurm_cpus

Machine = Callable[..., dict[str, Path]]
JOB = {"SLURM_JOB_ID": "7"}
STEP = {**JOB, "SLURM_STEP_ID": "0"}


def cpus(paths: dict[str, Path], env: Mapping[str, str], affinity: int = 32) -> tuple[float, str]:
    found = CpuLimit(cpus=affinity, source="affinity")
    limit = find_cpus(env=env, affinity=found, **paths)
    return limit.cpus, limit.source


def test_affinity(machine: Machine) -> None:
    """Without any other limit, the CPUs on which the process may run."""
    assert cpus(machine("v2", "0::/\n"), {}) == (32, "affinity")


def test_no_cgroup(tmp_path: Path) -> None:
    """Where there is no cgroup, as on macOS and Windows, there is no quota."""
    assert cpus({"proc": tmp_path, "root": tmp_path}, {}) == (32, "affinity")


def test_docker_v2(machine: Machine) -> None:
    """A container's quota stands at the mount point of its private namespace, and may be fractional."""
    paths = machine("v2", "0::/\n", {"cpu.max": "150000 100000"})
    assert cpus(paths, {}) == (1.5, "cgroup cpu.max of /")


def test_tightest_in_the_middle(machine: Machine) -> None:
    """A parent's quota binds, though the process's own cgroup allows more."""
    files = {
        "a/b/c/cpu.max": "max 100000",
        "a/b/cpu.max": "200000 50000",
        "a/cpu.max": "900000 100000",
    }
    assert cpus(machine("v2", "0::/a/b/c\n", files), {}) == (4, "cgroup cpu.max of /a/b")


def test_docker_v1(machine: Machine) -> None:
    """Version 1 has quota and period in two files."""
    files = {"cpu,cpuacct/cpu.cfs_quota_us": 250_000, "cpu,cpuacct/cpu.cfs_period_us": 100_000}
    paths = machine("docker v1", "4:cpu,cpuacct:/docker/ab12\n", files)
    assert cpus(paths, {}) == (2.5, "cgroup cpu.cfs_quota_us of /")


def test_unlimited_v1(machine: Machine) -> None:
    """A quota of -1 is none."""
    files = {"cpu,cpuacct/cpu.cfs_quota_us": -1, "cpu,cpuacct/cpu.cfs_period_us": 100_000}
    assert cpus(machine("v1", "4:cpu,cpuacct:/\n", files), {}) == (32, "affinity")


@pytest.mark.parametrize("text", ["", "max", "100000", "0 100000", "100000 0", "x y", "-1 100000"])
def test_quota_that_says_nothing(machine: Machine, text: str) -> None:
    """A quota that cannot be read sets no limit."""
    assert cpus(machine("v2", "0::/\n", {"cpu.max": text}), {}) == (32, "affinity")


def test_quota_above_affinity(machine: Machine) -> None:
    """A quota of more CPUs than the process may run on does not add any."""
    paths = machine("v2", "0::/\n", {"cpu.max": "800000 100000"})
    assert cpus(paths, {}, affinity=4) == (4, "affinity")


def test_slurm_without_cgroup(machine: Machine) -> None:
    """SLURM's word counts where its cluster does not enforce it."""
    env = {**JOB, "SLURM_CPUS_ON_NODE": "6"}
    assert cpus(machine("v2", "0::/\n"), env) == (6, "SLURM_CPUS_ON_NODE")


def test_slurm_cgroup(machine: Machine) -> None:
    """In a SLURM cgroup the job's quota binds below the affinity and the variable."""
    files = {"system.slice/job_7/cpu.max": "300000 100000"}
    paths = machine("v2", "0::/system.slice/job_7/step_0/task_0\n", files)
    env = {**STEP, "SLURM_CPUS_ON_NODE": "6"}
    assert cpus(paths, env) == (3, "cgroup cpu.max of /system.slice/job_7")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "8"}, None),
        (JOB, None),
        ({**JOB, "SLURM_CPUS_ON_NODE": "8"}, (8, "SLURM_CPUS_ON_NODE")),
        ({**JOB, "SLURM_CPUS_PER_TASK": "2"}, (2, "SLURM_CPUS_PER_TASK")),
        (
            {**JOB, "SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"},
            (8, "SLURM_CPUS_ON_NODE"),
        ),
        (
            {**STEP, "SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"},
            (2, "SLURM_CPUS_PER_TASK"),
        ),
        (
            {**STEP, "SLURM_CPUS_ON_NODE": "1", "SLURM_CPUS_PER_TASK": "8"},
            (1, "SLURM_CPUS_ON_NODE"),
        ),
        (
            {
                **JOB,
                "SLURM_STEP_ID": "4294967290",
                "SLURM_CPUS_ON_NODE": "8",
                "SLURM_CPUS_PER_TASK": "2",
            },
            (8, "SLURM_CPUS_ON_NODE"),
        ),
        ({**JOB, "SLURM_CPUS_ON_NODE": "many"}, None),
        ({**JOB, "SLURM_CPUS_ON_NODE": "0"}, None),
    ],
    ids=[
        "no job",
        "says nothing",
        "batch script",
        "one variable",
        "batch script of several tasks",
        "step of several tasks",
        "step below its job's request",
        "interactive shell of salloc",
        "garbage",
        "zero",
    ],
)
def test_slurm(env: Mapping[str, str], expected: tuple[int, str] | None) -> None:
    """A batch script has what its job has on the node, a task of a step its share of that."""
    assert slurm_cpus(env) == expected


def test_real_machine() -> None:
    """This machine has at least one CPU for us and no more than there are."""
    limit = find_cpus(env={})
    assert 0 < limit.cpus <= (os.cpu_count() or 1)
    assert limit.source


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="process_cpu_count is asked instead")
def test_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operating system knows no affinity, as on macOS, all CPUs count."""
    psutil = pytest.importorskip("psutil")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert affinity_limit() == CpuLimit(cpus=10, source="cpu count")


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="process_cpu_count is asked instead")
def test_affinity_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows psutil knows the affinity."""
    psutil = pytest.importorskip("psutil")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [0, 1, 5], raising=False)
    assert affinity_limit() == CpuLimit(cpus=3, source="affinity")


@given(st.binary())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """Whatever stands in a quota, the number of CPUs is positive and at most the affinity's."""
    root = tmp_path_factory.mktemp("garbage")
    (root / "self").mkdir()
    (root / "self/cgroup").write_text("0::/\n")
    (root / "self/mountinfo").write_text("1 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n")
    (root / "cg").mkdir()
    (root / "cg/cpu.max").write_bytes(garbage)
    assert 0 < cpus({"proc": root, "root": root}, {})[0] <= 32
