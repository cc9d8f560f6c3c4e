"""Frozen facts of a run. Every report is made from these, and they travel between processes.

``to_dict`` returns only values that JSON and execnet can carry; ``from_dict`` is its inverse.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pytest_nbgroups.core.codec import departure, listed, plain, rebuild
from pytest_nbgroups.core.errors import DataError
from pytest_nbgroups.core.model import ExperimentResult, NotebookResult


@dataclass(frozen=True, kw_only=True)
class ExperimentWaiting:
    """An experiment waits for its lease. Sent again when what it waits for changes."""

    experiment: str
    at: float
    """Seconds since the epoch, as in every event."""
    reason: str
    """The lacking resource and its holders, in one line."""


@dataclass(frozen=True, kw_only=True)
class ExperimentStarted:
    """An experiment begins; its notebooks are named in order."""

    experiment: str
    at: float
    directory: Path
    """Absolute."""
    notebooks: tuple[str, ...]
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class NotebookStarted:
    """Notebook ``number`` of ``count`` begins."""

    experiment: str
    at: float
    notebook: str
    number: int
    count: int
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class CellStarted:
    """Cell ``number`` of ``count`` is sent to the kernel."""

    experiment: str
    at: float
    notebook: str
    number: int
    count: int
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class NotebookFinished:
    """Notebook ``number`` of ``count`` is over, and so is its process tree."""

    experiment: str
    at: float
    number: int
    count: int
    result: NotebookResult


@dataclass(frozen=True, kw_only=True)
class ExperimentFinished:
    """An experiment is over, with any outcome."""

    experiment: str
    at: float
    result: ExperimentResult


Event: TypeAlias = (
    ExperimentWaiting
    | ExperimentStarted
    | NotebookStarted
    | CellStarted
    | NotebookFinished
    | ExperimentFinished
)
Emit: TypeAlias = Callable[[Event], None]
"""Takes the events of a run in their order."""

_EVENTS: dict[str, type[Event]] = {cls.__name__: cls for cls in typing.get_args(Event)}


def to_dict(event: Event) -> dict[str, Any]:
    """Return the plain values of an event, with its class name under ``event``."""
    return {"event": type(event).__name__, **plain(event)}


def from_dict(data: Mapping[str, Any]) -> Event:
    """Rebuild an event from `to_dict`. Raises DataError for an unknown event or a wrong field type."""
    name = data["event"]
    if name not in _EVENTS:
        raise DataError(departure("event", listed(_EVENTS), name))
    event: Event = rebuild(_EVENTS[name], data)
    return event
