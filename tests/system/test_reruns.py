"""pytest-rerunfailures: an experiment that failed starts afresh, and each attempt is kept."""

from __future__ import annotations

import sqlite3  # noqa: TID253  to read the history
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from workbench import Finished, Tree

pytest.importorskip("pytest_rerunfailures")

pytestmark = pytest.mark.timeout(300)

TALLY = "with open({name!r}, 'a') as file:\n    file.write('x')\n"
"""Leaves a letter for each time that it has run."""
FAILS_ONCE = TALLY.format(name="second") + "assert open('second').read() == 'xx'"
WORKERS = pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.xdist)])


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """An experiment whose second notebook fails the first time, one that always fails, and a good one."""
    tree = Tree(tmp_path)
    tree.notebook("a", "1-first.ipynb", TALLY.format(name="first"))
    tree.notebook("a", "2-second.ipynb", FAILS_ONCE)
    tree.notebook("a", "3-third.ipynb", TALLY.format(name="third"))
    tree.notebook("b", "1-first.ipynb", TALLY.format(name="first") + "1 / 0")
    tree.notebook("c", "1-first.ipynb", TALLY.format(name="first"))
    yield tree
    tree.close()


def ran(tree: Tree, name: str) -> int:
    """How often a notebook has run."""
    path = tree.root / "experiments" / name
    return len(path.read_text()) if path.exists() else 0


def attempts(finished: Finished, name: str) -> list[list[str]]:
    """The outcomes of the notebooks in each attempt, as session.json has them."""
    return [
        [notebook["outcome"] for notebook in attempt["notebooks"]]
        for attempt in finished.experiment(name)["attempts"]
    ]


def history(tree: Tree) -> list[tuple[str, str]]:
    """Name and outcome of each run, as the history has them."""
    with closing(sqlite3.connect(tree.root / ".experiments/history.sqlite")) as database:
        query = "SELECT name, outcome FROM experiments ORDER BY name, started_at"
        return list(database.execute(query))


@WORKERS
def test_each_attempt_starts_with_the_first_notebook(tree: Tree, workers: str) -> None:
    """It is in session.json, in the table and in the history."""
    finished = tree.pytest(workers, "--reruns=1")
    assert "1 failed, 2 passed, 2 rerun" in finished.text
    assert [ran(tree, f"a/{name}") for name in ("first", "second", "third")] == [2, 2, 1]
    assert [ran(tree, "b/first"), ran(tree, "c/first")] == [2, 1]
    assert attempts(finished, "a") == [["passed", "failed", "not_run"], ["passed"] * 3]
    assert attempts(finished, "b") == [["failed"], ["failed"]]
    assert attempts(finished, "c") == [["passed"]]
    assert history(tree) == [
        ("a", "failed"),
        ("a", "passed"),
        ("b", "failed"),
        ("b", "failed"),
        ("c", "passed"),
    ]
    table = finished.section("experiments")
    assert table.count("attempt 2") == 2


@WORKERS
def test_the_marker_of_one_experiment(tree: Tree, workers: str) -> None:
    """``flaky`` in ``marks`` reruns that experiment once, and no other."""
    tree.toml("a", '[run]\nmarks = ["flaky"]\n')
    finished = tree.pytest(workers)
    assert attempts(finished, "a") == [["passed", "failed", "not_run"], ["passed"] * 3]
    assert attempts(finished, "b") == [["failed"]]
