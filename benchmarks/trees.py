"""Folders of notebooks, and the commands that run them, for the programs beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat  # noqa: TID253  to write notebooks
from nbformat.v4 import new_code_cell, new_notebook  # noqa: TID253

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
PLAIN = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import nbformat
from nbclient import NotebookClient
folder, out = map(Path, sys.argv[1:])
out.mkdir()
for path in sorted(folder.glob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600).execute(cwd=str(folder))
    nbformat.write(notebook, out / path.name)
"""
"""What one writes who has nbclient alone; it keeps the executed notebooks, as the plugin does."""


def write_notebook(path: Path, sources: Iterable[str]) -> None:
    """Write a notebook of code cells, the same bytes each time."""
    cells = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook), "utf-8")


def root(folder: Path) -> Path:
    """Make a folder in which pytest takes nothing from above."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    return folder


def pytest_command(*options: str) -> list[str]:
    """Run the experiments of the working directory, with this Python and no other notebook plugin."""
    without = [f"-pno:{name}" for name in ("cacheprovider", "nbmake", "nbval")]
    return [sys.executable, "-m", "pytest", "-q", *without, "--run-experiments", *options]


def nbclient_command(folder: Path, out: Path) -> list[str]:
    """Run the notebooks of a folder one after the other with nbclient alone."""
    return [sys.executable, "-c", PLAIN, str(folder), str(out)]


def environment(folder: Path) -> dict[str, str]:
    """The variables of this process, with leases that are of no other session's concern.

    Pytest compiles its plugins once, as is usual, and not at each start.
    """
    return {**compiling(), "NBGROUPS_POOL": str(folder / "pool")}


def compiling() -> dict[str, str]:
    """The variables of this process; where Python wrote no bytecode, whoever has the most modules would lose."""
    return {n: text for n, text in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
