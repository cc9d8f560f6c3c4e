"""What it takes to collect experiments: ``python benchmarks/collection.py``.

A thousand directories of ten notebooks, by ``pytest --run-experiments --collect-only -q``, next to what
pytest takes for as many directories of one test file and nine other files without the plugin. Start-up
is subtracted on both sides: the collection of an empty folder by the same command. They take turns, so
that a machine that slows down slows all of them. Prints medians of CPU time and wall time, and ratios.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'
PLUGIN = ("-p", "pytest_nbgroups.register", "--run-experiments")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of those compared: a tree, an empty one, and how pytest is called in both."""

    name: str
    tree: Path
    empty: Path
    arguments: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Spent:
    cpu_s: float
    wall_s: float


def write_experiments(folder: Path, directories: int, notebooks: int) -> None:
    for number in range(directories):
        directory = folder / "experiments" / f"E{number:05}"
        directory.mkdir(parents=True)
        for step in range(1, notebooks + 1):
            (directory / f"{step}-step.ipynb").write_text(NOTEBOOK, encoding="utf-8")


def write_tests(folder: Path, directories: int, files: int) -> None:
    for number in range(directories):
        directory = folder / "tests" / f"T{number:05}"
        directory.mkdir(parents=True)
        test = directory / f"test_{number:05}.py"
        test.write_text("def test_it(): pass\n", encoding="utf-8")
        for other in range(1, files):
            (directory / f"{other}-step.txt").write_text(NOTEBOOK, encoding="utf-8")


def collect(folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Spent:
    """One collection. That of an empty folder ends with pytest's status for no tests."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
    )
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 5}:
        sys.exit((done.stdout + done.stderr).decode())
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(cpu_s=used, wall_s=wall_s)


def sides(scratch: Path, directories: int, files: int) -> list[Side]:
    for name in ("experiments", "tests", "no experiments", "no tests"):
        (scratch / name).mkdir()
        (scratch / name / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    write_experiments(scratch / "experiments", directories, files)
    write_tests(scratch / "tests", directories, files)
    return [
        Side(name="plain pytest", tree=scratch / "tests", empty=scratch / "no tests"),
        Side(
            name="experiments",
            tree=scratch / "experiments",
            empty=scratch / "no experiments",
            arguments=PLUGIN,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directories", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10, help="in each directory")
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        environment = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "NBGROUPS_POOL": str(scratch / "pool"),
        }
        compared = sides(scratch, given.directories, given.files)
        spent: dict[tuple[str, bool], list[Spent]] = {}
        for number in range(-1, given.runs):  # the first compiles what is not yet compiled
            for side in compared:
                for is_empty in (True, False):
                    folder = side.empty if is_empty else side.tree
                    took = collect(folder, side.arguments, environment)
                    if number >= 0:
                        spent.setdefault((side.name, is_empty), []).append(took)
    show(compared, spent, given.directories)


def show(
    compared: Sequence[Side],
    spent: Mapping[tuple[str, bool], Sequence[Spent]],
    directories: int,
) -> None:
    print(f"{directories} directories, CPU time / wall time:")
    print(f"{'':<14}{'start-up':>18}{'all':>18}{'collection':>18}{'a directory':>14}{'ratio':>14}")
    plain: tuple[float, float] | None = None
    for side in compared:
        empty, full = (_medians(spent[side.name, is_empty]) for is_empty in (True, False))
        net = full[0] - empty[0], full[1] - empty[1]
        plain = plain or net
        print(
            f"{side.name:<14}{_pair(empty):>18}{_pair(full):>18}{_pair(net):>18}"
            f"{net[0] / directories * 1000:>11.2f} ms"
            f"{f'{net[0] / plain[0]:.2f} / {net[1] / plain[1]:.2f}':>14}"
        )


def _medians(spent: Sequence[Spent]) -> tuple[float, float]:
    cpu_s = statistics.median(each.cpu_s for each in spent)
    return cpu_s, statistics.median(each.wall_s for each in spent)


def _pair(seconds: tuple[float, float]) -> str:
    return f"{seconds[0]:.2f} / {seconds[1]:.2f} s"


if __name__ == "__main__":
    main()
