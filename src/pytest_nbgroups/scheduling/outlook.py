"""Prediction for each number of workers. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from pytest_nbgroups.core.resources import Budget
from pytest_nbgroups.core.settings import Schedule
from pytest_nbgroups.scheduling.backlog import Unit, in_order
from pytest_nbgroups.scheduling.planning import Job, Parallelism
from pytest_nbgroups.scheduling.simulation import Prediction, simulate

TOLERANCE = 0.02
"""Part of the time that is not worth another worker: each worker costs memory."""
_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Prediction for the experiments with one worker, with two, and so on."""

    predictions: tuple[Prediction, ...]
    """By number of workers. An experiment that has never run takes no time."""
    recommended: int
    asked: int
    """Number of workers asked for; 0 for a session without workers."""
    fits: Parallelism
    unknown: int
    """Number of experiments that have never run here."""

    @property
    def best(self) -> Prediction:
        """Prediction for the recommended number."""
        return next(p for p in self.predictions if p.workers == self.recommended)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions that are the same for all numbers of workers."""

    budget: Budget
    schedule: Schedule
    max_parallel: int | None = None


def outlook(units: Sequence[Unit], around: Conditions, *, fits: Parallelism, asked: int) -> Outlook:
    """Predict the run with growing numbers of workers; each unit is an experiment that can run here.

    More workers than experiments fit at once change nothing, so that number is the last.
    """
    counts = worker_counts(min(2 * around.budget.cpus, fits.fit), asked=asked)
    unknown = sum(job.duration_s is None for job in _jobs(units))
    known = _as_if_known(units)
    at = cache(lambda workers: predict(known, workers, around))
    best = _recommended(at, counts)
    if unknown:
        at = cache(lambda workers: predict(units, workers, around))
    return Outlook(
        predictions=tuple(at(workers) for workers in sorted({*counts, best})),
        recommended=best,
        asked=asked,
        fits=fits,
        unknown=unknown,
    )


def worker_counts(limit: float, *, asked: int) -> list[int]:
    """Return about a dozen numbers to try up to a limit, and the number asked for."""
    last = max(1, math.ceil(limit))
    counts = {*range(1, last + 1)}
    if last > _ROWS:
        counts = {step for step in _steps(last, thirds=True) if step < last} | {last}
    if len(counts) > _ROWS:
        counts = {step for step in _steps(last, thirds=False) if step < last} | {last}
    return sorted({*counts, *([asked] if asked else [])})


def _steps(limit: int, *, thirds: bool) -> Iterable[int]:
    """1, 2, 4, 8 and so on; with ``thirds`` also 3, 6, 12."""
    for power in range(limit.bit_length()):
        yield 2**power
        if thirds and power:
            yield 3 * 2 ** (power - 1)


def predict(units: Sequence[Unit], workers: int, around: Conditions) -> Prediction:
    """Simulate the units in the order of the session's scheduler."""
    sizes = Counter(unit.family for unit in units)
    return simulate(
        [_kept_apart(unit, sizes) for unit in tried(units, workers, around)],
        workers=workers,
        budget=around.budget,
        max_parallel=around.max_parallel,
    )


def tried(units: Sequence[Unit], workers: int, around: Conditions) -> list[Unit]:
    """Return the units in the order in which the session's scheduler would try them."""
    return in_order(
        units,
        schedule=around.schedule,
        budget=around.budget,
        workers=workers,
        max_parallel=around.max_parallel,
    )


def _kept_apart(unit: Unit, sizes: Mapping[str | None, int]) -> Job:
    # A lock of their own does what the scheduler does: units of one family never overlap.
    (job,) = _jobs([unit])
    if unit.family is None or sizes[unit.family] == 1:
        return job
    locks = (*job.need.locks, f"family {unit.family}")
    return replace(job, need=replace(job.need, locks=locks))


def _jobs(units: Iterable[Unit]) -> list[Job]:
    return [unit.job for unit in units if unit.job is not None]


def _as_if_known(units: Sequence[Unit]) -> list[Unit]:
    """Give a unit that has never run the longest known duration, as the scheduler does.

    If no duration is known, all are alike.
    """
    longest_s = max((j.duration_s for j in _jobs(units) if j.duration_s is not None), default=1.0)
    return [
        replace(unit, job=replace(unit.job, duration_s=longest_s))
        if unit.job and unit.job.duration_s is None
        else unit
        for unit in units
    ]


def _recommended(at: Callable[[int], Prediction], counts: Sequence[int]) -> int:
    """Return the fewest workers that are about as fast as any number, also between ``counts``."""
    best_s = min(at(count).wall_s for count in counts)
    coarse = next(p for p in map(at, counts) if p.wall_s <= best_s * (1 + TOLERANCE))
    fewer = max((count for count in counts if count < coarse.workers), default=0)
    between = range(fewer + 1, coarse.workers)

    def is_as_fast(workers: int) -> bool:
        return at(workers).wall_s <= coarse.wall_s

    return fewer + 1 + bisect_left(between, x=True, key=is_as_fast)
