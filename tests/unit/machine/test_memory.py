from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.machine.memory import RamLimit, find_ram
from pytest_nbgroups.machine.slurm import slurm_ram

Machine = Callable[..., dict[str, Path]]
GIB = 2**30
JOB = {"SLURM_JOB_ID": "7"}


def ram(paths: dict[str, Path], env: Mapping[str, str] | None = None) -> RamLimit:
    """The limit; whose it is, is tested by itself."""
    return replace(find_ram(env=env or {}, physical_bytes=64 * GIB, **paths), domain="machine")


def physical() -> RamLimit:
    return RamLimit(bytes=64 * GIB, source="physical memory", allotted=False)


def test_physical(machine: Machine) -> None:
    """Without any limit there is the physical memory, which is not ours alone."""
    assert ram(machine("v2", "0::/\n", {"memory.max": "max", "memory.high": "max"})) == physical()


def test_no_cgroup(tmp_path: Path) -> None:
    """Where there is no cgroup, as on macOS and Windows, there is the physical memory."""
    assert ram({"proc": tmp_path, "root": tmp_path}) == physical()


def test_docker_v2(machine: Machine) -> None:
    """A container's limit stands at the mount point of its private namespace."""
    found = ram(machine("v2", "0::/\n", {"memory.max": 8 * GIB}))
    assert found == RamLimit(bytes=8 * GIB, source="cgroup memory.max of /", allotted=True)


def test_docker_v1(machine: Machine) -> None:
    """Version 1 of cgroups has the limit in a file of another name."""
    files = {"memory/memory.limit_in_bytes": 4 * GIB}
    found = ram(machine("docker v1", "5:memory:/docker/ab12\n", files))
    assert (found.bytes, found.source) == (4 * GIB, "cgroup memory.limit_in_bytes of /")


def test_unlimited_v1(machine: Machine) -> None:
    """Version 1 writes "unlimited" as a huge number."""
    files = {"memory/memory.limit_in_bytes": 9223372036854771712}
    assert ram(machine("v1", "5:memory:/\n", files)) == physical()


def test_tightest_in_the_middle(machine: Machine) -> None:
    """A parent's limit binds, though the process's own cgroup allows more."""
    files = {
        "a/b/c/memory.max": 32 * GIB,
        "a/b/memory.max": 8 * GIB,
        "a/memory.max": 16 * GIB,
    }
    found = ram(machine("v2", "0::/a/b/c\n", files))
    assert (found.bytes, found.source) == (8 * GIB, "cgroup memory.max of /a/b")


def test_high_below_max(machine: Machine) -> None:
    """Above memory.high a process crawls, so it counts like memory.max."""
    found = ram(machine("v2", "0::/\n", {"memory.max": 8 * GIB, "memory.high": 6 * GIB}))
    assert (found.bytes, found.source) == (6 * GIB, "cgroup memory.high of /")


def test_hybrid(machine: Machine) -> None:
    """On a hybrid host the memory controller's limit is that of version 1."""
    files = {"memory/job/memory.limit_in_bytes": 2 * GIB, "unified/job/memory.max": GIB}
    assert ram(machine("hybrid", "4:memory:/job\n0::/job\n", files)).bytes == 2 * GIB


@pytest.mark.parametrize("text", ["", "0", "-1", "max", "8GB"])
def test_limit_that_says_nothing(machine: Machine, text: str) -> None:
    """A limit that cannot be read, or under which nothing could run, is none."""
    assert ram(machine("v2", "0::/\n", {"memory.max": text})) == physical()


def test_limit_above_physical(machine: Machine) -> None:
    """A limit of more memory than there is does not add any."""
    assert ram(machine("v2", "0::/\n", {"memory.max": 128 * GIB})) == physical()


def test_slurm_cgroup(machine: Machine) -> None:
    """In a SLURM cgroup the job's limit binds above its steps."""
    files = {"slurm/job_7/memory.max": 12 * GIB}
    paths = machine("v2", "0::/slurm/job_7/step_0/task_0\n", files)
    found = ram(paths, {**JOB, "SLURM_MEM_PER_NODE": "16384"})
    assert (found.bytes, found.source) == (12 * GIB, "cgroup memory.max of /slurm/job_7")


def test_slurm_without_cgroup(machine: Machine) -> None:
    """SLURM's word counts where its cluster does not enforce it."""
    found = ram(machine("v2", "0::/\n"), {**JOB, "SLURM_MEM_PER_NODE": "16384"})
    assert found == RamLimit(bytes=16 * GIB, source="SLURM_MEM_PER_NODE", allotted=True)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "1024"}, None),
        ({**JOB, "SLURM_MEM_PER_NODE": "1024"}, (GIB, "SLURM_MEM_PER_NODE")),
        ({**JOB, "SLURM_MEM_PER_NODE": "0"}, None),
        (
            {**JOB, "SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": "4"},
            (8 * GIB, "SLURM_MEM_PER_CPU"),
        ),
        (
            {**JOB, "SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_PER_TASK": "2"},
            (4 * GIB, "SLURM_MEM_PER_CPU"),
        ),
        ({**JOB, "SLURM_MEM_PER_CPU": "2048"}, None),
        (
            {**JOB, "SLURM_MEM_PER_GPU": "3072", "SLURM_GPUS_ON_NODE": "2"},
            (6 * GIB, "SLURM_MEM_PER_GPU"),
        ),
        ({**JOB, "SLURM_MEM_PER_GPU": "3072"}, None),
        ({**JOB, "SLURM_MEM_PER_NODE": "16G"}, None),
    ],
    ids=[
        "no job",
        "per node",
        "all of the node",
        "per CPU",
        "per CPU of a task",
        "of unknown CPUs",
        "per GPU",
        "of unknown GPUs",
        "garbage",
    ],
)
def test_slurm(env: Mapping[str, str], expected: tuple[int, str] | None) -> None:
    """SLURM counts in units of 2**20 bytes, for each node, CPU or GPU."""
    assert slurm_ram(env) == expected


def test_real_machine() -> None:
    """This machine has some RAM."""
    found = find_ram(env={})
    assert found.bytes > 2**20
    assert found.source


@given(st.binary())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """Whatever stands in a limit, the capacity is positive and at most the physical memory."""
    root = tmp_path_factory.mktemp("garbage")
    (root / "self").mkdir()
    (root / "self/cgroup").write_text("0::/\n")
    (root / "self/mountinfo").write_text("1 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n")
    (root / "cg").mkdir()
    (root / "cg/memory.max").write_bytes(garbage)
    assert 0 < ram({"proc": root, "root": root}).bytes <= 64 * GIB
