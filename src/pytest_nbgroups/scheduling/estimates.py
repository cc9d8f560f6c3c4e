"""Estimates for the next run from recorded runs. Pure: values in, values out.

Only runs on one kind of machine count. Time does not carry over to another kind. Neither does
memory: it depends on the threads and on the work of a GPU. Reserving too little can bring a machine
down; a slow start is safe and needs one run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from pytest_nbgroups.core.resources import Estimate

T = TypeVar("T")

WINDOW = 10
"""Number of complete runs that count, the newest ones."""
_ENOUGH = 3
"""From this number of values on, a single outlier does not decide."""


class PastRun(NamedTuple):
    """One recorded run. A plain tuple, because there can be tens of thousands.

    None stands for a value that was not measured.
    """

    started_at: float
    is_complete: bool
    """True if it passed and reused no notebook. Other runs show only a lower bound."""
    duration_s: float | None = None
    peak_bytes: int | None = None
    cpu_s: float | None = None
    gpu_bytes: int | None = None


def estimate(runs: Iterable[PastRun]) -> Estimate:
    """Estimate the next run from the runs of one experiment on one kind of machine, in any order.

    Time and cores are the median of the complete runs. Without a complete run, the time is the
    longest of the others. For memory, see `_peak`.
    """
    complete, partial = _window(runs)
    return Estimate(
        runs=len(complete) + len(partial),
        duration_s=_duration(complete, partial),
        peak_bytes=_peak(
            _known(run.peak_bytes for run in complete), _known(run.peak_bytes for run in partial)
        ),
        cpus=_cpus(complete or partial),
        gpu_bytes=_peak(
            _known(run.gpu_bytes for run in complete), _known(run.gpu_bytes for run in partial)
        ),
    )


def _window(runs: Iterable[PastRun]) -> tuple[list[PastRun], list[PastRun]]:
    """Return the newest complete runs, and the newest others that are not older than those."""
    newest = sorted(runs, reverse=True, key=lambda run: run.started_at)
    complete = [run for run in newest if run.is_complete][:WINDOW]
    since = complete[-1].started_at if len(complete) == WINDOW else float("-inf")
    partial = [run for run in newest if not run.is_complete and run.started_at >= since]
    return complete, partial[:WINDOW]


def _duration(complete: Sequence[PastRun], partial: Sequence[PastRun]) -> float | None:
    if times := _known(run.duration_s for run in complete):
        return statistics.median(times)
    return max(filter(None, (run.duration_s for run in partial)), default=None)


def _cpus(runs: Sequence[PastRun]) -> float | None:
    shares = [
        run.cpu_s / run.duration_s for run in runs if run.cpu_s is not None and run.duration_s
    ]
    return statistics.median(shares) if shares else None


def _peak(complete: list[int], partial: list[int]) -> int | None:
    """Return the second largest of three or more peaks, else the largest.

    Too little is worse than too much, so the median is not enough. But one outlier must not count
    until it has left the window. A run that did not finish counts if it needed more than the
    complete runs suggest: perhaps it was killed for that.
    """
    if not complete:
        return max(partial, default=None)
    expected = _second_largest(complete)
    more = [peak for peak in partial if peak > expected]
    return _second_largest([*complete, *more]) if more else expected


def _second_largest(values: list[int]) -> int:
    return sorted(values)[-2] if len(values) >= _ENOUGH else max(values)


def _known(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]
