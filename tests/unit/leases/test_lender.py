"""Whose lease a process runs in."""

from __future__ import annotations

import os
from pathlib import Path

import psutil  # noqa: TID253  to find a process that is no ancestor
import pytest

from pytest_nbgroups.core.resources import Claim, Need
from pytest_nbgroups.leases import tickets
from pytest_nbgroups.leases.lender import VARIABLE, find_lender
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.scheduling.admission import Grant

NEED = Need(cpus=1, ram_bytes=0, ram_source="declared")


@pytest.fixture
def pool(tmp_path: Path) -> LeasePool:
    return LeasePool(tmp_path / "pool")


def claim(pid: int) -> Claim:
    return Claim(need=NEED, experiment="Outer", session="s", pid=pid)


@pytest.mark.parametrize("generation", [1, 2])
def test_ancestor(pool: LeasePool, generation: int) -> None:
    """A lease that a process above this one holds is lent, be it the parent's or an older one's."""
    ancestors = psutil.Process().parents()
    pid = ancestors[min(generation, len(ancestors)) - 1].pid
    with pool.lease(claim(pid), admission=lambda *_: Grant()) as held:
        assert find_lender(pool, {VARIABLE: held.claim.ticket}) == held.claim
        assert find_lender(pool, {}) is None


def test_others(pool: LeasePool) -> None:
    """A mark that was left in a shell or reached another process counts for nothing."""
    with pool.lease(claim(os.getpid()), admission=lambda *_: Grant()) as held:
        env = {VARIABLE: held.claim.ticket}
        assert find_lender(pool, env) is None
    assert find_lender(pool, env) is None
    assert find_lender(pool, {VARIABLE: "../gate"}) is None


def test_one_that_waits(pool: LeasePool) -> None:
    """What waits holds nothing that it could lend."""
    queued = tickets.create(pool.folder, "waiting", 1, claim(os.getppid()))
    assert find_lender(pool, {VARIABLE: queued.claim.ticket}) is None
    queued.end()


def test_processes_that_cannot_be_read(pool: LeasePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system hides processes nobody is known to be an ancestor."""

    def hidden() -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", hidden)
    with pool.lease(claim(os.getppid()), admission=lambda *_: Grant()) as held:
        assert find_lender(pool, {VARIABLE: held.claim.ticket}) is None
