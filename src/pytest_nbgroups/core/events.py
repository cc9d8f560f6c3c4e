"""Frozen facts of a run. Every report is made from these, and they travel between processes.

``to_dict`` gives only what JSON and execnet can carry; ``from_dict`` is its inverse.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pytest_nbgroups.core.model import ExperimentResult, NotebookResult

__all__ = [
    "CellStarted",
    "Emit",
    "Event",
    "ExperimentFinished",
    "ExperimentStarted",
    "ExperimentWaiting",
    "NotebookFinished",
    "NotebookStarted",
    "from_dict",
    "plain",
    "rebuild",
    "to_dict",
]


@dataclass(frozen=True, kw_only=True)
class ExperimentWaiting:
    """An experiment waits for its lease. Sent again when what it waits for changes."""

    experiment: str
    at: float
    """Seconds since the epoch, as in every event."""
    reason: str
    """What it lacks and who holds that, in one line."""


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
    """An experiment is over, however it ended."""

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

T = TypeVar("T")

_EVENTS: dict[str, type[Event]] = {cls.__name__: cls for cls in typing.get_args(Event)}


def to_dict(event: Event) -> dict[str, Any]:
    """Plain values of an event, with its class name under ``event``."""
    return {"event": type(event).__name__, **plain(event)}


def from_dict(data: Mapping[str, Any]) -> Event:
    """Rebuild what `to_dict` gave. Raises KeyError for an event that is not known."""
    event: Event = rebuild(_EVENTS[data["event"]], data)
    return event


def rebuild(cls: type[T], data: Mapping[str, Any]) -> T:
    """Build a dataclass of the model from what `plain` made of one."""
    return typing.cast("T", _rebuild(cls, data))


def plain(value: Any) -> Any:  # noqa: ANN401  any value of the model
    """Reduce a value of the model to dicts, lists, strings, numbers, booleans and None."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _rebuild(hint: Any, value: Any) -> Any:  # noqa: ANN401  driven by annotations
    if dataclasses.is_dataclass(hint):
        fields = _hints(typing.cast("type", hint))
        return hint(  # type: ignore[operator]
            **{name: _rebuild(fields[name], value[name]) for name in fields if name in value}
        )
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        inner = next(a for a in arguments if a is not types.NoneType)
        return None if value is None else _rebuild(inner, value)
    if origin is Mapping:
        return {key: _rebuild(arguments[1], item) for key, item in value.items()}
    if origin is tuple:
        return tuple(_rebuild(arguments[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Enum | Path):
        return hint(value)
    return value
