"""How many workers, and what each number would come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget, need
from outlooks import around, look, unit

from pytest_nbgroups.scheduling import planning, simulation
from pytest_nbgroups.scheduling.admission import Grant, Obstacle, admit
from pytest_nbgroups.scheduling.outlook import predict, tried, worker_counts


@pytest.fixture(autouse=True)
def _quick_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """No order here gets better by long trying."""
    monkeypatch.setattr(simulation, "_MOVES", 200)


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


def test_the_fewest_workers_that_are_about_as_fast() -> None:
    """A worker that saves two in a hundred is not worth its memory."""
    assert look(4, 2.04, 2.04).recommended == 2
    assert look(4, 2.05, 2.05).recommended == 3


def test_what_is_unknown_counts_for_the_number() -> None:
    """Else a machine on which little has run yet would be given one worker."""
    assert look(None, None, None).recommended == 3
    found = look(4, None, None)
    assert found.recommended == 3
    assert [p.wall_s for p in found.predictions] == [4, 4, 4]


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
