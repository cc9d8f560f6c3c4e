"""Leases for the whole machine: across threads, processes, sessions and users; safe against crashes.

A claim that waits and a lease that is held are tickets: files that are locked for as long as their
process, or one that inherited them, lives. Whoever wants a lease looks at the tickets under the
pool's gate and decides for itself, in the order of the queue. No process serves the others, so none
can fail them, and nothing has to be cleaned up after a ``kill -9``.
"""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.leases import tickets
from pytest_nbgroups.leases.gate import Gate
from pytest_nbgroups.leases.held_lease import HeldLease
from pytest_nbgroups.leases.pool_folder import prepare, usable
from pytest_nbgroups.leases.tickets import OwnTicket
from pytest_nbgroups.leases.waiting import Wait, look
from pytest_nbgroups.scheduling.admission import Grant
from pytest_nbgroups.scheduling.obstacles import Obstacle

__all__ = ["Admission", "HeldLease", "LeasePool", "PoolSnapshot"]

Admission: TypeAlias = Callable[[Claim, Sequence[Claim], Sequence[Claim]], Grant | Obstacle]
"""Whether a claim is granted, given the holders and those ahead of it. Called under the gate."""


@dataclass(frozen=True, kw_only=True)
class PoolSnapshot:
    """Claims with a live ticket, in the order of the queue."""

    holders: tuple[Claim, ...] = ()
    waiting: tuple[Claim, ...] = ()


class LeasePool:
    """The leases of all who use one folder. Its methods may be called from any thread.

    Raises LeaseError if the folder cannot be used.
    """

    def __init__(self, folder: Path, *, poll_s: float = 0.05) -> None:
        prepare(folder)
        self.folder = folder
        self._poll_s = poll_s
        self._gate = Gate(folder)

    @contextmanager
    def lease(
        self,
        claim: Claim,
        *,
        admission: Admission,
        on_wait: Callable[[str], None] = lambda _reason: None,
        cancelled: Callable[[], bool] = lambda: False,
        wait_s: float | None = None,
    ) -> Iterator[HeldLease]:
        """Wait until the claim is granted; hold the lease while the context lasts.

        ``on_wait`` gets the reason in one line, when that has lasted a moment and whenever the
        reason changes. Raises LeaseCancelledError soon after ``cancelled()``, LeaseTimeoutError
        after ``wait_s`` seconds, and LeaseError if the pool cannot be used.
        """
        wait = Wait(on_wait=on_wait, cancelled=cancelled, wait_s=wait_s)
        held = self._granted(claim, admission, wait, cancelled)
        try:
            yield held
        finally:
            held.release()

    def snapshot(self) -> PoolSnapshot:
        """Return the holders and the waiting claims now. Raises LeaseError."""
        with self._gate.entered(), usable(self.folder):
            found = list(tickets.live_tickets(self.folder))
        return PoolSnapshot(
            holders=tuple(ticket.claim for ticket in found if ticket.state == "holding"),
            waiting=tuple(ticket.claim for ticket in found if ticket.state == "waiting"),
        )

    def _granted(
        self, claim: Claim, admission: Admission, wait: Wait, cancelled: Callable[[], bool]
    ) -> HeldLease:
        claim = replace(
            claim, pid=claim.pid or os.getpid(), user=claim.user or _user(), since=time.time()
        )
        with self._gate.entered(cancelled), usable(self.folder):
            # Under the gate: two claims that look at once would get one number.
            number = tickets.next_number(self.folder)
            queued = tickets.create(self.folder, "waiting", number, claim)
        try:
            while True:
                # Before the tickets are read: a change after that ends the pause at once.
                seen = look(self.folder)
                with self._gate.entered(cancelled):
                    answer = self._ask(queued, admission)
                    if isinstance(answer, Grant):
                        return self._hold(queued, answer, wait)
                wait.refused(answer)
                wait.pause(self.folder, seen, poll_s=self._poll_s)
        except BaseException:
            queued.end()
            raise

    def _ask(self, queued: OwnTicket, admission: Admission) -> Grant | Obstacle:
        with usable(self.folder):
            found = list(tickets.live_tickets(self.folder, except_for=queued.path))
        holders = [ticket.claim for ticket in found if ticket.state == "holding"]
        ahead = [
            ticket.claim
            for ticket in found
            if ticket.state == "waiting" and ticket.number < queued.number
        ]
        return admission(queued.claim, holders, ahead)

    def _hold(self, queued: OwnTicket, grant: Grant, wait: Wait) -> HeldLease:
        """Exchange the ticket, under the gate: others see the one or the other."""
        claim = replace(
            queued.claim, gpus=grant.gpus, bound_cpus=grant.bound_cpus, since=time.time()
        )
        with usable(self.folder):
            ticket = tickets.create(self.folder, "holding", queued.number, claim)
        queued.end()
        return HeldLease(
            ticket,
            self._gate,
            waited_s=wait.elapsed_s,
            waited_for=wait.waited_for,
            notes=(grant.note,) if grant.note else (),
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in containers
        return str(os.getuid()) if hasattr(os, "getuid") else ""
