"""A lease while it is held."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Lease
from pytest_nbgroups.leases.gate import Gate
from pytest_nbgroups.leases.tickets import OwnTicket

_SAME = 0.02  # so much more or less is not worth telling


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
        self.claim = ticket.claim
        self.gpus = ticket.claim.gpus
        """UUIDs."""
        self.bound_cpus = ticket.claim.bound_cpus
        self.waited_s = waited_s
        self.waited_for = waited_for
        """As in `Lease`."""
        self._granted = time.monotonic()
        self.granted_at = ticket.claim.since
        """Seconds since the epoch, as ``released_at``."""
        self.released_at: float | None = None
        self.notes = notes

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors for ``pass_fds``: a process that inherits them holds the lease too.

        Empty on Windows, because a lock belongs to its process alone.
        """
        return () if os.name == "nt" or self.released_at else (self._ticket.descriptor,)

    @property
    def record(self) -> Lease:
        return Lease(
            need=self._ticket.claim.need,
            gpus=self.gpus,
            waited_s=self.waited_s,
            waited_for=self.waited_for,
            granted_at=self.granted_at,
            released_at=self.released_at,
            notes=self.notes,
        )

    def update(self, used_bytes: int, gpu_used_bytes: Mapping[str, int] | None = None) -> None:
        """Report the present use to the other sessions. Cheap, so it may be called often; never raises.

        Not reported if it has hardly changed, or another is at the gate: the next call will do.
        """
        gpu_used_bytes = gpu_used_bytes or {}
        usage = {"": used_bytes, **gpu_used_bytes}
        if self.released_at is not None or _alike(usage, self._usage):
            return
        with suppress(OSError, LeaseError), self._gate.entered_if_free() as entered:
            if entered:
                self._ticket.write_usage(used_bytes, gpu_used_bytes)
                self._usage = usage

    def release(self) -> None:
        """Give it back; what inherited a descriptor and still lives keeps it. Never raises."""
        if self.released_at is None:
            # Not the clock's time: that may have been set back meanwhile.
            self.released_at = self.granted_at + time.monotonic() - self._granted
            self._ticket.end()


def _alike(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(one[key], other[key], rel_tol=_SAME) for key in one
    )
