"""Deadlines: which limit ends first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.execution.deadlines import Limit, limit, nearest


def test_a_limit_begins_now() -> None:
    """No seconds, no limit."""
    assert limit("cell", 5, 100) == Limit(of="cell", seconds=5, ends_at=105)
    assert limit("cell", None, 100) is None


def test_the_first_to_end_counts() -> None:
    """Among equals the first named, which is the narrower."""
    notebook = limit("notebook", 30, 0)
    cell = limit("cell", 10, 20)
    assert nearest(cell, notebook) is cell
    assert nearest(notebook, None, limit("experiment", 31, 0)) is notebook
    assert nearest(None, None) is None
    assert nearest() is None


@given(st.lists(st.none() | st.floats(0, 100), max_size=5))
def test_nothing_ends_before_the_nearest(ends: list[float | None]) -> None:
    """Whatever limits there are."""
    found = nearest(*(limit("cell", end, 0) for end in ends))
    there = [end for end in ends if end is not None]
    assert (found.ends_at if found else None) == min(there, default=None)


@pytest.mark.parametrize(
    ("of", "description", "remedy"),
    [
        (
            "cell",
            "the cell's limit of 1m30s",
            "raise it with cell_timeout in experiment.toml or --experiment-cell-timeout",
        ),
        (
            "notebook",
            "the notebook's limit of 1m30s",
            (
                "raise it with notebook_timeout or the notebook's own timeout in experiment.toml or "
                "--experiment-notebook-timeout"
            ),
        ),
        (
            "experiment",
            "the experiment's limit of 1m30s",
            "raise it with timeout in experiment.toml or --experiment-timeout",
        ),
    ],
)
def test_a_limit_is_described(of: str, description: str, remedy: str) -> None:
    """With where to change it."""
    found = Limit(of=of, seconds=90, ends_at=0)  # type: ignore[arg-type]
    assert found.describe() == description
    assert found.remedy() == remedy
