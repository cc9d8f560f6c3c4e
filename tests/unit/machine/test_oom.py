"""Counts of killed processes, in files of both versions of cgroups."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.shortage import KillCounts, MemoryPlace
from pytest_nbgroups.machine.cgroup import Cgroup, CgroupLevel, find_cgroup
from pytest_nbgroups.machine.oom import read_kill_counts

Machine: TypeAlias = Callable[..., dict[str, Any]]
GIB = 2**30


def counts(paths: dict[str, Any]) -> KillCounts:
    return read_kill_counts(find_cgroup("memory", **paths), proc=paths["proc"])


def test_version_2(machine: Machine) -> None:
    """Every level, its own first; what its own limit did stands in a file of its own."""
    files = {
        "job/step/memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0",
        "job/step/memory.events.local": "oom 1\noom_kill 2",
        "job/step/memory.max": GIB,
        "job/step/memory.stat": "anon 5\nshmem 4096",
        "job/memory.events": "oom 3\noom_kill 7",
        "job/memory.max": "max",
    }
    assert counts(machine("v2", "0::/job/step\n", files)).cgroups == (
        MemoryPlace(
            name="cgroup /job/step",
            limit_bytes=GIB,
            limit_name="memory.max",
            kills=2,
            overruns=1,
            file_bytes=4096,
        ),
        MemoryPlace(name="cgroup /job", limit_name="memory.max", kills=7, overruns=3),
        MemoryPlace(name="cgroup /", limit_name="memory.max"),
    )


def test_version_1(machine: Machine) -> None:
    """Its huge number is no limit."""
    files = {
        "memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4",
        "memory/job/memory.failcnt": 12,
        "memory/job/memory.limit_in_bytes": 2 * GIB,
        "memory/memory.limit_in_bytes": 0x7FFFFFFFFFFFF000,
        "memory/memory.stat": "shmem 1\ntotal_shmem 2",
    }
    name = "memory.limit_in_bytes"
    assert counts(machine("v1", "4:memory:/job\n", files)).cgroups == (
        MemoryPlace(name="cgroup /job", limit_bytes=2 * GIB, limit_name=name, kills=4, overruns=12),
        MemoryPlace(name="cgroup /", limit_name=name, file_bytes=2),
    )


def test_the_machine(tmp_path: Path) -> None:
    """It counts the kills of all cgroups too."""
    (tmp_path / "vmstat").write_text("pgfault 9\n\noom_kill 3\noom_kill_x 4\n")
    (tmp_path / "meminfo").write_text("MemTotal:       1024 kB\nMemFree: 5 kB\nShmem:  8 kB\n")
    assert read_kill_counts(None, proc=tmp_path) == KillCounts(
        machine=MemoryPlace(limit_bytes=GIB // 1024, kills=3, file_bytes=8192)
    )


def test_nothing_is_there(tmp_path: Path) -> None:
    """As on macOS."""
    assert read_kill_counts(None, proc=tmp_path) == KillCounts()


@given(st.binary())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """Whatever the files hold, nothing is raised."""
    folder = tmp_path_factory.mktemp("garbage")
    names = ("memory.events", "memory.oom_control", "memory.failcnt", "memory.max", "vmstat")
    for name in (*names, "meminfo"):
        (folder / name).write_bytes(b"oom_kill " + garbage)
    levels = (CgroupLevel(name="/", directory=folder),)
    read_kill_counts(Cgroup(version=1, levels=levels), proc=folder)
    read_kill_counts(Cgroup(version=2, levels=levels), proc=folder)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_this_machine() -> None:
    """It says how much memory it has."""
    found = read_kill_counts(find_cgroup("memory"))
    assert found.machine.limit_bytes
    assert found.tightest
