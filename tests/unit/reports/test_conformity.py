from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.reports.conformity import departures

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "version": {"type": "integer", "const": 1},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "count": {"type": ["integer", "null"], "minimum": 1},
        "time": {"type": "number"},
        "flag": {"type": "boolean"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"x": {"type": "string"}},
                "required": ["x"],
            },
        },
    },
    "required": ["version", "kind"],
}
GOOD = {"version": 1, "kind": "a", "count": None, "time": 1.5, "flag": True, "items": [{"x": ""}]}


def test_what_the_schema_says_is_right() -> None:
    """Other keys are as welcome as the known ones."""
    assert list(departures({**GOOD, "new": [None]}, SCHEMA)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version: expected 1, got 2"),
        ({"version": True}, "version: expected integer, got true"),
        ({"kind": "c"}, 'kind: expected a, b, got "c"'),
        ({"count": 0}, "count: expected 1 or more, got 0"),
        ({"count": 1.5}, "count: expected integer or null, got 1.5"),
        ({"time": float("inf")}, "time: expected number, got Infinity"),
        ({"flag": 1}, "flag: expected boolean, got 1"),
        ({"items": [{"x": ""}, {}]}, "items[1].x is missing"),
        ({"items": [{"x": ["y" * 50]}]}, f'items[0].x: expected string, got ["{"y" * 38}...'),
    ],
)
def test_a_departure_says_where_and_what(change: dict[str, Any], told: str) -> None:
    """The place as one would write it, what is expected there, and what is there."""
    assert list(departures({**GOOD, **change}, SCHEMA)) == [told]


def test_something_else_altogether() -> None:
    """The whole may not be what was thought."""
    assert list(departures([], SCHEMA)) == ["the record: expected object, got []"]


values = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["a", "z", 1.5, [], {}])
items = st.lists(values | st.fixed_dictionaries({}, optional={"x": values}), max_size=2)


@given(
    st.fixed_dictionaries(
        {}, optional={name: items if name == "items" else values for name in SCHEMA["properties"]}
    )
)
def test_it_agrees_with_the_reference(document: dict[str, Any]) -> None:
    """What it takes for right is right for a validator of JSON schemas."""
    valid = jsonschema.Draft7Validator(SCHEMA).is_valid(document)
    assert (not list(departures(document, SCHEMA))) == valid
