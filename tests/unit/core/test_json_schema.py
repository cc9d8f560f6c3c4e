"""Schemas say what the codec reads, in the words of the docstrings."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pytest_nbgroups.core.codec import Count
from pytest_nbgroups.core.json_schema import Without, json_schema


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    """An inner one."""

    shown: str
    """``x``; None if
    there is none."""
    hidden: str = ""


@dataclass(frozen=True)
class Outer:
    """The whole."""

    version: Literal[1]
    word: Literal["a", "b"]
    colour: Colour
    count: Count | None
    """How many."""
    one: Inner | None
    """The one."""
    rest: tuple[Annotated[Inner, Without(("hidden",))], ...]


SHOWN = {"type": "string", "description": "`x`; null if there is none."}
INNER = {"shown": SHOWN, "hidden": {"type": "string"}}


def test_schema() -> None:
    """All fields are required: they are always written."""
    limit = {"minimum": 0, "exclusiveMaximum": 2**63}
    assert json_schema(Outer) == {
        "description": "The whole.",
        "type": "object",
        "properties": {
            "version": {"type": "integer", "const": 1},
            "word": {"type": "string", "enum": ["a", "b"]},
            "colour": {"type": "string", "enum": ["red"]},
            "count": {"type": ["integer", "null"], **limit, "description": "How many."},
            "one": {
                "type": ["object", "null"],
                "description": "The one.",
                "properties": INNER,
                "required": ["shown", "hidden"],
            },
            "rest": {
                "type": "array",
                "items": {
                    "description": "An inner one.",
                    "type": "object",
                    "properties": {"shown": SHOWN},
                    "required": ["shown"],
                },
            },
        },
        "required": ["version", "word", "colour", "count", "one", "rest"],
    }


def test_without_source() -> None:
    """A packed application may lack it: then fields have no descriptions."""
    packed = make_dataclass("Packed", [("name", str)])
    assert json_schema(packed)["properties"] == {"name": {"type": "string"}}
