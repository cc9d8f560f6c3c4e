"""A run on paper."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget, need

from pytest_nbgroups.core.resources import Budget, Need
from pytest_nbgroups.scheduling.planning import Job, ordered
from pytest_nbgroups.scheduling.simulation import (
    Prediction,
    lower_bound_s,
    sequence,
    simulate,
)

TWELVE = [6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1]


def job(duration_s: float | None, of: Need | None = None, *, peak: int | None = None) -> Job:
    """An experiment that takes so long, and so many GB at its peak."""
    peak_bytes = None if peak is None else peak * GB
    return Job(
        name="", need=of or need(cpus=0.5, ram=0.1), duration_s=duration_s, peak_bytes=peak_bytes
    )


def longest_first(jobs: Sequence[Job], *, workers: int, machine: Budget) -> Prediction:
    """A run in the order in which the scheduler tries the jobs."""
    order = sequence(jobs, schedule="longest", budget=machine, workers=workers)
    return simulate([jobs[position] for position in order], workers=workers, budget=machine)


@pytest.mark.parametrize("seed", range(5))
def test_longest_first_reaches_the_bound(seed: int) -> None:
    """27 units of work on three workers, in any order of collection."""
    durations = random.Random(seed).sample(TWELVE, len(TWELVE))  # noqa: S311
    found = longest_first([*map(job, durations)], workers=3, machine=budget())
    assert found.wall_s == 9
    assert len(found.starts) == 12


@given(st.lists(st.tuples(st.floats(0.1, 99), st.floats(0.1, 16)), min_size=1), st.integers(1, 9))
def test_between_the_bounds(jobs: list[tuple[float, float]], workers: int) -> None:
    """Never faster than the longest, nor than all the work; never slower than one by one, in any order."""
    machine = budget(cpus=99)
    found = simulate([job(s, need(ram=ram)) for s, ram in jobs], workers=workers, budget=machine)
    total_s = sum(s for s, _ in jobs)
    gigabyte_s = sum(s * ram for s, ram in jobs) * GB
    least_s = max(*(s for s, _ in jobs), total_s / workers, gigabyte_s / machine.ram_bytes)
    assert least_s * 0.999 <= found.wall_s <= total_s * 1.001
    assert found.peak_ram_bytes <= machine.ram_bytes
    assert len(found.starts) == len(jobs)


def test_first_fit() -> None:
    """What does not fit lets what fits go first, and starts as soon as there is room."""
    jobs = [job(4, need(ram=12)), job(3, need(ram=12)), job(1, need(ram=4))]
    found = simulate(jobs, workers=3, budget=budget())
    assert [start.at_s for start in found.starts] == [0, 0, 4]
    assert [start.job.need.ram_bytes // GB for start in found.starts] == [12, 4, 12]
    assert (found.wall_s, found.peak_ram_bytes) == (7, 16 * GB)


def test_the_peak_is_what_is_expected_to_be_used() -> None:
    """Not what is reserved above it, unless nothing else is known; and only of what runs at once."""
    jobs = [job(4, need(ram=4), peak=3), job(2, need(ram=5)), job(1, need(ram=9), peak=7)]
    assert simulate(jobs, workers=1, budget=budget()).peak_ram_bytes == 7 * GB
    assert simulate(jobs, workers=3, budget=budget()).peak_ram_bytes == 10 * GB
    assert simulate([job(1, peak=0)], workers=1, budget=budget()).peak_ram_bytes == 0


def test_the_users_limit_holds() -> None:
    """More workers than that make no difference."""
    jobs = [job(1)] * 4
    assert simulate(jobs, workers=4, budget=budget()).wall_s == 1
    assert simulate(jobs, workers=4, budget=budget(), max_parallel=2).wall_s == 2


def test_unknown_durations_take_no_time() -> None:
    """They are counted apart by whoever shows the prediction."""
    assert simulate([job(None), job(2)], workers=1, budget=budget()).wall_s == 2
    assert simulate([], workers=1, budget=budget()).wall_s == 0


def test_the_order_is_bettered_on_paper() -> None:
    """Never worse than first fit by priority, at times much better; always the same."""
    machine, first_fit_s, bettered_s = budget(), 0.0, 0.0
    for seed in range(3):
        rng = random.Random(seed)  # noqa: S311
        jobs = [
            job(rng.choice([1, 2, 3, 5, 8]), need(cpus=0.1, ram=rng.choice([1, 2, 4, 8, 10])))
            for _ in range(8)
        ]
        order = ordered(jobs, schedule="longest", budget=machine, workers=4)
        plain = simulate([jobs[position] for position in order], workers=4, budget=machine)
        found = longest_first(jobs, workers=4, machine=machine)
        assert lower_bound_s(jobs, workers=4, budget=machine) <= found.wall_s <= plain.wall_s
        first_fit_s += plain.wall_s
        bettered_s += found.wall_s
    assert found == longest_first(jobs, workers=4, machine=machine)
    assert bettered_s < first_fit_s


def test_what_is_unknown_is_not_bettered() -> None:
    """The order by priority is as good as any."""
    jobs = [job(1), job(None), job(3)]
    machine = budget()
    assert sequence(jobs, schedule="longest", budget=machine, workers=2) == [1, 2, 0]
