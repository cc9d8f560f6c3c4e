"""Checks of the JSON of a format 4 notebook: the fields that nbformat and execution rely on. Pure.

nbformat can raise any error on a malformed document, and Jupyter cannot open a document that is
refused here. Other departures from the schema are harmless and common, so they are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_nbgroups.notebooks.foreign_files import shown

SKIP_TAG = "skip-execution"
RAISES_TAG = "raises-exception"

_CELL_TYPES = ("code", "markdown", "raw")
_MISSING = object()
_KINDS: Mapping[type, str] = {
    int: "a whole number",
    str: "a text",
    dict: "an object",
    list: "a list",
}


def fault_of(data: Mapping[str, Any]) -> str | None:
    """Return the first wrong field with the expected value; None if all are right."""
    return next(_faults(data), None)


def _faults(data: Mapping[str, Any]) -> Iterator[str]:
    yield from _kind(data, "nbformat_minor", int)
    yield from _metadata(data)
    yield from _kind(data, "cells", list)
    for number, cell in enumerate(data["cells"], start=1):
        yield from (f"cell {number}: {fault}" for fault in _cell(cell))


def _metadata(data: Mapping[str, Any]) -> Iterator[str]:
    yield from _kind(data, "metadata", dict)
    for name in ("kernelspec", "language_info"):
        yield from _kind(data["metadata"], name, dict, "metadata.", is_optional=True)
        entry = data["metadata"].get(name, {})
        yield from _kind(entry, "name", str, f"metadata.{name}.", is_optional=True)


def _cell(cell: object) -> Iterator[str]:
    if not isinstance(cell, dict):
        yield f"it is {shown(cell)}, expected an object"
        return
    yield from _kind(cell, "cell_type", str)
    if cell["cell_type"] not in _CELL_TYPES:  # it would not run, and the notebook would pass
        yield f"cell_type is {shown(cell['cell_type'])}, expected one of {', '.join(_CELL_TYPES)}"
    yield from _source(cell)
    yield from _kind(cell, "metadata", dict)
    yield from _kind(cell["metadata"], "tags", list, "metadata.", is_optional=True)
    yield from _kind(cell, "attachments", dict, is_optional=True)
    for name, attachment in cell.get("attachments", {}).items():
        if not isinstance(attachment, dict):
            yield f"attachments.{name} is {shown(attachment)}, expected an object"
    if cell["cell_type"] == "code":
        yield from _outputs(cell)


def _source(cell: Mapping[str, Any]) -> Iterator[str]:
    source = cell.get("source", _MISSING)
    if isinstance(source, list):
        yield from (
            f"source has a line that is {shown(line)}, expected a text"
            for line in source
            if not isinstance(line, str)
        )
        source = "".join(source)
    yield from _kind({"source": source} if source is not _MISSING else {}, "source", str)
    if cell["cell_type"] == "code":
        try:
            source.encode()
        except UnicodeEncodeError as exc:
            yield f"source has half of a character, at {exc.start}"


def _outputs(cell: Mapping[str, Any]) -> Iterator[str]:
    yield from _kind(cell, "outputs", list, is_optional=True)
    for number, output in enumerate(cell.get("outputs", []), start=1):
        yield from (f"output {number}: {fault}" for fault in _output(output))


def _output(output: object) -> Iterator[str]:
    if not isinstance(output, dict):
        yield f"it is {shown(output)}, expected an object"
        return
    yield from _kind(output, "output_type", str)
    if output["output_type"] in {"display_data", "execute_result"}:
        yield from _kind(output, "data", dict, is_optional=True)
    if output["output_type"] == "stream":
        yield from _kind(output, "name", str)
        text = output.get("text")
        if not isinstance(text, str | list) or any(not isinstance(line, str) for line in text):
            yield f"text is {shown(text)}, expected a text or a list of texts"


def _kind(
    holder: Mapping[str, Any], key: str, kind: type, prefix: str = "", *, is_optional: bool = False
) -> Iterator[str]:
    """Yield the fault of one field. Only the first fault is used, so later checks can rely on the type."""
    value = holder.get(key, _MISSING)
    if value is _MISSING:
        if not is_optional:
            yield f"{prefix}{key} is missing, expected {_KINDS[kind]}"
    elif not isinstance(value, kind) or isinstance(value, bool):
        yield f"{prefix}{key} is {shown(value)}, expected {_KINDS[kind]}"
