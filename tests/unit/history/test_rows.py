"""What a session knows, as rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nbgroups.core.model import (
    ExperimentOutcome,
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Lease, Need, Usage
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.rows import (
    StoredAttempt,
    attempt_row,
    machine_row,
    notebook_row,
    result_row,
)
from pytest_nbgroups.history.tables import EXPERIMENTS, MACHINES, NOTEBOOKS

ATTEMPT = StoredAttempt(name="A", started_at=1.0, nodeid="A::notebooks", worker="gw0")
RESULT = ExperimentResult(name="A", directory=Path("A"), outcome=ExperimentOutcome.PASSED)


def notebook(outcome: NotebookOutcome) -> NotebookResult:
    return NotebookResult(name="1.ipynb", outcome=outcome, usage=Usage(peak_bytes=7, cpu_s=2.0))


@pytest.mark.parametrize(
    ("outcome", "notebooks", "is_complete"),
    [
        (ExperimentOutcome.PASSED, [NotebookOutcome.PASSED], True),
        (ExperimentOutcome.PASSED, [NotebookOutcome.SKIPPED], True),
        (ExperimentOutcome.PASSED, [NotebookOutcome.PASSED, NotebookOutcome.REUSED], False),
        (ExperimentOutcome.FAILED, [NotebookOutcome.PASSED], False),
    ],
)
def test_which_runs_are_complete(
    outcome: ExperimentOutcome, notebooks: list[NotebookOutcome], *, is_complete: bool
) -> None:
    """Estimates rest on these: a run that reused something took less."""
    of = replace(RESULT, outcome=outcome, notebooks=tuple(map(notebook, notebooks)))
    assert result_row(ATTEMPT, of)["is_complete"] is is_complete


def test_rows_have_the_columns_of_their_tables() -> None:
    """No name that the table has not; of an attempt, all of them from the start."""
    lease = Lease(need=Need(cpus=1, ram_bytes=2, ram_source="declared"), gpus=("G1", "G2"))
    of = replace(RESULT, lease=lease, notebooks=(notebook(NotebookOutcome.PASSED),))
    assert set(attempt_row(ATTEMPT)) == set(EXPERIMENTS.column_names)
    assert set(result_row(ATTEMPT, of)) == set(EXPERIMENTS.column_names)
    assert set(notebook_row(1, 2, of.notebooks[0])) <= set(NOTEBOOKS.column_names)
    machine = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=1)
    assert set(machine_row(machine)) == set(MACHINES.column_names)
    row = result_row(ATTEMPT, of)
    assert (row["gpus"], row["ram_source"], row["notebooks"]) == (2, "declared", 1)
    assert (row["peak_bytes"], row["cpu_s"]) == (7, 2.0)


def test_what_was_not_measured_is_null() -> None:
    """Not zero, which an estimate would take for a small number."""
    row = result_row(ATTEMPT, RESULT)
    names = ("peak_bytes", "cpu_s", "gpu_bytes", "is_upper_bound", "cpus", "waited_s")
    assert {row[name] for name in names} == {None}


def test_names_that_are_no_text() -> None:
    """SQLite takes UTF-8 alone, and a file may have any bytes for a name."""
    assert attempt_row(replace(ATTEMPT, name="a\udcff"))["name"] == "a\\udcff"
