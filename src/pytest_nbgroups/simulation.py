"""What a run would take: the planner at work on paper. Pure: values in, values out."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pytest_nbgroups.planning import Ground, Job, ordered, worth_trying
from pytest_nbgroups.resources import Budget
from pytest_nbgroups.settings import Schedule


@dataclass(frozen=True, kw_only=True)
class Start:
    """One job, begun at ``at_s`` after the first."""

    job: Job
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a number of workers would come to."""

    workers: int
    wall_s: float
    peak_ram_bytes: int
    """The most that is expected to be used at once; of a job without history what it reserves."""
    starts: tuple[Start, ...]
    """In their order."""


def simulate(
    jobs: Iterable[Job],
    *,
    workers: int,
    budget: Budget,
    schedule: Schedule = "longest",
    max_parallel: int | None = None,
) -> Prediction:
    """Run the jobs on paper; one of unknown duration takes no time.

    Every job must be one that the budget can grant when nothing else runs.
    """
    queue = ordered(jobs, job_of=lambda job: job, schedule=schedule, budget=budget, workers=workers)
    run = _Run(ground=Ground(budget), places=min(workers, max_parallel or workers))
    while queue:
        queue = run.start_from(queue)
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
    """One run on paper, while it lasts."""

    ground: Ground
    places: int
    now_s: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    used_bytes: dict[int, int] = field(default_factory=dict)
    """What each job that runs is expected to need at its peak, by the number of its start."""
    peak_ram_bytes: int = 0

    def start_from(self, queue: Sequence[Job]) -> list[Job]:
        """Start what is admitted, first fit; give what is left."""
        started: set[int] = set()
        numbered = enumerate(queue)
        for (index, job), refuse in worth_trying(numbered, need_of=lambda each: each[1].need):
            if len(self.ends) == self.places:
                break
            number = self.ground.start(job.need)
            if number is None:
                refuse()
                continue
            started.add(index)
            self.starts.append(Start(job=job, at_s=self.now_s))
            self.used_bytes[number] = _peak_bytes(job)
            heapq.heappush(self.ends, (self.now_s + (job.duration_s or 0.0), number))
        self.peak_ram_bytes = max(self.peak_ram_bytes, sum(self.used_bytes.values()))
        return [job for index, job in enumerate(queue) if index not in started]

    def until_next_end(self) -> None:
        self.now_s, number = heapq.heappop(self.ends)
        self.ground.end(number)
        del self.used_bytes[number]


def _peak_bytes(job: Job) -> int:
    return job.need.ram_bytes if job.peak_bytes is None else job.peak_bytes


def recommended(predictions: Sequence[Prediction], *, tolerance: float = 0.02) -> Prediction:
    """The fewest workers within ``tolerance`` of the shortest wall time."""
    best_s = min(prediction.wall_s for prediction in predictions)
    return next(p for p in predictions if p.wall_s <= best_s * (1 + tolerance))
