from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.resources import Estimate
from pytest_nbgroups.scheduling.estimates import WINDOW, PastRun, estimate


def run(at: float, *, complete: bool = True, **measured: Any) -> PastRun:
    return PastRun(started_at=at, is_complete=complete, **measured)


def complete(*peaks: int) -> list[PastRun]:
    """Runs one after the other, from these peaks."""
    return [run(at, peak_bytes=peak) for at, peak in enumerate(peaks)]


def partial(*peaks: int, since: float = 1000) -> list[PastRun]:
    return [run(since + at, complete=False, peak_bytes=peak) for at, peak in enumerate(peaks)]


sizes = st.integers(0, 2**50)
seconds = st.floats(0.001, 1e6)


@st.composite
def measured_runs(draw: st.DrawFn, *, least: int) -> list[PastRun]:
    """Complete runs of which everything is known."""
    values = st.tuples(seconds, sizes, seconds, sizes)
    return [
        run(at, duration_s=a, peak_bytes=b, cpu_s=c, gpu_bytes=d)
        for at, (a, b, c, d) in enumerate(draw(st.lists(values, min_size=least, max_size=8)))
    ]


@given(measured_runs(least=2), measured_runs(least=1), st.booleans())
def test_one_outlier_changes_little(
    rest: list[PastRun],
    outliers: list[PastRun],
    whole: bool,  # noqa: FBT001  drawn
) -> None:
    """Among three or more, one run moves an estimate by no more than the others differ."""
    outlier = outliers[0]._replace(started_at=100.0, is_complete=whole)
    before, after = estimate(rest), estimate([*rest, outlier])
    cores = [r.cpu_s / r.duration_s for r in rest if r.cpu_s is not None and r.duration_s]
    measured: dict[str, list[Any]] = {
        "duration_s": [r.duration_s for r in rest],
        "peak_bytes": [r.peak_bytes for r in rest],
        "gpu_bytes": [r.gpu_bytes for r in rest],
        "cpus": cores,
    }
    for name, known in measured.items():
        assert min(known) <= getattr(after, name) <= max(known)
        assert abs(getattr(after, name) - getattr(before, name)) <= max(known) - min(known)


@given(measured_runs(least=1))
def test_an_estimate_lies_among_what_was_measured(runs: list[PastRun]) -> None:
    """Whatever the number of runs; at most one run needed more memory than is expected."""
    found = estimate(runs)
    peaks = [r.peak_bytes for r in runs if r.peak_bytes is not None]
    assert found.peak_bytes in peaks
    assert sum(peak > (found.peak_bytes or 0) for peak in peaks) <= 1
    durations = [r.duration_s for r in runs if r.duration_s is not None]
    assert found.duration_s is not None
    assert min(durations) <= found.duration_s <= max(durations)


@given(measured_runs(least=2), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(runs: list[PastRun], random: Any) -> None:
    """A database gives them in any order."""
    shuffled = list(runs)
    random.shuffle(shuffled)
    assert estimate(shuffled) == estimate(runs)


def test_nothing_is_known_of_nothing() -> None:
    """Every question is left open."""
    assert estimate([]) == Estimate(runs=0)
    assert estimate([run(1.0)]) == Estimate(runs=1)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (complete(8), 8),
        (complete(1, 8), 8),
        (complete(1, 8, 2), 2),
        (complete(1, 8, 8, 1), 8),
        # Killed half way, it may have needed little or what killed it.
        (complete(8) + partial(1, 1, 1), 8),
        (complete(8, 7, 7) + partial(1, 1, 1), 7),
        (complete(1) + partial(8), 8),
        (complete(1, 1) + partial(8), 1),
        (complete(1, 1) + partial(8, 9), 8),
        (complete(1, 1, 1, 1) + partial(8, 9, 7), 8),
        (partial(1, 8, 1, 1), 8),
        # What is older than the window is forgotten, of either sort.
        (complete(9, 9, *[1] * WINDOW), 1),
        (partial(9, 9, since=-2) + complete(*[1] * WINDOW), 1),
        (partial(9, 9, since=-2) + complete(*[1] * (WINDOW - 1)), 9),
        (partial(9, *[1] * WINDOW), 1),
    ],
)
def test_memory(runs: list[PastRun], expected: int) -> None:
    """Rather too much than too little, but one run that went astray decides nothing."""
    assert estimate(runs).peak_bytes == expected
    of_gpu = [r._replace(gpu_bytes=r.peak_bytes, peak_bytes=None) for r in runs]
    assert estimate(of_gpu).gpu_bytes == expected


def test_no_gpu_is_not_an_unknown_gpu() -> None:
    """Where something could tell, zero says that none was used."""
    assert estimate([run(1.0, gpu_bytes=0), run(2.0)]).gpu_bytes == 0
    assert estimate([run(1.0), run(2.0)]).gpu_bytes is None


def test_time_is_that_of_complete_runs() -> None:
    """Their median; one that failed early or was reused in part says nothing beside them."""
    runs = [run(at, duration_s=s) for at, s in enumerate([10.0, 30.0, 20.0])]
    runs += [run(9.0, complete=False, duration_s=s) for s in (1.0, 500.0)]
    assert estimate(runs).duration_s == 20.0
    assert estimate(runs).runs == 5


def test_time_without_a_complete_run_is_a_lower_bound() -> None:
    """The longest of the others; a run that took no time is none."""
    runs = [run(at, complete=False, duration_s=s) for at, s in enumerate([3.0, 7.0, None, 0.0])]
    assert estimate(runs).duration_s == 7.0
    assert estimate(runs[2:]).duration_s is None


def test_only_new_runs_count() -> None:
    """An experiment that has become faster is expected to be fast, once more runs are than were slow."""
    slow = [run(at, duration_s=100.0) for at in range(50)]
    fast = [run(100.0 + at, duration_s=1.0) for at in range(WINDOW // 2 + 1)]
    assert estimate([*slow, *fast]).duration_s == 1.0
    assert estimate([*slow, *fast]).runs == WINDOW


def test_cores_are_cpu_time_over_time() -> None:
    """Runs without either say nothing; incomplete ones do only where there is no other."""
    runs = [
        run(1.0, duration_s=10.0, cpu_s=20.0),
        run(2.0, duration_s=10.0, cpu_s=30.0),
        run(3.0, duration_s=10.0, cpu_s=90.0),
        run(4.0, duration_s=10.0),
        run(5.0, duration_s=0.0, cpu_s=1.0),
    ]
    failed = run(6.0, complete=False, duration_s=1.0, cpu_s=8.0)
    assert estimate([*runs, failed]).cpus == 3.0
    assert estimate([failed]).cpus == 8.0
    assert estimate(runs[3:]).cpus is None


def test_every_field_is_filled() -> None:
    """An estimate of a run that measured all leaves nothing open."""
    found = estimate([run(1.0, duration_s=2.0, peak_bytes=3, cpu_s=4.0, gpu_bytes=5)])
    assert found == Estimate(runs=1, duration_s=2.0, peak_bytes=3, cpus=2.0, gpu_bytes=5)
    assert all(getattr(found, field.name) is not None for field in fields(found))
