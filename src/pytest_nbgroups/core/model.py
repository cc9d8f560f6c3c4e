"""The values that all other modules use: frozen, keyword-only, each field resolved once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pytest_nbgroups.core.codec import Count, Position
from pytest_nbgroups.core.resources import Estimate, Lease, Resources, Usage

SUFFIX = ".ipynb"
"""Suffix of a notebook's file."""
DECLARATION_FILE = "experiment.toml"
WHOLE_DIRECTORY = "notebooks"
"""Name of an experiment's item, unless its notebooks are independent."""


class NotebookOutcome(StrEnum):
    """Outcome of one notebook."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    REUSED = "reused"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not_run"

    @property
    def is_done(self) -> bool:
        """True if the notebook passed, now or in the reused run."""
        return self in {NotebookOutcome.PASSED, NotebookOutcome.REUSED}

    @property
    def ends_experiment(self) -> bool:
        """True if no later notebook of the experiment runs."""
        return self in {NotebookOutcome.FAILED, NotebookOutcome.INTERRUPTED}


class ExperimentOutcome(StrEnum):
    """Outcome of an experiment."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


class FailureKind(StrEnum):
    """Cause of the failure of a notebook or an experiment."""

    CELL = "cell"
    DEADLINE = "deadline"
    KERNEL_DIED = "kernel_died"
    OUT_OF_MEMORY = "out_of_memory"
    RAM_LIMIT = "ram_limit"
    KERNEL_START = "kernel_start"
    NOTEBOOK = "notebook"
    DECLARATION = "declaration"
    LEASE = "lease"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """One selected notebook, with everything that decides how it runs."""

    path: Path
    kernel: str | None = None
    """Kernel asked for by the experiment; ``None`` takes the notebook's own."""
    timeout_s: float | None = None
    cell_timeout_s: float | None = None
    skip: str | None = None
    """Reason for skipping this notebook."""
    requires: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One directory with its selected notebooks in order: the unit that runs as a whole."""

    name: str
    directory: Path
    notebooks: tuple[Notebook, ...]
    excluded: Mapping[str, str] = field(default_factory=dict)
    """File name of each notebook left out -> the reason."""
    resources: Resources = field(default_factory=Resources)
    timeout_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    skip: str | None = None
    marks: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    """Patterns of files that it reads, relative to its directory; they may lie outside of it."""
    outputs: tuple[str, ...] | None = None
    """Patterns of files that it writes, like ``data``; None if undeclared."""
    nested: tuple[Path, ...] = ()
    """Directories below its own that are experiments themselves. Found before it runs."""
    has_assumed_gpu: bool = False
    """True if it declares no GPU, and its resources have one because its code or history uses a GPU."""
    member: str | None = None
    """Stem of its single notebook if the directory's notebooks are independent."""
    problem: str | None = None
    """Reason why it cannot run as declared: bad TOML, an unreadable directory."""
    notes: tuple[str, ...] = ()
    """Remarks on its order, shown once in a session."""

    @property
    def item_name(self) -> str:
        """The last part of its node id."""
        return self.member or WHOLE_DIRECTORY

    @property
    def place(self) -> str:
        """The place that only one run may use at a time: its directory without links, and its part."""
        return f"{os.path.realpath(self.directory)}::{self.item_name}"

    def holds(self, notebook: Path) -> bool:
        """Return True if the notebook belongs to it. An experiment with a problem holds any notebook."""
        return self.problem is not None or any(n.path == notebook for n in self.notebooks)


@dataclass(frozen=True, kw_only=True)
class CellReference:
    """A cell of a notebook."""

    number: Position
    """Its position among all cells of the notebook, from 1."""
    count: Position
    """Number of cells of the notebook."""
    source: str
    """Its text."""
    execution_count: Count | None = None
    """The number in its prompt, ``In [3]``."""
    line: Position | None = None
    """The line of ``source`` that failed, from 1."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Description of a failure, without terminal escapes and ready to be rendered."""

    kind: FailureKind
    message: str
    """The error in one line."""
    cell: CellReference | None = None
    traceback: str = ""
    output: str = ""
    """The last lines that the failing cell printed."""
    evidence: tuple[str, ...] = ()
    """Observed facts that point to the cause, one a line."""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class NotebookResult:
    """Result of one notebook."""

    name: str
    outcome: NotebookOutcome
    reason: str | None = None
    duration_s: float = 0.0
    kernel: str | None = None
    plain_start: str | None = None
    """Reason why its kernel was not forked from a warm process; None if it was, or if no kernel started."""
    cells_total: Count = 0
    cells_executed: Count = 0
    executed_path: Path | None = None
    log_path: Path | None = None
    usage: Usage | None = None
    """None if no cell ran or nothing could be measured."""
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """Result of an experiment, with all its notebooks in order."""

    name: str
    directory: Path
    outcome: ExperimentOutcome
    notebooks: tuple[NotebookResult, ...] = ()
    reason: str | None = None
    started_at: float = 0.0
    """Seconds since the epoch."""
    duration_s: float = 0.0
    lease: Lease | None = None
    estimate: Estimate | None = None
    """Estimate at its start."""
    error: Failure | None = None
    """A failure of the experiment as a whole, before or beside its notebooks."""
    reuse: str | None = None
    """Notebooks that ``--experiment-resume`` reused, and why not more; None without the option."""
    resumable: int = 0
    """After a failure: number of notebooks that ``--experiment-resume`` would reuse, as far as is known."""
    warnings: tuple[str, ...] = ()

    @property
    def usage(self) -> Usage | None:
        """Usage of all its notebooks: the highest peaks, the sum of CPU time."""
        used = [n.usage for n in self.notebooks if n.usage is not None]
        if not used:
            return None
        # They run in turn, so the peaks do not add up.
        highest = max(used, key=lambda usage: usage.peak_bytes)
        gpu_bytes = [usage.gpu_bytes for usage in used if usage.gpu_bytes is not None]
        return Usage(
            peak_bytes=highest.peak_bytes,
            is_upper_bound=highest.is_upper_bound,
            cpu_s=sum(usage.cpu_s for usage in used),
            gpu_bytes=max(gpu_bytes, default=None),
        )

    @property
    def failed_notebook(self) -> NotebookResult | None:
        """The notebook that ended the experiment, if any."""
        return next((n for n in self.notebooks if n.failure is not None), None)

    @property
    def failure(self) -> Failure | None:
        """The failure to report: the experiment's, else its notebook's."""
        if self.error is not None:
            return self.error
        notebook = self.failed_notebook
        return notebook.failure if notebook else None


def unrun(
    experiment: Experiment,
    outcome: ExperimentOutcome,
    *,
    reason: str | None = None,
    error: Failure | None = None,
    at: float,
) -> ExperimentResult:
    """Return the result of an experiment that did not run; ``at`` is in seconds since the epoch."""
    is_skipped = outcome is ExperimentOutcome.SKIPPED
    return ExperimentResult(
        name=experiment.name,
        directory=experiment.directory,
        outcome=outcome,
        reason=reason,
        notebooks=tuple(
            NotebookResult(
                name=notebook.name,
                outcome=NotebookOutcome.SKIPPED if is_skipped else NotebookOutcome.NOT_RUN,
                reason=reason if is_skipped else None,
            )
            for notebook in experiment.notebooks
        ),
        started_at=at,
        error=error,
    )
