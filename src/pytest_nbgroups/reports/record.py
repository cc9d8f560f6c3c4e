"""The state of a session, made of events alone. Every report of a session reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_nbgroups.events import (
    CellStarted,
    Event,
    ExperimentFinished,
    ExperimentStarted,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.model import ExperimentOutcome, ExperimentResult, Failure, FailureKind
from pytest_nbgroups.reports.progress import Progress, Running, unseen


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

    Fed in the process that reports (xdist's controller, or the only one), from one thread. Events of
    one experiment come in their order; those of different experiments may interleave.
    """

    def __init__(self) -> None:
        self._attempts: dict[str, list[Attempt]] = {}
        self._running: dict[str, Progress] = {}

    def add(self, event: Event, *, worker: str, nodeid: str) -> None:
        """Take in an event. A second start of an experiment begins a further attempt.

        What comes after a run has been given up changes nothing.
        """
        match event:
            case ExperimentStarted():
                self._give_up(
                    nodeid, event.at, reason="it was started again before it had finished"
                )
                self._attempts.setdefault(nodeid, [])
                self._running[nodeid] = Progress(nodeid=nodeid, worker=worker, started=event)
            case ExperimentFinished():
                if nodeid in self._running and self._running[nodeid].worker == worker:
                    del self._running[nodeid]
                self._finish(nodeid, Attempt(worker=worker, result=event.result))
            case NotebookStarted() | CellStarted() | NotebookFinished():
                if progress := self._running.get(nodeid):
                    progress.follow(event)

    def crashed(
        self, nodeid: str, worker: str, message: str, at: float, *, name: str | None = None
    ) -> ExperimentResult:
        """Record that an experiment's worker died, and give what it came to: failed with ``message``.

        Notebooks that had finished stay as they are, the running one is ``interrupted``, later ones
        are ``not_run``. Where the last attempt on this worker had finished, but the worker died
        before pytest heard of it, that attempt is the one that failed. ``name`` is for an
        experiment of which no event came.
        """
        error = Failure(kind=FailureKind.ERROR, message=message)
        if (told := self._told(nodeid, worker)) is not None:
            failed = replace(told, outcome=ExperimentOutcome.FAILED, reason=message, error=error)
            self._attempts[nodeid][-1] = Attempt(worker=worker, result=failed)
            return failed
        progress = self._running.pop(nodeid, None) or unseen(nodeid, worker, at, name)
        failed = progress.cut_off(ExperimentOutcome.FAILED, at, reason=message, error=error)
        self._finish(nodeid, Attempt(worker=worker, result=failed))
        return failed

    def _told(self, nodeid: str, worker: str) -> ExperimentResult | None:
        """The last attempt, where this worker finished it and runs no other."""
        attempts = self._attempts.get(nodeid)
        if nodeid in self._running or not attempts or attempts[-1].worker != worker:
            return None
        return attempts[-1].result

    def interrupted_rest(self, at: float) -> tuple[ExperimentResult, ...]:
        """Record that the session ended while experiments ran: they are ``interrupted``."""
        running = tuple(self._running)
        for nodeid in running:
            self._give_up(nodeid, at, reason="the session ended while it ran")
        return tuple(self._attempts[nodeid][-1].result for nodeid in running)

    def _give_up(self, nodeid: str, at: float, *, reason: str) -> None:
        if progress := self._running.pop(nodeid, None):
            result = progress.cut_off(ExperimentOutcome.INTERRUPTED, at, reason=reason)
            self._finish(nodeid, Attempt(worker=progress.worker, result=result))

    def _finish(self, nodeid: str, attempt: Attempt) -> None:
        attempts = self._attempts.setdefault(nodeid, [])
        if all(_identity(attempt) != _identity(other) for other in attempts):
            attempts.append(attempt)

    def running(self) -> tuple[Running, ...]:
        """The experiments that run now, in the order in which they started."""
        return tuple(progress.snapshot() for progress in self._running.values())

    def experiments(self) -> tuple[ExperimentRecord, ...]:
        """The experiments with a finished attempt, in the order in which they first started."""
        return tuple(
            ExperimentRecord(nodeid=nodeid, attempts=tuple(attempts))
            for nodeid, attempts in self._attempts.items()
            if attempts
        )

    def attempts(self, nodeid: str) -> tuple[Attempt, ...]:
        """The finished attempts of an experiment, oldest first."""
        return tuple(self._attempts.get(nodeid, ()))
