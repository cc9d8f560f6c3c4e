"""What is still to run and who may take it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import budget, need

from pytest_nbgroups.scheduling.backlog import Backlog, Unit, Verdict, fair_chunks, in_order
from pytest_nbgroups.scheduling.planning import Job


def job(index: int, *, cpus: float = 1, family: str | None = None, duration_s: float = 1) -> Unit:
    """An experiment."""
    of = Job(name=str(index), need=need(cpus=cpus), duration_s=duration_s)
    return Unit(indices=[index], job=of, family=family)


def file(*indices: int, family: str | None = None) -> Unit:
    """Ordinary tests of one file."""
    return Unit(indices=list(indices), family=family)


def always(_unit: Unit) -> Verdict:
    """There is room for everything."""
    return "start"


def at_most(cpus: float) -> Callable[[Unit], Verdict]:
    """Refuse what asks for more."""
    return lambda unit: "start" if unit.job and unit.job.need.cpus <= cpus else "no"


def taken(unit: Unit | None) -> list[int] | None:
    """The items of what was given."""
    return None if unit is None else unit.indices


def test_first_fit() -> None:
    """What is refused stays for later and holds nothing up."""
    backlog = Backlog[str]([job(0, cpus=4), job(1, cpus=2), job(2)])
    assert taken(backlog.next_for("a", at_most(2))) == [1]
    assert taken(backlog.next_for("b", at_most(2))) == [2]
    assert backlog.next_for("c", at_most(2)) is None
    assert taken(backlog.next_for("c", always)) == [0]


def test_one_worker_takes_the_tests_first() -> None:
    """The others take experiments as long as there are some that may start."""
    backlog = Backlog[str]([job(0), job(1), file(2, 3), file(4)])
    assert taken(backlog.next_for("a", always)) == [2, 3]
    assert taken(backlog.next_for("b", always)) == [0]
    assert taken(backlog.next_for("c", always)) == [1]
    assert taken(backlog.next_for("d", always)) == [4]


def test_tests_wait_for_nothing() -> None:
    """Where no experiment may start, a worker takes tests."""
    backlog = Backlog[str]([job(0), file(1), file(2)])
    backlog.next_for("a", always)
    assert taken(backlog.next_for("b", lambda _unit: "no")) == [2]


def test_a_unit_is_over_when_all_of_its_items_are() -> None:
    """Only then is its worker free."""
    backlog = Backlog[str]([file(0, 1)])
    backlog.next_for("a", always)
    assert not backlog.finish("a", 0)
    assert not backlog.is_empty
    assert backlog.finish("a", 1)
    assert backlog.is_empty


def test_a_family_runs_in_the_order_of_collection() -> None:
    """Whatever the priority: tests beside notebooks, and nested experiments, use their files."""
    nested = job(2, family="A", duration_s=99)
    units = [nested, job(3), file(1, family="A"), job(0, family="A")]
    backlog = Backlog[str](units)
    assert taken(backlog.next_for("a", always)) == [3]
    assert taken(backlog.next_for("b", always)) == [0]
    assert backlog.next_for("c", always) is None
    backlog.finish("b", 0)
    assert taken(backlog.next_for("c", always)) == [1]
    assert backlog.next_for("b", always) is None
    backlog.finish("c", 1)
    assert taken(backlog.next_for("b", always)) == [2]


def test_what_stood_behind_a_crash_runs_elsewhere() -> None:
    """The item that took its worker down is not run again."""
    backlog = Backlog[str]([file(0, 1, 2, family="A"), job(3, family="A"), job(4)])
    backlog.next_for("a", always)
    backlog.finish("a", 0)
    assert backlog.lose("a") == 1
    assert taken(backlog.next_for("b", always)) == [2]
    assert taken(backlog.next_for("c", always)) == [4]
    assert backlog.lose("c") == 4
    assert backlog.lose("nobody") is None
    assert backlog.next_for("c", always) is None
    backlog.finish("b", 2)
    assert taken(backlog.next_for("c", always)) == [3]


def test_a_family_goes_on_after_a_crash() -> None:
    """The crash of its first leaves the others to run."""
    backlog = Backlog[str]([job(0, family="A"), file(1, family="A")])
    backlog.next_for("a", always)
    assert backlog.lose("a") == 0
    assert taken(backlog.next_for("b", always)) == [1]


@pytest.mark.parametrize("family", [None, "A"])
def test_what_is_put_back_runs_once_more(family: str | None) -> None:
    """A plugin may ask so for what took its worker down."""
    backlog = Backlog[str]([job(0, family=family)])
    backlog.next_for("a", always)
    backlog.lose("a")
    backlog.put_back(job(0, family=family))
    assert taken(backlog.next_for("b", always)) == [0]


def test_what_is_put_back_does_not_overlap_its_family() -> None:
    """Another of the family may have begun since."""
    backlog = Backlog[str]([job(0, family="A"), file(1, family="A")])
    backlog.next_for("a", always)
    backlog.lose("a")
    assert taken(backlog.next_for("b", always)) == [1]
    backlog.put_back(job(0, family="A"))
    assert backlog.next_for("a", always) is None
    backlog.finish("b", 1)
    assert taken(backlog.next_for("a", always)) == [0]


def test_one_at_a_time_stands_in_the_queue_for_what_others_hold() -> None:
    """It keeps its place among sessions; the rest stays free to take what fits."""
    answers: dict[str, Verdict] = {"0": "others", "1": "others", "2": "no", "3": "start"}

    def verdict(unit: Unit) -> Verdict:
        return answers[unit.job.name] if unit.job else "start"

    backlog = Backlog[str]([job(0), job(1, cpus=0.9), job(2, cpus=0.8), job(3, cpus=0.7)])
    assert taken(backlog.next_for("a", verdict)) == [3]
    assert taken(backlog.next_for("b", verdict)) == [0]
    assert backlog.next_for("c", verdict) is None
    backlog.note_leases(lambda worker: worker == "a")
    assert backlog.next_for("c", verdict) is None
    backlog.note_leases(lambda worker: worker == "b")
    assert taken(backlog.next_for("c", verdict)) == [1]


def test_the_pool_has_the_last_word() -> None:
    """Where nothing of ours runs, waiting would be for ever: one is sent to stand in the queue."""
    backlog = Backlog[str]([job(0), job(1, cpus=0.5)])
    assert taken(backlog.next_for("a", lambda _unit: "no")) == [0]
    assert backlog.next_for("b", lambda _unit: "no") is None


def test_the_order() -> None:
    """By priority; a family counts with all that hangs on it; tests come last."""
    units = [
        file(9),
        job(0, duration_s=5),
        job(1, family="A", duration_s=4),
        job(2, family="A", duration_s=3),
        job(3, duration_s=6),
    ]
    found = in_order(units, schedule="longest", budget=budget(), workers=2)
    assert [unit.indices for unit in found] == [[1], [2], [3], [0], [9]]


@pytest.mark.parametrize(
    ("tests", "total", "workers", "lengths"),
    [
        (10, 10, 2, [5, 5]),
        (10, 40, 2, [10]),
        (3, 3, 2, [2, 1]),
        (1, 1, 8, [1]),
        (7, 20, 8, [3, 3, 1]),
    ],
)
def test_a_long_file_is_cut(tests: int, total: int, workers: int, lengths: list[int]) -> None:
    """No part is longer than a worker's fair share; nothing is lost and the order stays."""
    chunks = fair_chunks(list(range(tests)), total=total, workers=workers)
    assert [len(chunk) for chunk in chunks] == lengths
    assert [index for chunk in chunks for index in chunk] == list(range(tests))


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_everything_runs_once_whatever_happens(seed: int, workers: int) -> None:
    """With families, refusals and dying workers; and nothing of a family ever overlaps."""
    rng = random.Random(seed)  # noqa: S311
    units, size = [], 0
    for _ in range(rng.randint(1, 12)):
        family = rng.choice([None, None, "A", "B"])
        if rng.random() < 0.6:
            units.append(job(size, family=family, duration_s=rng.random(), cpus=rng.random()))
            size += 1
        else:
            count = rng.randint(1, 3)
            units.append(file(*range(size, size + count), family=family))
            size += count
    backlog = Backlog[int](in_order(units, schedule="longest", budget=budget(), workers=workers))
    done: list[int] = []
    while not backlog.is_empty:
        for worker in range(workers):
            if worker not in backlog.running:
                backlog.next_for(worker, lambda _unit: rng.choice(["start", "others", "no"]))
        families = [r.unit.family for r in backlog.running.values() if r.unit.family]
        assert len(families) == len(set(families))
        worker = rng.choice(list(backlog.running))
        first = backlog.running[worker].unit.indices[0]
        done.append(first)
        if rng.random() < 0.2:
            assert backlog.lose(worker) == first
        else:
            backlog.finish(worker, first)
        backlog.note_leases(lambda _worker: rng.random() < 0.5)
    assert sorted(done) == list(range(size))
