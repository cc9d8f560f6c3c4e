"""The integral that this study is about, and the table of results that its steps share."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

DIMENSION = 8
SIZES = tuple(2**m for m in range(6, 14))
REPLICATES = 16
OUTPUT = Path("output")
RESULTS = OUTPUT / "results.csv"

WEIGHTS = 1 / np.arange(1, DIMENSION + 1) ** 2
EXACT = float(np.prod(np.expm1(WEIGHTS) / WEIGHTS))


class Row(NamedTuple):
    """The error of one method with ``n`` points, found by step number ``step``."""

    step: int
    method: str
    n: int
    rmse: float


def integrand(points: np.ndarray) -> np.ndarray:
    """Evaluate exp(sum of w_i x_i) at each of the points, an array of shape (n, DIMENSION)."""
    return np.exp((points * WEIGHTS).sum(axis=1))


def estimate(points: np.ndarray) -> float:
    """Estimate the integral over the unit cube by the mean over the points."""
    return float(integrand(points).mean())


def measure(
    sample: Callable[[int, np.random.Generator], np.ndarray], *, seed: int, replicates: int
) -> dict[int, float]:
    """Root mean square error of ``sample(n, generator)`` for each of SIZES.

    Every replicate has a generator of its own, made of the seed, its number and n alone.
    """
    errors = {}
    for n in SIZES:
        generators = [np.random.default_rng([seed, k, n]) for k in range(replicates)]
        deviations = np.array([estimate(sample(n, g)) - EXACT for g in generators])
        errors[n] = float(np.sqrt((deviations**2).mean()))
    return errors


def start() -> None:
    """Begin the study anew: an empty output folder with an empty table."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    _write([])


def results(*, before: int) -> list[Row]:
    """Read the rows of the steps before this one; FileNotFoundError where there is no table."""
    if not RESULTS.is_file():
        raise FileNotFoundError(f"{RESULTS} is missing: run 1-problem.ipynb first")
    with RESULTS.open(newline="") as file:
        rows = [
            Row(int(r["step"]), r["method"], int(r["n"]), float(r["rmse"]))
            for r in csv.DictReader(file)
        ]
    return [row for row in rows if row.step < before]


def record(step: int, method: str, errors: dict[int, float]) -> None:
    """Append the rows of a step.

    Rows of this step and of later ones, from an earlier run, are dropped: they are out of date.
    """
    _write([*results(before=step), *(Row(step, method, n, e) for n, e in errors.items())])


def _write(rows: Iterable[Row]) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        # Four digits: what is lost in the mean of 2^13 numbers depends on the processor.
        writer.writerows((*row[:3], f"{row.rmse:.3e}") for row in rows)
