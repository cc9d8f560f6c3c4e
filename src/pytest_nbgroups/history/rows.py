"""Facts of a session as rows of a history. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from pytest_nbgroups.core.model import (
    ExperimentOutcome,
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Lease, Usage
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.tables import EXPERIMENTS

Row: TypeAlias = dict[str, Any]
"""Column name -> value."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A pytest invocation, as a history knows it."""

    id: str
    started_at: float
    """Seconds since the epoch."""
    machine: Machine
    plugin_version: str
    python_version: str


@dataclass(frozen=True, kw_only=True)
class StoredAttempt:
    """One run of an experiment, identified in its session by name and ``started_at``."""

    name: str
    started_at: float
    nodeid: str = ""
    worker: str = ""


def machine_row(machine: Machine) -> Row:
    return {
        "id": None,
        "kind": encodable(machine.kind),
        "cpu_model": encodable(machine.cpu_model),
        "cpus": machine.cpus,
        "ram_bytes": machine.ram_bytes,
        "gpus": encodable("\n".join(machine.gpus)),
    }


def session_row(session: Session) -> Row:
    return {
        "id": encodable(session.id),
        "started_at": session.started_at,
        "finished_at": None,
        "plugin_version": session.plugin_version,
        "python_version": session.python_version,
    }


def attempt_row(attempt: StoredAttempt) -> Row:
    """Return the row of an attempt that has just started; other columns follow later."""
    return {
        **dict.fromkeys(EXPERIMENTS.column_names),
        "name": encodable(attempt.name),
        "nodeid": encodable(attempt.nodeid),
        "worker": encodable(attempt.worker),
        "started_at": attempt.started_at,
        "is_complete": False,
    }


def result_row(attempt: StoredAttempt, result: ExperimentResult) -> Row:
    reused = any(n.outcome is NotebookOutcome.REUSED for n in result.notebooks)
    return {
        **attempt_row(attempt),
        **_lease_row(result.lease),
        **_usage_row(result.usage),
        "outcome": result.outcome.value,
        "is_complete": result.outcome is ExperimentOutcome.PASSED and not reused,
        "duration_s": result.duration_s,
        "notebooks": len(result.notebooks),
    }


def _lease_row(lease: Lease | None) -> Row:
    if lease is None:
        return {}
    return {
        "cpus": lease.need.cpus,
        "ram_bytes": lease.need.ram_bytes,
        "ram_source": lease.need.ram_source,
        "gpus": len(lease.gpus),
        "gpu_share_bytes": lease.need.gpu_share_bytes,
        "waited_s": lease.waited_s,
    }


def notebook_row(number: int, position: int, result: NotebookResult) -> Row:
    return {
        "experiment_id": number,
        "position": position,
        "name": encodable(result.name),
        "outcome": result.outcome.value,
        "duration_s": result.duration_s,
        **_usage_row(result.usage),
    }


def _usage_row(usage: Usage | None) -> Row:
    names = ("peak_bytes", "is_upper_bound", "cpu_s", "gpu_bytes")
    return {name: getattr(usage, name, None) for name in names}
