"""Checkpoints as JSON text, and back. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, astuple, fields
from typing import Any, TypeVar

from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.model import NotebookOutcome
from pytest_nbgroups.resume.checkpoint import Checkpoint, FileState, Fingerprint, Step

VERSION = 2
"""1: without the files outside of the directory, and with other digests of files full of zeros."""

Value = TypeVar("Value")

_SHARED = ("distributions", "data")
"""Parts of a fingerprint that are long and mostly the same for all notebooks: written once."""
_PARTS = tuple(part.name for part in fields(Fingerprint))


def encode(checkpoint: Checkpoint) -> str:
    """One line of ASCII. Of the files of a step only what differs from the step before is written."""
    tables: dict[str, Mapping[str, str]] = {}
    before: Mapping[str, FileState] = {}
    steps = []
    for step in checkpoint.steps:
        steps.append(_step(step, before, tables))
        before = step.files
    document = {
        "version": VERSION,
        "directory": checkpoint.directory,
        "session": checkpoint.session,
        "names": checkpoint.names,
        "steps": steps,
        "tables": tables,
        "known": _files(checkpoint.known),
    }
    return json.dumps(document, separators=(",", ":")) + "\n"


def _step(
    step: Step, before: Mapping[str, FileState], tables: dict[str, Mapping[str, str]]
) -> dict[str, Any]:
    changed = {path: state for path, state in step.files.items() if before.get(path) != state}
    return {
        "name": step.name,
        "outcome": step.outcome.value,
        "reason": step.reason,
        "kernel": step.kernel,
        "cells_total": step.cells_total,
        "fingerprint": None if step.fingerprint is None else _parts(step.fingerprint, tables),
        "files": _files(changed),
        "gone": [path for path in before if path not in step.files],
        "doubt": step.doubt,
    }


def _files(files: Mapping[str, FileState]) -> dict[str, Any]:
    return {path: astuple(state) for path, state in files.items()}


def _parts(fingerprint: Fingerprint, tables: dict[str, Mapping[str, str]]) -> dict[str, Any]:
    parts: dict[str, Any] = {name: getattr(fingerprint, name) for name in _PARTS}
    for name in _SHARED:
        key = hashlib.sha256(json.dumps(parts[name], sort_keys=True).encode()).hexdigest()
        tables[key], parts[name] = parts[name], key
    return parts


def decode(text: str) -> Checkpoint:
    """Read what `encode` gave. Raises CheckpointError for anything else."""
    return _read(text, _checkpoint)


def decode_names(text: str) -> tuple[str, tuple[str, ...]]:
    """Read no more than the directory and the names. Raises CheckpointError."""
    return _read(text, lambda document: (_text(document["directory"]), _names(document)))


def _read(text: str, read: Callable[[dict[str, Any]], Value]) -> Value:
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise CheckpointError(f"it has version {document['version']!r}, not {VERSION}")
        return read(document)
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as exc:
        raise CheckpointError(f"it is damaged ({type(exc).__name__}: {exc})") from exc


def _checkpoint(document: dict[str, Any]) -> Checkpoint:
    steps: list[Step] = []
    files: dict[str, FileState] = {}
    for entry in document["steps"]:
        gone = frozenset(entry["gone"])
        files = {path: state for path, state in files.items() if path not in gone}
        files |= _read_files(entry["files"])
        steps.append(_read_step(entry, files, document["tables"]))
    return Checkpoint(
        directory=_text(document["directory"]),
        session=_text(document["session"]),
        steps=tuple(steps),
        known=_read_files(document["known"]),
        names=_names(document),
    )


def _names(document: dict[str, Any]) -> tuple[str, ...]:
    names = document["names"]
    if not isinstance(names, list):
        raise TypeError(f"{names!r} is no list")
    return tuple(map(_text, names))


def _read_step(
    entry: dict[str, Any], files: Mapping[str, FileState], tables: dict[str, Any]
) -> Step:
    parts = entry["fingerprint"]
    return Step(
        name=_text(entry["name"]),
        outcome=_outcome(entry["outcome"]),
        reason=_text_or_none(entry["reason"]),
        kernel=_text_or_none(entry["kernel"]),
        cells_total=int(entry["cells_total"]),
        fingerprint=None if parts is None else _read_parts(parts, tables),
        files=files,
        doubt=_text(entry["doubt"]),
    )


def _outcome(value: str) -> NotebookOutcome:
    outcome = NotebookOutcome(value)
    if outcome not in {NotebookOutcome.PASSED, NotebookOutcome.SKIPPED}:
        raise ValueError(f"a step is {value!r}")
    return outcome


def _read_files(entries: dict[str, Any]) -> dict[str, FileState]:
    return {path: _file_state(*state) for path, state in entries.items()}


def _file_state(
    size: int, mtime_ns: int, ctime_ns: int, inode: int, sha256: str, settled: object
) -> FileState:
    return FileState(
        size=int(size),
        mtime_ns=int(mtime_ns),
        ctime_ns=int(ctime_ns),
        inode=int(inode),
        sha256=_text(sha256),
        settled=settled is True,
    )


def _read_parts(parts: dict[str, Any], tables: dict[str, Any]) -> Fingerprint:
    shared = {name: tables[parts[name]] for name in _SHARED}
    read = {**parts, **shared}
    return Fingerprint(**{name: _READERS[name](value) for name, value in read.items()})


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    part.name: _text if part.default_factory is MISSING else _texts for part in fields(Fingerprint)
}
