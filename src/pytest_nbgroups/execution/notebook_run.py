"""The state of one run of a notebook, and its result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.artifacts import has_content
from pytest_nbgroups.core.model import Failure, Notebook, NotebookOutcome, NotebookResult
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.execution.cells import NotebookEnded, is_run
from pytest_nbgroups.execution.failures import bounded, failure_of
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.kernels.kernel import RunningKernel
from pytest_nbgroups.monitoring.watch import MemoryWatch
from pytest_nbgroups.monitoring.witness import Witness
from pytest_nbgroups.notebooks.saving import ExecutedCopy

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(kw_only=True)
class NotebookRun:
    """One run of a notebook while it lasts, so that every end can be reported."""

    run: Run
    notebook: Notebook
    content: NotebookNode | None = None
    copy: ExecutedCopy | None = None
    kernel: str | None = None
    running: RunningKernel | None = None
    log_path: Path | None = None
    cells_executed: int = 0
    memory: MemoryWatch | None = None
    witness: Witness | None = None
    failure: Failure | None = None
    interrupted: bool = False
    executed: Path | None = None
    """The executed notebook, once it is saved."""
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def place(self) -> str:
        """Experiment and notebook, as warnings name them."""
        return f"{self.run.experiment.name}: {self.notebook.name}"

    def end(self, ended: NotebookEnded) -> None:
        self.failure, self.interrupted = ended.failure, ended.failure is None

    def fail(self, exc: Exception) -> None:
        """Take an error for the failure, unless it came up while a failed notebook was cleared away."""
        failure = failure_of(exc)
        if isinstance(exc.__context__, NotebookEnded):  # the reason that the user has to see
            self.end(exc.__context__)
            self.warnings.append(failure.message)
        else:
            self.failure = failure

    def save(self) -> None:
        """Write the executed notebook. An error is a warning and never a result."""
        if self.copy is None or self.executed is not None:
            return
        if trouble := self.copy.save():
            self.warnings.append(trouble)
        else:
            self.executed = self.copy.path

    def result(self) -> NotebookResult:
        """Save and explain what has happened, once nothing of the kernel is left."""
        if self.running is not None and self.running.cut_off:
            self.warnings.append(f"{self.place}: {self.running.cut_off}")
        self.save()
        usage = self._usage()
        self._explain(usage)
        log = self.log_path
        return NotebookResult(
            name=self.notebook.name,
            outcome=self._outcome(),
            # Halts of earlier notebooks do not count here: a notebook that is halted is the last one.
            duration_s=time.monotonic() - self.started - self.run.halts.total_s,
            kernel=self.kernel,
            plain_start=self.running.plainly if self.running else None,
            cells_total=len(self.content.cells) if self.content else 0,
            cells_executed=self.cells_executed,
            executed_path=self.executed,
            log_path=log if log is not None and has_content(log) else None,
            usage=usage,
            failure=bounded(self.failure) if self.failure else None,
        )

    def _usage(self) -> Usage | None:
        """None if no kernel came up."""
        if self.memory is None:
            return None
        self.warnings += [f"{self.notebook.name}: {text}" for text in self.memory.warnings]
        return self.memory.usage(self.run.host.reaped)

    def _explain(self, usage: Usage | None) -> None:
        """Add the known cause to the failure. A user's interrupt needs no other."""
        if self.witness is None or self.content is None or self.interrupted:
            return
        sources = [cell.source if is_run(cell) else "" for cell in self.content.cells]
        reaped = self.run.host.reaped
        self.failure, remarks = self.witness.explain(self.failure, usage, sources, reaped)
        self.warnings += [f"{self.notebook.name}: {text}" for text in remarks]

    def _outcome(self) -> NotebookOutcome:
        if self.interrupted:
            return NotebookOutcome.INTERRUPTED
        return NotebookOutcome.FAILED if self.failure else NotebookOutcome.PASSED
