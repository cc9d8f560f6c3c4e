"""Checkpoints as JSON text, and back. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar

from pytest_nbgroups.core.codec import plain, rebuild
from pytest_nbgroups.core.errors import CheckpointError, DataError
from pytest_nbgroups.core.model import NotebookOutcome
from pytest_nbgroups.resume.checkpoint import Checkpoint, FileState, Fingerprint, Step

VERSION = 3
"""Version of the format. An older checkpoint is refused, and its notebooks run again.

1 had no files outside of the directory, and other digests of files full of zeros.
2 had the keys of the tables in the fingerprint."""

T = TypeVar("T")

_REUSABLE = {NotebookOutcome.PASSED, NotebookOutcome.SKIPPED}

_State: TypeAlias = tuple[int, int, int, int, str, bool]
"""A `FileState` without the names of its fields: there can be thousands."""
_FIELDS = tuple(field.name for field in fields(FileState))
_values = attrgetter(*_FIELDS)  # not `astuple`: it copies each value deeply


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A step without the parts that it shares with other steps."""

    step: Step
    shared: Mapping[str, str]
    """Part of the fingerprint -> key in the tables: long parts, mostly equal in all notebooks."""
    files: Mapping[str, _State]
    """The files that differ from the step before."""
    gone: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Named:
    """The part of a document that other experiments read."""

    directory: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Document(_Named):
    version: int = VERSION
    session: str
    steps: tuple[_Entry, ...]
    tables: Mapping[str, Mapping[str, str]]
    known: Mapping[str, _State]


def encode(checkpoint: Checkpoint) -> str:
    """Write one line of ASCII. A step holds only the files that differ from the step before."""
    tables: dict[str, Mapping[str, str]] = {}
    document = _Document(
        directory=checkpoint.directory,
        session=checkpoint.session,
        names=checkpoint.names,
        steps=tuple(_entries(checkpoint, tables)),
        tables=tables,
        known=_states(checkpoint.known),
    )
    return json.dumps(plain(document), separators=(",", ":")) + "\n"


def _entries(checkpoint: Checkpoint, tables: dict[str, Mapping[str, str]]) -> Iterator[_Entry]:
    before: Mapping[str, FileState] = {}
    for step in checkpoint.steps:
        changed = {path: state for path, state in step.files.items() if before.get(path) != state}
        fingerprint, shared = _parted(step.fingerprint, tables)
        yield _Entry(
            step=replace(step, files={}, fingerprint=fingerprint),
            shared=shared,
            files=_states(changed),
            gone=tuple(path for path in before if path not in step.files),
        )
        before = step.files


def _parted(
    fingerprint: Fingerprint | None, tables: dict[str, Mapping[str, str]]
) -> tuple[Fingerprint | None, Mapping[str, str]]:
    """Return a fingerprint without its long parts, and their keys in the tables."""
    if fingerprint is None:
        return None, {}
    parts = {"distributions": fingerprint.distributions, "data": fingerprint.data}
    keys = {name: _digest(table) for name, table in parts.items()}
    tables.update((keys[name], table) for name, table in parts.items())
    return replace(fingerprint, distributions={}, data={}), keys


def _digest(table: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _states(files: Mapping[str, FileState]) -> dict[str, _State]:
    return {path: _values(state) for path, state in files.items()}


def decode(text: str) -> Checkpoint:
    """Read the text that `encode` wrote. Raises CheckpointError for any other text."""
    document = _read(text, _Document)
    return Checkpoint(
        directory=document.directory,
        session=document.session,
        steps=tuple(_steps(document)),
        known=_files(document.known),
        names=document.names,
    )


def decode_names(text: str) -> tuple[str, tuple[str, ...]]:
    """Read only the directory and the names. Raises CheckpointError."""
    named = _read(text, _Named)
    return named.directory, named.names


def _read(text: str, kind: type[T]) -> T:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _damaged(exc) from exc
    version = document.get("version") if isinstance(document, dict) else VERSION
    if version != VERSION:
        raise CheckpointError(f"it has version {version!r}, not {VERSION}")
    try:
        return rebuild(kind, document)
    except DataError as exc:
        raise _damaged(exc) from exc


def _damaged(reason: object) -> CheckpointError:
    return CheckpointError(f"it is damaged ({reason})")


def _steps(document: _Document) -> Iterator[Step]:
    files: dict[str, FileState] = {}
    for number, entry in enumerate(document.steps):
        step = entry.step
        if step.outcome not in _REUSABLE:
            raise _damaged(f"steps[{number}].step.outcome: expected {' or '.join(_REUSABLE)}")
        gone = frozenset(entry.gone)
        files = {path: state for path, state in files.items() if path not in gone}
        files |= _files(entry.files)
        yield replace(step, files=files, fingerprint=_joined(step.fingerprint, entry, document))


def _joined(
    fingerprint: Fingerprint | None, entry: _Entry, document: _Document
) -> Fingerprint | None:
    if fingerprint is None:
        return None
    tables, keys = document.tables, entry.shared
    try:
        parts = tables[keys["distributions"]], tables[keys["data"]]
    except KeyError as exc:
        raise _damaged(f"it lacks a table: {exc}") from exc
    return replace(fingerprint, distributions=parts[0], data=parts[1])


def _files(states: Mapping[str, _State]) -> dict[str, FileState]:
    return {
        path: FileState(**dict[str, Any](zip(_FIELDS, state, strict=True)))
        for path, state in states.items()
    }
