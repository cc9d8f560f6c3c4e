"""Whether a record that was read is what its JSON schema says. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

_SHOWN = 40  # characters of a value

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}


def departures(value: object, schema: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Each part that is not as the schema says: ``experiments[0].nodeid: expected string, got 3``.

    Knows the words that `SESSION_SCHEMA` uses. Numbers are finite here, and true is no number.
    """
    kinds = _kinds(schema)
    if not any(_is_of(kind, value) for kind in kinds):
        yield _told(place, f"expected {' or '.join(kinds)}", value)
    elif "const" in schema and value != schema["const"]:
        yield _told(place, f"expected {schema['const']}", value)
    elif isinstance(value, str) and value not in schema.get("enum", [value]):
        yield _told(place, f"expected {', '.join(schema['enum'])}", value)
    elif isinstance(value, int) and value < schema.get("minimum", value):
        yield _told(place, f"expected {schema['minimum']} or more", value)
    elif isinstance(value, dict):
        yield from _in_object(value, schema, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from departures(item, schema["items"], f"{place}[{index}]")


def _in_object(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    above = f"{place}." if place else ""
    for name, inner in schema["properties"].items():
        if name in value:
            yield from departures(value[name], inner, f"{above}{name}")
        elif name in schema["required"]:
            yield f"{above}{name} is missing"


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema["type"]
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _is_of(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, _TYPES[kind])


def _told(place: str, expected: str, value: object) -> str:
    text = json.dumps(value)
    return f"{place or 'the record'}: {expected}, got {text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'}"
