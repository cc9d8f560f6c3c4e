"""Estimates for the next run from recorded runs. Pure: values in, values out.

Runs of one kind of machine only. Time does not carry over to another kind, and neither does memory: it
grows with the threads and with what a GPU takes over, and reserving too little can bring a machine
down, whereas a slow start is safe and needs one run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from pytest_nbgroups.core.resources import Estimate

T = TypeVar("T")

WINDOW = 10
"""How many complete runs count, the newest."""
_ENOUGH = 3
"""From so many values on, one alone decides nothing."""


class PastRun(NamedTuple):
    """One recorded run. A plain tuple, because they come by the ten thousands.

    None stands for what was not measured.
    """

    started_at: float
    is_complete: bool
    """It passed and nothing of it was reused. Others show only what it takes at least."""
    duration_s: float | None = None
    peak_bytes: int | None = None
    cpu_s: float | None = None
    gpu_bytes: int | None = None


def estimate(runs: Iterable[PastRun]) -> Estimate:
    """Return the estimate from the runs of one experiment on machines of one kind, in any order.

    Time and cores are the median of the complete runs. If there is none, the time is the longest
    of the others. Of memory, see `_peak`.
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
    """The newest complete runs, and of the others the newest that are not older than those."""
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
    """The second largest of three or more, else the largest.

    Too little is worse than too much, so not the median; but one run that went astray must not
    count until it has left the window. A run that did not get to its end counts if it needed more
    than the complete ones let expect: perhaps it was killed for that.
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
