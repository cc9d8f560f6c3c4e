"""Whose lease this process runs in, if it runs in an experiment's kernel or below one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.leases.pool import LeasePool

VARIABLE = "NBGROUPS_LEASE"
"""Names, for a kernel and all that it starts, the ticket of the lease that the kernel runs in."""


def find_lender(pool: LeasePool, env: Mapping[str, str]) -> Claim | None:
    """Return the holder of the lease that this process runs in; None if it runs in no lease.

    A variable can outlive what set it, in a shell or a service, and reach processes on another
    machine. So it counts only if it names a lease that is held in this pool, by a process that is an
    ancestor of this one. Raises LeaseError.
    """
    ticket = env.get(VARIABLE)
    if not ticket:  # before the pool is read: most sessions run in no lease
        return None
    above, holders = set(_ancestors()), pool.snapshot().holders
    return next((each for each in holders if each.ticket == ticket and each.pid in above), None)


def _ancestors() -> Iterator[int]:
    import psutil

    try:
        # Not `Process.parents`: that would lose those found before an error.
        process = psutil.Process().parent()
        while process is not None:
            yield process.pid
            process = process.parent()
    except psutil.Error:  # one has just ended, or belongs to another user
        return
