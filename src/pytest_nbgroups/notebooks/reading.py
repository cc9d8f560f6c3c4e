"""Reads a notebook file of any format version into nbformat 4."""

from __future__ import annotations

import json
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nbgroups.core.errors import NotebookError
from pytest_nbgroups.core.text import first_line
from pytest_nbgroups.notebooks.foreign_files import (
    foreign_bytes,
    foreign_json,
    foreign_text,
    merge_conflict,
    shown,
)
from pytest_nbgroups.notebooks.library_log import silenced
from pytest_nbgroups.notebooks.notebook_format import SKIP_TAG, fault_of

if TYPE_CHECKING:
    from nbformat import NotebookNode


_NEWEST = 4
_WITH_WORKSHEETS = {2, 3}
_CORRECT = "correct it in a text editor, or restore it"


def read_notebook(path: Path) -> NotebookNode:
    """Read and upgrade a notebook, with the outputs of earlier runs removed.

    Cells tagged ``skip-execution`` keep theirs. Raises NotebookError with the fault of
    the file and a remedy.
    """
    text = _text(path)
    data = _json(text, path)
    _check_format(data, path)
    notebook = _parse(text, data["nbformat"], path)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            cell.pop("outputs", None)  # no other cell has any
        elif SKIP_TAG in cell.metadata.get("tags", []):
            cell.setdefault("outputs", [])  # kept, because no run replaces them
            cell.setdefault("execution_count", None)  # a cell written by hand may lack both
        else:
            cell.outputs, cell.execution_count = [], None  # reports must show this run alone
    return notebook


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading from a pipe or a device may never end
            raise NotebookError(
                f"{path.name} is not a file but a folder, a pipe or a device, or a link to one; "
                "put the notebook in its place, or list it under exclude in experiment.toml"
            )
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise NotebookError(_missing(path)) from exc
    except OSError as exc:
        raise NotebookError(f"{path.name} cannot be read: {exc.strerror or exc}") from exc
    if clause := foreign_bytes(data):
        raise NotebookError(f"{path.name} {clause}")
    try:
        return data.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as exc:
        raise NotebookError(
            f"{path.name} is not UTF-8 text ({exc.reason} at byte {exc.start}); "
            "convert it to UTF-8, for example with iconv, or restore it"
        ) from exc


def _missing(path: Path) -> str:
    if path.is_symlink() and ".git/annex/" in path.readlink().as_posix():
        return (
            f"{path.name} is a link of git-annex whose content is not here; run git annex get on it"
        )
    return (
        f"{path.name} no longer exists; did an earlier notebook remove it, or is it a broken link?"
    )


def _json(text: str, path: Path) -> dict[str, Any]:
    """Return the document if it has a format number."""
    if not text.strip():
        raise NotebookError(
            f"{path.name} is empty; save a notebook in it, remove it, or list it under exclude in experiment.toml"
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        clause = foreign_text(text) or f"is not JSON ({exc}); {_CORRECT}"
        raise NotebookError(f"{path.name} {clause}") from exc
    if isinstance(data, dict) and type(data.get("nbformat")) is int:
        return data
    if isinstance(data, dict) and "nbformat" in data:
        clause = f"is not a valid notebook: nbformat is {shown(data['nbformat'])}, expected a whole number; {_CORRECT}"
    else:
        clause = foreign_json(data) or (
            "is JSON but not a notebook: it has no nbformat number; restore it, or give it another suffix"
        )
    raise NotebookError(f"{path.name} {clause}")


def _check_format(data: dict[str, Any], path: Path) -> None:
    major = data["nbformat"]
    if not 1 <= major <= _NEWEST:
        raise _invalid(path, major, f"nbformat is {major}, expected a number from 1 to {_NEWEST}")
    # Cells in a place that the format does not have would not run, and the notebook would pass.
    foreign = "cells" if major in _WITH_WORKSHEETS else "worksheets"
    if data.get(foreign):
        raise NotebookError(
            f"{path.name} is not a valid notebook of format {major}: it has {foreign}, which belong to "
            "other formats; correct the number in nbformat, or restore it"
        )
    if major == _NEWEST and (fault := fault_of(data)):
        raise _invalid(path, major, fault)


def _invalid(path: Path, major: int, fault: str) -> NotebookError:
    return NotebookError(
        f"{path.name} is not a valid notebook of format {major}: {fault}; {_CORRECT}"
    )


def _parse(text: str, major: int, path: Path) -> NotebookNode:
    import nbformat

    # nbformat warns of missing or repeated cell ids, which it fixes in memory: they do no harm here.
    with warnings.catch_warnings(action="ignore"), silenced():
        try:
            notebook: NotebookNode = nbformat.reads(text, as_version=_NEWEST)
        except Exception as exc:
            # nbformat's converters can raise any error on a malformed file.
            reason = first_line(str(exc)) or type(exc).__name__
            raise _invalid(path, major, f"nbformat cannot read it ({reason})") from exc
    if fault := fault_of(notebook):  # of an older format, upgraded
        raise _invalid(path, major, fault)
    if number := merge_conflict(notebook.cells):
        raise NotebookError(
            f"{path.name} has a merge conflict (marked in cell {number}), and both sides would run; "
            "resolve it, for example with nbdime mergetool"
        )
    return notebook
