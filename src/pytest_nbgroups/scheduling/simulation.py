"""Simulation of a run by the planner's rules. Pure: values in, values out."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pytest_nbgroups.core.resources import Budget
from pytest_nbgroups.core.settings import Schedule
from pytest_nbgroups.scheduling.planning import Job, Queue, SimulatedMachine, ordered

_FEW = 60  # among more jobs, long and short ones even out
_MOVES = 4000
"""Divided by the number of jobs gives the number of tries: each try costs more if there are more
jobs, and all tries together take some tenths of a second."""
_CLOSE = 1.005  # so near to the lower bound, more tries gain nothing


@dataclass(frozen=True, kw_only=True)
class Start:
    """One job, started ``at_s`` seconds after the first."""

    job: Job
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted result for a number of workers."""

    workers: int
    wall_s: float
    peak_ram_bytes: int
    """Expected peak of use; a job without history counts with its reserve."""
    starts: tuple[Start, ...]
    """Starts of the jobs, in order."""


def sequence(
    jobs: Sequence[Job],
    *,
    schedule: Schedule,
    budget: Budget,
    workers: int,
    max_parallel: int | None = None,
) -> list[int]:
    """Return the positions of the jobs in the order to try them: by priority, improved by simulation.

    First fit by priority is on average within a tenth of the lower bound. If large needs meet, it
    can be a quarter above. So one job is moved a few hundred times, and a move is kept if the run
    gets no longer. This is left out if durations are unknown, or if many jobs even out. The same
    jobs always give the same order.
    """
    queue = ordered(jobs, schedule=schedule, budget=budget, workers=workers)
    if schedule != "longest" or len(jobs) > _FEW or any(job.duration_s is None for job in jobs):
        return queue

    def wall_s(order: Sequence[int]) -> float:
        chosen = [jobs[position] for position in order]
        return simulate(chosen, workers=workers, budget=budget, max_parallel=max_parallel).wall_s

    least_s = lower_bound_s(jobs, workers=min(workers, max_parallel or workers), budget=budget)
    return _bettered(queue, wall_s, least_s)


def _bettered(
    best: list[int], wall_s: Callable[[Sequence[int]], float], least_s: float
) -> list[int]:
    count = len(best)
    chance = random.Random(count)  # noqa: S311  always the same moves
    best_s = wall_s(best)
    for _ in range(_MOVES // max(count, 1)):
        if best_s <= least_s * _CLOSE:
            break
        moved = list(best)
        moved.insert(chance.randrange(count), moved.pop(chance.randrange(count)))
        moved_s = wall_s(moved)
        if moved_s < best_s:
            best, best_s = moved, moved_s
    return best


def lower_bound_s(jobs: Sequence[Job], *, workers: int, budget: Budget) -> float:
    """Return the lower bound of all schedules: the longest job, or the load of a resource."""
    times = [job.duration_s or 0.0 for job in jobs]
    loads = [
        sum(times) / workers,
        _load(times, [job.need.cpus / budget.cpus for job in jobs]),
        _load(times, [job.need.ram_bytes / budget.ram_bytes for job in jobs]),
    ]
    if budget.gpus:
        whole = [job.need.gpus if job.need.gpu_share_bytes is None else 0 for job in jobs]
        loads.append(_load(times, [gpus / len(budget.gpus) for gpus in whole]))
    return max([*times, *loads], default=0.0)


def _load(times: Sequence[float], shares: Sequence[float]) -> float:
    return sum(time * share for time, share in zip(times, shares, strict=True))


def simulate(
    queue: Sequence[Job], *, workers: int, budget: Budget, max_parallel: int | None = None
) -> Prediction:
    """Run the jobs, tried in this order, on a simulated machine; an unknown duration takes no time.

    Every job must be one that the budget can grant when nothing else runs.
    """
    run = _Run(ground=SimulatedMachine(budget), places=min(workers, max_parallel or workers))
    waiting = Queue(range(len(queue)), need_of=lambda index: queue[index].need)
    while waiting:  # each need fits an empty machine, so each turn starts a job or ends one
        run.start_from(waiting, queue)
        run.until_next_end()
    while run.ends:
        run.until_next_end()
    return Prediction(
        workers=workers,
        wall_s=run.now_s,
        peak_ram_bytes=run.peak_ram_bytes,
        starts=tuple(run.starts),
    )


@dataclass(kw_only=True)
class _Run:
    """State of a simulated run."""

    ground: SimulatedMachine
    places: int
    now_s: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    used_bytes: dict[int, int] = field(default_factory=dict)
    """Expected peak need of each running job, by the number of its start."""
    peak_ram_bytes: int = 0

    def start_from(self, waiting: Queue[int], jobs: Sequence[Job]) -> None:
        """Start the admitted jobs, first fit."""
        for index, refuse in waiting.worth_trying():
            if len(self.ends) == self.places:
                break
            job = jobs[index]
            number = self.ground.start(job.need)
            if number is None:
                refuse()
                continue
            waiting.remove(index)
            self.starts.append(Start(job=job, at_s=self.now_s))
            expected = job.peak_bytes
            self.used_bytes[number] = job.need.ram_bytes if expected is None else expected
            heapq.heappush(self.ends, (self.now_s + (job.duration_s or 0.0), number))
        self.peak_ram_bytes = max(self.peak_ram_bytes, sum(self.used_bytes.values()))

    def until_next_end(self) -> None:
        self.now_s, number = heapq.heappop(self.ends)
        self.ground.end(number)
        del self.used_bytes[number]
