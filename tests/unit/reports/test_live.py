from __future__ import annotations

from typing import Any

import pytest
from report_samples import (
    NAMES,
    REASON,
    failed,
    notebook_finished,
    notebook_started,
    passed,
    result,
    unrun,
    usage,
    waiting,
)

from pytest_nbgroups.core.model import NotebookOutcome, NotebookResult
from pytest_nbgroups.reports.live import (
    notebook_line,
    running_line,
    starting_line,
    stopping_line,
    waiting_line,
)
from pytest_nbgroups.reports.progress import Running


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (passed(), "Heart 2/3 1-load.ipynb passed in 3.21s"),
        (passed(usage=usage()), "Heart 2/3 1-load.ipynb passed in 3.21s, 6 GiB"),
        (
            passed(usage=usage(), plain_start="it does not run ipykernel"),
            "Heart 2/3 1-load.ipynb passed in 3.21s, 6 GiB, started plainly (it does not run ipykernel)",
        ),
        (
            failed(usage=usage(is_upper_bound=True), failure=None),
            "Heart 2/3 2-fit.ipynb failed in 1m11s, <= 6 GiB",
        ),
        (failed(), "Heart 2/3 2-fit.ipynb failed in 1m11s: cell 5: ValueError: bad value"),
        (failed(failure=None), "Heart 2/3 2-fit.ipynb failed in 1m11s"),
        (
            NotebookResult(name="a.ipynb", outcome=NotebookOutcome.SKIPPED, reason="needs\nDocker"),
            "Heart 2/3 a.ipynb skipped: needs Docker",
        ),
        (
            NotebookResult(name="a.ipynb", outcome=NotebookOutcome.REUSED),
            "Heart 2/3 a.ipynb reused",
        ),
        (unrun(), "Heart 2/3 3-eval.ipynb not run"),
        (
            passed(outcome=NotebookOutcome.INTERRUPTED),
            "Heart 2/3 1-load.ipynb interrupted after 3.21s",
        ),
        (
            passed(outcome=NotebookOutcome.INTERRUPTED, usage=usage()),
            "Heart 2/3 1-load.ipynb interrupted after 3.21s, 6 GiB",
        ),
    ],
)
def test_a_line_for_each_notebook(outcome: NotebookResult, line: str) -> None:
    """With ``-v``, as it finishes: what became of it, how long it took and its peak of memory."""
    assert notebook_line(notebook_finished(2, 1.0, outcome)) == line


def test_the_worker_is_named_where_there_are_workers() -> None:
    """As pytest-xdist does in front of its own lines."""
    line = notebook_line(notebook_finished(1, 1.0, passed()), worker="gw1")
    assert line == "[gw1] Heart 1/3 1-load.ipynb passed in 3.21s"


def running(**changes: Any) -> Running:
    values: dict[str, Any] = {
        "experiment": "Heart",
        "started_at": 1000.0,
        "notebooks": NAMES,
        "finished": 1,
        "notebook": "2-fit.ipynb",
        "cell": 5,
        "cells": 12,
    }
    return Running(**{**values, **changes})


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (running(), "Heart: notebook 2/3 2-fit.ipynb, cell 5/12, 12m03s"),
        (running(cell=None), "Heart: notebook 2/3 2-fit.ipynb, starting its kernel, 12m03s"),
        (running(notebook=None), "Heart: 1/3 notebooks finished, 12m03s"),
        (
            running(deadline_at=1723.0 + 47 * 60 + 59),
            "Heart: notebook 2/3 2-fit.ipynb, cell 5/12, 12m03s, deadline in 47m",
        ),
        (
            running(notebook=None, deadline_at=1723.0 + 5399),
            "Heart: 1/3 notebooks finished, 12m03s, deadline in 1h29m",
        ),
        (
            running(notebook=None, deadline_at=1723.0 + 9.5),
            "Heart: 1/3 notebooks finished, 12m03s, deadline in 9.50s",
        ),
        (
            running(notebook=None, deadline_at=1723.0),
            "Heart: 1/3 notebooks finished, 12m03s, past its deadline",
        ),
    ],
)
def test_a_line_for_what_runs(state: Running, line: str) -> None:
    """Where there is no terminal, once a minute: how far it is, and how long it may take."""
    assert running_line(state, now=1723.0) == line


def test_a_line_for_what_waits() -> None:
    """What it lacks, and who holds that: when it begins to wait, and once a minute."""
    assert waiting_line(waiting()) == f"Heart waits: {REASON}"
    assert waiting_line(waiting(), worker="gw1") == f"[gw1] Heart waits: {REASON}"
    state = Running(experiment="Heart", started_at=1000.0, waits_for=REASON)
    assert running_line(state, now=1723.0) == f"Heart has waited 12m03s: {REASON}"


def test_clocks_of_two_machines_may_differ() -> None:
    """A start in the future is no negative duration."""
    assert running_line(running(started_at=2000.0), now=1723.0).endswith("cell 5/12, 0.00s")


def test_a_title_above_what_a_notebook_prints() -> None:
    """With ``-s`` the output of several notebooks comes one after the other."""
    assert starting_line(notebook_started(2, 1.0)) == "--- Notebook 2/3: 2-fit.ipynb ---"


def test_a_stop_says_why_and_what_was_not_run() -> None:
    """All notebooks that remain are named."""
    notebooks = (failed("3-eval.ipynb"), unrun("4-report.ipynb"), unrun("5-plots.ipynb"))
    assert stopping_line(result(notebooks=notebooks)) == (
        "Stopping Heart: 3-eval.ipynb failed; not run: 4-report.ipynb, 5-plots.ipynb"
    )


def test_a_stop_at_the_last_notebook_leaves_nothing() -> None:
    """There is no list of none."""
    assert stopping_line(result(notebooks=(failed(),))) == "Stopping Heart: 2-fit.ipynb failed"


def test_an_interruption_stops_too() -> None:
    """Ctrl-C, or ``-x`` after a failure elsewhere."""
    notebooks = (passed("a.ipynb", outcome=NotebookOutcome.INTERRUPTED), unrun("b.ipynb"))
    assert stopping_line(result("interrupted", notebooks=notebooks)) == (
        "Stopping Heart: a.ipynb interrupted; not run: b.ipynb"
    )


def test_nothing_stops_what_passes() -> None:
    """There is no line then."""
    assert stopping_line(result("passed")) is None
