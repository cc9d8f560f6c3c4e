"""Thirty experiments of up to twelve notebooks: in order under every way of distribution.

It takes too long for every run, so its name keeps it from being collected unless it is given:
``pytest tests/system/large_tree.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import Tree, read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist]

NAMES = ["plain", "with space", "Größe", "心臓", "nested/inner", "e'quote", "comma, dot."]
FIRST, LAST = 30, 12
STEP = """
from pathlib import Path
steps = Path("steps.txt")
assert not steps.exists() if {number} == 1 else steps.read_text().split() == {before!r}
"""
NOTE = """
with steps.open("a") as file:
    file.write("{number}\\n")
"""


def _experiments() -> dict[str, list[str]]:
    """Names of the experiments and of their notebooks in order: 10- after 9-."""
    return {
        f"{number}-{NAMES[number % len(NAMES)]}": [
            f"{step}-{NAMES[step % len(NAMES)].replace('/', '-')}.ipynb"
            for step in range(1, number % LAST + 2)
        ]
        for number in range(FIRST)
    }


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    for name, notebooks in _experiments().items():
        for number, notebook in enumerate(notebooks, start=1):
            before = [str(step) for step in range(1, number)]
            source = STEP.format(number=number, before=before)
            tree.notebook(name, notebook, source, NOTE.format(number=number))
    yield tree
    tree.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n0",),
        ("-n", "2"),
        ("-n", "4"),
        ("-n", "2", "--dist", "loadgroup"),
        ("-n", "2", "--dist", "worksteal"),
        ("-p", "no:xdist"),
    ],
    ids=" ".join,
)
def test_every_experiment_runs_in_order(tree: Tree, arguments: tuple[str, ...]) -> None:
    """By the timestamps in the executed notebooks, and by what the notebooks found."""
    experiments = _experiments()
    assert max(map(len, experiments.values())) == LAST
    run = tree.pytest(*arguments)
    assert run.returncode == 0, run.text
    assert sorted(e["name"] for e in run.session["experiments"]) == sorted(experiments)
    assert len(list(run.junit.iter("testcase"))) == FIRST
    for name, notebooks in experiments.items():
        assert [n["name"] for n in run.notebooks(name)] == notebooks
        assert len(run.experiment(name)["attempts"]) == 1
        folder = run.root / ".experiments/notebooks" / name
        spans = []
        for notebook in notebooks:
            for cell in read(folder / notebook).cells:
                times = cell.metadata.execution
                spans += [times["iopub.execute_input"], times["shell.execute_reply"]]
        assert len(spans) == 4 * len(notebooks)
        assert spans == sorted(spans), name
