"""An experiment while it runs, and when it is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.events import (
    CellStarted,
    ExperimentStarted,
    ExperimentWaiting,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    Notebook,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.reports.progress import Progress, Running, Waiting, unseen

NAMES = ("1.ipynb", "2.ipynb", "3.ipynb")


@pytest.fixture
def progress() -> Progress:
    started = ExperimentStarted(
        experiment="A", at=100.0, directory=Path("A"), notebooks=NAMES, timeout_s=60.0
    )
    return Progress(nodeid="A::notebooks", worker="gw0", started=started)


def begins(position: int, at: float, **more: Any) -> NotebookStarted:
    name = NAMES[position - 1]
    return NotebookStarted(experiment="A", notebook=name, number=position, count=3, at=at, **more)


def cell(number: int, at: float, **more: Any) -> CellStarted:
    values = {"experiment": "A", "notebook": "2.ipynb", "number": number, "count": 5, "at": at}
    return CellStarted(**{**values, **more})


def ends(position: int, at: float = 110.0) -> NotebookFinished:
    result = NotebookResult(name=NAMES[position - 1], outcome=NotebookOutcome.PASSED)
    return NotebookFinished(experiment="A", number=position, count=3, at=at, result=result)


def test_where_it_is(progress: Progress) -> None:
    """Between two notebooks, while a kernel starts, and in a cell."""
    progress.follow(begins(1, 101.0))
    progress.follow(ends(1))
    between = progress.snapshot()
    assert (between.notebook, between.cell, between.finished) == (None, None, 1)
    progress.follow(begins(2, 111.0))
    starting = progress.snapshot()
    assert (starting.notebook, starting.cell) == ("2.ipynb", None)
    progress.follow(cell(4, 112.0))
    in_cell = progress.snapshot()
    assert (in_cell.cell, in_cell.cells) == (4, 5)
    progress.follow(begins(3, 113.0))
    assert progress.snapshot().cell is None


@pytest.mark.parametrize(
    ("notebook_s", "cell_s", "deadline_at"),
    [(None, None, 160.0), (20.0, None, 131.0), (20.0, 5.0, 117.0), (20.0, 50.0, 131.0)],
)
def test_the_nearest_deadline(
    progress: Progress, notebook_s: float | None, cell_s: float | None, deadline_at: float
) -> None:
    """Of the experiment, its notebook and its cell, each from its own start."""
    progress.follow(begins(2, 111.0, timeout_s=notebook_s))
    progress.follow(cell(1, 112.0, timeout_s=cell_s))
    assert progress.snapshot().deadline_at == deadline_at


def test_it_is_cut_off(progress: Progress) -> None:
    """What ran is interrupted, with the cells that were done; what was to come has not run."""
    progress.follow(begins(1, 101.0))
    progress.follow(ends(1))
    progress.follow(begins(2, 111.0))
    for number in (1, 3, 4):
        progress.follow(cell(number, 112.0))
    result = progress.cut_off(120.0)
    assert (result.outcome, result.duration_s) == (ExperimentOutcome.INTERRUPTED, 20.0)
    assert [(n.name, n.outcome.value) for n in result.notebooks] == [
        ("1.ipynb", "passed"),
        ("2.ipynb", "interrupted"),
        ("3.ipynb", "not_run"),
    ]
    running = result.notebooks[1]
    assert (running.duration_s, running.cells_executed, running.cells_total) == (9.0, 2, 5)


def test_it_is_cut_off_between_notebooks(progress: Progress) -> None:
    """Then none is interrupted; a clock that was set back makes no negative time."""
    progress.follow(ends(1))
    result = progress.cut_off(50.0)
    assert [n.outcome.value for n in result.notebooks] == ["passed", "not_run", "not_run"]
    assert result.duration_s == 0.0


def test_it_is_cut_off_before_the_first_cell(progress: Progress) -> None:
    """Nothing was executed."""
    progress.follow(begins(1, 101.0))
    (notebook, *_) = progress.cut_off(102.0).notebooks
    assert (notebook.cells_executed, notebook.cells_total) == (0, 0)


def test_no_event_came() -> None:
    """All notebooks have not run."""
    notebooks = tuple(Notebook(path=Path("A") / name) for name in NAMES)
    experiment = Experiment(name="A", directory=Path("A"), notebooks=notebooks)
    result = unseen(experiment, "A::notebooks", "gw0", 100.0).cut_off(101.0)
    assert [n.name for n in result.notebooks] == list(NAMES)
    assert {n.outcome for n in result.notebooks} == {NotebookOutcome.NOT_RUN}


def test_it_waits() -> None:
    """Only its name, and what it waits for, is known."""
    event = ExperimentWaiting(experiment="A", at=105.0, reason="needs 1 gpu")
    waiting = Waiting(nodeid="A::notebooks", worker="gw0", since=100.0, event=event)
    assert waiting.snapshot() == Running(experiment="A", started_at=100.0, waits_for="needs 1 gpu")
