"""Order of experiments, and the number that can run at once. Pure: values in, values out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, count
from typing import Generic, TypeVar

from pytest_nbgroups.core.resources import Budget, Claim, Gpu, Need
from pytest_nbgroups.core.settings import Schedule
from pytest_nbgroups.core.units import counted, format_size
from pytest_nbgroups.scheduling.admission import Grant, admit

T = TypeVar("T")

_FEW = 8  # among them, trying each choice takes no noticeable time


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work that runs as a whole on one worker."""

    name: str
    need: Need
    duration_s: float | None = None
    """Expected duration; None if it is unknown."""
    peak_bytes: int | None = None
    """Expected peak of RAM; None if it is unknown. The reserve adds a margin."""


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """``fit``: largest number of the experiments that can run at once; at least 1."""

    fit: int
    experiments: int
    limit: str
    """Resource that keeps one more from running beside them; empty if all fit."""


def ordered(jobs: Sequence[Job], *, schedule: Schedule, budget: Budget, workers: int) -> list[int]:
    """Return the positions of the jobs in the order to try them; equal ones keep their order.

    ``longest``: by expected duration x dominant share. A job that takes most of the scarcest
    resource for longest leaves the least room for a late start. An unknown duration counts as the
    longest known one.
    """
    unknown_s = max((job.duration_s for job in jobs if job.duration_s is not None), default=1.0)

    def duration_s(position: int) -> float:
        known_s = jobs[position].duration_s
        return unknown_s if known_s is None else known_s

    def weight(position: int) -> float:
        return duration_s(position) * dominant_share(jobs[position].need, budget, workers)

    positions = range(len(jobs))
    match schedule:
        case "longest":
            # On average 1.096 x the lower bound; by duration alone it is 1.112 x (400 random runs).
            return sorted(positions, key=weight, reverse=True)
        case "shortest":
            return sorted(positions, key=duration_s)
        case "collection":
            return list(positions)


def dominant_share(need: Need, budget: Budget, workers: int) -> float:
    """Return the largest part that a need takes of any resource, including workers; 0 to 1."""
    if need.exclusive:
        return 1.0
    shares = [1 / max(workers, 1), need.cpus / budget.cpus, need.ram_bytes / budget.ram_bytes]
    if need.gpus and budget.gpus:
        gpus = len(budget.gpus)
        smallest = min(gpu.total_bytes for gpu in budget.gpus) or 1
        share = need.gpu_share_bytes
        shares.append(need.gpus / gpus if share is None else share / smallest / gpus)
    return min(max(shares), 1.0)


class Queue(Generic[T]):
    """Waiting items, each once, in the order to try them.

    The scheduler goes through the whole queue whenever an item ends. So a need is kept as two
    numbers: its RAM, and the index of its *shape*. A shape is all other needs; few differ.
    """

    def __init__(self, items: Iterable[T], *, need_of: Callable[[T], Need]) -> None:
        self._need_of = need_of
        self._shapes: dict[Need, int] = {}
        self._waiting = [self._entry(item) for item in items]

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[T]:
        return (item for item, _, _ in self._waiting)

    def remove(self, item: T) -> None:
        del self._waiting[next(n for n, (other, _, _) in enumerate(self._waiting) if other == item)]

    def put_first(self, item: T) -> None:
        self._waiting.insert(0, self._entry(item))

    def worth_trying(self) -> Iterator[tuple[T, Refuse]]:
        """Yield the items, except those that need at least as much as a refused one.

        Each comes with a function to call if it is refused. Only the yielded item may be removed
        during the loop.
        """
        limits, index = [math.inf] * len(self._shapes), 0
        while index < len(self._waiting):
            entry = item, shape, ram_bytes = self._waiting[index]
            if ram_bytes < limits[shape]:
                yield item, partial(self._refuse, shape, ram_bytes, limits)
            # If the caller has removed the item, the next one has its index now.
            if index < len(self._waiting) and self._waiting[index] is entry:
                index += 1

    def _entry(self, item: T) -> tuple[T, int, int]:
        need = self._need_of(item)
        shape = replace(need, ram_bytes=0)
        return item, self._shapes.setdefault(shape, len(self._shapes)), need.ram_bytes

    def _refuse(self, shape: int, ram_bytes: int, limits: list[float]) -> None:
        shapes = [*self._shapes]
        for number, other in enumerate(shapes):
            if _asks_no_less(other, shapes[shape]):
                limits[number] = min(limits[number], ram_bytes)


