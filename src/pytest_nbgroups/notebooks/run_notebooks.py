"""Notebooks that the cells of another one run: ``%run ./setup.ipynb``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_nbgroups.core.errors import NotebookError
from pytest_nbgroups.notebooks.reading import read_notebook

_MOST = 50
_RUN = re.compile(r"%run[ \t]+(?:-\w+[ \t]+)*(?:\"(?P<double>[^\"\n]+)\"|(?P<bare>[^\s\"]+))")


def sources_of_run_notebooks(sources: Sequence[str], folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Return the cells, by notebook name, of all notebooks that cells in ``folder`` run, recursively.

    A notebook that cannot be read, or is named by a variable, is left out.
    """
    found: dict[Path, tuple[str, ...]] = {}
    waiting = _named(sources, folder)
    while waiting and len(found) < _MOST:
        path = waiting.pop()
        if path not in found:
            found[path] = _sources(path)
            waiting += _named(found[path], folder)  # the kernel stays in its working directory
    return {path.name: cells for path, cells in found.items() if any(cells)}


def _named(sources: Sequence[str], folder: Path) -> list[Path]:
    names = (run["double"] or run["bare"] for source in sources for run in _RUN.finditer(source))
    return [folder / name for name in names if name.endswith(".ipynb")]


def _sources(path: Path) -> tuple[str, ...]:
    """Return the source of each cell; empty if it is not a code cell."""
    try:
        cells = read_notebook(path).cells
    except (NotebookError, OSError, ValueError):
        return ()
    return tuple(cell.source if cell.cell_type == "code" else "" for cell in cells)
