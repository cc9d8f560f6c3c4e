"""In which order experiments start, and how many can run at once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget, need

from pytest_nbgroups.core.resources import Budget, Need
from pytest_nbgroups.core.settings import Schedule
from pytest_nbgroups.scheduling.planning import (
    Job,
    Queue,
    SimulatedMachine,
    dominant_share,
    most_at_once,
    ordered,
)

needs = st.builds(
    need,
    cpus=st.sampled_from([0.5, 1, 2, 4]),
    ram=st.sampled_from([0.5, 2, 4, 8, 16]),
    gpus=st.sampled_from([0, 0, 0, 1, 2]),
    locks=st.sampled_from([(), (), ("a",), ("a", "b")]),
    exclusive=st.sampled_from([False, False, False, True]),
)


def job(name: str, duration_s: float | None, of: Need | None = None) -> Job:
    """An experiment that takes so long."""
    return Job(name=name, need=of or need(), duration_s=duration_s)


def order(jobs: list[Job], schedule: Schedule = "longest") -> str:
    """The names in the order in which they would be tried."""
    machine = budget(gpus=(8, 8))
    found = ordered(jobs, schedule=schedule, budget=machine, workers=4)
    return "".join(jobs[position].name for position in found)


def test_longest_first() -> None:
    """Equal ones stay as they came."""
    jobs = [job("a", 1), job("b", 3), job("c", 1), job("d", 2)]
    assert order(jobs) == "bdac"
    assert order(jobs, "shortest") == "acdb"
    assert order(jobs, "collection") == "abcd"


def test_what_takes_most_of_what_is_scarce_comes_before_what_lasts_longer() -> None:
    """A large one that is left for the end leaves the machine half empty."""
    jobs = [job("a", 10), job("b", 6, need(ram=12)), job("c", 6, need(gpus=2)), job("d", 9)]
    assert order(jobs) == "cbad"


def test_what_is_not_known_yet_counts_as_the_longest_that_is() -> None:
    """Started last, it might last; started first, it does no harm."""
    assert order([job("a", 5), job("b", 9), job("c", None)]) == "bca"
    assert order([job("a", None), job("b", None)]) == "ab"
    assert order([job("a", 5), job("b", None)], "shortest") == "ab"


@pytest.mark.parametrize(
    ("of", "share"),
    [
        (need(cpus=1, ram=0.1), 0.25),
        (need(cpus=3, ram=0.1), 0.75),
        (need(cpus=1, ram=8), 0.5),
        (need(cpus=0.1, ram=0.1), 0.125),
        (need(gpus=1), 0.5),
        (need(share=2), 0.25),
        (need(share=8), 0.5),
        (need(exclusive=True), 1.0),
        (need(cpus=9), 1.0),
    ],
)
def test_dominant_share(of: Need, share: float) -> None:
    """Of eight workers, four CPUs, 16 GB and two GPUs."""
    assert dominant_share(of, budget(gpus=(8, 8)), 8) == pytest.approx(share)


@pytest.mark.parametrize(
    ("asked", "machine", "expected", "limit"),
    [
        ([], budget(), 1, ""),
        ([need()] * 4, budget(), 4, ""),
        ([need()] * 5, budget(), 4, "4 cpus"),
        ([need()] * 3, budget(cpus=1.5), 1, "1.5 cpus"),
        ([need(cpus=0.1)] * 11, budget(cpus=1, ram=99 * GB), 10, "1 cpu"),
        ([need(cpus=4), need()], budget(), 1, "4 cpus"),
        ([need()] * 3, budget(ram=4 * 2**30), 2, "4 GiB of RAM"),
        ([need(ram=12), *[need()] * 3], budget(), 3, "14.9 GiB of RAM"),
        ([need(), need(exclusive=True)], budget(), 1, "an exclusive experiment"),
        ([need(exclusive=True)], budget(), 1, ""),
        ([need(locks=("a", "b")), need(locks=("b", "c"))], budget(), 1, "the lock 'b'"),
        ([need(gpus=1)] * 3, budget(gpus=(8, 8)), 2, "2 gpus"),
        ([need(gpus=1)] * 2, budget(gpus=(8,)), 1, "1 gpu"),
        ([need(share=4)] * 4, budget(gpus=(8,)), 2, "1 gpu"),
        ([need(gpus=1, least=7), *[need()] * 2], budget(gpus=(8,)), 3, ""),
    ],
)
def test_how_many_can_ever_run_at_once(
    asked: list[Need], machine: Budget, expected: int, limit: str
) -> None:
    """The smallest ones; the header names what keeps one more from running beside them."""
    found = most_at_once(asked, machine, max_parallel=None)
    assert (found.fit, found.experiments, found.limit) == (expected, len(asked), limit)


def test_never_more_than_the_user_allows() -> None:
    """And that is then the reason."""
    found = most_at_once([need()] * 4, budget(), max_parallel=3)
    assert (found.fit, found.limit) == (3, "--experiment-max-parallel")
    assert most_at_once([need()] * 2, budget(), max_parallel=3).limit == ""


@given(st.lists(needs, max_size=5))
def test_no_more_can_run_at_once(asked: list[Need]) -> None:
    """Tried out with all combinations: none has more members than were found to fit."""
    machine = budget(gpus=(8, 8))
    fit = most_at_once(asked, machine, max_parallel=None).fit
    assert all(not runs_together(some, machine) for some in itertools.combinations(asked, fit + 1))


def runs_together(some: tuple[Need, ...], machine: Budget) -> bool:
    """Whether all of them are admitted, one after the other."""
    ground = SimulatedMachine(machine)
    return all(ground.start(each) is not None for each in some)


@given(st.lists(needs, max_size=12), st.integers(0, 3))
def test_nothing_that_would_start_is_passed_over(asked: list[Need], running: int) -> None:
    """To try only what asks for less than what was refused starts the same ones."""
    machine = budget(gpus=(8, 8))
    careful, plain = SimulatedMachine(machine), SimulatedMachine(machine)
    for each in asked[:running]:
        careful.start(each)
        plain.start(each)
    started = []
    queue = Queue(range(len(asked)), need_of=asked.__getitem__)
    for index, refuse in queue.worth_trying():
        if careful.start(asked[index]) is None:
            refuse()
        else:
            queue.remove(index)
            started.append(index)
    assert started == [i for i, each in enumerate(asked) if plain.start(each) is not None]


def test_of_a_thousand_that_wait_one_of_each_kind_is_tried() -> None:
    """Where none fits, how many wait makes no difference."""
    kinds = [need(cpus=cpus, ram=ram) for cpus in (3, 2, 1) for ram in (2, 1)]
    asked = [kinds[index % len(kinds)] for index in range(1000)]
    tried = []
    for index, refuse in Queue(range(1000), need_of=asked.__getitem__).worth_trying():
        tried.append(index)
        refuse()
    assert [asked[index] for index in tried] == kinds


def test_a_queue_keeps_its_order() -> None:
    """What is put first is tried first, what is removed no more."""
    asked = {"a": need(cpus=1), "b": need(cpus=2), "c": need(cpus=1)}
    queue = Queue("ab", need_of=asked.__getitem__)
    queue.put_first("c")
    assert list(queue) == [item for item, _ in queue.worth_trying()] == ["c", "a", "b"]
    queue.remove("a")
    assert list(queue) == ["c", "b"]
    queue.remove("c")
    queue.remove("b")
    assert not queue


def test_what_has_ended_makes_room() -> None:
    """The number that a start gives is what ends it."""
    ground = SimulatedMachine(budget(cpus=1))
    first = ground.start(need())
    assert first is not None
    assert ground.start(need()) is None
    ground.end(first)
    assert ground.start(need()) is not None
