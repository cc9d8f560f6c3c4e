"""Readings of the machine that runs the tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from machines import budget, need

from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.machine import readings
from pytest_nbgroups.machine.cgroup import Cgroup, CgroupLevel
from pytest_nbgroups.machine.readings import Readings


def test_kill_counts_are_read_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death is explained by the rise of the counts, so an old count may not be kept."""
    level = CgroupLevel(name="/job", directory=tmp_path)
    cgroup = Cgroup(version=2, levels=(level,))
    monkeypatch.setattr(readings, "find_cgroup", {"memory": cgroup}.get)
    here = Readings()
    found = []
    for kills in (0, 1):
        (tmp_path / "memory.events").write_text(f"oom_kill {kills}\n")
        counts = here.kill_counts()
        found += [(place.name, place.kills) for place in counts.cgroups]
        assert counts.machine.name == "the machine"
    assert found == [("cgroup /job", 0), ("cgroup /job", 1)]


def test_memory_inside_a_lease() -> None:
    """The lease alone counts there: what else the machine uses is no obstacle."""
    here, outer = Readings(), Claim(need=need(), experiment="Outer", session="o", ticket="outer")
    assert here.memory(budget()) is not None
    assert here.memory(replace(budget(), lender=outer)) is None
