"""Reads the notebooks of an experiment for hints, without running or checking them."""

from __future__ import annotations

import json
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.hints.finding import Hint, Hints, find_hints
from pytest_nbgroups.notebooks.notebook_format import SKIP_TAG

_LARGEST_FILE = 64 * 2**20
_LONGEST_CELL = 200_000
"""Limit in characters. A longer cell is data; IPython needs minutes to find magics in it."""
_CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*")
_TRANSPARENT = {"capture", "memit", "prun", "time", "timeit"}
"""Magics that run Python, in the notebook itself."""
_LINE_MAGIC = re.compile(
    r"(?m)^([ \t]*)%(?:memit|prun|time|timeit)\b(?:[ \t]+-\w+(?:[ \t]+\d+)?)*[ \t]*"
)
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*")


def scan(experiment: Experiment) -> Hints:
    """Return the hints in the notebooks that would run. Never raises: running them shows faults."""
    found: list[Hint] = []
    for notebook in experiment.notebooks:
        if notebook.skip is None:
            found += find_hints(notebook.name, _cells(notebook.path), to_python=to_python)
    return Hints(found=tuple(found))


def code_sources(experiment: Experiment) -> Iterator[str]:
    """Return the code of all its notebooks, in any language, and of modules beside them. Never raises."""
    for notebook in experiment.notebooks:
        yield from (source for _, _, source in _code_cells(_read(notebook.path)))
    for module in sorted(experiment.directory.glob("*.py")):
        with suppress(OSError, ValueError):
            if stat.S_ISREG(module.stat().st_mode):
                with module.open(encoding="utf-8") as file:
                    yield file.read(_LONGEST_CELL)


def to_python(source: str) -> str:
    """Return the Python code of a cell with IPython's magics; empty if another program runs it.

    Line numbers stay the same, unless a magic spans several lines.
    """
    magic = _CELL_MAGIC.match(source)
    if magic and magic[1] not in _TRANSPARENT:
        return ""
    start = _BLANK_LINES.match(source, magic.end() if magic else 0).end()  # type: ignore[union-attr]
    code = _LINE_MAGIC.sub(r"\1", source[start:])
    return "\n" * source.count("\n", 0, start) + _without_magics(code)


def _without_magics(code: str) -> str:
    if not set(code) & set("%!?"):
        return code
    # The import takes 0.2 s, and often is not needed.
    from IPython.core.inputtransformer2 import TransformerManager

    transformer = TransformerManager()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(action="ignore"):  # of characters that may or may not end a line
        return transformer.transform_cell(code)


def _cells(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and source of each Python code cell that would run."""
    notebook = _read(path)
    if not isinstance(notebook, dict) or not _is_python(notebook.get("metadata")):
        return
    for number, cell, source in _code_cells(notebook):
        if source.strip() and not _is_skipped(cell):
            yield number, source


def _code_cells(notebook: object) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield number, cell and source of each code cell; no source if it is too long."""
    for number, cell in enumerate(_all_cells(notebook), start=1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = _text(cell.get("source", cell.get("input")))  # "input" before format 4
            yield number, cell, source if len(source) <= _LONGEST_CELL else ""


def _read(path: Path) -> object:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
            return None
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _is_python(metadata: object) -> bool:
    """Return True for Python; also if there is no language: the notebook then runs as Python."""
    entries: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    kernelspec, language = entries.get("kernelspec"), entries.get("language_info")
    given = [
        kernelspec.get("language") if isinstance(kernelspec, dict) else None,
        language.get("name") if isinstance(language, dict) else None,
    ]
    names = [name.lower() for name in given if isinstance(name, str) and name]
    return all(name in {"ipython", "python"} for name in names)


def _all_cells(notebook: object) -> Iterator[object]:
    """Yield all cells; before format 4 they are in worksheets."""
    worksheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    for part in [notebook, *_items(worksheets)]:
        if isinstance(part, dict):
            yield from _items(part.get("cells"))


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_skipped(cell: dict[str, Any]) -> bool:
    metadata = cell.get("metadata")
    return isinstance(metadata, dict) and SKIP_TAG in _items(metadata.get("tags"))


def _text(source: object) -> str:
    lines = _items(source) or [source]
    return "".join(line for line in lines if isinstance(line, str))
