"""Values travel as JSON, and nothing that is not as annotated comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.codec import Amount, Count, Position, plain, rebuild
from pytest_nbgroups.core.errors import DataError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    position: Position
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: Count = 0
    amount: Amount = 0.0
    number: float = 0.0
    flag: bool = False
    colour: Colour = Colour.RED
    word: Literal["a", "b"] = "a"
    path: Path = Path()
    either: int | str = 0
    one: Inner | None = None
    many: tuple[Inner, ...] = ()
    row: tuple[int, str] = (0, "")
    named: Mapping[str, Inner] = field(default_factory=dict)


inner = st.builds(Inner, position=st.integers(1, 9), note=st.text())
outer = st.builds(
    Outer,
    name=st.text(),
    count=st.integers(0, 2**63 - 1),
    amount=st.floats(0, 2**62) | st.integers(0, 9),
    number=st.floats(allow_nan=False),
    flag=st.booleans(),
    colour=st.sampled_from(Colour),
    word=st.sampled_from(["a", "b"]),
    path=st.sampled_from([Path("a/b"), Path()]),
    either=st.integers() | st.text(),
    one=st.none() | inner,
    many=st.lists(inner, max_size=2).map(tuple),
    row=st.tuples(st.integers(), st.text()),
    named=st.dictionaries(st.text(), inner, max_size=2),
)


@given(outer)
def test_round_trip(value: Outer) -> None:
    """What was written is what is read."""
    assert rebuild(Outer, json.loads(json.dumps(plain(value)))) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name: expected string, got null"),
        ({"name": 3}, "name: expected string, got 3"),
        ({"count": True}, "count: expected integer, got true"),
        ({"count": 1.0}, "count: expected integer, got 1.0"),
        ({"count": -1}, f"count: expected 0 or more, below {2**63}, got -1"),
        ({"count": 2**63}, f"count: expected 0 or more, below {2**63}, got {2**63}"),
        ({"amount": float("nan")}, f"amount: expected 0 or more, below {2**63}, got NaN"),
        ({"amount": "1"}, 'amount: expected number, got "1"'),
        ({"flag": 1}, "flag: expected boolean, got 1"),
        ({"colour": "green"}, 'colour: expected red, blue, got "green"'),
        ({"word": ["a"]}, 'word: expected a, b, got ["a"]'),
        ({"path": 1}, "path: expected string, got 1"),
        ({"either": None}, "either: expected integer or string, got null"),
        ({"one": []}, "one: expected object or null, got []"),
        ({"one": {}}, "one.position is missing"),
        ({"many": {}}, "many: expected array, got {}"),
        ({"many": [{"position": 1}, {"position": 0}]}, "many[1].position: expected 1 or more"),
        ({"row": [1]}, "row: expected array of 2, got [1]"),
        ({"row": [1, 2]}, "row[1]: expected string, got 2"),
        ({"named": {"a b": {"position": "x"}}}, 'named["a b"].position: expected integer'),
        ({"name": ["y" * 50]}, f'name: expected string, got ["{"y" * 38}...'),
    ],
)
def test_departure(change: dict[str, Any], message: str) -> None:
    """The message has the path of the field, what is expected there, and the value."""
    with pytest.raises(DataError) as caught:
        rebuild(Outer, {"name": "x", **change})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_no_object(value: Any) -> None:
    """The whole may be something else."""
    with pytest.raises(DataError, match="the whole: expected object, got "):
        rebuild(Outer, value)


def test_missing_and_unknown_fields() -> None:
    """A missing field takes its default; an unknown field is ignored."""
    assert rebuild(Outer, {"name": "x", "later": 1}) == Outer(name="x")
    with pytest.raises(DataError, match=r"^name is missing$"):
        rebuild(Outer, {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=6,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Outer.__dataclass_fields__, json_values)))
def test_any_value(data: Any) -> None:
    """Whatever a field holds, it is read or refused."""
    try:
        value = rebuild(Outer, data)
    except DataError:
        return
    assert plain(rebuild(Outer, plain(value))) == plain(value) or value.number != value.number
