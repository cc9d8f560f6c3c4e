"""What a tool costs for each notebook: ``python benchmarks/notebook_cost.py``.

Runs the same notebooks of four trivial cells by this plugin and by each of its rivals, in turn, so that a machine that
slows down slows all of them, and prints the wall time of the whole command for each notebook, the median of the rounds,
and which part of it this plugin takes. Every tool executes with one process for each notebook and writes what it has
executed where it can. papermill and nbclient, which have no command for many notebooks, are looped over in one Python
process: their command for each would cost that much more.

With two workers, nbmake and nbval run under pytest-xdist, and the others as two processes with half of the notebooks
each. ``--profile`` tells instead what this plugin does in that time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trees

PYTHON = sys.executable
CELLS = ("x = 1", "y = x + 1", "print(y)", "y")
PAPERMILL = """
import sys, papermill
for path in sys.argv[1:]:
    papermill.execute_notebook(path, path + ".executed", progress_bar=False, log_output=False)
"""
PYTEST = (PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider")
PLUGINS = ("nbgroups", "nbmake", "nbval")
"""Each runs without the two others, which take time to import."""

Commands = Callable[[Sequence[Sequence[str]]], list[Sequence[str]]]
"""Lots of notebooks, one for each worker -> the commands that run them, at the same time."""


def ours(lots: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [[*PYTEST, *_alone("nbgroups"), "--run-experiments", *_workers(lots)]]


def plugin(name: str, *options: str) -> Commands:
    def commands(lots: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        paths = [path for lot in lots for path in lot]
        return [[*PYTEST, *_alone(name), *options, *_workers(lots), *paths]]

    return commands


def each(*command: str) -> Commands:
    """One process for each lot."""
    return lambda lots: [[*command, *lot] for lot in lots]


def nbclient(lots: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    folders = [Path(lot[0]).parent for lot in lots]
    return [trees.nbclient_command(folder, folder / "executed") for folder in folders]


def _alone(name: str) -> list[str]:
    return [f"-pno:{other}" for other in PLUGINS if other != name]


def _workers(lots: Sequence[Sequence[str]]) -> list[str]:
    return ["-n0"] if len(lots) == 1 else ["-n", str(len(lots))]


ATTEMPTS = 3
OURS = "pytest-nbgroups"
WHOLE = "a notebook in all"
TOOLS: dict[str, Commands] = {
    OURS: ours,
    "nbmake": plugin("nbmake", "--nbmake"),
    "nbclient": nbclient,
    "nbconvert --execute": each(
        PYTHON,
        "-m",
        "jupyter",
        "nbconvert",
        "--log-level=ERROR",
        "--to=notebook",
        "--execute",
        "--inplace",
    ),
    "papermill": each(PYTHON, "-W", "ignore", "-c", PAPERMILL),
    "nbval": plugin(
        "nbval", "--nbval-lax", "--dist=loadscope"
    ),  # all cells of a file on one worker
}


@contextmanager
def notebooks(count: int, workers: int) -> Iterator[tuple[Path, list[list[str]]]]:
    """A fresh project with so many notebooks, in one directory for each worker."""
    with tempfile.TemporaryDirectory(prefix="nb-") as scratch:
        root = trees.root(Path(scratch))
        lots = [
            [f"experiments/{lot}/{n}-a.ipynb" for n in range(lot, count, workers)]
            for lot in range(workers)
        ]
        for name in (name for lot in lots for name in lot):
            trees.write_notebook(root / name, CELLS)
        yield root, lots


def seconds(name: str, count: int, workers: int, failures: Counter[str]) -> float:
    """Wall time of a tool's commands for so many notebooks; a run that fails is counted and repeated."""
    for _ in range(ATTEMPTS):
        took_s, said = attempt(TOOLS[name], count, workers)
        if took_s is not None:
            return took_s
        failures[name] += 1
    sys.exit(f"{name} failed {ATTEMPTS} times:\n{said}")


