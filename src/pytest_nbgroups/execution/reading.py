"""Reads a notebook file into nbformat 4, whatever it holds."""

from __future__ import annotations

import json
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nbgroups.errors import NotebookError
from pytest_nbgroups.execution.library_log import silenced
from pytest_nbgroups.text import first_line

if TYPE_CHECKING:
    from nbformat import NotebookNode

SKIP_TAG = "skip-execution"
RAISES_TAG = "raises-exception"

_WITH_WORKSHEETS = {2, 3}
_CELL_TYPES = {"code", "markdown", "raw"}


def read_notebook(path: Path) -> NotebookNode:
    """Read and upgrade a notebook, with the outputs of earlier runs removed.

    Cells tagged ``skip-execution`` keep theirs. Raises NotebookError that says what is wrong with
    the file and what to do.
    """
    text = _text(path)
    _check_json(text, path)
    notebook = _parse(text, path)
    for cell in notebook.cells:
        if cell.cell_type == "code" and SKIP_TAG not in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
    return notebook


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to read from a pipe or a device may never end
            raise NotebookError(
                f"{path.name} is no file but a folder, a pipe or a device, or a link to one; "
                "put the notebook in its place, or list it under exclude in experiment.toml"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise NotebookError(
            f"{path.name} is not UTF-8 text ({exc.reason} at byte {exc.start}); "
            "save it again from Jupyter, or restore it"
        ) from exc
    except FileNotFoundError as exc:
        raise NotebookError(
            f"{path.name} is not there any more; did an earlier notebook remove it, or is it a link to nowhere?"
        ) from exc
    except OSError as exc:
        raise NotebookError(f"{path.name} cannot be read: {exc.strerror or exc}") from exc


def _check_json(text: str, path: Path) -> None:
    if not text.strip():
        raise NotebookError(
            f"{path.name} is empty; save a notebook in it, remove it, or list it under exclude in experiment.toml"
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise NotebookError(
            f"{path.name} is not JSON ({exc}); open it in a text editor (a merge conflict?), or restore it"
        ) from exc
    if not isinstance(data, dict) or type(data.get("nbformat")) is not int:
        raise NotebookError(
            f"{path.name} is JSON but no notebook: it has no nbformat number; "
            "restore it, or give it another suffix"
        )
    _check_format(data, path)


def _check_format(data: dict[str, Any], path: Path) -> None:
    """What stands where its format has nothing would not run, and the notebook would pass."""
    major = data["nbformat"]
    foreign = "cells" if major in _WITH_WORKSHEETS else "worksheets"
    if data.get(foreign):
        raise NotebookError(
            f"{path.name} is no valid notebook of format {major}: it has {foreign}, as others have; "
            "correct the number in nbformat, or restore it"
        )


def _parse(text: str, path: Path) -> NotebookNode:
    import nbformat

    with warnings.catch_warnings(), silenced():
        # A missing or doubled cell id is mended in memory and does no harm here.
        warnings.simplefilter("ignore")
        try:
            notebook: NotebookNode = nbformat.reads(text, as_version=4)
            _check_metadata(notebook)
            _check_cells(notebook)
        except Exception as exc:
            # nbformat's converters raise whatever a malformed file makes them run into.
            major = json.loads(text)["nbformat"]
            raise NotebookError(
                f"{path.name} is no valid notebook of format {major}: {first_line(str(exc)) or type(exc).__name__}; "
                "open and save it in Jupyter to mend it"
            ) from exc
    return notebook


def _check_metadata(notebook: NotebookNode) -> None:
    metadata = notebook.setdefault("metadata", {})
    _check_kind(metadata, dict, "metadata is no object")
    for name in ("kernelspec", "language_info"):
        entry = metadata.get(name, {})
        _check_kind(entry, dict, f"metadata.{name} is no object")
        _check_kind(entry.get("name", ""), str, f"metadata.{name}.name is no text")


def _check_kind(value: Any, kind: type, fault: str) -> None:  # noqa: ANN401  any JSON
    if not isinstance(value, kind):
        raise NotebookError(fault)


def _check_cells(notebook: NotebookNode) -> None:
    """What execution relies on. Other departures from the format are harmless and common."""
    if not isinstance(notebook.get("cells"), list):
        raise NotebookError("it has no list of cells")
    for number, cell in enumerate(notebook.cells, start=1):
        if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
            raise NotebookError(f"cell {number} has no cell_type")
        kind = cell["cell_type"]
        if kind not in _CELL_TYPES:  # it would not run, and the notebook would pass
            raise NotebookError(f"cell {number} has the unknown cell_type {kind!r:.40}")
        if not isinstance(cell.get("source"), str):
            raise NotebookError(f"cell {number} has no source")
        metadata = cell.setdefault("metadata", {})
        _check_kind(metadata, dict, f"cell {number} has metadata that is no object")
        _check_kind(metadata.get("tags", []), list, f"cell {number} has tags that are no list")
        if kind == "code":
            _check_code(number, cell)
        else:
            cell.pop("outputs", None)  # no other cell has any


def _check_code(number: int, cell: dict[str, Any]) -> None:
    try:
        cell["source"].encode()
    except UnicodeEncodeError as exc:
        raise NotebookError(
            f"cell {number} has half of a character in its source, at {exc.start}"
        ) from exc
    outputs = cell.setdefault("outputs", [])
    if not isinstance(outputs, list) or not all(map(_is_output, outputs)):
        raise NotebookError(f"cell {number} has outputs that are no outputs")


def _is_output(output: object) -> bool:
    if not isinstance(output, dict) or not isinstance(output.get("output_type"), str):
        return False
    return output["output_type"] != "stream" or all(
        isinstance(output.get(name), str) for name in ("name", "text")
    )
