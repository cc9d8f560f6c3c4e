"""What a session sees of the other users of the lease pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from machines import need

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.leases.pool import LeasePool, PoolSnapshot
from pytest_nbgroups.scheduling.admission import Grant


def claim(experiment: str) -> Claim:
    return Claim(need=need(), experiment=experiment, session="s")


def test_who_else_holds_a_lease(tmp_path: Path) -> None:
    """Not oneself, though what one uses has changed since; also another run of the same name."""
    pool = LeasePool(tmp_path / "pool")

    def admit(*_: object) -> Grant:
        return Grant()

    with (
        pool.lease(claim("Heart"), admission=admit) as heart,
        pool.lease(claim("Lung"), admission=admit) as lung,
        pool.lease(claim("Heart"), admission=admit),
    ):
        heart.update(5, {})
        lung.update(7, {})
        found = ThisMachine(pool).others(heart.claim)
    assert [(other.experiment, other.used_bytes) for other in found] == [("Lung", 7), ("Heart", 0)]


def test_a_pool_that_cannot_be_used() -> None:
    """When a death is explained nothing else may fail."""

    class Broken:
        def snapshot(self) -> PoolSnapshot:
            raise LeaseError("gone")

    assert ThisMachine(cast("LeasePool", Broken())).others(claim("Heart")) == ()


def test_what_runs_inside_is_no_neighbour(tmp_path: Path) -> None:
    """When a death is explained an experiment is not blamed on what it runs itself."""
    pool = LeasePool(tmp_path / "pool")
    with (
        pool.lease(claim("Outer"), admission=lambda *_: Grant()) as outer,
        pool.lease(
            replace(claim("In"), lender=outer.claim.ticket), admission=lambda *_: Grant()
        ) as inner,
        pool.lease(claim("Lung"), admission=lambda *_: Grant()),
    ):
        found = [ThisMachine(pool).others(each.claim) for each in (outer, inner)]
    assert [[other.experiment for other in others] for others in found] == [["Lung"], ["Lung"]]
