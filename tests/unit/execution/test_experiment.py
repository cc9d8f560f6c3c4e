"""What a run adds to the results of its notebooks."""

from __future__ import annotations

from pathlib import Path

from pytest_nbgroups.execution.experiment import _with_reading
from pytest_nbgroups.execution.halting import Halts
from pytest_nbgroups.execution.holding import Holding
from pytest_nbgroups.execution.resuming import Attempt
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.model import (
    Experiment,
    Failure,
    FailureKind,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.settings import Settings


def evidence(tmp_path: Path, kind: FailureKind, *, spent_s: float) -> tuple[str, ...]:
    """Of a notebook that failed after so much time has gone to files."""
    experiment = Experiment(name="A", directory=tmp_path, notebooks=())
    settings = Settings(rootdir=tmp_path, artifacts=tmp_path / ".experiments")
    attempt = Attempt(experiment, settings, session="1", env={})
    attempt.bounds.spent_s = spent_s
    run = Run(
        experiment=experiment,
        listener=lambda _event: None,
        holding=Holding(),
        halts=Halts(None),
        attempt=attempt,
    )
    failure = Failure(kind=kind, message="x", evidence=("known",))
    failed = NotebookResult(name="1.ipynb", outcome=NotebookOutcome.FAILED, failure=failure)
    result = _with_reading(run, failed)
    assert result.failure is not None
    return result.failure.evidence


def test_a_deadline_says_what_went_to_files(tmp_path: Path) -> None:
    """No cell took that time; other failures have nothing to do with it."""
    fact = "4.00s of the experiment went to recording its files for --experiment-resume"
    assert evidence(tmp_path, FailureKind.DEADLINE, spent_s=4) == ("known", fact)
    assert evidence(tmp_path, FailureKind.DEADLINE, spent_s=0.5) == ("known",)
    assert evidence(tmp_path, FailureKind.CELL, spent_s=4) == ("known",)
