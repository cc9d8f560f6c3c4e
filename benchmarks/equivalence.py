"""Whether warm kernels show what plainly started ones show: ``python benchmarks/equivalence.py``.

Runs notebooks with plain starts, with plain starts again, and warm, each time in a fresh copy at the same path, and
compares the outputs of every code cell: those of the examples, and of the notebooks in the source distributions of
five projects, which pip fetches. ``--libraries`` compares cells that use numpy, pandas, matplotlib, scikit-learn and
joblib instead, and what else is named, and runs all of it once more with these preloaded. Left out of the comparison
is what differs from run to run by its nature: times, addresses, ids, pids, the names of temporary files, and which of
stdout and stderr comes first, as ipykernel sends each by a timer of its own. Prints how many kernels were forked, for
each source how many cells are unsteady, which is that two plain runs differ in them, how many of the others are
identical and different, and each difference. Ends with 1 where any of these is different. Needs the dependency group
``examples``, pandas and ipywidgets.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import library_cells
import nbformat  # noqa: TID253  to read notebooks
import trees
from upstream_notebooks import CELL_TIMEOUT_S, download, lay_out

EXAMPLES = Path(__file__).parents[1] / "examples"
PROJECTS = ("ipykernel", "nbclient", "nbconvert", "nbval", "papermill")
LIBRARIES = "libraries"
PLAIN_START = ("-o", "experiment_kernel_start=plain")
KINDS = {"plain": PLAIN_START, "plain again": PLAIN_START, "warm": ()}
PRELOADED = {"preloaded": ("-o", f"experiment_preload={library_cells.PRELOAD}")}
BY_NATURE = {
    r"0x[0-9a-f]+": "ADDRESS",
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}": "ID",
    r"\b[mp][0-9a-f]{10}\b": "ID",  # in an SVG of matplotlib
    r"\bT_[0-9a-f]{5}": "ID",  # of a table that pandas has styled
    r"\d{4}-\d\d-\d\d(T|,? )\d\d:\d\d:\d\d([.,]\d+)?": "MOMENT",
    r"datetime\.datetime\([\d, ]+\)": "MOMENT",
    r"\b\d+(\.\d+)? ?(ns|µs|us|ms|s|seconds)\b": "DURATION",
    r"ipykernel_\d+": "ipykernel_PID",
    r"\bpid[ =:]+\d+": "PID",
    r"\btmp[a-z0-9_]{8}\b": "TEMPORARY",
}
_SHOWN = 300

Cells: TypeAlias = Mapping[tuple[str, str, int], str]
"""Source, notebook and number of a code cell -> its outputs."""


def run(template: Path, root: Path, kind: str, options: tuple[str, ...]) -> Cells:
    """Run the experiments of all sources, each in a repository of its own; give all outputs."""
    found: dict[tuple[str, str, int], str] = {}
    starts: Counter[bool] = Counter()
    for source in sorted(template.iterdir()):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(source, root)
        env = trees.environment(root.parent)
        command = trees.pytest_command("-n2", "--tb=no", *options)
        done = subprocess.run(command, cwd=root, env=env, stdout=subprocess.DEVNULL, check=False)
        if done.returncode and source.name == LIBRARIES:
            sys.exit(f"a library does not work: {' '.join(command)}")
        starts.update(_starts(root / ".experiments" / "session.json"))
        executed = root / ".experiments" / "notebooks"
        for path in sorted(executed.rglob("*.ipynb")):
            name = path.relative_to(executed).as_posix()
            for number, text in _outputs(path):
                found[source.name, name, number] = text
    print(f"{kind}: {starts[True]} kernels forked, {starts[False]} started plainly", flush=True)
    return found


def _starts(session: Path) -> Iterator[bool]:
    """Of each notebook that had a kernel, whether that was forked."""
    for experiment in json.loads(session.read_text("utf-8"))["experiments"]:
        for attempt in experiment["attempts"]:
            notebooks = (n for n in attempt["notebooks"] if n["usage"] is not None)
            yield from (notebook["plain_start"] is None for notebook in notebooks)


def _outputs(path: Path) -> Iterator[tuple[int, str]]:
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            outputs = list(_streams_in_order(cell.outputs))
            text = json.dumps(outputs, sort_keys=True, indent=1, ensure_ascii=False)
            yield number, _lasting(text)


def _streams_in_order(outputs: Iterable[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    for _, group in itertools.groupby(outputs, lambda output: output.output_type):
        yield from sorted(group, key=lambda output: output.get("name", ""))  # only streams have one


def _lasting(text: str) -> str:
    for pattern, name in BY_NATURE.items():
        text = re.sub(pattern, name, text)
    return text


def lay_out_all(folder: Path, template: Path, sources: Sequence[str]) -> None:
    """A repository for each source, as far as it has notebooks."""
    template.mkdir()
    if "examples" in sources:
        ignored = shutil.ignore_patterns("output", ".experiments", "__pycache__")
        shutil.copytree(EXAMPLES, template / "examples", ignore=ignored)
    if LIBRARIES in sources:
        library_cells.lay_out(trees.root(template / LIBRARIES) / "experiments")
    if projects := [name for name in PROJECTS if name in sources]:
        _lay_out_projects(folder / "sources", template, projects)


def _lay_out_projects(folder: Path, template: Path, projects: Sequence[str]) -> None:
    folder.mkdir()
    for source in download(folder, {}, projects):
        if not any(source.rglob("tests/**/*.ipynb")):
            print(f"{source.name} has no notebooks")
            continue
        root = trees.root(template / source.name)
        lay_out([source], root / "experiments")
        limit = f"[pytest]\nexperiment_cell_timeout = {CELL_TIMEOUT_S}s\n"
        (root / "pytest.ini").write_text(limit, "utf-8")


def differences(plain: Cells, other: Cells) -> list[tuple[str, str, int]]:
    return sorted(k for k in plain.keys() | other.keys() if plain.get(k) != other.get(k))


def show(key: tuple[str, str, int], plain: Cells, other: Cells) -> None:
    lines = [cells.get(key, "not run").splitlines() for cells in (plain, other)]
    pairs = zip(*lines, strict=False)
    one, two = next((p for p in pairs if p[0] != p[1]), (f"{len(lines[0])} lines", "others"))
    print(f"  {'/'.join(key[:2])}, cell {key[2]}\n    {one[:_SHOWN]}\n    {two[:_SHOWN]}")


def report(outputs: Mapping[str, Cells]) -> int:
    """Print the table and each difference; give how many warm cells differ without need."""
    plain, again = outputs["plain"], outputs["plain again"]
    unsteady = differences(plain, again)
    others = {
        kind: [key for key in differences(plain, cells) if key not in unsteady]
        for kind, cells in outputs.items()
        if cells is not plain and cells is not again
    }
    columns = ("notebooks", "cells", "unsteady", *others)
    print(f"{'identical / different':<22}{_row(columns)}")
    for source in sorted({key[0] for key in plain}):
        cells = [key for key in plain if key[0] == source]
        varied = sum(key[0] == source for key in unsteady)
        counts = [sum(key[0] == source for key in found) for found in others.values()]
        shown = (f"{len(cells) - varied - count} / {count}" for count in counts)
        print(f"{source:<22}{_row((len({key[1] for key in cells}), len(cells), varied, *shown))}")
    for kind, found in {**others, "two plain runs (unsteady)": unsteady}.items():
        for key in found:
            print(f"{kind}:")
            show(key, plain, outputs.get(kind, again))
    return sum(map(len, others.values()))


def _row(values: Sequence[object]) -> str:
    return "".join(f"{value!s:>14}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libraries", action="store_true")
    known = ("examples", *PROJECTS)
    parser.add_argument("sources", nargs="*", help=f"which of {', '.join(known)}; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.sources) - set(known):
        parser.error(f"no such source: {', '.join(sorted(unknown))}")
    sources, kinds = arguments.sources or known, KINDS
    if arguments.libraries:
        sources, kinds = (*arguments.sources, LIBRARIES), {**KINDS, **PRELOADED}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out_all(folder, folder / "template", sources)
        outputs = {
            kind: run(folder / "template", folder / "root", kind, options)
            for kind, options in kinds.items()
        }
    sys.exit(report(outputs) > 0)


if __name__ == "__main__":
    main()
