"""What is added to a failure after notebooks were reused, or files were read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.model import Failure, FailureKind, NotebookOutcome
from pytest_nbgroups.resume.aftermath import (
    is_for_want_of_a_file,
    lost_files,
    with_lost,
    with_reading,
)
from pytest_nbgroups.resume.checkpoint import FileState, Step

STATE = FileState(size=1, mtime_ns=1, ctime_ns=1, inode=1, sha256="x", settled=True)
GONE = "{} from {} is gone; that notebook was reused"


def failure(message: str, kind: FailureKind = FailureKind.CELL, **more: Any) -> Failure:
    return Failure(kind=kind, message=message, evidence=("known",), **more)


def step(name: str, *files: str) -> Step:
    states = dict.fromkeys(files, STATE)
    return Step(name=name, outcome=NotebookOutcome.PASSED, files=states)


def test_a_deadline_says_what_went_to_files() -> None:
    """No cell took that time; other failures have nothing to do with it."""
    late = failure("x", FailureKind.DEADLINE)
    fact = "4.00s of the experiment went to recording its files for --experiment-resume"
    assert with_reading(late, 4).evidence == ("known", fact)
    assert with_reading(late, 0.5) == late
    assert with_reading(failure("x"), 4) == failure("x")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '../data/x.csv'", True),
        ("RuntimeError: /data/x.nii does not exist", True),
        ("Error in file: cannot find 'x.csv'", True),
        ("ValueError: bad value", False),
    ],
)
def test_failures_for_want_of_a_file(message: str, expected: bool) -> None:  # noqa: FBT001
    """Whatever the language."""
    assert is_for_want_of_a_file(failure(message)) is expected
    assert is_for_want_of_a_file(failure("CalledProcessError", output=message)) is expected


def test_what_reused_notebooks_had_left_and_is_gone(tmp_path: Path) -> None:
    """What the last left; of what earlier ones left, only what the failure is about."""
    here = tmp_path / "experiments" / "A"
    here.mkdir(parents=True)
    (here / "kept").touch()
    steps = [step("1", "kept", "early", "../b"), step("2", "kept", "../b")]
    assert lost_files(steps, str(here), failure("x")) == (GONE.format("../b", "1"),)
    (here.parent / "b").touch()
    assert lost_files(steps, str(here), failure("x")) == ()
    assert lost_files(steps, str(here), failure("no early")) == (GONE.format("early", "1"),)
    many = step("3", *"abcde")
    assert lost_files([many], str(here), failure("x"))[2:] == (
        GONE.format("c", "3"),
        "and 2 more files",
    )


def test_the_remedy_is_to_run_all() -> None:
    """Unless the failure has one of its own."""
    explained = with_lost(failure("x"), [GONE])
    assert explained.evidence == ("known", GONE)
    assert explained.remedy.startswith("run all notebooks again, as below")
    assert with_lost(failure("x", remedy="own"), []).remedy == "own"
