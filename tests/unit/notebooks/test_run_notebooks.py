"""Notebooks that the cells of another one run."""

from __future__ import annotations

from pathlib import Path

import nbformat  # noqa: TID253
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook  # noqa: TID253

from pytest_nbgroups.notebooks.run_notebooks import sources_of_run_notebooks


def write(path: Path, *sources: str) -> None:
    cells = [new_markdown_cell("text"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)


@pytest.mark.parametrize(
    "source",
    [
        "%run ./set.ipynb",
        "x = 1\n%time %run -i -n set.ipynb",
        '%run "set.ipynb"',
        "  %run set.ipynb",
    ],
)
def test_how_it_is_named(tmp_path: Path, source: str) -> None:
    """With options, in quotes, below other lines."""
    write(tmp_path / "set.ipynb", "a", "b")
    assert sources_of_run_notebooks([source], tmp_path) == {"set.ipynb": ("", "a", "b")}


def test_a_notebook_that_runs_others(tmp_path: Path) -> None:
    """Also those are found, and a circle comes to an end."""
    write(tmp_path / "one.ipynb", "%run two.ipynb")
    write(tmp_path / "two.ipynb", "%run one.ipynb")
    assert set(sources_of_run_notebooks(["%run one.ipynb"], tmp_path)) == {
        "one.ipynb",
        "two.ipynb",
    }


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """It is left out: scripts, variables, missing and broken files."""
    (tmp_path / "bad.ipynb").write_text("{")
    sources = ["%run fit.py", "%run {name}.ipynb", "%run none.ipynb\n%run bad.ipynb", "%run"]
    assert sources_of_run_notebooks(sources, tmp_path) == {}