Refuse = Callable[[], None]


def _asks_no_less(need: Need, other: Need) -> bool:
    """Return True if a shape needs at least as much as another one, RAM left aside."""
    if (need.gpu_share_bytes is None) != (other.gpu_share_bytes is None) and other.gpus:
        return False
    return (
        need.cpus >= other.cpus
        and need.gpus >= other.gpus
        and need.gpu_min_bytes >= other.gpu_min_bytes
        and (need.gpu_share_bytes or 0) >= (other.gpu_share_bytes or 0)
        and need.exclusive >= other.exclusive
        and set(need.locks) >= set(other.locks)
        and (need.ram_source == other.ram_source or other.ram_source != "slow start")
    )


def most_at_once(needs: Sequence[Need], budget: Budget, *, max_parallel: int | None) -> Parallelism:
    """Return the largest number that can run at once: the smallest needs that fit together.

    ``needs`` must be needs that this machine can grant. If there are few, all choices are tried.
    If there are many, a choice other than the smallest could hold one more.
    """
    # So many workers that the place on a worker never is the dominant share.
    smallest = sorted(needs, key=lambda need: (need.exclusive, dominant_share(need, budget, 10**6)))
    ground = SimulatedMachine(budget=budget)
    limit = ""
    queue = Queue(range(len(smallest)), need_of=smallest.__getitem__)
    for index, refuse in queue.worth_trying():
        need = smallest[index]
        if max_parallel is not None and len(ground.running) >= max_parallel:
            limit = "--experiment-max-parallel"
            break
        if ground.start(need) is not None:
            queue.remove(index)
        else:
            refuse()
            limit = limit or _limit(need, ground.running.values(), budget)
    fit = _largest_set(needs, max(len(ground.running), 1), budget, max_parallel)
    return Parallelism(fit=fit, experiments=len(needs), limit=limit if fit < len(needs) else "")


def _largest_set(needs: Sequence[Need], fit: int, budget: Budget, max_parallel: int | None) -> int:
    if len(needs) > _FEW:
        return fit
    most = len(needs) if max_parallel is None else min(max_parallel, len(needs))
    while fit < most and any(_fit(some, budget) for some in combinations(needs, fit + 1)):
        fit += 1
    return fit


def _fit(needs: Iterable[Need], budget: Budget) -> bool:
    ground = SimulatedMachine(budget)
    return all(ground.start(need) is not None for need in needs)


def idle(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs as if no process used them."""
    return tuple(replace(gpu, free_bytes=gpu.total_bytes) for gpu in gpus)


class SimulatedMachine:
    """A simulated machine that only planned work uses."""

    def __init__(self, budget: Budget) -> None:
        self.running: dict[int, Claim] = {}
        self._gpus = idle(budget.gpus)
        self._budget = replace(budget, gpus=self._gpus)
        self._numbers = count()

    def start(self, need: Need) -> int | None:
        """Start work with this need if it is admitted; return the number that ends it."""
        claim = Claim(
            need=need,
            experiment="",
            session="",
            cpu_domain=self._budget.cpu_domain,
            ram_domain=self._budget.ram_domain,
            gpu_choices=tuple(gpu.uuid for gpu in self._gpus),
        )
        answer = admit(
            claim,
            holders=tuple(self.running.values()),
            ahead=(),
            budget=self._budget,
            gpus=self._gpus,
            memory=None,
        )
        if not isinstance(answer, Grant):
            return None
        number = next(self._numbers)
        self.running[number] = replace(claim, gpus=answer.gpus)
        return number

    def end(self, number: int) -> None:
        del self.running[number]


def _limit(need: Need, running: Iterable[Claim], budget: Budget) -> str:
    """Return the resource that has no room for one more."""
    held = [claim.need for claim in running]
    if need.exclusive or any(other.exclusive for other in held):
        return "an exclusive experiment"
    taken = {lock for other in held for lock in other.locks}
    if shared := sorted(taken & set(need.locks)):
        return f"the lock {shared[0]!r}"
    if math.fsum([need.cpus, *(other.cpus for other in held)]) > budget.cpus:
        return counted(budget.cpus, "cpu")
    if need.ram_bytes + sum(other.ram_bytes for other in held) > budget.ram_bytes:
        return f"{format_size(budget.ram_bytes)} of RAM"
    return counted(len(budget.gpus), "gpu")
