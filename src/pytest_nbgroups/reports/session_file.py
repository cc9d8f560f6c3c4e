"""``session.json``: the machine-readable record of a session. `SESSION_SCHEMA` describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_nbgroups.core.artifacts import Artifacts, write_atomically
from pytest_nbgroups.core.events import plain
from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, Failure, NotebookResult
from pytest_nbgroups.core.resources import Budget, Lease
from pytest_nbgroups.core.text import plain_text, shortened
from pytest_nbgroups.reports.failure import failure_headline
from pytest_nbgroups.reports.record import Attempt, ExperimentRecord, SessionRecord
from pytest_nbgroups.reports.session_schema import SCHEMA_VERSION, TRACEBACK_LIMIT
from pytest_nbgroups.scheduling.sharding import ShardRecord


@dataclass(frozen=True, kw_only=True)
class SessionMetadata:
    """What a session knows of itself besides its experiments."""

    id: str
    """Names its file; made by `core.identity.session_id`."""
    pytest_version: str
    plugin_version: str
    python_version: str
    argv: tuple[str, ...]
    rootdir: Path
    started_at: float
    """Seconds since the epoch."""
    finished_at: float | None = None
    """None while it lasts."""
    exit_status: int | None = None
    budget: Budget | None = None
    warnings: tuple[str, ...] = ()
    shard: ShardRecord | None = None


def session_dict(record: SessionRecord, metadata: SessionMetadata) -> dict[str, Any]:
    """The whole file as plain values, its keys in the order of the schema."""
    rootdir = metadata.rootdir
    return {
        "schema": SCHEMA_VERSION,
        "id": metadata.id,
        "pytest_version": metadata.pytest_version,
        "plugin_version": metadata.plugin_version,
        "python_version": metadata.python_version,
        "argv": list(metadata.argv),
        "rootdir": str(rootdir),
        "started_at": metadata.started_at,
        "finished_at": metadata.finished_at,
        "exit_status": metadata.exit_status,
        "budget": _budget(metadata.budget),
        "workers": list(record.workers()),
        "warnings": [plain_text(warning) for warning in metadata.warnings],
        "shard": plain(metadata.shard),
        "shards": [],
        "experiments": [_experiment(each, rootdir) for each in record.experiments()],
    }


def _experiment(experiment: ExperimentRecord, rootdir: Path) -> dict[str, Any]:
    result = experiment.result
    return {
        "name": result.name,
        "nodeid": experiment.nodeid,
        "directory": _path(result.directory, rootdir),
        "outcome": result.outcome.value,
        "reason": _reason(result),
        "attempts": [_attempt(attempt, rootdir) for attempt in experiment.attempts],
    }


def _budget(budget: Budget | None) -> dict[str, Any] | None:
    """What its notes say of the lender is enough."""
    if budget is None:
        return None
    return {name: value for name, value in plain(budget).items() if name != "lender"}


def _attempt(attempt: Attempt, rootdir: Path) -> dict[str, Any]:
    result = attempt.result
    return {
        "worker": attempt.worker or None,
        "started_at": result.started_at,
        "finished_at": result.started_at + result.duration_s,
        "duration_s": result.duration_s,
        "outcome": result.outcome.value,
        "reason": _reason(result),
        "reuse": _text(result.reuse),
        "failure": _failure(result.error),
        "notebooks": [_notebook(notebook, rootdir) for notebook in result.notebooks],
        "warnings": [plain_text(warning) for warning in result.warnings],
        "lease": _lease(result.lease),
        "usage": plain(result.usage),
        "estimate": plain(result.estimate),
    }


def _lease(lease: Lease | None) -> dict[str, Any] | None:
    """What was held and for how long; what the GPUs had to have is not held."""
    if lease is None:
        return None
    need = lease.need
    return {
        "cpus": need.cpus,
        "ram_bytes": need.ram_bytes,
        "ram_source": need.ram_source,
        "gpus": list(lease.gpus),
        "gpu_share_bytes": need.gpu_share_bytes,
        "locks": list(need.locks),
        "exclusive": need.exclusive,
        "granted_at": lease.granted_at,
        "released_at": lease.released_at,
        "waited_s": lease.waited_s,
        "waited_for": plain_text(lease.waited_for),
        "notes": [plain_text(note) for note in lease.notes],
    }


def _notebook(notebook: NotebookResult, rootdir: Path) -> dict[str, Any]:
    return {
        "name": notebook.name,
        "outcome": notebook.outcome.value,
        "reason": _text(notebook.reason),
        "duration_s": notebook.duration_s,
        "kernel": notebook.kernel,
        "plain_start": _text(notebook.plain_start),
        "cells_total": notebook.cells_total,
        "cells_executed": notebook.cells_executed,
        "executed_path": _path(notebook.executed_path, rootdir),
        "log_path": _path(notebook.log_path, rootdir),
        "usage": plain(notebook.usage),
        "failure": _failure(notebook.failure),
    }


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    cell = failure.cell
    return {
        "kind": failure.kind.value,
        "message": plain_text(failure.message),
        "cell": {**plain(cell), "source": plain_text(cell.source)} if cell else None,
        "traceback": shortened(plain_text(failure.traceback), TRACEBACK_LIMIT),
        "output": plain_text(failure.output),
        "evidence": [plain_text(line) for line in failure.evidence],
        "remedy": plain_text(failure.remedy),
    }


def _reason(result: ExperimentResult) -> str | None:
    passed = result.outcome is ExperimentOutcome.PASSED
    return _text(result.reason) if passed else failure_headline(result)


def _text(text: str | None) -> str | None:
    return None if text is None else plain_text(text)


def _path(path: Path | None, rootdir: Path) -> str | None:
    """Relative to the rootdir with forward slashes where it lies inside, else as it is."""
    if path is None:
        return None
    return path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else path.as_posix()


def write_record(folder: Path, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Write ``sessions/<id>.json`` and its copy ``session.json`` in the artifacts folder.

    Gives warnings; raises nothing where the folder cannot be written.
    """
    text, artifacts = json.dumps(data, indent=2) + "\n", Artifacts(folder=folder)
    try:
        artifacts.prepare()
        for path in (folder / "sessions" / f"{data['id']}.json", folder / "session.json"):
            artifacts.make_room(path)
            write_atomically(path, text)
    except OSError as exc:
        return (f"{folder}: the session record could not be written: {exc.strerror or exc}",)
    return ()
