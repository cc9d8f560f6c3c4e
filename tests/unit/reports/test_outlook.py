"""How many workers, and what each number would come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget, need

from pytest_nbgroups.core.resources import Budget, Need
from pytest_nbgroups.reports.outlook import (
    Circumstances,
    Outlook,
    grounds,
    outlook,
    predict,
    recommendation,
    tried,
    worker_counts,
    workers_lines,
)
from pytest_nbgroups.scheduling import planning, simulation
from pytest_nbgroups.scheduling.admission import Grant, Obstacle, admit
from pytest_nbgroups.scheduling.backlog import Unit
from pytest_nbgroups.scheduling.planning import Job, most_at_once

SMALL = need(cpus=0.5, ram=0.1)


@pytest.fixture(autouse=True)
def _quick_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """No order here gets better by long trying."""
    monkeypatch.setattr(simulation, "_MOVES", 200)


def unit(
    index: int, duration_s: float | None, of: Need = SMALL, *, family: str | None = None
) -> Unit:
    """An experiment that takes so long."""
    job = Job(name=str(index), need=of, duration_s=duration_s, peak_bytes=GB)
    return Unit(indices=[index], job=job, family=family)


def around(machine: Budget | None = None, max_parallel: int | None = None) -> Circumstances:
    """Four CPUs with 16 GB, unless another machine is given."""
    return Circumstances(budget=machine or budget(), schedule="longest", max_parallel=max_parallel)


def look(
    *durations: float | None,
    of: Need = SMALL,
    machine: Budget | None = None,
    max_parallel: int | None = None,
    asked: int = 0,
) -> Outlook:
    """Of experiments alike that take so long."""
    circumstances = around(machine, max_parallel)
    needs = [of] * len(durations)
    fits = most_at_once(needs, circumstances.budget, max_parallel=max_parallel)
    units = [unit(index, duration_s, of) for index, duration_s in enumerate(durations)]
    return outlook(units, circumstances, fits=fits, asked=asked)


@pytest.mark.parametrize(
    ("limit", "counts"),
    [
        (0.5, [1]),
        (3, [1, 2, 3]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        (13, [1, 2, 3, 4, 6, 8, 12, 13]),
        (64, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]),
        (128, [1, 2, 4, 8, 16, 32, 64, 128]),
        (200, [1, 2, 4, 8, 16, 32, 64, 128, 200]),
    ],
)
def test_the_numbers_that_are_tried(limit: float, counts: list[int]) -> None:
    """All of them on a small machine, in growing steps on a large one."""
    assert worker_counts(limit, asked=0) == counts


def test_the_number_that_was_asked_for_is_tried() -> None:
    """Whatever it is."""
    assert worker_counts(3, asked=100) == [1, 2, 3, 100]
    assert worker_counts(64, asked=5)[3:6] == [4, 5, 6]


@given(st.floats(0.1, 4096), st.integers(0, 300))
def test_never_a_long_table(limit: float, asked: int) -> None:
    """A dozen rows, and perhaps the one that was asked for."""
    assert len(worker_counts(limit, asked=asked)) <= 12 + 1 + (asked > 0)


def test_the_table() -> None:
    """Up to the number that fits at once, with marks."""
    found = look(3, 2, 2, 1, asked=2)
    assert workers_lines(found) == [
        "workers  wall time   peak RAM",
        "      1      8.00s  953.7 MiB",
        "      2      4.00s    1.9 GiB  asked for",
        "      3      3.00s    2.8 GiB  recommended",
        "      4      3.00s    3.7 GiB",
    ]
    assert recommendation(found) == (
        "recommended: -n 3; more workers would save less than 2% of the time"
    )


def test_rows_that_say_nothing_new() -> None:
    """They are left out behind the recommended one, but not the one that was asked for."""
    found = look(1, 1, 1, of=need(cpus=4), asked=0, machine=budget(cpus=4))
    assert [p.workers for p in found.predictions] == [1]
    alone = [unit(index, 1, need(cpus=0.5), family="A") for index in range(4)]
    fits = most_at_once([need(cpus=0.5)] * 4, budget(), max_parallel=None)
    family = outlook(alone, around(), fits=fits, asked=3)
    assert workers_lines(family) == [
        "workers  wall time   peak RAM",
        "      1      4.00s  953.7 MiB  recommended",
        "      3      4.00s  953.7 MiB  asked for",
    ]


def test_more_than_ever_fit() -> None:
    """The resource that has no room for one more is named."""
    found = look(*[1.0] * 6, of=need(cpus=1, ram=8))
    assert (found.recommended, found.best.wall_s) == (2, 3)
    assert recommendation(found) == (
        "recommended: -n 2; more than 2 experiments never fit at once (14.9 GiB of RAM)"
    )
    assert recommendation(look(1, 1, of=need(exclusive=True))) == (
        "recommended: -n 1; no two experiments fit at once (an exclusive experiment)"
    )
    limited = look(*[1.0] * 6, max_parallel=3, asked=6)
    assert [p.wall_s for p in limited.predictions] == [6, 3, 2, 2]
    assert recommendation(limited).endswith("fit at once (--experiment-max-parallel)")


def test_a_worker_for_each() -> None:
    """Nothing else limits two that fit at once."""
    assert (
        recommendation(look(1, 1)) == "recommended: -n 2; each experiment has a worker of its own"
    )


def test_families_never_overlap() -> None:
    """An experiment and one in its directory take the sum of their times, with any number."""
    units = [unit(0, 5, family="A"), unit(1, 4, family="A"), unit(2, 3)]
    assert predict(units, 3, around()).wall_s == 9
    assert predict([unit(0, 5), unit(1, 4), unit(2, 3)], 3, around()).wall_s == 5


def test_the_order_of_the_scheduler() -> None:
    """Longest first, and what is not known counts as long as the longest that is."""
    ordered = tried([unit(0, 1), unit(1, None), unit(2, 7)], 2, around())
    assert [unit.indices[0] for unit in ordered] == [1, 2, 0]


def test_a_number_between_those_tried() -> None:
    """Of 4 and 6 workers six are needed; where five do as well, five are recommended."""
    machine = budget(cpus=64, ram=999 * GB)
    assert worker_counts(14, asked=0)[3:5] == [4, 6]
    assert look(*[8.0] * 6, *[0.0] * 8, machine=machine).recommended == 6
    found = look(*[8.0] * 5, *[0.0] * 9, machine=machine)
    assert found.recommended == 5
    assert [p.workers for p in found.predictions][3:6] == [4, 5, 6]


def test_what_is_unknown_counts_for_the_number() -> None:
    """Else a machine on which little has run yet would be given one worker."""
    assert look(None, None, None).recommended == 3
    found = look(4, None, None)
    assert found.recommended == 3
    assert [p.wall_s for p in found.predictions] == [4, 4, 4]


def test_nothing_is_known() -> None:
    """No time is made up."""
    assert workers_lines(look(None, None)) == [
        "workers  wall time   peak RAM",
        "      1    unknown  953.7 MiB",
        "      2    unknown    1.9 GiB  recommended",
    ]


@pytest.mark.parametrize(
    ("durations", "line"),
    [
        (
            [1, None],
            (
                "1 of 2 experiments has never run here: it counts as 0 s, and for the recommended "
                "number as long as the longest that is known"
            ),
        ),
        (
            [1, None, None],
            (
                "2 of 3 experiments have never run here: they count as 0 s, and for the recommended "
                "number as long as the longest that is known"
            ),
        ),
        (
            [None, None],
            "no experiment has ever run here: for the recommended number all count alike",
        ),
    ],
)
def test_what_is_not_known(durations: list[float | None], line: str) -> None:
    """It is said what the prediction makes of it."""
    assert grounds(look(*durations), tests=0)[:-1] == [line]


@pytest.mark.parametrize(
    ("tests", "line"),
    [
        (0, "experiments alone: starting pytest and its workers comes on top"),
        (
            1,
            "experiments alone: starting pytest and its workers, and 1 ordinary test, come on top",
        ),
        (
            14,
            "experiments alone: starting pytest and its workers, and 14 ordinary tests, come on top",
        ),
    ],
)
def test_what_is_not_counted(tests: int, line: str) -> None:
    """Where all is known, that alone."""
    assert grounds(look(1, 1), tests=tests) == [line]


def test_what_lies_in_no_other_experiment_is_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one does not fit, none that needs the same is tried: each has a family of its own."""
    asked = 0

    def counting(*arguments: Any, **more: Any) -> Grant | Obstacle:
        nonlocal asked
        asked += 1
        return admit(*arguments, **more)

    monkeypatch.setattr(planning, "admit", counting)
    of = need(cpus=2)
    units = [unit(index, 1 + index, of, family=f"experiments/E{index}") for index in range(100)]
    found = predict(units, 8, around())
    assert found.wall_s >= sum(range(1, 101)) / 2
    assert asked <= 100 + 100  # a grant for each, and a refusal whenever one has ended
