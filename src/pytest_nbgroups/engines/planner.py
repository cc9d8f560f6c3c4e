"""Decisions of a session: needs, claims, admission. The planner itself reads nothing from the machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.events import Event, ExperimentFinished
from pytest_nbgroups.core.resources import Budget, Claim, Estimate, Gpu, Need, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.fate import RUNS, Fate, fails, skipped
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.machine.readings import Readings
from pytest_nbgroups.scheduling.admission import Grant, MemoryUse, Obstacle, admit
from pytest_nbgroups.scheduling.backlog import Verdict
from pytest_nbgroups.scheduling.lending import in_use, lacking, name_of, waits_for_itself
from pytest_nbgroups.scheduling.needs import SlowStart, need_of, unmet
from pytest_nbgroups.scheduling.obstacles import describe
from pytest_nbgroups.scheduling.planning import Job, Parallelism, idle, most_at_once
from pytest_nbgroups.scheduling.threads import thread_count


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """The machine at one moment."""

    holders: tuple[Claim, ...] = ()
    """Claims that have their lease, in the order of the queue."""
    waiting: tuple[Claim, ...] = ()
    """Claims that wait for their lease, in the order of the queue."""
    gpus: tuple[Gpu, ...] = ()
    memory: MemoryUse | None = None
    """None if the budget alone counts."""


class Planner:
    """Decides with the knowledge of a session. Its methods may be called from any thread."""

    def __init__(self, knowledge: Knowledge, settings: Settings) -> None:
        self.knowledge = knowledge
        self.settings = settings
        self._lock = threading.Lock()

    @property
    def budget(self) -> Budget:
        return self.knowledge.budget

    def estimate(self, experiment: str) -> Estimate | None:
        return self.knowledge.estimates.get(experiment)

    def need(self, experiment: str, resources: Resources) -> Need:
        """Return the resources that a run of the experiment would be granted now."""
        return need_of(resources, self.estimate(experiment), self.budget, self.knowledge.slow_start)

    def refusal(self, resources: Resources) -> Fate:
        """Return the fate of an experiment whose resources can never be granted here.

        A machine that is too small is a reason to skip. A lender that holds too little is a fault in the
        lender's declaration, on any machine.
        """
        if (lender := self.budget.lender) is not None:
            default_bytes = self.knowledge.slow_start.default_bytes
            if (fault := lacking(resources, lender, default_ram_bytes=default_bytes)) is not None:
                return fails(fault)
        if (reason := unmet(resources, self.budget)) is None:
            return RUNS
        if self.settings.unmet == "skip":
            return skipped(reason)
        return fails(f"{reason} (experiment_unmet = fail)")

    def job(self, experiment: str, resources: Resources) -> Job:
        estimate = self.estimate(experiment)
        return Job(
            name=experiment,
            need=self.need(experiment, resources),
            duration_s=estimate.duration_s if estimate else None,
            peak_bytes=estimate.peak_bytes if estimate else None,
        )

    def fitting(self, declared: Sequence[tuple[str, Resources]]) -> Parallelism:
        """Return how many of the experiments can ever run at once."""
        needs = [
            self.need(name, resources)
            for name, resources in declared
            if self.refusal(resources).runs
        ]
        return most_at_once(needs, self.budget, max_parallel=self.settings.max_parallel)

    def share_among(self, workers: int, declared: Sequence[tuple[str, Resources]]) -> None:
        """Set how many workers there are, for the threads of experiments that declare no CPUs."""
        parallel = max(1, min(workers, self.fitting(declared).fit))
        self.knowledge = replace(self.knowledge, parallel=parallel)

    def learn(self, event: Event) -> bool:
        """Take in the end of a slow start; return whether the knowledge has changed."""
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
        """Make the claim for a lease; ``place`` is as in `Experiment`, empty if it is not known."""
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

    def admission(
        self,
        readings: Readings,
        claim: Claim,
        holders: Sequence[Claim],
        ahead: Sequence[Claim],
    ) -> Grant | Obstacle:
        """Grant a claim now, or return the obstacle. The lease pool asks this.

        Raises LeaseError if the claim must not wait for its directory, or would wait for ever.
        """
        if (reason := self._reason_not_to_wait(claim, holders, ahead)) is not None:
            raise LeaseError(reason)
        limit = self.settings.max_parallel
        ours = [holder for holder in holders if holder.session == claim.session]
        if limit is not None and len(ours) >= limit:
            return Obstacle(lacking=f"--experiment-max-parallel is {limit}", blockers=tuple(ours))
        answer = admit(
            claim,
            holders=holders,
            ahead=ahead,
            budget=self.budget,
            gpus=readings.gpus(self.budget) if claim.need.gpus else (),
            memory=readings.memory(self.budget),
        )
        if isinstance(answer, Obstacle) or not self.settings.cpu_affinity:
            return answer
        count = thread_count(claim.need.cpus, budget_cpus=self.budget.cpus, parallel=1)
        bound = readings.cpus_to_bind(count, [holder.bound_cpus for holder in holders])
        return replace(answer, bound_cpus=bound)

    def _reason_not_to_wait(
        self, claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
    ) -> str | None:
        """Return why a claim must not wait at all."""
        lender = self.budget.lender
        if lender is not None and all(holder.ticket != lender.ticket for holder in holders):
            return f"this run is inside {name_of(lender)}, which no longer holds its lease"
        if (circle := waits_for_itself(claim, holders, ahead)) is not None:
            user, ancestor = map(name_of, circle)
            used = f"it would wait for itself: its directory is in use by {user}"
            inside = f"and this run is inside {ancestor}"
            if circle[0] == circle[1]:
                return f"{used}, {inside}"
            waits = f"which waits for the end of {ancestor}"
            return f"{used}, {waits}, {inside}; let only one of them run the other"
        if (busy := self._used_elsewhere(claim, holders, ahead)) is not None:
            what = describe(busy, now=time.time())
            return f"{what}; run it after that, or set experiment_busy = wait"
        return None

    def _used_elsewhere(
        self, claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
    ) -> Obstacle | None:
        """Return how another session uses the claim's directory, unless the claim may wait for that."""
        if self.settings.busy == "wait":
            return None
        others = [[c for c in claims if c.session != claim.session] for claims in (holders, ahead)]
        return in_use(claim, *others)

    def verdict(self, claim: Claim, ours: Sequence[Claim], state: MachineState) -> Verdict:
        """Decide whether to send an experiment to a worker.

        ``ours`` are the claims that this session has sent already. Those without a ticket yet count as ahead in
        the queue of the pool.
        """
        limit = self.settings.max_parallel
        if limit is not None and len(ours) >= limit:
            return "no"
        if self._reason_not_to_wait(claim, state.holders, state.waiting) is not None:
            return "start"  # to be refused, and reported, at once
        tickets = {c.nodeid for c in (*state.holders, *state.waiting) if c.session == claim.session}
        # A worker that was sent a claim needs some time to make its ticket, which the pool would show.
        sent = [other for other in ours if other.nodeid not in tickets]
        if self._admits(claim, state.holders, [*state.waiting, *sent], state.gpus, state.memory):
            return "start"
        # If it would start with the machine for this session alone, it waits for others.
        own_holders = [c for c in state.holders if c.session == claim.session]
        own_waiting = [c for c in state.waiting if c.session == claim.session]
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
