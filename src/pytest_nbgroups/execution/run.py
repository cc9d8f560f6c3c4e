"""The state of one run of an experiment, and its result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.core.events import Emit, Event
from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.execution.deadlines import Limit, limit
from pytest_nbgroups.execution.failures import bounded
from pytest_nbgroups.execution.halting import Halts
from pytest_nbgroups.kernel_host.client import KernelHost
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.resume.attempt import Attempt
from pytest_nbgroups.resume.checkpoint import Reuse


@dataclass(kw_only=True)
class Run:
    """One run of an experiment while it lasts."""

    experiment: Experiment
    settings: Settings
    env: Mapping[str, str]
    """Environment of the kernels."""
    host: KernelHost
    listener: Emit
    """Called in the order of the events, mostly in another thread than that of the run's caller."""
    holding: Holding = field(default_factory=Holding)
    halts: Halts
    attempt: Attempt
    """Knows what can be reused, and records the notebooks that pass. If it has looked at the files already, it does not
    look again."""
    reuse: Reuse | None = None
    resumable: int = 0
    wants_all: bool = False
    """It failed for want of something that reused notebooks may have written."""
    results: list[NotebookResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: Failure | None = None
    started_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(folder=self.settings.artifacts)

    @property
    def limit(self) -> Limit | None:
        """Deadline of the whole experiment."""
        return limit("experiment", self.experiment.timeout_s, self.started)

    def emit(self, event: Event) -> None:
        """Hand an event on. An exception of the listener is a warning: it must not end the run."""
        try:
            self.listener(event)
        except Exception as exc:  # noqa: BLE001  the user's code
            self.warnings.append(f"on_event raised {type(exc).__name__}: {exc}")

    def result(self) -> ExperimentResult:
        return ExperimentResult(
            name=self.experiment.name,
            directory=self.experiment.directory,
            outcome=self._outcome(),
            reason=self._reason(),
            notebooks=tuple(self._all_notebooks()),
            started_at=self.started_at,
            duration_s=time.monotonic() - self.started - self.halts.total_s,
            error=bounded(self.error) if self.error else None,
            warnings=self.all_warnings,
            reuse=self.reuse.text(len(self.experiment.notebooks), "reused") if self.reuse else None,
            resumable=self.resumable,
        )

    @property
    def all_warnings(self) -> tuple[str, ...]:
        return (*self.warnings, *self.attempt.warnings)

    def _outcome(self) -> ExperimentOutcome:
        outcomes = {result.outcome for result in self.results}
        if self.error is not None or NotebookOutcome.FAILED in outcomes:
            return ExperimentOutcome.FAILED
        if NotebookOutcome.INTERRUPTED in outcomes or len(self.results) < len(
            self.experiment.notebooks
        ):
            return ExperimentOutcome.INTERRUPTED
        if outcomes <= {NotebookOutcome.SKIPPED}:
            return ExperimentOutcome.SKIPPED
        return ExperimentOutcome.PASSED

    def _reason(self) -> str | None:
        if self._outcome() is not ExperimentOutcome.SKIPPED:
            return None
        reasons = dict.fromkeys(result.reason for result in self.results if result.reason)
        return f"all notebooks are skipped: {'; '.join(reasons)}"

    def _all_notebooks(self) -> Iterator[NotebookResult]:
        yield from self.results
        for notebook in self.experiment.notebooks[len(self.results) :]:
            yield NotebookResult(name=notebook.name, outcome=NotebookOutcome.NOT_RUN)
