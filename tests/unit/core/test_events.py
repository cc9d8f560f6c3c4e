from __future__ import annotations

import dataclasses
import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.codec import plain, rebuild
from pytest_nbgroups.core.errors import DataError
from pytest_nbgroups.core.events import (
    CellStarted,
    Event,
    ExperimentFinished,
    ExperimentStarted,
    NotebookFinished,
    NotebookStarted,
    from_dict,
    to_dict,
)
from pytest_nbgroups.core.model import (
    CellReference,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Budget, Gpu, Resources
from pytest_nbgroups.core.units import Size

text = st.text(max_size=10)
count = st.integers(1, 2**63 - 1)
number = st.floats(allow_nan=False)
path = st.lists(st.text("ab é.", min_size=1, max_size=4), max_size=3).map(lambda p: Path(*p))
cell = st.builds(
    CellReference,
    number=count,
    count=count,
    source=text,
    execution_count=st.none() | count,
    line=st.none() | count,
)
failure = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    message=text,
    cell=st.none() | cell,
    traceback=text,
    output=text,
    evidence=st.lists(text, max_size=2).map(tuple),
    remedy=text,
)
notebook_result = st.builds(
    NotebookResult,
    name=text,
    outcome=st.sampled_from(NotebookOutcome),
    reason=st.none() | text,
    duration_s=number,
    kernel=st.none() | text,
    plain_start=st.none() | text,
    cells_total=count,
    cells_executed=count,
    executed_path=st.none() | path,
    log_path=st.none() | path,
    failure=st.none() | failure,
)
experiment_result = st.builds(
    ExperimentResult,
    name=text,
    directory=path,
    outcome=st.sampled_from(ExperimentOutcome),
    notebooks=st.lists(notebook_result, max_size=2).map(tuple),
    reason=st.none() | text,
    started_at=number,
    duration_s=number,
    error=st.none() | failure,
    warnings=st.lists(text, max_size=2).map(tuple),
)
common: dict[str, Any] = {"experiment": text, "at": number}
numbered: dict[str, Any] = {**common, "number": count, "count": count}
timeout = st.none() | number
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        ExperimentStarted,
        **common,
        directory=path,
        notebooks=st.lists(text).map(tuple),
        timeout_s=timeout,
    ),
    st.builds(NotebookStarted, **numbered, notebook=text, timeout_s=timeout),
    st.builds(CellStarted, **numbered, notebook=text, timeout_s=timeout),
    st.builds(NotebookFinished, **numbered, result=notebook_result),
    st.builds(ExperimentFinished, **common, result=experiment_result),
)


@given(events)
def test_events_travel_as_json(event: Event) -> None:
    """What a worker sends is what the controller gets."""
    received = from_dict(json.loads(json.dumps(to_dict(event))))
    assert received == event
    assert types_of(received) == types_of(event)


def types_of(value: Any) -> Any:
    """The types of a value and of all within: an enum equals its text, a tuple must not be a list."""
    if isinstance(value, Enum | Path) or value is None:
        return type(value)
    if isinstance(value, tuple | list):
        return type(value), [types_of(item) for item in value]
    if dataclasses.is_dataclass(value):
        return type(value), [types_of(getattr(value, f.name)) for f in dataclasses.fields(value)]
    return type(value)


def test_the_class_is_named() -> None:
    """The reader of a record finds which fact it is."""
    event = CellStarted(experiment="A", at=1.5, notebook="1.ipynb", number=2, count=3)
    assert to_dict(event) == {
        "event": "CellStarted",
        "experiment": "A",
        "at": 1.5,
        "notebook": "1.ipynb",
        "number": 2,
        "count": 3,
        "timeout_s": None,
    }


def test_unknown_events_are_refused() -> None:
    """A record of another version may hold some."""
    with pytest.raises(DataError, match=r"event: expected .*ExperimentFinished, got .CellSkipped"):
        from_dict({"event": "CellSkipped"})


def test_fields_may_be_added_and_left_out() -> None:
    """An older reader passes over what it does not know, a newer one fills in what is missing."""
    data = {
        "event": "ExperimentStarted",
        "experiment": "A",
        "at": 0.0,
        "directory": "d",
        "notebooks": [],
        "mood": 1,
    }
    assert from_dict(data) == ExperimentStarted(
        experiment="A", at=0.0, directory=Path("d"), notebooks=()
    )


def test_a_budget_travels_to_workers() -> None:
    """Other values of the model are carried the same way."""
    gpu = Gpu(uuid="GPU-1", index=0, name="H", total_bytes=10, free_bytes=5, unified=True)
    budget = Budget(
        cpus=2.5, cpus_source="s", ram_bytes=1, ram_capacity_bytes=2, ram_source="r", gpus=(gpu,)
    )
    assert rebuild(Budget, json.loads(json.dumps(plain(budget)))) == budget


def test_resources_travel() -> None:
    """Sizes within them remember how they were declared."""
    resources = Resources(ram=Size(4 * 10**9, "4GB"), locks=("a",), gpus=1)
    copy = rebuild(Resources, json.loads(json.dumps(plain(resources))))
    assert copy == resources
    assert str(copy.ram) == "4GB"


def test_mappings_become_objects() -> None:
    """JSON has texts for keys alone."""
    assert plain({1: (FailureKind.CELL, Path("a/b"))}) == {"1": ["cell", str(Path("a/b"))]}
