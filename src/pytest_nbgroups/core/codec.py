"""Values of the model as JSON and execnet carry them, and back. Strict: annotations decide.

`plain` reduces a value to dicts, lists, texts, numbers, booleans and None; `rebuild` is its inverse.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from enum import Enum
from functools import cache
from itertools import count, repeat
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pytest_nbgroups.core.errors import DataError

T = TypeVar("T")
_Reader: TypeAlias = Callable[[Any], Any]

_SHOWN = 40
"""Characters of a value that a message quotes."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a number, in ``Annotated``."""

    least: int
    below: int


_LIMIT = 2**63
"""Below it, arithmetic is safe for a number from any source."""

Count: TypeAlias = Annotated[int, Bounds(least=0, below=_LIMIT)]
Position: TypeAlias = Annotated[int, Bounds(least=1, below=_LIMIT)]
Amount: TypeAlias = Annotated[float, Bounds(least=0, below=_LIMIT)]

JSON_TYPES: Mapping[Any, str] = {
    bool: "boolean",
    float: "number",
    int: "integer",
    str: "string",
    Path: "string",
    types.NoneType: "null",
}
"""Names of the plain types in JSON schemas and in messages."""
_JSON_SCALARS = frozenset({bool, float, int, str, types.NoneType})


def plain(value: Any) -> Any:  # noqa: ANN401  any value of the model
    """Reduce a value of the model to what JSON and execnet can carry."""
    if type(value) in _JSON_SCALARS:
        return value
    if dataclasses.is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Enum | Path):
        return value.value if isinstance(value, Enum) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def rebuild(kind: type[T], data: object) -> T:
    """Build a value of this type from what `plain` made of one.

    Unknown fields are ignored; missing ones take their defaults. Raises DataError, which names the
    field, for anything else that the annotations do not allow.
    """
    try:
        return typing.cast("T", _reader(typing.cast("Any", kind))(data))
    except _DepartureError as exc:
        raise DataError(exc.text()) from None


def departure(place: str, expected: str, value: object) -> str:
    """Render ``need.cpus: expected number, got "2"`` for a wrong value."""
    try:
        text = json.dumps(value, default=repr)
    except RecursionError:  # json reads deeper values than it writes
        text = "..."
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"{place or 'the whole'}: expected {expected}, got {shown}"


def listed(choices: Iterable[object]) -> str:
    """Render ``passed, skipped``."""
    return ", ".join(map(str, choices))


class _DepartureError(Exception):
    """A value is not as annotated."""

    def __init__(self, expected: str, value: object = MISSING) -> None:
        self.expected = expected
        self.value = value
        self.place = ""

    # The place is put together on the way up, so that success costs nothing.
    def inside(self, step: str) -> _DepartureError:
        separator = "." if self.place and not self.place.startswith("[") else ""
        self.place = f"{step}{separator}{self.place}"
        return self

    def text(self) -> str:
        if self.value is MISSING:
            return f"{self.place} is missing"
        return departure(self.place, self.expected, self.value)


@cache
def _reader(hint: Any) -> _Reader:  # noqa: ANN401  an annotation
    # Made once for each annotation: tickets of the lease pool are read very often.
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(typing.cast("type", hint))
    if make := _COMPOSED.get(typing.get_origin(hint)):
        return make(*typing.get_args(hint))
    if issubclass(hint, Enum):
        return _choice_reader({member.value: member for member in hint})
    if issubclass(hint, Path):
        return lambda value: Path(_text(value))
    return _plain_reader(hint)


def _dataclass_reader(cls: type) -> _Reader:
    hints = typing.get_type_hints(cls, include_extras=True)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(cls)}
    required = {
        field.name
        for field in dataclasses.fields(cls)
        if field.default is MISSING and field.default_factory is MISSING
    }

    def read(value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, dict):
            raise _DepartureError("object", value)
        given = {}
        for name, reader in readers.items():
            if name in value:
                try:
                    given[name] = reader(value[name])
                except _DepartureError as exc:
                    raise exc.inside(name) from None
            elif name in required:
                raise _DepartureError("").inside(name)
        return cls(**given)

    return read


def _mapping_reader(_key: object, kind: object) -> _Reader:  # in JSON every key is a text
    reader = _reader(kind)

    def read(value: Any) -> dict[str, Any]:  # noqa: ANN401
        if not isinstance(value, dict):
            raise _DepartureError("object", value)
        return dict(zip(value, _items(value, repeat(reader), value.values()), strict=True))

    return read


def _tuple_reader(*kinds: object) -> _Reader:
    is_open = kinds[1:] == (...,)
    readers = repeat(_reader(kinds[0])) if is_open else [_reader(kind) for kind in kinds]

    def read(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
        if not isinstance(value, list):
            raise _DepartureError("array", value)
        if not is_open and len(value) != len(kinds):
            raise _DepartureError(f"array of {len(kinds)}", value)
        return tuple(_items(count(), readers, value))

    return read


def _items(keys: Iterable[Any], readers: Iterable[_Reader], values: Iterable[Any]) -> list[Any]:
    read = []
    for key, reader, value in zip(keys, readers, values, strict=False):
        try:
            read.append(reader(value))
        except _DepartureError as exc:
            raise exc.inside(f"[{json.dumps(key)}]") from None
    return read


def _union_reader(*kinds: object) -> _Reader:
    readers = [_reader(kind) for kind in kinds if kind is not types.NoneType]
    has_none = types.NoneType in kinds

    def read(value: Any) -> Any:  # noqa: ANN401
        if value is None and has_none:
            return None
        expected = []
        for reader in readers:
            try:
                return reader(value)
            except _DepartureError as exc:
                if exc.place:  # of the right kind, with a fault inside
                    raise
                expected.append(exc.expected)
        raise _DepartureError(" or ".join([*expected, *["null"] * has_none]), value)

    return read


def _choice_reader(choices: Mapping[Any, Any]) -> _Reader:
    def read(value: Any) -> Any:  # noqa: ANN401
        try:
            return choices[value]
        except (KeyError, TypeError):  # a list is not hashable
            raise _DepartureError(listed(choices), value) from None

    return read


def _bounded_reader(kind: object, bounds: Bounds) -> _Reader:
    reader = _reader(kind)
    least, below = bounds.least, bounds.below

    def read(value: Any) -> Any:  # noqa: ANN401
        number = reader(value)
        if least <= number < below:
            return number
        raise _DepartureError(f"{least} or more, below {below}", value)

    return read


def _plain_reader(kind: type) -> _Reader:
    name, kinds = JSON_TYPES[kind], {kind, int} if kind is float else {kind}

    def read(value: Any) -> Any:  # noqa: ANN401
        if type(value) in kinds:  # not isinstance: True is not a number
            return value
        raise _DepartureError(name, value)

    return read


_text = _plain_reader(str)


_COMPOSED: Mapping[Any, Callable[..., _Reader]] = {
    Annotated: _bounded_reader,
    Literal: lambda *choices: _choice_reader({choice: choice for choice in choices}),
    Mapping: _mapping_reader,
    tuple: _tuple_reader,
    types.UnionType: _union_reader,
    typing.Union: _union_reader,
}
"""Origin of an annotation -> function that makes a reader from its arguments."""
