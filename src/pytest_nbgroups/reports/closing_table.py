"""The table at the end of a session: rows from the record, lines for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, NotebookOutcome
from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.core.units import counted, format_duration
from pytest_nbgroups.reports.failure import failure_headline
from pytest_nbgroups.reports.grid import Layout, grid_lines
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.record import ExperimentRecord
from pytest_nbgroups.reports.usage import gpus_text, peak_text
from pytest_nbgroups.reports.waits import waited_text

REUSED_SHOWN = 5
"""Number of wholly reused experiments that are shown; if there are more, a line counts them."""
_NOT_RUN = {NotebookOutcome.REUSED, NotebookOutcome.SKIPPED}

NUMBERS = frozenset({"notebooks", "time", "peak memory"})
"""Columns that are aligned at the right."""
_LAYOUT = Layout(
    right=NUMBERS,
    names="experiment",
    dispensable=("worker", "GPUs", "peak memory", "notebooks"),
    notes="reason",
    note_lines=3,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment; its texts are single lines without control characters."""

    nodeid: str
    experiment: str
    outcome: ExperimentOutcome
    notebooks: str
    """``5/7``: passed or reused, of all."""
    duration_s: float
    peak: str
    """``1.2 GiB``; empty if no memory was measured."""
    gpus: str
    """``0,1``; empty if it held none."""
    worker: str
    reason: str
    is_reused: bool = False
    """True if nothing ran, because all its notebooks are reused."""


@dataclass(frozen=True, kw_only=True)
class TableLine:
    """A line of the table; ``outcome`` is None for its header."""

    text: str
    outcome: ExperimentOutcome | None = None


def table_rows(
    experiments: Iterable[ExperimentRecord], *, gpus: Sequence[Gpu] = ()
) -> tuple[Row, ...]:
    """Return a row for each experiment, in the order given; ``gpus`` are those of the budget."""
    return tuple(_row(experiment, gpus) for experiment in experiments)


def _row(experiment: ExperimentRecord, gpus: Sequence[Gpu]) -> Row:
    result = experiment.result
    done = sum(notebook.outcome.is_done for notebook in result.notebooks)
    return Row(
        nodeid=experiment.nodeid,
        experiment=one_line(result.name),
        outcome=result.outcome,
        notebooks=f"{done}/{len(result.notebooks)}",
        duration_s=result.duration_s,
        peak=peak_text(result.usage),
        gpus=gpus_text(result.lease, gpus),
        worker=one_line(experiment.worker),
        reason="; ".join(_reasons(experiment)),
        is_reused=_is_reused(result),
    )


def _is_reused(result: ExperimentResult) -> bool:
    outcomes = {notebook.outcome for notebook in result.notebooks}
    return NotebookOutcome.REUSED in outcomes and outcomes <= _NOT_RUN


def _reasons(experiment: ExperimentRecord) -> Iterable[str]:
    result = experiment.result
    if headline := failure_headline(result):
        yield headline
    elif skipped := sum(n.outcome is NotebookOutcome.SKIPPED for n in result.notebooks):
        yield f"{counted(skipped, 'notebook')} skipped"
    if result.reuse is not None:
        yield one_line(result.reuse)
    if len(experiment.attempts) > 1:
        yield f"attempt {len(experiment.attempts)}"
    if waited := waited_text(result):
        yield waited


def without_reused(rows: Sequence[Row]) -> tuple[tuple[Row, ...], str]:
    """Return the rows to show, and a line that counts the reused experiments if they are many."""
    left = tuple(row for row in rows if not row.is_reused)
    count = len(rows) - len(left)
    return (left, reused_line(count)) if count > REUSED_SHOWN else (tuple(rows), "")


def reused_line(count: int) -> str:
    """Render the line for experiments that are wholly reused."""
    return f"{count} experiments with all notebooks reused; -v shows each"


def totals(rows: Iterable[Row]) -> str:
    """Count the experiments of each outcome: ``1 failed, 3 passed``."""
    counts = Counter(row.outcome for row in rows)
    order = (
        ExperimentOutcome.FAILED,
        ExperimentOutcome.INTERRUPTED,
        ExperimentOutcome.PASSED,
        ExperimentOutcome.SKIPPED,
    )
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in order if counts[outcome])


def table_lines(rows: Sequence[Row], width: int) -> list[TableLine]:
    """Render the table with its header, no line wider than ``width``; nothing without rows.

    If it is too wide, reasons go below their rows. Then names are shortened, and at last the columns
    for worker, GPUs, peak memory and notebooks are left out, in this order.
    """
    if not rows:
        return []
    outcomes = [None, *(row.outcome for row in rows)]
    return [
        TableLine(text=line, outcome=outcome)
        for outcome, lines in zip(outcomes, grid_lines(columns(rows), _LAYOUT, width), strict=True)
        for line in lines
    ]


def columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the cells of each column, by its header."""
    return {
        "experiment": [row.experiment for row in rows],
        "outcome": [row.outcome.value for row in rows],
        "notebooks": [row.notebooks for row in rows],
        "time": [format_duration(row.duration_s) for row in rows],
        "peak memory": [row.peak for row in rows],
        "GPUs": [row.gpus for row in rows],
        "worker": [row.worker for row in rows],
        "reason": [row.reason for row in rows],
    }
