"""Admission: grant a claim beside the holders and the claims that wait before it. Pure.

The same rule serves three callers: the lease pool under its gate, the controller before it sends
an experiment to a worker, and the simulation of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pytest_nbgroups.core.resources import Budget, Claim, Gpu
from pytest_nbgroups.core.units import counted, format_size, size_text
from pytest_nbgroups.scheduling.lending import beside, in_use
from pytest_nbgroups.scheduling.obstacles import Obstacle, Relation
from pytest_nbgroups.scheduling.placement import place, unleased, wanted, wanting

__all__ = ["Grant", "MemoryUse", "Obstacle", "admit"]

_ROUNDING = 1e-9  # of CPUs: 0.1 + 0.2 fit into 0.3


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """RAM of a domain that is in use, by any process."""

    used_bytes: int
    capacity_bytes: int


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A claim is granted what it needs."""

    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs."""
    bound_cpus: tuple[int, ...] = ()
    """The CPUs to bind its kernels to; if empty, they are not bound."""
    note: str = ""
    """Reason for a grant although the claim does not fit."""


@dataclass(frozen=True, kw_only=True)
class _Others:
    holders: Sequence[Claim]
    ahead: Sequence[Claim]

    def __bool__(self) -> bool:
        return bool(self.holders or self.ahead)

    def __len__(self) -> int:
        return len(self.holders) + len(self.ahead)

    def where(self, fits: Callable[[Claim], bool]) -> _Others:
        return _Others(holders=[*filter(fits, self.holders)], ahead=[*filter(fits, self.ahead)])

    def sum(self, amount: Callable[[Claim], float]) -> float:
        # fsum: a plain sum of CPUs such as 0.1 depends on their order.
        return math.fsum(map(amount, (*self.holders, *self.ahead)))

    def obstacle(
        self, lacking: str, *, detail: str = "", relation: Relation = "held by"
    ) -> Obstacle:
        return Obstacle(
            lacking=lacking,
            blockers=tuple(self.holders),
            ahead=tuple(self.ahead),
            detail=detail,
            relation=relation,
        )


def admit(
    claim: Claim,
    *,
    holders: Sequence[Claim],
    ahead: Sequence[Claim],
    budget: Budget,
    gpus: Sequence[Gpu],
    memory: MemoryUse | None,
) -> Grant | Obstacle:
    """Grant a claim, or return the obstacle.

    Claims ``ahead`` count as if they held what they need, so that no claim overtakes another and
    delays it. ``gpus`` are those of the claim's session as they are now; ``memory`` is None if only
    the budget counts. A domain's first claim is never refused its CPUs or RAM: those can have
    become fewer since the claim was made, and it would wait for ever. For a claim with a lender,
    ``budget`` is the lender's holding, and ``memory`` is None: the lender's lease counts already.
    """
    used = in_use(claim, holders, ahead)
    holders, ahead = beside(claim, holders, ahead)
    others = _Others(holders=holders, ahead=ahead)
    obstacle = (
        used
        or _exclusivity(claim, others)
        or _locks(claim, others)
        or _slow_start(claim, others)
        or _cpus(claim, others, budget)
    )
    if obstacle:
        return obstacle
    ram = _ram(claim, others, budget, memory)
    if isinstance(ram, Obstacle):
        return ram
    if not claim.need.gpus:
        return Grant(note=ram)
    chosen = place(claim, holders=holders, ahead=ahead, gpus=gpus)
    return _gpu_obstacle(claim, others, gpus) if chosen is None else Grant(gpus=chosen, note=ram)


def _exclusivity(claim: Claim, others: _Others) -> Obstacle | None:
    if claim.need.exclusive and others:
        return others.obstacle("is exclusive", relation="waits for")
    exclusive = others.where(lambda other: other.need.exclusive)
    if exclusive:
        return exclusive.obstacle("cannot run beside an exclusive one", relation="waits for")
    return None


def _locks(claim: Claim, others: _Others) -> Obstacle | None:
    for lock in claim.need.locks:
        having = others.where(lambda other, lock=lock: lock in other.need.locks)  # type: ignore[misc]
        if having:
            return having.obstacle(f"needs the lock {lock!r}")
    return None


def _slow_start(claim: Claim, others: _Others) -> Obstacle | None:
    limit = claim.slow_start_limit
    if limit is None or claim.need.ram_source != "slow start":
        return None
    alike = others.where(
        lambda other: other.session == claim.session and other.need.ram_source == "slow start"
    )
    if len(alike) < max(1, limit):
        return None
    lacking = f"is one of those whose RAM is unknown, at most {limit} at once"
    return alike.obstacle(lacking, relation="waits for")


def _cpus(claim: Claim, others: _Others, budget: Budget) -> Obstacle | None:
    mates = others.where(lambda other: other.cpu_domain == claim.cpu_domain)
    # Otherwise claims of sessions that may use more would overtake one that may use less for ever.
    limits = [other.cpu_limit for other in mates.ahead if other.cpu_limit is not None]
    limit = min([budget.cpus, *limits])
    free = limit - mates.sum(lambda other: other.need.cpus)
    if not mates or claim.need.cpus <= free + _ROUNDING * limit:
        return None
    needed = f"needs {counted(claim.need.cpus, 'cpu')}"
    return mates.obstacle(needed, detail=f"{max(0.0, free):g} of {limit:g} are free")


def _ram(claim: Claim, others: _Others, budget: Budget, memory: MemoryUse | None) -> Obstacle | str:
    """Return the lack of RAM, or else a note, which can be empty."""
    mates = others.where(lambda other: other.ram_domain == claim.ram_domain)
    reserved = mates.sum(lambda other: max(other.need.ram_bytes, other.used_bytes))
    # As for CPUs: a session with a smaller budget would be overtaken for ever.
    limits = [other.ram_limit_bytes for other in mates.ahead if other.ram_limit_bytes is not None]
    limit = min([_ram_limit(mates.holders, budget, memory), *limits])
    free = limit - int(reserved)
    need = claim.need.ram_bytes
    if need <= free:
        return ""
    left = format_size(max(0, free))
    if mates:
        detail = f"{left} of {format_size(budget.ram_bytes)} are free"
        return mates.obstacle(f"needs {size_text(need)} of RAM", detail=detail)
    return (
        f"started although only {left} of RAM are free of the {size_text(need)} reserved: "
        "no other experiment runs"
    )


def _ram_limit(holders: Iterable[Claim], budget: Budget, memory: MemoryUse | None) -> int:
    """Return the limit for all leases of the domain, given the processes outside of them."""
    if memory is None:
        return budget.ram_bytes
    # A leased byte is in `reserved` already, and would count twice as used memory.
    leased = sum(holder.used_bytes for holder in holders)
    left = memory.capacity_bytes - max(0, memory.used_bytes - leased)
    if not budget.ram_is_size:
        left = left * budget.ram_bytes // max(1, budget.ram_capacity_bytes)
    return min(budget.ram_bytes, left)


def _gpu_obstacle(claim: Claim, others: _Others, gpus: Sequence[Gpu]) -> Obstacle:
    involved = _Others(holders=wanting(claim, others.holders), ahead=wanting(claim, others.ahead))
    detail = "" if involved else unleased(claim, gpus)
    return involved.obstacle(f"needs {wanted(claim)}", detail=detail)
