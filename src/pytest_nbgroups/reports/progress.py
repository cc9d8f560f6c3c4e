"""State of an experiment while it runs, and its result if it ended without a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)


@dataclass(frozen=True, kw_only=True)
class Running:
    """An experiment that runs now, or waits for its lease. Times are seconds since the epoch."""

    experiment: str
    started_at: float
    """Start of its run or, as long as it waits, of its wait."""
    notebooks: tuple[str, ...] = ()
    """In order; not known while it waits."""
    finished: int = 0
    """Number of notebooks that are over, the skipped ones included."""
    notebook: str | None = None
    """None between two notebooks."""
    cell: int | None = None
    """1-based number of the running cell; None while the kernel starts."""
    cells: int | None = None
    deadline_at: float | None = None
    """The earliest deadline of experiment, notebook and cell."""
    waits_for: str | None = None
    """The lacking resource and its holders; None once it runs."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An experiment without a lease yet. Only its name is known."""

    nodeid: str
    worker: str
    since: float
    event: ExperimentWaiting
    """The newest."""

    def snapshot(self) -> Running:
        return Running(
            experiment=self.event.experiment,
            started_at=self.since,
            waits_for=self.event.reason,
        )


@dataclass(kw_only=True)
class Progress:
    """An experiment while it runs."""

    nodeid: str
    worker: str
    started: ExperimentStarted
    finished: list[NotebookResult] = field(default_factory=list)
    notebook: NotebookStarted | None = None
    cell: CellStarted | None = None
    cells_started: int = 0

    def follow(self, event: NotebookStarted | CellStarted | NotebookFinished) -> None:
        match event:
            case NotebookStarted():
                self.notebook, self.cell, self.cells_started = event, None, 0
            case CellStarted():
                self.cell, self.cells_started = event, self.cells_started + 1
            case NotebookFinished():
                self.finished.append(event.result)
                self.notebook, self.cell = None, None

    def snapshot(self) -> Running:
        notebook, cell = self.notebook, self.cell
        limited = (each for each in (self.started, notebook, cell) if each is not None)
        ends = [each.at + each.timeout_s for each in limited if each.timeout_s is not None]
        return Running(
            experiment=self.started.experiment,
            started_at=self.started.at,
            notebooks=self.started.notebooks,
            finished=len(self.finished),
            notebook=notebook.notebook if notebook else None,
            cell=cell.number if cell else None,
            cells=cell.count if cell else None,
            deadline_at=min(ends, default=None),
        )

    def cut_off(self, at: float) -> ExperimentResult:
        """Return the result of a run without a report: it and its running notebook are ``interrupted``."""
        return ExperimentResult(
            name=self.started.experiment,
            directory=self.started.directory,
            outcome=ExperimentOutcome.INTERRUPTED,
            notebooks=tuple(self._notebooks(at)),
            started_at=self.started.at,
            duration_s=max(0.0, at - self.started.at),
        )

    def _notebooks(self, at: float) -> Iterator[NotebookResult]:
        yield from self.finished
        rest = self.started.notebooks[len(self.finished) :]
        if self.notebook is not None:
            rest = rest[1:]
            yield NotebookResult(
                name=self.notebook.notebook,
                outcome=NotebookOutcome.INTERRUPTED,
                duration_s=max(0.0, at - self.notebook.at),
                cells_total=self.cell.count if self.cell else 0,
                cells_executed=max(0, self.cells_started - 1),  # the last one did not end
            )
        for name in rest:
            yield NotebookResult(name=name, outcome=NotebookOutcome.NOT_RUN)


def unseen(experiment: Experiment, nodeid: str, worker: str, at: float) -> Progress:
    """Return a run without any event."""
    started = ExperimentStarted(
        experiment=experiment.name,
        at=at,
        directory=experiment.directory,
        notebooks=tuple(notebook.name for notebook in experiment.notebooks),
    )
    return Progress(nodeid=nodeid, worker=worker, started=started)
