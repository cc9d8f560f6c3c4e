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
"""How many characters are kept of a traceback, from its beginning and its end."""

LEFT_OUT_OF_BUDGET = ("lender",)
"""Fields of a budget. Its notes say enough of the lender."""

_Budget: TypeAlias = Annotated[Budget, Without(LEFT_OUT_OF_BUDGET)]


@dataclass(frozen=True, kw_only=True)
class FailureEntry:
    """Failure of the notebook; null if it did not fail."""

    kind: FailureKind
    """What kind of failure it is."""
    message: str
    """What went wrong."""
    cell: CellReference | None
    """The cell where it failed."""
    traceback: str
    """The traceback, or the last lines of the kernel's log if the kernel died; of one of more
    than 20,000 characters, the beginning and the end."""
    output: str
    """The last lines that the cell printed."""
    evidence: tuple[str, ...]
    """What was seen of the cause, if processes died."""
    remedy: str
    """What to do about it; may be empty."""


@dataclass(frozen=True, kw_only=True)
class NotebookEntry:
    """Outcome of one notebook."""

    name: str
    """Its file name."""
    outcome: NotebookOutcome
    """What became of it."""
    reason: str | None
    """Why it was skipped."""
    duration_s: float
    """How long it took, in seconds."""
    kernel: str | None
    """The name of its kernel; null if none was chosen."""
    plain_start: str | None
    """Why its kernel was started plainly; null if it was forked or never came up."""
    cells_total: Count
    """How many cells it has, those that are not code included."""
    cells_executed: Count
    """How many cells ran to their end."""
    executed_path: str | None
    """The notebook as executed; inside the rootdir, relative to it and with forward slashes."""
    log_path: str | None
    """What its kernel printed outside of cells; a path as `executed_path`."""
    usage: Usage | None
    """What was used; null if nothing ran or nothing could be measured."""
    failure: FailureEntry | None


@dataclass(frozen=True, kw_only=True)
class LeaseEntry:
    """Lease of the run; null if it held none, or ended before it could report it."""

    cpus: float
    """CPUs reserved."""
    ram_bytes: Count
    """RAM reserved."""
    ram_source: RamSource
    """Where this number comes from."""
    gpus: tuple[str, ...]
    """The GPUs that it saw, by UUID, as in `budget`."""
    gpu_share_bytes: Count | None
    """The share of the GPU's memory that it held; null for whole GPUs and for none."""
    locks: tuple[str, ...]
    """The locks that it held."""
    exclusive: bool
    """Whether no other experiment ran beside it on the machine."""
    granted_at: float
    """When it was granted, in seconds since the epoch."""
    released_at: float | None
    """When it was released, in seconds since the epoch; null while it is held."""
    waited_s: float
    """How long it was waited for before, in seconds."""
    waited_for: str
    """What was lacking at first, and who held that; may be empty."""
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
    """When it was over, in seconds since the epoch."""
    duration_s: float
    """How long it took, in seconds."""
    outcome: ExperimentOutcome
    """What became of it."""
    reason: str | None
    """Why it did not pass, in one line; null if it did."""
    reuse: str | None
    """What `--experiment-resume` reused and why not more; null without the option."""
    failure: FailureEntry | None
    """A failure of the experiment as a whole, else null."""
    notebooks: tuple[NotebookEntry, ...]
    """Its notebooks in order; none is missing."""
    warnings: tuple[str, ...]
    """What could not be saved."""
    lease: LeaseEntry | None
    usage: Usage | None
    """Of all its notebooks: highest peaks, sum of CPU time, or null."""
    estimate: Estimate | None
    """What history expected of the run when it started; null if nothing was known."""


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
    """What became of its last attempt."""
    reason: str | None
    """Why the last attempt did not pass; null if it did."""
    attempts: tuple[AttemptEntry, ...]
    """Its runs, oldest first: more than one if it was rerun."""


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """The session of one shard."""

    index: Position
    """The number of the shard."""
    id: str
    """Names its session."""
    argv: tuple[str, ...]
    """Its command line."""
    rootdir: str
    """The rootdir on its machine."""
    started_at: float
    """When it started, in seconds since the epoch."""
    finished_at: float | None
    """When it ended, in seconds since the epoch; null if it was killed."""
    exit_status: int | None
    """What pytest exited with; null if it was killed."""
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
    """Names the session: the time of its start in UTC, and random digits."""
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
    """When it ended, in seconds since the epoch; null while it lasts."""
    exit_status: int | None
    """What pytest exited with; null while it lasts."""
    budget: _Budget | None
    """The part of the machine that the session may use; null if it was not determined."""
    workers: tuple[str, ...]
    """The pytest-xdist workers that ran experiments, replacements for crashed ones included; empty
    without."""
    warnings: tuple[str, ...]
    """What the session warned of."""
    shard: ShardRecord | None
    """Which part of the experiments it ran; null without `--experiment-shard`."""
    shards: tuple[ShardEntry, ...] = ()
    """The sessions of which a merged record is made; empty in that of a single session."""
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
