"""The state of a session, made of events alone. Every report of a session reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from pytest_nbgroups.core.events import (
    CellStarted,
    Event,
    ExperimentFinished,
    ExperimentStarted,
    ExperimentWaiting,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
)
from pytest_nbgroups.declarations.ordering import natural_key
from pytest_nbgroups.reports.progress import Progress, Running, Waiting, unseen

_Key: TypeAlias = tuple[str, str]
"""Node id and name of an experiment: one test may run several."""

ExperimentOf: TypeAlias = Callable[[str], Experiment | None]
"""Return the experiment of an item, by node id; None for a test."""


@dataclass(frozen=True, kw_only=True)
class RecordedAttempt:
    """One finished run of an experiment; ``worker`` is empty if there are no workers."""

    worker: str
    result: ExperimentResult


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """An experiment with its attempts, oldest first and at least one."""

    nodeid: str
    attempts: tuple[RecordedAttempt, ...]

    @property
    def result(self) -> ExperimentResult:
        """The result of the last attempt, which pytest reports."""
        return self.attempts[-1].result

    @property
    def worker(self) -> str:
        return self.attempts[-1].worker


class SessionRecord:
    """Record of the experiments that ran, run or wait for their leases, with their results.

    Used in the process that reports (xdist's controller, or the only one). Calls must not overlap: with
    several threads, hold a lock. Events of one experiment come in order; those of different experiments
    can interleave.
    """

    def __init__(self) -> None:
        self._attempts: dict[_Key, list[RecordedAttempt]] = {}
        self._running: dict[_Key, Progress | Waiting] = {}

    def add(self, event: Event, *, worker: str, nodeid: str) -> None:
        """Record an event. A second start of an experiment begins another attempt."""
        key = nodeid, event.experiment
        match event:
            case ExperimentWaiting():
                self._wait(key, event, worker)
            case ExperimentStarted():
                self._give_up(key, event.at)
                self._attempts.setdefault(key, [])
                self._running[key] = Progress(nodeid=nodeid, worker=worker, started=event)
            case ExperimentFinished():
                # Not the run of another worker, which has started it again in the meantime.
                if key in self._running and self._running[key].worker == worker:
                    del self._running[key]
                self._finish(key, RecordedAttempt(worker=worker, result=event.result))
            case NotebookStarted() | CellStarted() | NotebookFinished():
                if isinstance(progress := self._running.get(key), Progress):
                    progress.follow(event)

    def _wait(self, key: _Key, event: ExperimentWaiting, worker: str) -> None:
        earlier = self._running.get(key)
        if isinstance(earlier, Waiting) and earlier.worker == worker:
            self._running[key] = replace(earlier, event=event)
            return
        self._give_up(key, event.at)
        self._running[key] = Waiting(nodeid=key[0], worker=worker, since=event.at, event=event)

    def crashed(
        self,
        nodeid: str,
        worker: str,
        message: str,
        at: float,
        *,
        experiment: Experiment | None = None,
    ) -> ExperimentResult | None:
        """Record that the worker of an item died: its experiment has failed with ``message``.

        Finished notebooks stay as they are, the running one is ``interrupted``, later ones are
        ``not_run``. ``experiment`` is that of the item; None for a test, which then needs an event to
        show that it ran one. Return None if no experiment is known to have run.
        """
        running = next((key for key in self._running if key[0] == nodeid), None)
        state = self._running.pop(running) if running else None
        if isinstance(state, Progress):
            return self._cut_off(state, worker, message, at)
        if experiment is None:
            return None
        attempts = self._attempts.get((nodeid, experiment.name))
        # It died after the last event, but before pytest reported the outcome: that attempt failed.
        if state is None and attempts and attempts[-1].worker == worker:
            attempts[-1] = replace(attempts[-1], result=_lost(attempts[-1].result, message))
            return attempts[-1].result
        # It died before any event, or while it waited for its lease.
        return self._cut_off(unseen(experiment, nodeid, worker, at), worker, message, at)

    def _cut_off(
        self, progress: Progress, worker: str, message: str, at: float
    ) -> ExperimentResult:
        lost = _lost(progress.cut_off(at), message)
        self._finish((progress.nodeid, lost.name), RecordedAttempt(worker=worker, result=lost))
        return lost

    def interrupted_rest(
        self, at: float, *, experiment_of: ExperimentOf = lambda _nodeid: None
    ) -> tuple[ExperimentResult, ...]:
        """Record that the session ended while experiments ran or waited: they are ``interrupted``."""
        results = [self._end(state, at, experiment_of) for state in self._running.values()]
        self._running.clear()
        return tuple(result for result in results if result is not None)

    def _end(
        self, state: Progress | Waiting, at: float, experiment_of: ExperimentOf
    ) -> ExperimentResult | None:
        if isinstance(state, Progress):
            return self._interrupt(state, at, reason="the session ended while it ran")
        experiment = experiment_of(state.nodeid)
        if experiment is None:  # a test waited: only the name of its experiment is known
            return None
        reason = f"the session ended while it waited for its lease: {state.event.reason}"
        return self._interrupt(
            unseen(experiment, state.nodeid, state.worker, at), at, reason=reason
        )

    def _give_up(self, key: _Key, at: float) -> None:
        """Record a run that ended without a report; one that only waited leaves no trace."""
        state = self._running.pop(key, None)
        if isinstance(state, Progress):
            self._interrupt(state, at, reason="it was started again before it had finished")

    def _interrupt(self, progress: Progress, at: float, *, reason: str) -> ExperimentResult:
        result = replace(progress.cut_off(at), reason=reason)
        attempt = RecordedAttempt(worker=progress.worker, result=result)
        self._finish((progress.nodeid, result.name), attempt)
        return result

    def _finish(self, key: _Key, attempt: RecordedAttempt) -> None:
        attempts = self._attempts.setdefault(key, [])
        known = {(each.worker, each.result.started_at) for each in attempts}
        if (attempt.worker, attempt.result.started_at) not in known:
            attempts.append(attempt)

    def running(self) -> tuple[Running, ...]:
        """Return the experiments that run or wait now, in the order of their start."""
        return tuple(progress.snapshot() for progress in self._running.values())

    def experiments(self) -> tuple[ExperimentRecord, ...]:
        """Return the experiments with a finished attempt, in the order of their first start."""
        return tuple(
            ExperimentRecord(nodeid=nodeid, attempts=tuple(attempts))
            for (nodeid, _), attempts in self._attempts.items()
            if attempts
        )

    def workers(self) -> tuple[str, ...]:
        """Return the workers on which experiments ran, run or wait, ``gw2`` before ``gw10``."""
        finished = {a.worker for attempts in self._attempts.values() for a in attempts}
        running = {progress.worker for progress in self._running.values()}
        return tuple(sorted((finished | running) - {""}, key=natural_key))


def _lost(result: ExperimentResult, message: str) -> ExperimentResult:
    """Return the result of a run whose worker has died: it failed."""
    return replace(
        result,
        outcome=ExperimentOutcome.FAILED,
        reason=message,
        error=Failure(kind=FailureKind.ERROR, message=message),
        resumable=sum(notebook.outcome.is_done for notebook in result.notebooks),
    )
