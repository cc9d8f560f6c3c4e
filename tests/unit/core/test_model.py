"""What follows from the values of an experiment and of its result."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    Notebook,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Usage


def result(*notebooks: NotebookResult, error: Failure | None = None) -> ExperimentResult:
    return ExperimentResult(
        name="A",
        directory=Path("A"),
        outcome=ExperimentOutcome.FAILED,
        notebooks=notebooks,
        error=error,
    )


def notebook(name: str = "1.ipynb", **more: object) -> NotebookResult:
    return NotebookResult(name=name, outcome=NotebookOutcome.PASSED, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", NotebookOutcome)
def test_outcomes_of_notebooks(outcome: NotebookOutcome) -> None:
    """None is both done and an end; those skipped or not run are neither."""
    done = {NotebookOutcome.PASSED, NotebookOutcome.REUSED}
    ends = {NotebookOutcome.FAILED, NotebookOutcome.INTERRUPTED}
    assert (outcome.is_done, outcome.ends_experiment) == (outcome in done, outcome in ends)


def test_the_use_of_all_notebooks() -> None:
    """Notebooks run in turn, so peaks are not added and CPU time is."""
    found = result(
        notebook(usage=Usage(peak_bytes=5, is_upper_bound=True, cpu_s=1.0)),
        notebook(),
        notebook(usage=Usage(peak_bytes=9, cpu_s=2.0, gpu_bytes=3)),
        notebook(usage=Usage(peak_bytes=1, cpu_s=4.0, gpu_bytes=7)),
    ).usage
    assert found == Usage(peak_bytes=9, is_upper_bound=False, cpu_s=7.0, gpu_bytes=7)


def test_nothing_was_measured() -> None:
    """There is no use rather than a use of zero, of GPU memory too."""
    assert result(notebook(), notebook()).usage is None
    found = result(notebook(usage=Usage(peak_bytes=1))).usage
    assert found is not None
    assert found.gpu_bytes is None


def test_the_failure_to_tell_of() -> None:
    """The experiment's own, else that of the first notebook that has one."""
    own = Failure(kind=FailureKind.LEASE, message="own")
    first, second = (Failure(kind=FailureKind.CELL, message=each) for each in ("first", "second"))
    failed = (notebook(), notebook("2", failure=first), notebook("3", failure=second))
    assert result(*failed).failure is first
    assert result(*failed).failed_notebook is failed[1]
    assert result(*failed, error=own).failure is own
    assert result(notebook()).failure is None


def test_a_place_is_the_same_through_a_link(tmp_path: Path) -> None:
    """Two names of one directory exclude each other; independent notebooks of it do not."""
    (tmp_path / "A").mkdir()
    (tmp_path / "link").symlink_to("A", target_is_directory=True)

    def place(directory: str, member: str | None = None) -> str:
        made = Experiment(name="A", directory=tmp_path / directory, notebooks=(), member=member)
        return made.place

    assert place("A") == place("link") == place("A/../A") == f"{tmp_path.resolve()}/A::notebooks"
    assert place("A", "1-load") == f"{tmp_path.resolve()}/A::1-load"


def test_which_notebooks_are_its_own() -> None:
    """Those selected; any, if it cannot be known which would be."""
    path = Path("A/1.ipynb")
    made = Experiment(name="A", directory=Path("A"), notebooks=(Notebook(path=path),))
    assert made.holds(path)
    assert not made.holds(Path("A/2.ipynb"))
    broken = Experiment(name="A", directory=Path("A"), notebooks=(), problem="bad TOML")
    assert broken.holds(path)
