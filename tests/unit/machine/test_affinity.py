from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.machine.affinity import (
    Place,
    apply,
    available_cpus,
    choose_cpus,
    read_places,
)

# Two nodes of two cores with two threads each, numbered as Linux does: siblings are far apart.
TWO_NODES = {cpu: Place(node=cpu % 4 // 2, core=cpu % 4) for cpu in range(8)}
EIGHT = range(8)

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system cannot bind processes to CPUs"
)


@pytest.mark.parametrize(
    ("count", "taken", "chosen"),
    [
        (1, [], (0,)),
        (2, [], (0, 4)),
        (4, [], (0, 1, 4, 5)),
        (8, [], (0, 1, 2, 3, 4, 5, 6, 7)),
        (3, [], (0, 1, 4)),
        (5, [], (0, 1, 2, 4, 5)),
        # free ones first
        (2, [(0, 4)], (2, 6)),
        (2, [(0, 4), (2, 6), (3,)], (1, 5)),
        (4, [(0, 4)], (2, 3, 6, 7)),
        (4, [(0, 1, 4, 5)], (2, 3, 6, 7)),
        (6, [(0, 4)], (1, 2, 3, 5, 6, 7)),
        # a part of a core goes where the rest of it is idle
        (1, [(4,), (2, 6)], (1,)),
        (1, [(0,), (1,), (2,)], (3,)),
        (2, [(0,), (1,), (2, 3, 6, 7)], (4, 5)),
        (2, [(0,), (2,), (3,)], (1, 5)),
        # too few are free
        (4, [(0, 1, 2, 3, 4, 5)], (2, 3, 6, 7)),
        (3, [(0, 1, 4, 5, 6, 7), (2, 3)], (0, 1, 4)),
        (2, [tuple(EIGHT), (0, 1, 2, 3)], (4, 5)),
        (2, [tuple(EIGHT)], (0, 4)),
        # as many as there are, and one at least
        (99, [], (0, 1, 2, 3, 4, 5, 6, 7)),
        (0, [], (0,)),
    ],
)
def test_choice(count: int, taken: list[tuple[int, ...]], chosen: tuple[int, ...]) -> None:
    """Free CPUs, one node, whole cores; in this order."""
    assert choose_cpus(count, EIGHT, taken, TWO_NODES) == chosen


def test_the_emptiest_node_comes_first() -> None:
    """Where others leave the most memory bandwidth; and then the one that is begun."""
    places = {cpu: Place(node=cpu // 5, core=cpu) for cpu in range(8)}
    assert choose_cpus(2, EIGHT, [], places) == (0, 1)
    assert choose_cpus(2, EIGHT, [(0, 1, 2)], places) == (5, 6)
    assert choose_cpus(4, EIGHT, [(0, 1, 2)], places) == (3, 5, 6, 7)
    assert choose_cpus(3, EIGHT, [(0, 1, 2, 3, 5, 6, 7)], places) == (0, 1, 4)


def test_only_what_is_available_is_taken() -> None:
    """A container may have some CPUs of a core, and others hold what is not ours to use."""
    assert choose_cpus(2, (1, 2, 5), [(0, 4)], TWO_NODES) == (1, 5)
    assert choose_cpus(2, (4, 5, 6), [], TWO_NODES) == (4, 5)
    assert choose_cpus(3, (), []) == ()


def test_without_topology_the_lowest_are_taken() -> None:
    """Each CPU counts as a core."""
    assert choose_cpus(2, (9, 3, 5), [(3,)]) == (5, 9)


cpus = st.sets(st.integers(0, 11), max_size=12).map(sorted)
places_of = st.builds(Place, node=st.integers(0, 2), core=st.integers(0, 4))


@given(
    st.integers(-1, 14),
    cpus,
    st.lists(cpus, max_size=5),
    st.dictionaries(st.integers(0, 11), places_of),
)
def test_overlap_is_the_least_possible(
    count: int, available: list[int], taken: list[list[int]], places: dict[int, Place]
) -> None:
    """On any machine, whoever has what."""
    chosen = choose_cpus(count, available, taken, places)
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
        held.append(choose_cpus(count, range(16), held, TWO_NODES))
    assert len({cpu for some in held for cpu in some}) == sum(counts)


def write(root: Path, files: dict[str, str]) -> None:
    """Files below /sys/devices/system/cpu; a folder where there is no text."""
    for name, text in files.items():
        path = root / "sys/devices/system/cpu" / name
        (path.parent if text else path).mkdir(parents=True, exist_ok=True)
        if text:
            path.write_text(text + "\n")


def test_places(tmp_path: Path) -> None:
    """Cores by the lowest of their CPUs, nodes by their folder."""
    write(
        tmp_path,
        {
            "cpu0/topology/core_cpus_list": "0,64",
            "cpu0/node0": "",
            "cpu64/topology/core_cpus_list": "0,64",
            "cpu64/node1": "",
            "cpu3/topology/thread_siblings_list": "2-3",
            "cpu5/topology/core_cpus_list": "what?",
        },
    )
    assert read_places([0, 64, 3, 5, 6], root=tmp_path) == {
        0: Place(node=0, core=0),
        64: Place(node=1, core=0),
        3: Place(node=0, core=2),
        5: Place(node=0, core=5),
        6: Place(node=0, core=6),
    }


@needs_affinity
def test_this_machine_can_be_read() -> None:
    """Whatever it is."""
    available = available_cpus()
    assert available == tuple(sorted(os.sched_getaffinity(0)))
    assert set(read_places(available)) == set(available)


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
