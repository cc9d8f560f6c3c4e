"""The shape of ``session.json``: dataclasses, from which its JSON schema and its page are made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, TypeAlias

from pytest_nbgroups.core.codec import Count, Position
from pytest_nbgroups.core.json_schema import JsonSchema, Without, json_schema
from pytest_nbgroups.core.model import (
    CellReference,
    ExperimentOutcome,
    FailureKind,
    NotebookOutcome,
)
from pytest_nbgroups.core.resources import Budget, Estimate, RamSource, Usage
from pytest_nbgroups.scheduling.sharding import ShardRecord

SCHEMA_VERSION: Literal[1] = 1
"""Raised when a key is removed or changes its meaning; a new key does not raise it."""

TRACEBACK_LIMIT = 20_000
"""Number of characters kept of a traceback, from its beginning and its end."""

LEFT_OUT_OF_BUDGET = ("lender",)
"""Fields of a budget that the record leaves out: its notes describe the lender."""

_Budget: TypeAlias = Annotated[Budget, Without(LEFT_OUT_OF_BUDGET)]


@dataclass(frozen=True, kw_only=True)
class FailureEntry:
    """Failure of the notebook; null if it did not fail."""

    kind: FailureKind
    """The kind of failure."""
    message: str
    """The error."""
    cell: CellReference | None
    """The cell where it failed."""
    traceback: str
    """The traceback, or the last lines of the kernel's log if the kernel died; only the beginning and
    the end if it has more than 20,000 characters."""
    output: str
    """The last lines that the cell printed."""
    evidence: tuple[str, ...]
    """Observed facts that point to the cause, if processes died."""
    remedy: str
    """What to do; may be empty."""


@dataclass(frozen=True, kw_only=True)
class NotebookEntry:
    """Outcome of one notebook."""

    name: str
    """Its file name."""
    outcome: NotebookOutcome
    """Its outcome."""
    reason: str | None
    """Reason why it was skipped."""
    duration_s: float
    """Its duration, in seconds."""
    kernel: str | None
    """The name of its kernel; null if none was chosen."""
    plain_start: str | None
    """Reason why its kernel was not forked from a warm process; null if it was, or if it did not start."""
    cells_total: Count
    """Number of its cells, those that are not code included."""
    cells_executed: Count
    """Number of cells that ran to their end."""
    executed_path: str | None
    """The notebook as executed; inside the rootdir, relative to it and with forward slashes."""
    log_path: str | None
    """The output of its kernel outside of cells; a path like `executed_path`."""
    usage: Usage | None
    """Measured use; null if nothing ran or nothing could be measured."""
    failure: FailureEntry | None


@dataclass(frozen=True, kw_only=True)
class LeaseEntry:
    """Lease of the run; null if it held none, or ended before it could report it."""

    cpus: float
    """CPUs reserved."""
    ram_bytes: Count
    """RAM reserved."""
    ram_source: RamSource
    """Source of this number."""
    gpus: tuple[str, ...]
    """The GPUs that it saw, by UUID, as in `budget`."""
    gpu_share_bytes: Count | None
    """The share of the GPU's memory that it held; null for whole GPUs and for none."""
    locks: tuple[str, ...]
    """The locks that it held."""
    exclusive: bool
    """True if no other experiment could run at the same time on the machine."""
    granted_at: float
    """When it was granted, in seconds since the epoch."""
    released_at: float | None
    """When it was released, in seconds since the epoch; null while it is held."""
    waited_s: float
    """Duration of the wait for it, in seconds."""
    waited_for: str
    """The lacking resource and its holders at the first refusal; may be empty."""
    notes: tuple[str, ...]
    """Remarks on the lease."""


@dataclass(frozen=True, kw_only=True)
class AttemptEntry:
    """One run of the experiment."""

    worker: str | None
    """The pytest-xdist worker; null without workers."""
    started_at: float
    """When it started, in seconds since the epoch."""
    finished_at: float
    """When it ended, in seconds since the epoch."""
    duration_s: float
    """Its duration, in seconds."""
    outcome: ExperimentOutcome
    """Its outcome."""
    reason: str | None
    """Reason why it did not pass, in one line; null if it did."""
    reuse: str | None
    """Notebooks that `--experiment-resume` reused, and why not more; null without the option."""
    failure: FailureEntry | None
    """A failure of the experiment as a whole, else null."""
    notebooks: tuple[NotebookEntry, ...]
    """Its notebooks in order; none is missing."""
    warnings: tuple[str, ...]
    """Its warnings, for example about files that could not be saved."""
    lease: LeaseEntry | None
    usage: Usage | None
    """Of all its notebooks: highest peaks, sum of CPU time, or null."""
    estimate: Estimate | None
    """Estimate from history when the run started; null if there was none."""


@dataclass(frozen=True, kw_only=True)
class ExperimentEntry:
    """One experiment that ran."""

    name: str
    """Its name, by which patterns and artifacts know it."""
    nodeid: str
    """Its pytest node id, or that of the test that ran it, which may have run several."""
    directory: str
    """Its directory; inside the rootdir, relative to it and with forward slashes."""
    outcome: ExperimentOutcome
    """The outcome of its last attempt."""
    reason: str | None
    """Reason why the last attempt did not pass; null if it did."""
    attempts: tuple[AttemptEntry, ...]
    """Its runs, oldest first: more than one if it was rerun."""


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """The session of one shard."""

    index: Position
    """The number of the shard."""
    id: str
    """Name of its session."""
    argv: tuple[str, ...]
    """Its command line."""
    rootdir: str
    """The rootdir on its machine."""
    started_at: float
    """When it started, in seconds since the epoch."""
    finished_at: float | None
    """When it ended, in seconds since the epoch; null if it was killed."""
    exit_status: int | None
    """Exit status of pytest; null if it was killed."""
    budget: _Budget | None
    """The part of the machine that the session may use; null if it was not determined."""
    workers: tuple[str, ...]
    """Its workers."""
    nodeids: tuple[str, ...]
    """Its experiments."""


@dataclass(frozen=True, kw_only=True)
class SessionDocument:
    """The record of one pytest session that ran experiments."""

    schema: Literal[1] = SCHEMA_VERSION
    """Version of this format: raised when a key is removed or changes its meaning."""
    id: str
    """Name of the session: the time of its start in UTC, and random digits."""
    pytest_version: str
    """The version of pytest."""
    plugin_version: str
    """The version of pytest-nbgroups."""
    python_version: str
    """The version of Python that ran pytest."""
    argv: tuple[str, ...]
    """The command line of pytest."""
    rootdir: str
    """The rootdir of pytest."""
    started_at: float
    """When the session started, in seconds since the epoch."""
    finished_at: float | None
    """When it ended, in seconds since the epoch; null until then."""
    exit_status: int | None
    """Exit status of pytest; null until the session ends."""
    budget: _Budget | None
    """The part of the machine that the session may use; null if it was not determined."""
    workers: tuple[str, ...]
    """The pytest-xdist workers that ran experiments, replacements for crashed ones included; empty
    without."""
    warnings: tuple[str, ...]
    """Warnings of the session."""
    shard: ShardRecord | None
    """The part of the experiments that it ran; null without `--experiment-shard`."""
    shards: tuple[ShardEntry, ...] = ()
    """The sessions that a merged record consists of; empty for a single session."""
    experiments: tuple[ExperimentEntry, ...]
    """The experiments that ran, in the order in which they started."""


@cache
def session_schema() -> JsonSchema:
    """Return the JSON schema of the document."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pytest-nbgroups session",
        **json_schema(SessionDocument),
    }
