"""What a session knows when it decides: the budget, what history expects, what others hold."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.events import Event, ExperimentFinished
from pytest_nbgroups.core.resources import Budget, Claim, Estimate, Gpu, Need, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.core.shortage import KillCounts
from pytest_nbgroups.leases.pool import LeasePool, PoolSnapshot
from pytest_nbgroups.machine.affinity import available_cpus, choose_cpus, read_places
from pytest_nbgroups.machine.cgroup import Cgroup, find_cgroup
from pytest_nbgroups.machine.gpu_reader import GpuReader
from pytest_nbgroups.machine.memory import RamLimit, find_ram
from pytest_nbgroups.machine.memory_use import read_memory_use
from pytest_nbgroups.machine.oom import read_kill_counts
from pytest_nbgroups.scheduling.admission import Grant, MemoryUse, Obstacle, admit
from pytest_nbgroups.scheduling.backlog import Verdict
from pytest_nbgroups.scheduling.lending import (
    are_kin,
    in_use,
    lacking,
    lent,
    name_of,
    waits_for_itself,
)
from pytest_nbgroups.scheduling.needs import SlowStart, need_of, unmet
from pytest_nbgroups.scheduling.obstacles import describe
from pytest_nbgroups.scheduling.planning import Job, Parallelism, idle, most_at_once
from pytest_nbgroups.scheduling.threads import thread_count


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What the process that looks about hands to those that run experiments."""

    session: str
    """Random, one for each invocation."""
    budget: Budget
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    """By the experiment's name."""
    slow_start: SlowStart
    parallel: int = 1
    """How many experiments can run at once."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an experiment can never have its lease here."""

    reason: str
    fails: bool
    """Whether that is a failure, else a reason to skip it."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The machine at one moment."""

    snapshot: PoolSnapshot
    gpus: tuple[Gpu, ...]
    memory: MemoryUse | None
    """None if the budget alone counts."""


