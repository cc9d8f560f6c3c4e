"""What a rise of the operating system's counts means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_nbgroups.core.shortage import (
    KillCounts,
    MemoryPlace,
    Shortage,
    are_counted,
    machine_kills,
    shortage,
)

OWN = MemoryPlace(name="cgroup /a/b", kills=1, overruns=4)
PARENT = MemoryPlace(name="cgroup /a", kills=2, overruns=0, limit_bytes=100)
MACHINE = MemoryPlace(kills=7, limit_bytes=1000)
COUNTS = KillCounts(cgroups=(OWN, PARENT), machine=MACHINE)


def after(
    own: dict[str, int] | None = None, parent: dict[str, int] | None = None, machine: int = 7
) -> KillCounts:
    """The counts as they are later."""
    return KillCounts(
        cgroups=(replace(OWN, **(own or {})), replace(PARENT, **(parent or {}))),  # type: ignore[arg-type]
        machine=replace(MACHINE, kills=machine),
    )


def test_no_rise() -> None:
    """Earlier kills do not matter."""
    assert shortage(COUNTS, COUNTS) is None


def test_the_limit_of_the_own_cgroup() -> None:
    """It was overrun, and a process of it was ended."""
    later = after({"kills": 3, "overruns": 5}, {"kills": 4}, machine=9)
    assert shortage(COUNTS, later) == Shortage(
        kills=2, where=later.cgroups[0], is_ours=True, ran_out=later.cgroups[0]
    )


def test_the_limit_of_a_parent() -> None:
    """The process was in the own cgroup, the memory that ran out was the parent's."""
    later = after({"kills": 2}, {"kills": 3, "overruns": 1}, machine=8)
    found = shortage(COUNTS, later)
    assert found is not None
    assert (found.where.name, found.ran_out.name) == ("cgroup /a/b", "cgroup /a")


def test_the_machine_ran_out() -> None:
    """No limit was overrun, and yet a process of ours was ended."""
    found = shortage(COUNTS, after({"kills": 2}, {"kills": 3}, machine=8))
    assert found is not None
    assert (found.is_ours, found.ran_out.name) == (True, "the machine")


def test_the_processes_of_others() -> None:
    """A parent counts those of all its children: what the own cgroup has not counted is not ours."""
    later = after({}, {"kills": 3, "overruns": 1}, machine=8)
    assert shortage(COUNTS, later) is None
    assert machine_kills(COUNTS, later) == 1


@pytest.mark.parametrize("cgroups", [(), (replace(OWN, kills=None),)])
def test_only_the_machine_counts(cgroups: tuple[MemoryPlace, ...]) -> None:
    """Then it cannot be said whose process it was."""
    before = KillCounts(cgroups=cgroups, machine=MACHINE)
    later = replace(before, machine=replace(MACHINE, kills=8))
    assert shortage(before, later) == Shortage(
        kills=1, where=later.machine, is_ours=False, ran_out=later.machine
    )
    assert are_counted(before)


def test_nothing_counts() -> None:
    """On macOS and Windows."""
    assert shortage(KillCounts(), KillCounts()) is None
    assert not are_counted(KillCounts())
    assert KillCounts().tightest is None


def test_the_tightest_limit() -> None:
    """Of all places that have one."""
    assert COUNTS.tightest == PARENT
