"""The items that still have to run, and the workers that may take them. Knows neither pytest nor xdist."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeAlias, TypeVar

from pytest_nbgroups.core.resources import Budget, Need
from pytest_nbgroups.core.settings import Schedule
from pytest_nbgroups.scheduling.planning import Job, Queue
from pytest_nbgroups.scheduling.simulation import sequence

W = TypeVar("W", bound=Hashable)

Verdict: TypeAlias = Literal["start", "others", "no"]
"""Start it now; wait for other sessions or programs; wait for this session."""


@dataclass(eq=False, kw_only=True)
class Unit:
    """Items that run one after the other on one worker."""

    indices: list[int]
    """Positions in the collection of the items that have not finished."""
    job: Job | None = None
    """The experiment of its single item; None for ordinary tests."""
    family: str | None = None
    """The outermost experiment directory around the items: units of one family never overlap."""


@dataclass(eq=False, kw_only=True)
class SentUnit:
    """A unit on a worker."""

    unit: Unit
    waits_for_others: bool = False
    """It waits in the queue of the lease pool and holds no lease yet."""


class Backlog(Generic[W]):
    """Waiting units, in the order to try them, and running units, by worker.

    Units of a family run in the order of collection. Ordinary tests hold no lease. While some
    remain, one worker takes them first, so that they never all wait behind long experiments.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        listed = list(units)
        self.running: dict[W, SentUnit] = {}
        self._jobs = Queue((unit for unit in listed if unit.job), need_of=_need)
        self._tests = [unit for unit in listed if unit.job is None]
        self._families: dict[str, list[Unit]] = {}
        for unit in sorted(listed, key=lambda unit: unit.indices[0]):
            if unit.family is not None:
                self._families.setdefault(unit.family, []).append(unit)

    @property
    def waiting(self) -> list[Unit]:
        return [*self._jobs, *self._tests]

    @property
    def has_waiting(self) -> bool:
        return bool(self._jobs or self._tests)

    @property
    def is_empty(self) -> bool:
        return not self.has_waiting and not self.running

    def next_for(self, worker: W, verdict: Callable[[Unit], Verdict]) -> Unit | None:
        """Return the next unit for the worker and mark it as running; None leaves the worker free."""
        tests = next(filter(self._eligibility(), self._tests), None)
        if tests and all(running.unit.job for running in self.running.values()):
            return self._start(worker, tests)
        job, is_patient = self._next_job(verdict)
        if job and not is_patient:
            return self._start(worker, job)
        if tests:
            return self._start(worker, tests)
        if job and not any(running.waits_for_others for running in self.running.values()):
            return self._start(worker, job, waits_for_others=True)
        return None

    def _next_job(self, verdict: Callable[[Unit], Verdict]) -> tuple[Unit | None, bool]:
        """Return the first unit that may start; else one to wait in the pool's queue, and True."""
        first: Unit | None = None
        patient: Unit | None = None
        is_eligible = self._eligibility()
        for unit, refuse in self._jobs.worth_trying():
            if not is_eligible(unit):
                continue
            first = first or unit
            answer = verdict(unit)
            if answer == "start":
                return unit, False
            if answer == "others":
                patient = patient or unit
            refuse()
        if patient is None and not self.running:
            # No unit of this session will make room for it, so the pool decides.
            patient = first
        return patient, True

    def finish(self, worker: W, index: int) -> bool:
        """Remove a finished item; return True if its worker has become free."""
        unit = self.running[worker].unit
        unit.indices.remove(index)
        if unit.indices:
            return False
        del self.running[worker]
        self._leave_family(unit)
        return True

    def lose(self, worker: W) -> int | None:
        """Remove a dead worker; return the item that it ran, or None.

        The items behind that one wait again, before all others.
        """
        if (lost := self.running.pop(worker, None)) is None:
            return None
        crashed = lost.unit.indices.pop(0)  # a worker runs the items of a unit in order
        if lost.unit.indices:
            self._insert_first(lost.unit)
        else:
            self._leave_family(lost.unit)
        return crashed

    def note_leases(self, has_lease: Callable[[W], bool]) -> None:
        """Note the queued units that hold their lease by now."""
        for worker, running in self.running.items():
            if running.waits_for_others and has_lease(worker):
                running.waits_for_others = False

    def put_back(self, unit: Unit) -> None:
        """Let an item run once more, before all others."""
        self._insert_first(unit)
        if unit.family is not None:
            self._families.setdefault(unit.family, []).insert(0, unit)

    def _start(self, worker: W, unit: Unit, *, waits_for_others: bool = False) -> Unit:
        if unit.job is None:
            self._tests.remove(unit)
        else:
            self._jobs.remove(unit)
        self.running[worker] = SentUnit(unit=unit, waits_for_others=waits_for_others)
        return unit

    def _leave_family(self, unit: Unit) -> None:
        if unit.family is not None:
            self._families[unit.family].remove(unit)

    def _insert_first(self, unit: Unit) -> None:
        if unit.job is None:
            self._tests.insert(0, unit)
        else:
            self._jobs.put_first(unit)

    def _eligibility(self) -> Callable[[Unit], bool]:
        """Return a test for units that may run now: the first of each family that is not running."""
        busy = {running.unit.family for running in self.running.values()}

        def is_eligible(unit: Unit) -> bool:
            return unit.family is None or (
                unit.family not in busy and self._families[unit.family][0] is unit
            )

        return is_eligible


def _need(unit: Unit) -> Need:
    assert unit.job is not None  # noqa: S101  only those with a job are asked
    return unit.job.need


def in_order(
    units: Iterable[Unit],
    *,
    schedule: Schedule,
    budget: Budget,
    workers: int,
    max_parallel: int | None = None,
) -> list[Unit]:
    """Return experiments in the order to try them, then the tests.

    The first experiment of a family sets the place of the family; the others follow it directly.
    """
    listed = list(units)
    families = _families(unit for unit in listed if unit.job is not None)

    def job_of(family: Sequence[Unit]) -> Job:
        jobs = [unit.job for unit in family if unit.job is not None]
        known = [job.duration_s for job in jobs if job.duration_s is not None]
        return replace(jobs[0], duration_s=sum(known) if known else None)

    tried = sequence(
        [job_of(family) for family in families],
        schedule=schedule,
        budget=budget,
        workers=workers,
        max_parallel=max_parallel,
    )
    tests = (unit for unit in listed if unit.job is None)
    return [*(unit for position in tried for unit in families[position]), *tests]


def _families(units: Iterable[Unit]) -> list[list[Unit]]:
    """Group units by family; a unit without a family is a group alone."""
    found: dict[object, list[Unit]] = {}
    for unit in units:
        found.setdefault(unit.family or unit, []).append(unit)
    return list(found.values())


def fair_chunks(indices: list[int], *, total: int, workers: int) -> list[list[int]]:
    """Cut the tests of one file so that no part is longer than a worker's fair share of all."""
    longest = max(1, -(-total // workers))
    return [indices[start : start + longest] for start in range(0, len(indices), longest)]
