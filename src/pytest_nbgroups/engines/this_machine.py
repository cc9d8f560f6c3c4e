"""This machine, as one session uses it: its lease pool, and readings of its use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Budget, Claim
from pytest_nbgroups.engines.planner import MachineState
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.leases.pool_folder import default_folder
from pytest_nbgroups.machine.readings import Readings
from pytest_nbgroups.scheduling.lending import are_kin


class ThisMachine:
    """Its methods may be called from any thread."""

    def __init__(self, pool: LeasePool) -> None:
        self.pool = pool
        self.readings = Readings()

    @classmethod
    def open(cls) -> Self:
        """Open the lease pool that the environment names. Raises LeaseError if it cannot be used."""
        return cls(LeasePool(default_folder(os.environ)))

    def state(self, budget: Budget) -> MachineState:
        """Read the current leases and use. Raises LeaseError if the pool cannot be used."""
        snapshot = self.pool.snapshot()
        return MachineState(
            holders=snapshot.holders,
            waiting=snapshot.waiting,
            gpus=self.readings.gpus(budget),
            memory=self.readings.memory(budget),
        )

    def others(self, claim: Claim) -> Sequence[Claim]:
        """Return the other holders of a lease; none if the pool cannot be used.

        A run inside this one, or around it, is not another: their processes belong together.
        """
        try:
            holders = self.pool.snapshot().holders
        except LeaseError:
            return ()
        return [holder for holder in holders if not are_kin(holder, claim, holders)]
