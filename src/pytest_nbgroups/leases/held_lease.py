"""A lease while it is held."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Lease
from pytest_nbgroups.leases.gate import Gate
from pytest_nbgroups.leases.tickets import OwnTicket

_SAME = 0.02  # a smaller change is not worth a turn at the gate


class HeldLease:
    """A granted lease. It lasts until it is released and all processes that inherited a descriptor have ended."""

    def __init__(
        self,
        ticket: OwnTicket,
        gate: Gate,
        *,
        waited_s: float,
        waited_for: str,
        notes: tuple[str, ...],
    ) -> None:
        self._ticket = ticket
        self._gate = gate
        self._usage: Mapping[str, int] = {}
        self._granted = time.monotonic()
        self.claim = claim = ticket.claim
        self.gpus = claim.gpus
        """UUIDs."""
        self.bound_cpus = claim.bound_cpus
        self.waited_s = waited_s
        self.waited_for = waited_for
        self.record = Lease(
            need=claim.need,
            gpus=claim.gpus,
            waited_s=waited_s,
            waited_for=waited_for,
            granted_at=claim.since,
            notes=notes,
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors for ``pass_fds``: a process that inherits them holds the lease too.

        Empty on Windows, because a lock belongs to its process alone.
        """
        return () if os.name == "nt" or self._is_released else (self._ticket.descriptor,)

    @property
    def _is_released(self) -> bool:
        return self.record.released_at is not None

    def update(self, used_bytes: int, gpu_used_bytes: Mapping[str, int]) -> None:
        """Report the present use to the other sessions. Cheap, so it may be called often; never raises.

        Not reported if it has hardly changed, or another is at the gate: the next call will do.
        """
        usage = {"": used_bytes, **gpu_used_bytes}
        if self._is_released or _alike(usage, self._usage):
            return
        with suppress(OSError, LeaseError), self._gate.entered_if_free() as entered:
            if entered:
                self._ticket.write_usage(used_bytes, gpu_used_bytes)
                self._usage = usage

    def release(self) -> None:
        """Give it back; what inherited a descriptor and still lives keeps it. Never raises."""
        if not self._is_released:
            # Not the clock's time: somebody may have set the clock back since the grant.
            held_s = time.monotonic() - self._granted
            self.record = replace(self.record, released_at=self.record.granted_at + held_s)
            self._ticket.end()


def _alike(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(one[key], other[key], rel_tol=_SAME) for key in one
    )
