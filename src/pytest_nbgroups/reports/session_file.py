"""``session.json``: the machine-readable record of a session. `SessionDocument` is its shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_nbgroups.core.artifacts import Artifacts, write_atomically
from pytest_nbgroups.core.codec import plain
from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, Failure, NotebookResult
from pytest_nbgroups.core.resources import Budget, Lease
from pytest_nbgroups.core.text import plain_text, shortened
from pytest_nbgroups.reports.failure import failure_headline
from pytest_nbgroups.reports.record import ExperimentRecord, RecordedAttempt, SessionRecord
from pytest_nbgroups.reports.session_schema import (
    LEFT_OUT_OF_BUDGET,
    TRACEBACK_LIMIT,
    AttemptEntry,
    ExperimentEntry,
    FailureEntry,
    LeaseEntry,
    NotebookEntry,
    SessionDocument,
)
from pytest_nbgroups.scheduling.sharding import ShardRecord


@dataclass(frozen=True, kw_only=True)
class SessionMetadata:
    """Fields of a `SessionDocument`, except its experiments."""

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
    """Return the whole file as plain values, its keys in the order of the schema."""
    rootdir = metadata.rootdir
    own: dict[str, Any] = {"rootdir": str(rootdir), "warnings": _texts(metadata.warnings)}
    document: dict[str, Any] = plain(
        SessionDocument(
            **{**vars(metadata), **own},
            workers=record.workers(),
            experiments=tuple(_experiment(each, rootdir) for each in record.experiments()),
        )
    )
    for name in LEFT_OUT_OF_BUDGET if metadata.budget else ():
        del document["budget"][name]
    return document


def _experiment(experiment: ExperimentRecord, rootdir: Path) -> ExperimentEntry:
    result = experiment.result
    return ExperimentEntry(
        name=result.name,
        nodeid=experiment.nodeid,
        directory=_path(result.directory, rootdir),
        outcome=result.outcome,
        reason=_reason(result),
        attempts=tuple(_attempt(attempt, rootdir) for attempt in experiment.attempts),
    )


def _attempt(attempt: RecordedAttempt, rootdir: Path) -> AttemptEntry:
    result = attempt.result
    return AttemptEntry(
        worker=attempt.worker or None,
        started_at=result.started_at,
        finished_at=result.started_at + result.duration_s,
        duration_s=result.duration_s,
        outcome=result.outcome,
        reason=_reason(result),
        reuse=_text(result.reuse),
        failure=_failure(result.error),
        notebooks=tuple(_notebook(notebook, rootdir) for notebook in result.notebooks),
        warnings=_texts(result.warnings),
        lease=_lease(result.lease),
        usage=result.usage,
        estimate=result.estimate,
    )


def _lease(lease: Lease | None) -> LeaseEntry | None:
    """Return the lease as written: the resources held, and how long."""
    if lease is None:
        return None
    need = lease.need
    return LeaseEntry(
        cpus=need.cpus,
        ram_bytes=need.ram_bytes,
        ram_source=need.ram_source,
        gpus=lease.gpus,
        gpu_share_bytes=need.gpu_share_bytes,
        locks=need.locks,
        exclusive=need.exclusive,
        granted_at=lease.granted_at,
        released_at=lease.released_at,
        waited_s=lease.waited_s,
        waited_for=plain_text(lease.waited_for),
        notes=_texts(lease.notes),
    )


def _notebook(notebook: NotebookResult, rootdir: Path) -> NotebookEntry:
    executed, log = notebook.executed_path, notebook.log_path
    return NotebookEntry(
        name=notebook.name,
        outcome=notebook.outcome,
        reason=_text(notebook.reason),
        duration_s=notebook.duration_s,
        kernel=notebook.kernel,
        plain_start=_text(notebook.plain_start),
        cells_total=notebook.cells_total,
        cells_executed=notebook.cells_executed,
        executed_path=_path(executed, rootdir) if executed else None,
        log_path=_path(log, rootdir) if log else None,
        usage=notebook.usage,
        failure=_failure(notebook.failure),
    )


def _failure(failure: Failure | None) -> FailureEntry | None:
    if failure is None:
        return None
    cell = failure.cell
    return FailureEntry(
        kind=failure.kind,
        message=plain_text(failure.message),
        cell=cell and replace(cell, source=plain_text(cell.source)),
        traceback=shortened(plain_text(failure.traceback), TRACEBACK_LIMIT),
        output=plain_text(failure.output),
        evidence=_texts(failure.evidence),
        remedy=plain_text(failure.remedy),
    )


def _reason(result: ExperimentResult) -> str | None:
    passed = result.outcome is ExperimentOutcome.PASSED
    return _text(result.reason) if passed else failure_headline(result)


def _text(text: str | None) -> str | None:
    return None if text is None else plain_text(text)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(plain_text, texts))


def _path(path: Path, rootdir: Path) -> str:
    """Render a path: relative to the rootdir if it lies inside, with forward slashes."""
    return path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else path.as_posix()


def write_record(folder: Path, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Write ``sessions/<id>.json`` and its copy ``session.json`` in the artifacts folder. Return warnings."""
    artifacts = Artifacts(folder=folder)
    try:
        text = json.dumps(data, indent=2) + "\n"
        artifacts.prepare()
        for path in (folder / "sessions" / f"{data['id']}.json", folder / "session.json"):
            artifacts.make_room(path)
            write_atomically(path, text)
    except RecursionError as exc:  # unknown keys in a shard's record can be nested deeply
        return (f"{folder}: the session record could not be written: {exc}",)
    except OSError as exc:
        return (f"{folder}: the session record could not be written: {exc.strerror or exc}",)
    return ()
