"""A record that comes from elsewhere is as the schema describes it, or the first departure is named."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.reports.conformity import fault, parsed
from pytest_nbgroups.reports.session_schema import session_schema

EXPERIMENT: dict[str, Any] = {
    "name": "A",
    "nodeid": "A::notebooks",
    "directory": "A",
    "outcome": "passed",
    "reason": None,
    "attempts": [],
}
SHARD = {
    "index": 1,
    "count": 2,
    "digest": "d",
    "weights_digest": None,
    "total": 3,
    "nodeids": ["A::notebooks"],
}
GOOD: dict[str, Any] = {
    "schema": 1,
    "id": "x",
    "pytest_version": "9",
    "plugin_version": "1",
    "python_version": "3",
    "argv": [],
    "rootdir": "/repo",
    "started_at": 1.5,
    "finished_at": None,
    "exit_status": 1,
    "budget": None,
    "workers": [],
    "warnings": [],
    "shard": SHARD,
    "shards": [],
    "experiments": [EXPERIMENT],
}


def test_conforming_record() -> None:
    """Unknown keys are allowed."""
    assert fault({**GOOD, "new": [None]}) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "schema: expected 1, got 2"),
        (["schema"], True, "schema: expected integer, got true"),
        (["exit_status"], "x", 'exit_status: expected integer or null, got "x"'),
        (["started_at"], None, "started_at: expected number, got null"),
        (["argv"], 1, "argv: expected array, got 1"),
        (["argv"], [1], "argv[0]: expected string, got 1"),
        (["shard", "index"], 0, "shard.index: expected 1 or more, got 0"),
        (["shard", "total"], 2**63, f"shard.total: expected less than {2**63}, got {2**63}"),
        (["experiments", 0], 1, "experiments[0]: expected object, got 1"),
        (["experiments", 0, "name"], 1, "experiments[0].name: expected string, got 1"),
        (
            ["experiments", 0, "outcome"],
            "x",
            'experiments[0].outcome: expected passed, failed, skipped, interrupted, got "x"',
        ),
        (["id"], ["y" * 50], f'id: expected string, got ["{"y" * 38}...'),
    ],
)
def test_fault(path: list[Any], value: Any, message: str) -> None:
    """It has the place, what is expected there, and the value."""
    assert fault(changed(path, value)) == message


def changed(path: list[Any], value: Any) -> Any:
    record = copy.deepcopy(GOOD)
    at: Any = record
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return record


def test_missing_key() -> None:
    """It is named with its place."""
    assert fault({}) == "schema is missing"
    assert fault(changed(["experiments", 0], {})) == "experiments[0].name is missing"


def test_no_record() -> None:
    """The whole may be something else."""
    assert fault([]) == "the whole: expected object, got []"


values = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["a", 1.5, [], {}, [{}]])


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), values, max_size=2))
def test_reference(change: dict[str, Any]) -> None:
    """Another validator of JSON schemas accepts and refuses the same records."""
    record = {**GOOD, **change}
    valid = jsonschema.Draft7Validator(session_schema()).is_valid(record)
    assert (fault(record) is None) == valid


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_finite_numbers(number: str) -> None:
    """Nothing can be computed with others."""
    with pytest.raises(ValueError, match="is not a finite number"):
        parsed(f"[{number}]")
