"""What large outputs cost: ``python benchmarks/large_outputs.py``.

Runs notebooks of one cell that prints 50 MB, in lines and in few huge writes, or shows 500 small figures, by pytest
without workers and by nbclient alone in a Python of its own, in turn. Both write the executed notebook. The plugin's
limit of 50 MB for the outputs of a notebook, which counts whole messages, is raised to 200 MB. Prints the medians of
the seconds from start to end, their ratio, the ratio of what is left of both without the seconds that a cell takes which
shows nothing, the peak memory of both processes without their kernels (Linux only), and whether both have kept the
same outputs. Needs matplotlib for the figures.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat  # noqa: TID253  to read notebooks
import trees
from flood import LOOK_S, peak_rss_bytes

from pytest_nbgroups.core.units import format_size
from pytest_nbgroups.notebooks.outputs import joined_streams

MATPLOTLIB = "import matplotlib.pyplot as plt\n"
NOTHING = "nothing"
CELLS = {
    NOTHING: "pass",
    "50 MB of lines": "for _ in range(50_000): print('x' * 999)",
    "50 MB, 5 writes": "for _ in range(5): print('x' * 9_999_999)",
    "500 figures": MATPLOTLIB
    + "for n in range(500):\n    plt.figure(figsize=(1, 1))\n    plt.plot([0, n])\n    plt.show()",
}
LIMIT = ("-o", "experiment_output_limit=200MB")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run."""

    seconds: float
    peak_bytes: int
    executed: nbformat.NotebookNode


def run(command: Sequence[str], root: Path, executed: Path) -> Measured:
    begun = time.perf_counter()
    env, nowhere = trees.environment(root), subprocess.DEVNULL
    with subprocess.Popen(command, cwd=root, env=env, stdout=nowhere, stderr=nowhere) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_rss_bytes(process.pid))
            time.sleep(LOOK_S)
    seconds = time.perf_counter() - begun
    if process.returncode:
        sys.exit(f"exit code {process.returncode}: {' '.join(command)}")
    return Measured(
        seconds=seconds, peak_bytes=peak, executed=nbformat.read(executed, as_version=4)
    )


def run_both(source: str) -> tuple[Measured, Measured]:
    """By this plugin and by nbclient, in a fresh folder."""
    with tempfile.TemporaryDirectory() as name:
        root = trees.root(Path(name))
        folder = root / "experiments" / "Large"
        trees.write_notebook(folder / "1-run.ipynb", [source])
        ours = root / ".experiments" / "notebooks" / "Large" / "1-run.ipynb"
        here = run(trees.pytest_command("-n0", *LIMIT), root, ours)
        command = trees.nbclient_command(folder, root / "out")
        return here, run(command, root, root / "out" / "1-run.ipynb")


def same_outputs(one: nbformat.NotebookNode, other: nbformat.NotebookNode) -> bool:
    kept = [joined_streams(notebook.cells[0].outputs) for notebook in (one, other)]
    return kept[0] == kept[1]


def table(cells: Mapping[str, str], runs: int) -> Iterator[str]:
    empty_s: list[float] = []
    measured: dict[str, list[tuple[Measured, Measured]]] = {name: [] for name in cells}
    for _ in range(runs):
        for name, source in cells.items():
            measured[name].append(run_both(source))
    for name, pairs in measured.items():
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        medians_s = [statistics.median(each.seconds for each in side) for side in sides]
        empty_s = empty_s or medians_s
        peaks = [format_size(max(each.peak_bytes for each in side)) for side in sides]
        same = all(same_outputs(one.executed, other.executed) for one, other in pairs)
        yield (
            f"{name:<17}{medians_s[0]:>7.2f} s{medians_s[1]:>8.2f} s{medians_s[0] / medians_s[1]:>7.2f}"
            f"{_ratio_of_rest(medians_s, empty_s):>9}{peaks[0]:>12}{peaks[1]:>12}  {'yes' if same else 'no'}"
        )


def _ratio_of_rest(medians_s: Sequence[float], empty_s: Sequence[float]) -> str:
    here_s, there_s = (each - empty for each, empty in zip(medians_s, empty_s, strict=True))
    return f"{here_s / there_s:.2f}" if there_s > 0 else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("names", nargs="*", help="which cells; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(CELLS):
        parser.error(f"no such cell: {', '.join(sorted(unknown))}")
    names = [n for n in CELLS if not arguments.names or n in {NOTHING, *arguments.names}]
    print(
        f"{'cell':<17}{'pytest':>9}{'nbclient':>10}{'ratio':>7}{'outputs':>9}{'peak':>12}{'peak':>12}  same"
    )
    for line in table({name: CELLS[name] for name in names}, arguments.runs):
        print(line)


if __name__ == "__main__":
    main()
