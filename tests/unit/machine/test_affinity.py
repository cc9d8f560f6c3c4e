from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.machine.affinity import apply, available_cpus, choose_cpus

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system cannot bind processes to CPUs"
)


@pytest.mark.parametrize(
    ("count", "taken", "chosen"),
    [
        (1, [], (0,)),
        (3, [], (0, 1, 2)),
        (2, [(0, 1)], (2, 3)),
        (2, [(0,), (2,)], (1, 3)),
        # too few are free
        (3, [(0, 1, 2)], (0, 1, 3)),
        (2, [(0, 1, 2, 3), (0, 1)], (2, 3)),
        (2, [(0, 1, 2, 3)], (0, 1)),
        # as many as there are, and one at least
        (99, [], (0, 1, 2, 3)),
        (0, [], (0,)),
    ],
)
def test_choice(count: int, taken: list[tuple[int, ...]], chosen: tuple[int, ...]) -> None:
    """Free CPUs first, then those that the fewest others have."""
    assert choose_cpus(count, range(4), taken) == chosen


def test_only_what_is_available_is_taken() -> None:
    """A container may have some of the CPUs, and others hold what is not ours to use."""
    assert choose_cpus(2, (1, 2, 5), [(0, 2)]) == (1, 5)
    assert choose_cpus(2, (9, 3, 5), [(3,)]) == (5, 9)
    assert choose_cpus(3, (), []) == ()


cpus = st.sets(st.integers(0, 11), max_size=12).map(sorted)


@given(st.integers(-1, 14), cpus, st.lists(cpus, max_size=5))
def test_overlap_is_the_least_possible(
    count: int, available: list[int], taken: list[list[int]]
) -> None:
    """For any claims of others."""
    chosen = choose_cpus(count, available, taken)
    assert list(chosen) == sorted(set(chosen))
    assert set(chosen) <= set(available)
    assert len(chosen) == min(max(1, count), len(available))
    loads = sorted(sum(cpu in held for held in taken) for cpu in available)
    assert sum(sum(cpu in held for held in taken) for cpu in chosen) == sum(loads[: len(chosen)])


@given(st.lists(st.integers(1, 4), max_size=4))
def test_those_that_fit_get_cpus_of_their_own(counts: list[int]) -> None:
    """As long as there are enough for all."""
    held: list[tuple[int, ...]] = []
    for count in counts:
        held.append(choose_cpus(count, range(16), held))
    assert len({cpu for some in held for cpu in some}) == sum(counts)


@needs_affinity
def test_this_machine_can_be_read() -> None:
    """Whatever it is."""
    assert available_cpus() == tuple(sorted(os.sched_getaffinity(0)))


def test_a_system_without_affinity_has_none_to_choose_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_cpus() == ()


def test_a_thread_that_has_ended_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that has begun meanwhile is not."""
    tasks = tmp_path / "7" / "task"
    (tasks / "7").mkdir(parents=True)
    (tasks / "8").mkdir()
    bound = []

    def bind(thread: int, cpus: set[int]) -> None:
        (tasks / "9").mkdir(exist_ok=True)
        if thread == 8:
            raise ProcessLookupError
        bound.append((thread, cpus))

    monkeypatch.setattr(os, "sched_setaffinity", bind, raising=False)
    assert apply(7, [2, 3], proc=tmp_path) is None
    assert sorted(bound) == [(7, {2, 3}), (9, {2, 3})]
