"""What is told of numbers of workers: a table, a recommendation and its grounds."""

from __future__ import annotations

import pytest
from machines import budget, need
from outlooks import around, look, unit

from pytest_nbgroups.reports.workers_table import grounds, recommendation, workers_lines
from pytest_nbgroups.scheduling import simulation
from pytest_nbgroups.scheduling.outlook import outlook
from pytest_nbgroups.scheduling.planning import most_at_once


@pytest.fixture(autouse=True)
def _quick_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """No order here gets better by long trying."""
    monkeypatch.setattr(simulation, "_MOVES", 200)


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
