"""The state of a session, made of events alone. Every report of a session reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from pytest_nbgroups.events import (
    CellStarted,
    Event,
    ExperimentFinished,
    ExperimentStarted,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
)
from pytest_nbgroups.ordering import natural_key
from pytest_nbgroups.reports.progress import Progress, Running, unseen

_Key: TypeAlias = tuple[str, str]
"""Node id and name of an experiment: one test may run several."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run of an experiment that is over; ``worker`` is empty where there are no workers."""

    worker: str
    result: ExperimentResult


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """An experiment with its attempts, oldest first and at least one."""

    nodeid: str
    attempts: tuple[Attempt, ...]

    @property
    def result(self) -> ExperimentResult:
        """What the last attempt came to, which is what pytest reports."""
        return self.attempts[-1].result

    @property
    def worker(self) -> str:
        return self.attempts[-1].worker


def _identity(attempt: Attempt) -> tuple[str, float]:
    return attempt.worker, attempt.result.started_at


class SessionRecord:
    """Which experiments ran, which run now, and what they came to.

    Fed in the process that reports (xdist's controller, or the only one). Calls must not overlap:
    who has several threads holds a lock. Events of one experiment come in their order; those of
    different experiments may interleave.
    """

    def __init__(self) -> None:
        self._attempts: dict[_Key, list[Attempt]] = {}
        self._running: dict[_Key, Progress] = {}

    def add(self, event: Event, *, worker: str, nodeid: str) -> None:
        """Take in an event. A second start of an experiment begins a further attempt.

        What comes after a run has been given up changes nothing.
        """
        key = nodeid, event.experiment
        match event:
            case ExperimentStarted():
                self._give_up(key, event.at, reason="it was started again before it had finished")
                self._attempts.setdefault(key, [])
                self._running[key] = Progress(nodeid=nodeid, worker=worker, started=event)
            case ExperimentFinished():
                if key in self._running and self._running[key].worker == worker:
                    del self._running[key]
                self._finish(key, Attempt(worker=worker, result=event.result))
            case NotebookStarted() | CellStarted() | NotebookFinished():
                if progress := self._running.get(key):
                    progress.follow(event)

    def crashed(
        self,
        nodeid: str,
        worker: str,
        message: str,
        at: float,
        *,
        experiment: Experiment | None = None,
    ) -> ExperimentResult | None:
        """Record that the worker of an item died: what it ran has failed with ``message``.

        Notebooks that had finished stay as they are, the running one is ``interrupted``, later ones
        are ``not_run``. ``experiment`` is the one that the item is, if it is one: then its worker
        may also have died before any event, or after the last but before pytest heard of the
        outcome, and that attempt is the one that failed. None where nothing is known to have run.
        """
        running = next((key for key in self._running if key[0] == nodeid), None)
        if running is not None:
            return self._cut_off(self._running.pop(running), worker, message, at)
        if experiment is None:
            return None
        attempts = self._attempts.get((nodeid, experiment.name))
        if attempts and attempts[-1].worker == worker:
            attempts[-1] = _failed_after_all(attempts[-1], message)
            return attempts[-1].result
        return self._cut_off(unseen(experiment, nodeid, worker, at), worker, message, at)

    def _cut_off(
        self, progress: Progress, worker: str, message: str, at: float
    ) -> ExperimentResult:
        error = Failure(kind=FailureKind.ERROR, message=message)
        failed = progress.cut_off(ExperimentOutcome.FAILED, at, reason=message, error=error)
        self._finish((progress.nodeid, failed.name), Attempt(worker=worker, result=failed))
        return failed

    def interrupted_rest(self, at: float) -> tuple[ExperimentResult, ...]:
        """Record that the session ended while experiments ran: they are ``interrupted``."""
        running = tuple(self._running)
        for key in running:
            self._give_up(key, at, reason="the session ended while it ran")
        return tuple(self._attempts[key][-1].result for key in running)

    def _give_up(self, key: _Key, at: float, *, reason: str) -> None:
        if progress := self._running.pop(key, None):
            result = progress.cut_off(ExperimentOutcome.INTERRUPTED, at, reason=reason)
            self._finish(key, Attempt(worker=progress.worker, result=result))

    def _finish(self, key: _Key, attempt: Attempt) -> None:
        attempts = self._attempts.setdefault(key, [])
        if all(_identity(attempt) != _identity(other) for other in attempts):
            attempts.append(attempt)

    def running(self) -> tuple[Running, ...]:
        """The experiments that run now, in the order in which they started."""
        return tuple(progress.snapshot() for progress in self._running.values())

    def experiments(self) -> tuple[ExperimentRecord, ...]:
        """The experiments with a finished attempt, in the order in which they first started."""
        return tuple(
            ExperimentRecord(nodeid=nodeid, attempts=tuple(attempts))
            for (nodeid, _), attempts in self._attempts.items()
            if attempts
        )

    def workers(self) -> tuple[str, ...]:
        """The workers on which experiments ran or run, ``gw2`` before ``gw10``."""
        finished = {a.worker for attempts in self._attempts.values() for a in attempts}
        running = {progress.worker for progress in self._running.values()}
        return tuple(sorted((finished | running) - {""}, key=natural_key))


def _failed_after_all(attempt: Attempt, message: str) -> Attempt:
    error = Failure(kind=FailureKind.ERROR, message=message)
    failed = replace(attempt.result, outcome=ExperimentOutcome.FAILED, reason=message, error=error)
    return replace(attempt, result=failed)