def attempt(tool: Commands, count: int, workers: int) -> tuple[float | None, str]:
    """Wall time, None where a command failed, and what they said."""
    with notebooks(count, workers) as (root, lots):
        commands = tool(lots)
        begun = time.perf_counter()
        running = [
            subprocess.Popen(
                command,
                cwd=root,
                env=trees.environment(root),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in commands
        ]
        said = [process.communicate()[0] for process in running]
        took_s = time.perf_counter() - begun
        failed = any(process.returncode for process in running)
    return None if failed else took_s, "".join(said)


def phases(count: int) -> None:
    """Print where the time of a notebook goes, by timing the functions that it passes through."""
    from pytest_nbgroups import run_experiment
    from pytest_nbgroups.execution import experiment, notebook
    from pytest_nbgroups.kernels import ending, running

    spent: dict[str, list[float]] = {}

    def timed(place: Any, name: str, label: str) -> None:  # noqa: ANN401  a module or a class
        function = getattr(place, name)

        async def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  any function
            begun = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                spent.setdefault(label, []).append(1000 * (time.perf_counter() - begun))

        setattr(place, name, wrapper)

    timed(experiment, "run_notebook", WHOLE)
    timed(running, "_launch", "fork the kernel, write its connection file")
    timed(running, "await_ready", "the kernel sets itself up and answers")
    timed(notebook, "_execute", f"its {len(CELLS)} cells, through nbclient")
    timed(ending, "_cut_off", "exit handlers, and the end of the interpreter")
    timed(running, "kill", "make sure that nothing is left")
    with notebooks(count, 1) as (root, _):
        result = run_experiment("experiments/0", rootdir=root)
    if result.outcome.value != "passed":
        sys.exit(str(result))
    medians = {label: statistics.median(times[1:]) for label, times in spent.items()}
    rest = 2 * medians[WHOLE] - sum(medians.values())
    print(
        f"Where the time of a notebook goes, ms, median of {count - 1} (the first one starts the fork server):"
    )
    for label, took in [*medians.items(), ("the rest", rest)]:
        print(f"{took:>9.1f}  {took / medians[WHOLE]:>4.0%}  {label}")
    print(f"{spent[WHOLE][0]:>9.1f}        {WHOLE}, the first one")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notebooks", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL")
    parser.add_argument(
        "--profile", action="store_true", help="only tell what this plugin does in that time"
    )
    args = parser.parse_args()
    if args.profile:
        phases(args.notebooks)
        return
    columns = [(tool, workers) for workers in args.workers for tool in args.tools]
    times: dict[tuple[str, int], list[float]] = {column: [] for column in columns}
    failures: Counter[str] = Counter()
    for _ in range(args.rounds):
        for tool, workers in columns:
            took_s = seconds(tool, args.notebooks, workers, failures)
            times[tool, workers].append(took_s)
    show(times, args.tools, args.workers, args.notebooks)
    for tool, count in failures.items():
        print(f"{tool} failed in {count} more runs, which were repeated")


def show(
    times: Mapping[tuple[str, int], Sequence[float]],
    tools: Sequence[str],
    workers: Sequence[int],
    count: int,
) -> None:
    """Print milliseconds for a notebook, and what part of them this plugin takes."""
    rounds = len(next(iter(times.values())))
    print(f"ms per notebook, {count} notebooks of {len(CELLS)} cells, median of {rounds} rounds")
    heads = (f"{f'{w} worker' + 's' * (w > 1):>12}{'ours is':>9}" for w in workers)
    print(f"{'':<22}" + "".join(heads))
    for tool in tools:
        print(f"{tool:<22}" + "".join(cell(times, tool, w, count) for w in workers))


def cell(
    times: Mapping[tuple[str, int], Sequence[float]], tool: str, workers: int, count: int
) -> str:
    median_s = statistics.median(times[tool, workers])
    ours_s = statistics.median(times.get((OURS, workers), [median_s]))
    return f"{1000 * median_s / count:>9.0f} ms{ours_s / median_s:>8.2f}x"


if __name__ == "__main__":
    main()