class Planner:
    """Decides with what is known. Its methods may be called from any thread."""

    def __init__(self, knowledge: Knowledge, settings: Settings, pool: LeasePool) -> None:
        self.knowledge = knowledge
        self.settings = settings
        self.pool = pool
        self._gpu_reader = GpuReader()
        self._lock = threading.Lock()

    @cached_property
    def _ram_limit(self) -> RamLimit:
        """Looked up once: the pool's gate is held while the rest is read."""
        return find_ram(env=os.environ)

    @cached_property
    def _memory_cgroup(self) -> Cgroup | None:
        return find_cgroup("memory")

    @property
    def budget(self) -> Budget:
        return self.knowledge.budget

    def estimate(self, experiment: str) -> Estimate | None:
        return self.knowledge.estimates.get(experiment)

    def need(self, experiment: str, resources: Resources) -> Need:
        """What a run of the experiment is to be granted, as things stand."""
        return need_of(resources, self.estimate(experiment), self.budget, self.knowledge.slow_start)

    def never(self, resources: Resources) -> Refusal | None:
        """Say why what is declared can never be granted here; None if it can.

        A machine that is too small is a reason to skip. A lender that holds too little is a fault in
        its declaration, on whatever machine.
        """
        if (fault := self._lacking(resources)) is not None:
            return Refusal(reason=fault, fails=True)
        reason = unmet(resources, self.budget)
        if reason is None:
            return None
        if self.settings.unmet == "skip":
            return Refusal(reason=reason, fails=False)
        return Refusal(reason=f"{reason} (experiment_unmet = fail)", fails=True)

    def _lacking(self, resources: Resources) -> str | None:
        lender = self.budget.lender
        if lender is None:
            return None
        default_bytes = self.knowledge.slow_start.default_bytes
        return lacking(resources, lender, default_ram_bytes=default_bytes)

    def job(self, experiment: str, resources: Resources) -> Job:
        estimate = self.estimate(experiment)
        return Job(
            name=experiment,
            need=self.need(experiment, resources),
            duration_s=estimate.duration_s if estimate else None,
            peak_bytes=estimate.peak_bytes if estimate else None,
        )

    def fitting(self, declared: Sequence[tuple[str, Resources]]) -> Parallelism:
        """How many of the experiments can ever run at once."""
        needs = [
            self.need(name, resources)
            for name, resources in declared
            if self.never(resources) is None
        ]
        return most_at_once(needs, self.budget, max_parallel=self.settings.max_parallel)

    def share_among(self, workers: int, declared: Sequence[tuple[str, Resources]]) -> None:
        """Say how many workers there are, for the threads of experiments that declare no CPUs."""
        parallel = max(1, min(workers, self.fitting(declared).fit))
        self.knowledge = replace(self.knowledge, parallel=parallel)

    def learn(self, event: Event) -> bool:
        """Take in how a slow start has ended; whether the knowledge has changed."""
        if not isinstance(event, ExperimentFinished) or event.result.lease is None:
            return False
        if event.result.lease.need.ram_source != "slow start" or event.result.usage is None:
            return False
        with self._lock:
            known = self.knowledge.slow_start
            peak = max(known.largest_peak_bytes, event.result.usage.peak_bytes)
            grown = replace(known, largest_peak_bytes=peak, finished=known.finished + 1)
            self.knowledge = replace(self.knowledge, slow_start=grown)
        return True

    def set_slow_start(self, slow_start: SlowStart) -> None:
        with self._lock:
            self.knowledge = replace(self.knowledge, slow_start=slow_start)

    def claim(self, experiment: str, nodeid: str, need: Need, *, place: str = "") -> Claim:
        """``place`` as in `Experiment`, empty where it is not known."""
        limit = self.knowledge.slow_start.limit
        lender = self.budget.lender
        return Claim(
            need=need,
            experiment=experiment,
            session=self.knowledge.session,
            lender=lender.ticket if lender else "",
            nodeid=nodeid,
            place=place,
            cpu_domain=self.budget.cpu_domain,
            ram_domain=self.budget.ram_domain,
            cpu_limit=self.budget.cpus,
            ram_limit_bytes=self.budget.ram_bytes,
            gpu_choices=tuple(gpu.uuid for gpu in self.budget.gpus),
            slow_start_limit=limit if need.ram_source == "slow start" else None,
        )

    def look(self) -> Surroundings:
        """See what is held and used right now. Raises LeaseError where the pool cannot be used."""
        return Surroundings(
            snapshot=self.pool.snapshot(),
            gpus=self._read_gpus(),
            memory=self._read_memory(),
        )

    def _read_gpus(self) -> tuple[Gpu, ...]:
        found = self._gpu_reader.read(self.budget.gpus)
        return lent(found, self.budget.lender) if self.budget.lender else found

    def _read_memory(self) -> MemoryUse | None:
        return None if self.budget.lender else read_memory_use(self._ram_limit)

    def others(self, claim: Claim) -> Sequence[Claim]:
        """Who holds a lease besides this holder; nobody where the pool cannot be used.

        What runs inside it, and that inside which it runs, is no other: their processes are its own.
        """
        try:
            holders = self.pool.snapshot().holders
        except LeaseError:
            return ()
        return [holder for holder in holders if not are_kin(holder, claim, holders)]

    def kill_counts(self) -> KillCounts:
        """What the operating system has ended for lack of memory until now."""
        return read_kill_counts(self._memory_cgroup)

    def admission(
        self, claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
    ) -> Grant | Obstacle:
        """The lease pool's question: whether a claim is granted now.

        Raises LeaseError where it is not to wait for its directory, or would wait for ever.
        """
        if (refusal := self._refusal(claim, holders, ahead)) is not None:
            raise LeaseError(refusal)
        limit = self.settings.max_parallel
        ours = [holder for holder in holders if holder.session == claim.session]
        if limit is not None and len(ours) >= limit:
            return Obstacle(lacking=f"--experiment-max-parallel is {limit}", blockers=tuple(ours))
        answer = admit(
            claim,
            holders=holders,
            ahead=ahead,
            budget=self.budget,
            gpus=self._read_gpus() if claim.need.gpus else (),
            memory=self._read_memory(),
        )
        if isinstance(answer, Obstacle) or not self.settings.cpu_affinity:
            return answer
        return replace(answer, bound_cpus=self._cpus_to_bind(claim.need, holders))

    def _refusal(
        self, claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
    ) -> str | None:
        """Say why a claim is not to wait at all."""
        lender = self.budget.lender
        if lender is not None and all(holder.ticket != lender.ticket for holder in holders):
            return f"{name_of(lender)}, inside which this run is, no longer holds its lease"
        if (circle := waits_for_itself(claim, holders, ahead)) is not None:
            user, ancestor = map(name_of, circle)
            inside = f"{ancestor}, inside which this run is"
            if circle[0] == circle[1]:
                return f"it would wait for itself: its directory is in use by {inside}"
            return (
                f"it would wait for itself: its directory is in use by {user}, which waits for the "
                f"end of {inside}; let only one of them run the other"
            )
        if (used := self._used_elsewhere(claim, holders, ahead)) is not None:
            what = describe(used, now=time.time())
            return f"{what}; run it after that, or set experiment_busy = wait"
        return None

    def _used_elsewhere(
        self, claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
    ) -> Obstacle | None:
        """What another session does in the claim's directory, where that is not to be waited for."""
        if self.settings.busy == "wait":
            return None
        others = [[c for c in claims if c.session != claim.session] for claims in (holders, ahead)]
        return in_use(claim, *others)

    def _cpus_to_bind(self, need: Need, holders: Sequence[Claim]) -> tuple[int, ...]:
        available = available_cpus()
        return choose_cpus(
            thread_count(need.cpus, budget_cpus=self.budget.cpus, parallel=1),
            available,
            [holder.bound_cpus for holder in holders],
            read_places(available),
        )

    def verdict(self, claim: Claim, ours: Sequence[Claim], around: Surroundings) -> Verdict:
        """Whether to send an experiment to a worker, given what this session has sent already.

        What has been sent and has no ticket yet counts as being ahead in the pool's queue.
        """
        limit = self.settings.max_parallel
        if limit is not None and len(ours) >= limit:
            return "no"
        pool = around.snapshot
        if self._refusal(claim, pool.holders, pool.waiting) is not None:
            return "start"  # to be refused, and reported, at once
        tickets = {c.nodeid for c in (*pool.holders, *pool.waiting) if c.session == claim.session}
        sent = [other for other in ours if other.nodeid not in tickets]
        if self._admits(claim, pool.holders, [*pool.waiting, *sent], around.gpus, around.memory):
            return "start"
        own_holders = [c for c in pool.holders if c.session == claim.session]
        own_waiting = [c for c in pool.waiting if c.session == claim.session]
        unused = idle(self.budget.gpus)
        alone = self._admits(claim, own_holders, [*own_waiting, *sent], unused, None)
        return "others" if alone else "no"

    def _admits(
        self,
        claim: Claim,
        holders: Sequence[Claim],
        ahead: Sequence[Claim],
        gpus: Sequence[Gpu],
        memory: MemoryUse | None,
    ) -> bool:
        answer = admit(
            claim, holders=holders, ahead=ahead, budget=self.budget, gpus=gpus, memory=memory
        )
        return isinstance(answer, Grant)

    def gpu_memory(self, pids: Collection[int], gpus: Collection[str]) -> Mapping[str, int] | None:
        """UUID -> bytes that these processes hold of these GPUs; None where nothing can tell."""
        return self._gpu_reader.process_memory(pids, gpus)
